"""Reasons in the user's words: one row a person and rank, and counts that may be published.

N people, F features, R reasons at most, G groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.artifacts import Prepared
from tasks.evidence.contributions import Contributions, Rows
from tasks.evidence.local import value_of
from tasks.evidence.reasons import NONE, Decided, Stability
from tasks.recipe import DataConfig

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Words:
    """Values of prepared people in the user's units.

    Attributes:
        prepared: the data.
        data: bounds and transforms.
        nearest: rows of the people with whom others are compared.
    """

    prepared: Prepared
    data: DataConfig
    nearest: Rows
    known: dict[tuple[str, str, int | None], str] = field(default_factory=dict)

    def _channels(self, kind: str, name: str) -> tuple[list[int], list[dict[str, Any]]]:
        """Positions and entries of a feature's channels."""
        channels = self.prepared.schema["static" if kind == "static" else "channels"]
        own = [i for i, channel in enumerate(channels) if channel["feature"] == name]
        return own, [channels[i] for i in own]

    def unit(self, kind: str, name: str) -> str:
        """Return a feature's unit, "" where it has none."""
        if kind == "character":
            return ""
        return str(self._channels(kind, name)[1][0].get("unit") or "")

    def step(self, row: int, kind: str, peak: int) -> str:
        """Return what the step is called at which a feature pushed furthest, "" for static."""
        if kind == "static":
            return ""
        if kind == "character":
            return f"position {peak + 1}"
        steps = self.prepared.schema["steps"]
        if steps:
            return str(steps[peak])
        offsets = self.prepared.sequences.offsets
        back = int(offsets[row + 1] - offsets[row]) - 1 - peak
        return "latest event" if back == 0 else f"{back} before the latest event"

    def value(self, row: int, kind: str, name: str, peak: int) -> str:
        """Return a person's value; of a character the character is in the name."""
        if kind == "character":
            return ""
        own, channels = self._channels(kind, name)
        arrays = self.prepared.sequences
        if kind == "static":
            return value_of(
                self.data, kind, name, channels, arrays.static[row, own].astype(np.float64)
            )
        at = int(arrays.offsets[row]) + peak
        if arrays.missing is not None and arrays.missing[at, own].any():
            return "missing"
        return value_of(
            self.data, kind, name, channels, arrays.sequences[at, own].astype(np.float64)
        )

    def typical(self, kind: str, name: str, peak: int) -> str:
        """Return the middle value of the people compared with, the commonest of a category."""
        if kind == "character":
            return ""
        step = peak if kind == "sequence" and self.prepared.schema["steps"] else None
        if (kind, name, step) not in self.known:
            self.known[kind, name, step] = self._middle(kind, name, step)
        return self.known[kind, name, step]

    def _middle(self, kind: str, name: str, step: int | None) -> str:
        """The middle of each channel, over the people who have the value."""
        own, channels = self._channels(kind, name)
        arrays = self.prepared.sequences
        if kind == "static":
            values = arrays.static[self.nearest][:, own].astype(np.float64)
        else:
            ends = zip(arrays.offsets[self.nearest], arrays.offsets[self.nearest + 1], strict=True)
            places = [np.arange(a, b) if step is None else np.array([a + step]) for a, b in ends]
            at = np.concatenate(places)
            there = np.ones(len(at), dtype=bool)
            if arrays.missing is not None:
                there = arrays.missing[at][:, own].max(1) == 0
            values = arrays.sequences[at[there]][:, own].astype(np.float64)
        if len(values) == 0:
            return "missing"
        if all(channel["value"] is not None for channel in channels):
            rest = 1 - values.sum(1, keepdims=True)
            commonest = int(np.hstack([values, rest]).mean(0).argmax())
            return value_of(self.data, kind, name, channels, np.eye(len(own) + 1)[commonest][:-1])
        return value_of(self.data, kind, name, channels, np.median(values, axis=0))


def _direction(value: str, typical: str) -> str:
    """How a value stands to the typical one, as far as words can tell."""
    if value in ("", "missing"):
        return value or "present"
    if value == typical:
        return "as typical"
    numbers = [_number(text) for text in (value, typical)]
    if None in numbers:
        return "differs"
    return "above typical" if numbers[0] > numbers[1] else "below typical"  # type: ignore[operator]


