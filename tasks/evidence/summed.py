"""Figures that are made of sums over people, with intervals that resample people.

N rows of held-out people, G groups, S sums, B resamples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.evidence.calibration import poisson_weights
from tasks.evidence.privacy_cost import block_sums
from tasks.evidence.suppress import Groups
from tasks.evidence.table_intervals import percentiles
from tasks.stats import Interval

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
# Figures by name, [...], from totals by name, [...] or [..., k].
Summary = Callable[[Mapping[str, Array]], dict[str, Array]]

_LOSS, _ROWS = "loss of rows", "rows"
EVERYONE = "everyone"
# One person has no spread.
_FEWEST = 2


@dataclass(frozen=True)
class Drawn:
    """Figures of groups, and what resampling people makes of them.

    Attributes:
        value: by figure, float64 [G].
        draws: by figure, float64 [B, G].
        people: int64 [G].
        confidence: of intervals.
    """

    value: dict[str, Array]
    draws: dict[str, Array]
    people: Counts
    confidence: float

    def at(self, name: str, group: int) -> Interval:
        """Return a group's figure with its percentile interval."""
        few = self.people[group] < _FEWEST
        return _interval(self.value[name][group], self.draws[name][:, group], few, self.confidence)

    def apart(self, name: str, group: int, other: int) -> Interval:
        """Return a group's figure less that of another group."""
        value = self.value[name][group] - self.value[name][other]
        draws = self.draws[name][:, group] - self.draws[name][:, other]
        few = min(self.people[group], self.people[other]) < _FEWEST
        return _interval(value, draws, few, self.confidence)

    def minus(self, other: "Drawn") -> "Drawn":
        """Return differences of two models on the same people, resampled together."""
        return Drawn(
            {name: value - other.value[name] for name, value in self.value.items()},
            {name: draws - other.draws[name] for name, draws in self.draws.items()},
            self.people,
            self.confidence,
        )


def _interval(value: float, draws: Array, few: bool, confidence: float) -> Interval:
    """A figure between the percentiles of its resampled values."""
    if few or not np.isfinite(value):
        return Interval(float(value), np.nan, np.nan)
    low, high = percentiles(draws[:, None], confidence)
    if low[0] == high[0]:
        # Nobody differs: that few people are alike says nothing of others.
        return Interval(float(value), np.nan, np.nan)
    return Interval(float(value), float(low[0]), float(high[0]))


def everyone(count: int) -> Groups:
    """Return one group with all rows."""
    return Groups((EVERYONE,), (EVERYONE,), np.zeros((count, 1), dtype=np.int64))


def drawn(
    losses: Array,
    sums: Mapping[str, Array],
    summary: Summary,
    groups: Groups,
    persons: Counts,
    *,
    bootstraps: int,
    seed: int,
    confidence: float,
) -> Drawn:
    """Return the figures of groups, and of people resampled with all their rows.

    The same seed and persons give the same resamples, so that models and groups pair.

    Args:
        losses: float64 [N]; their mean is the figure "loss".
        sums: by name float64 [N] or [N, k].
        summary: of the kind of target.
        groups: of N rows.
        persons: int64 [N], number of each row's person.
        bootstraps: B.
        seed: of the resampling.
        confidence: of intervals.

    Source: Hanley and MacGibbon (2006).
    """
    parts = {**sums, _LOSS: losses, _ROWS: np.ones(len(losses))}
    flat = np.column_stack(list(parts.values()))
    blocks = block_sums(flat, groups, persons, seed)
    count, size, width = blocks.shape
    table = blocks.reshape(count, size * width)
    pieces = [
        _figures(_named((weights @ table).reshape(len(weights), size, width), parts), summary)
        for weights in poisson_weights(count, bootstraps, seed)
    ]
    value = _figures(_named(blocks.sum(0), parts), summary)
    draws = {name: np.concatenate([piece[name] for piece in pieces]) for name in value}
    return Drawn(value, draws, people_of(groups, persons), confidence)


def _named(flat: Array, parts: Mapping[str, Array]) -> dict[str, Array]:
    """Sums [..., S] by name, those of several numbers [..., k]."""
    found, at = {}, 0
    for name, part in parts.items():
        width = 1 if part.ndim == 1 else part.shape[1]
        piece = flat[..., at : at + width]
        found[name] = piece[..., 0] if part.ndim == 1 else piece
        at += width
    return found


def _figures(sums: dict[str, Array], summary: Summary) -> dict[str, Array]:
    """Figures of the kind, and the mean loss."""
    own = {name: total for name, total in sums.items() if name not in (_LOSS, _ROWS)}
    with np.errstate(all="ignore"):
        return {**summary(own), "loss": sums[_LOSS] / sums[_ROWS]}


def people_of(groups: Groups, persons: Counts) -> Counts:
    """Return how many people each group has, int64 [G]."""
    size = len(groups.labels)
    found = np.zeros(size, dtype=np.int64)
    for codes in groups.codes.T:
        pairs = np.unique(persons * size + codes)
        found += np.bincount(pairs % size, minlength=size)
    return found
