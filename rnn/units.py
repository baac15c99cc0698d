"""Whose rows are whose: sampling over persons, and their rows side by side.

N rows, P units (persons, or rows where each is a unit of its own), R sampled rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnn.privacy.noise import Keystream

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """The rows of one logical batch.

    Attributes:
        rows: int64 [R].
        units: int64 [R], the unit of each row.
    """

    rows: Rows
    units: Rows

    def part(self, rank: int, size: int) -> "Sample":
        """Return every size-th unit, from the rank-th on."""
        number = np.unique(self.units, return_inverse=True)[1]
        mine = number % size == rank
        return Sample(self.rows[mine], self.units[mine])

    def batches(self, lengths: Rows, size: int) -> "list[Sample]":
        """Return physical batches that keep a unit's rows together, of like lengths.

        Args:
            lengths: int64 [R], steps of each row: alike in a batch, they waste little padding.
            size: rows in a batch; a unit with more rows than that has a batch of its own.
        """
        number, counts = np.unique(self.units, return_inverse=True, return_counts=True)[1:]
        longest = np.zeros(len(counts), dtype=np.int64)
        np.maximum.at(longest, number, lengths)
        order = np.lexsort((np.arange(len(number)), number, longest[number]))
        if (counts == 1).all():
            cuts = list(range(size, len(order), size))
        else:
            cuts = _cuts(counts[number[order]], size)
        return [Sample(self.rows[p], self.units[p]) for p in np.split(order, cuts) if len(p)]


def _cuts(counts: Rows, size: int) -> list[int]:
    """Where to cut ordered rows, given how many rows each one's unit has."""
    cuts, start, at = [], 0, 0
    while at < len(counts):
        step = int(counts[at])
        if at + step - start > size and at > start:
            cuts.append(at)
            start = at
        at += step
    return cuts


class Population:
    """The training rows by unit."""

    def __init__(self, rows: Rows, units: Rows | None, max_sequences: int):
        """Group rows.

        Args:
            rows: int64 [N], the training rows.
            units: int64 [N], the person of each; None: each row is a unit.
            max_sequences: rows of a unit in one step, drawn afresh and uniformly a step.
        """
        self.rows, self.max_sequences = rows, max_sequences
        self.numbers: Rows | None = None
        self.size = len(rows)
        if units is not None:
            names, self.numbers = np.unique(units, return_inverse=True)
            self.size = len(names)

    def draw(self, stream: Keystream, rate: float) -> Sample:
        """Return a Poisson sample: each unit with probability `rate`, alone and afresh."""
        taken = stream.bernoulli(rate, self.size)
        if self.numbers is None:
            rows = self.rows[taken]
            return Sample(rows, rows)
        chosen = taken[self.numbers]
        rows, units = self.rows[chosen], self.numbers[chosen]
        counts = np.bincount(units, minlength=self.size)
        if counts.max(initial=0) > self.max_sequences:
            order = np.lexsort((stream.integers(len(rows)), units))
            starts = np.cumsum(counts) - counts
            place = np.arange(len(rows)) - starts[units[order]]
            kept = np.sort(order[place < self.max_sequences])
            rows, units = rows[kept], units[kept]
        return Sample(rows, units)