def _number(text: str) -> float | None:
    """The number in front of a value's words."""
    try:
        return float(text.split(" or ")[0].replace("−", "-").replace(",", ""))
    except ValueError:
        return None


def _measured(value: str, unit: str) -> str:
    """A value with its unit behind the number."""
    if not unit or _number(value) is None:
        return value
    number, *cut = value.split(" or ")
    return " or ".join([f"{number} {unit}", *cut])


def _sentence(name: str, unit: str, step: str, value: str, typical: str) -> str:
    """A reason as a notice would say it."""
    where = f"{name} ({step})" if step else name
    if not value:
        return where
    compared = f"; typical of those just granted: {_measured(typical, unit)}" if typical else ""
    return f"{where}: {_measured(value, unit)}{compared}"


def reason_table(
    words: Words,
    people: Decided,
    found: Contributions,
    against: Floats,
    reasons: Rows,
    stable: Stability,
    scores: Mapping[int, tuple[str, float]],
    fed: frozenset[str],
) -> pl.DataFrame:
    """Return one row a person and rank, and one of rank 0 where no feature speaks against them.

    Args:
        words: values of the data.
        people: whose decisions.
        found: contributions of the refused.
        against: float64 [N, F], points of the refused.
        reasons: int64 [N, R].
        stable: of these reasons.
        scores: id and score of each row of prepared data.
        fed: sensitive features that the recipe feeds to the model.
    """
    positive = np.maximum(against, 0.0)
    share = positive / np.maximum(positive.sum(1, keepdims=True), 1e-12)
    rows = []
    for n, row in enumerate(people.refused.tolist()):
        person, score = scores[row]
        shared = {
            "row": row,
            "person_id": person,
            "score": score,
            "stable": bool(stable.stable[n]),
            **{f"found_again_{k}": _plain(v[n]) for k, v in stable.whole.items()},
        }
        ranks = [f for f in reasons[n].tolist() if f != NONE]
        if not ranks:
            rows.append({**shared, **_EMPTY, **dict.fromkeys(f"again_{k}" for k in stable.again)})
        for rank, f in enumerate(ranks):
            kind, name = found.kinds[f], found.names[f]
            rows.append(
                {
                    **shared,
                    **_said(words, row, kind, name, int(found.peak[n, f])),
                    "rank": rank + 1,
                    "points": float(against[n, f]),
                    "share": float(share[n, f]),
                    "sensitive": kind == "static" and name in fed,
                    **{f"again_{k}": _plain(v[n, rank]) for k, v in stable.again.items()},
                }
            )
    return pl.DataFrame(rows, schema=_schema(stable))


def _said(words: Words, row: int, kind: str, name: str, peak: int) -> dict[str, Any]:
    """One reason in the user's words."""
    value, step = words.value(row, kind, name, peak), words.step(row, kind, peak)
    typical, unit = words.typical(kind, name, peak), words.unit(kind, name)
    return {
        "feature": name,
        "kind": kind,
        "unit": unit,
        "step": step,
        "value": value,
        "typical": typical,
        "direction": _direction(value, typical),
        "words": _sentence(name, unit, step, value, typical),
    }


_EMPTY: dict[str, Any] = {
    "rank": 0, "feature": "", "kind": "", "unit": "", "step": "", "value": "", "typical": "",
    "direction": "", "points": 0.0, "share": 0.0, "sensitive": False,
    "words": "No single feature speaks against this person more than against those just granted.",
}  # fmt: skip


def _schema(stable: Stability) -> dict[str, Any]:
    """Columns and their types, the same whoever is refused."""
    return {
        "row": pl.Int64, "person_id": pl.String, "score": pl.Float64, "rank": pl.Int64,
        "feature": pl.String, "kind": pl.String, "unit": pl.String, "step": pl.String,
        "value": pl.String, "typical": pl.String, "direction": pl.String, "points": pl.Float64,
        "share": pl.Float64, "sensitive": pl.Boolean, "words": pl.String,
        **{f"again_{k}": pl.Float64 for k in stable.again},
        **{f"found_again_{k}": pl.Float64 for k in stable.whole},
        "stable": pl.Boolean,
    }  # fmt: skip


def _plain(value: float) -> float | None:
    """A number, or None."""
    return None if np.isnan(value) else float(value)
