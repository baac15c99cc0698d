"""Attributions by what a reader calls a feature: N people, F features, T steps.

A feature is a sequence's or a static one; of a text each token of the vocabulary is one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn.batch import PreparedSequences
from rnn.model import SequenceModel
from tasks.artifacts import Prepared
from tasks.evidence.attributions import TOKENS, Attributions, Floats, by_features, token_kind

Rows = NDArray[np.int64]
Attribute = Callable[[SequenceModel, PreparedSequences, Rows], Attributions]

AT_ONCE = 512
UNKNOWN_ID = 1
_TINY = 1e-12


@dataclass(frozen=True)
class Contributions:
    """What each feature adds to each person's output.

    Attributes:
        names: F.
        kinds: "sequence", "static" or "character", F.
        signed: float64 [N, F], summed over steps.
        size: float64 [N, F], absolute values summed over steps.
        peak: int64 [N, F], the step that pushes furthest in one direction; 0 for static.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    signed: Floats
    size: Floats
    peak: Rows

    def shares(self) -> Floats:
        """Return each feature's part of a person's absolute attributions, float64 [N, F]."""
        total = self.size.sum(1, keepdims=True)
        return np.asarray(self.size / np.maximum(total, _TINY))


def token_names(schema: dict[str, Any]) -> list[str]:
    """Return what each token is called as a feature, the unknown first.

    Args:
        schema: of prepared texts.
    """
    kind = token_kind(schema)
    source = "alphabet" if kind == "characters" else "vocabulary"
    known = schema["input"]["vocabulary"][UNKNOWN_ID + 1 :]
    return [f"{kind} outside the {source}", *(f"{TOKENS[kind]} “{text}”" for text in known)]


def _characters(schema: dict[str, Any], tokens: Rows, values: Floats, toward: int) -> Contributions:
    """Sums over the places of each token; tokens int64 [N, T], 0 where there is none."""
    names = token_names(schema)
    shape = (len(tokens), len(names))
    signed, size = np.zeros(shape), np.zeros(shape)
    most, peak = np.full(shape, -np.inf), np.zeros(shape, dtype=np.int64)
    people = np.arange(len(tokens))
    for step in range(tokens.shape[1]):
        real = tokens[:, step] >= UNKNOWN_ID
        at = people[real], tokens[real, step] - UNKNOWN_ID
        here = values[real, step]
        signed[at] += here
        size[at] += np.abs(here)
        ahead = toward * here > most[at]
        peak[at[0][ahead], at[1][ahead]] = step
        most[at] = np.maximum(most[at], toward * here)
    return Contributions(tuple(names), ("character",) * len(names), signed, size, peak)


def _numbers(schema: dict[str, Any], values: Floats, toward: int) -> Contributions:
    """Sums over the steps of each feature; values float64 [N, T, D], 0 after each length."""
    names, by_step = by_features(values, schema["channels"])
    return Contributions(
        tuple(names),
        ("sequence",) * len(names),
        by_step.sum(1),
        np.abs(by_step).sum(1),
        (toward * by_step).argmax(1).astype(np.int64),
    )


def contributions(
    found: Attributions, prepared: Prepared, rows: Rows, toward: int = 1
) -> Contributions:
    """Return attributions by feature.

    Args:
        found: attributions of these people.
        prepared: their data.
        rows: int64 [N].
        toward: 1 or -1, the direction in which a feature's peak pushes.
    """
    if found.inputs.ndim == 2:
        tokens = prepared.sequences.batch(rows).inputs.numpy()
        made = _characters(prepared.schema, tokens, found.inputs, toward)
    else:
        made = _numbers(prepared.schema, found.inputs, toward)
    names, static = by_features(found.static, prepared.schema["static"])
    return Contributions(
        (*made.names, *names),
        (*made.kinds, *("static",) * len(names)),
        np.concatenate([made.signed, static], 1),
        np.concatenate([made.size, np.abs(static)], 1),
        np.concatenate([made.peak, np.zeros(static.shape, dtype=np.int64)], 1),
    )


def measured(
    attribute: Attribute,
    model: SequenceModel,
    prepared: Prepared,
    rows: Rows,
    *,
    toward: int = 1,
    sequences: PreparedSequences | None = None,
) -> Contributions:
    """Return the contributions of many people, some at once, so that memory stays bounded.

    Args:
        attribute: the method.
        model: in evaluation mode.
        prepared: names of features, and the data unless `sequences` are given.
        rows: int64 [N], at least one.
        toward: as for `contributions`.
        sequences: changed data of the same people, by the same row numbers.
    """
    data = prepared.sequences if sequences is None else sequences
    whose = Prepared(data, prepared.people, prepared.schema)
    parts = []
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        parts.append(contributions(attribute(model, data, some), whose, some, toward))
    return Contributions(
        parts[0].names,
        parts[0].kinds,
        *(np.concatenate([getattr(p, k) for p in parts]) for k in ("signed", "size", "peak")),
    )
