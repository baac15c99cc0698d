"""What changes when a feature says nothing: its channels are set to their baseline of zero.

N people, H hidden units, G groups, B resamples.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnn.batch import PreparedSequences
from rnn.model import SequenceModel
from tasks import stats
from tasks.evidence.contributions import UNKNOWN_ID, Rows, token_names

Floats = NDArray[np.float64]
Key = tuple[str, str]

_AT_ONCE = 1024


@dataclass(frozen=True)
class Parts:
    """Where features stand in a model's input.

    Attributes:
        channels: of the sequence, indicators of missing values among them.
        static: channels.
        tokens: ids.
    """

    channels: tuple[int, ...] = ()
    static: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()

    def __add__(self, other: "Parts") -> "Parts":
        """Both together."""
        return Parts(
            self.channels + other.channels, self.static + other.static, self.tokens + other.tokens
        )


NOTHING = Parts()


def parts_of(schema: dict[str, Any], input_size: int) -> dict[Key, Parts]:
    """Return where each feature stands, by kind and name, in the order of the schema.

    Args:
        schema: of the prepared data.
        input_size: D as a batch has it; 0 for tokens.
    """
    found: dict[Key, Parts] = {}
    if schema["input"]["kind"] == "tokens":
        for token, name in enumerate(token_names(schema), start=UNKNOWN_ID):
            found["character", name] = Parts(tokens=(token,))
    else:
        owners = [c["feature"] for c in schema["channels"]]
        owners *= input_size // len(owners) if owners else 1
        for at, name in enumerate(owners):
            found["sequence", name] = found.get(("sequence", name), NOTHING) + Parts((at,))
    for at, channel in enumerate(schema["static"]):
        key = ("static", channel["feature"])
        found[key] = found.get(key, NOTHING) + Parts(static=(at,))
    return found


def together(parts: Iterable[Parts]) -> Parts:
    """Return several features as one."""
    return sum(parts, NOTHING)


def run_without(
    model: SequenceModel, sequences: PreparedSequences, rows: Rows, without: Parts = NOTHING
) -> tuple[Floats, Floats]:
    """Return hidden states and logits with some features set to their baseline.

    Args:
        model: in evaluation mode.
        sequences: prepared data.
        rows: int64 [N].
        without: features that say nothing.

    Returns:
        float64 [N, H] and float64 [N, C].
    """
    states, logits = [], []
    with torch.no_grad():
        for start in range(0, len(rows), _AT_ONCE):
            batch = sequences.batch(rows[start : start + _AT_ONCE])
            embedded, static = model.embed(batch.inputs).clone(), batch.static.clone()
            if without.tokens:
                said = torch.isin(batch.inputs, torch.tensor(without.tokens))
                embedded[said] = 0.0
            embedded[..., list(without.channels)] = 0.0
            static[:, list(without.static)] = 0.0
            state = model.encode(embedded, batch.lengths)
            states.append(state.double().numpy())
            logits.append(model.head(torch.cat([state, static], 1)).double().numpy())
    return np.concatenate(states), np.concatenate(logits)


def top(weights: Floats, most: int, share: float = 0.5) -> list[int]:
    """Return the fewest features that carry at least a share of what is positive.

    Args:
        weights: float64 [F]; what is not above 0 carries nothing.
        most: how many at most.
        share: of the sum of the positive ones.

    Example:
        >>> top(np.array([0.1, 0.6, -1.0, 0.3]), 3, 0.8)
        [1, 3]
    """
    positive = np.where(np.isfinite(weights) & (weights > 0), weights, 0.0)
    order = np.argsort(-positive, kind="stable")[:most]
    reached = np.cumsum(positive[order])
    needed = int(np.searchsorted(reached, share * positive.sum() - 1e-12)) + 1
    return [int(f) for f in order[:needed] if positive[f] > 0]


def as_many(score: Floats, favoured: int) -> NDArray[np.bool_]:
    """Return the decisions that favour so many people, those with the highest scores.

    Args:
        score: float64 [N], higher is more favourable; of equals the earlier comes first.
        favoured: how many.
    """
    decision = np.zeros(len(score), dtype=bool)
    decision[np.argsort(-score, kind="stable")[:favoured]] = True
    return decision


@dataclass(frozen=True)
class Change:
    """A group's impact ratio before and after, and by what factor it changed, paired."""

    before: stats.Interval
    after: stats.Interval
    factor: stats.Interval


def _rates(cells: Floats) -> tuple[Floats, Floats]:
    """Favourable rates before and after of cells [..., G, 2, 2]."""
    size = cells.sum((-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return cells[..., 1, :].sum(-1) / size, cells[..., 1].sum(-1) / size


def impact_changes(
    codes: Rows,
    reference: int,
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    resamples: int,
    seed: int,
    confidence: float,
) -> dict[int, Change]:
    """Return what happened to the impact ratio of each group against the reference.

    Args:
        codes: int64 [N], group of each person, of one sensitive feature.
        reference: number of the group to compare with.
        before: bool [N], favourable decisions.
        after: bool [N], the same people's decisions by the changed model.
        resamples: B, of people.
        seed: of the resampling.
        confidence: of intervals.
    """
    numbers, index = np.unique(codes, return_inverse=True)
    cell = index * 4 + before * 2 + after
    counts = np.bincount(cell, minlength=4 * len(numbers)).astype(np.float64)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(codes), counts / counts.sum(), resamples).astype(np.float64)
    first, second = _rates(drawn.reshape(resamples, -1, 2, 2))
    table = counts.reshape(-1, 2, 2)
    size = table.sum((1, 2))
    base = int(np.searchsorted(numbers, reference))
    found = {}
    for at, group in enumerate(numbers.tolist()):
        if group == reference:
            continue
        old, new = (
            stats.rate_ratio(hits[at], size[at], hits[base], size[base], confidence)
            for hits in (table[:, 1, :].sum(1), table[:, :, 1].sum(1))
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            factors = (second[:, at] / second[:, base]) / (first[:, at] / first[:, base])
        factor = new.value / old.value if old.value else math.nan
        found[group] = Change(old, new, _percentiles(factor, factors, confidence))
    return found


def _percentiles(value: float, drawn: Floats, confidence: float) -> stats.Interval:
    """A percentile interval over the draws that have a value."""
    there = drawn[np.isfinite(drawn)]
    if len(there) < len(drawn) / 2 or not math.isfinite(value):
        return stats.Interval(value, math.nan, math.nan)
    tail = (1 - confidence) / 2
    low, high = np.quantile(there, [tail, 1 - tail])
    return stats.Interval(value, float(low), float(high))
