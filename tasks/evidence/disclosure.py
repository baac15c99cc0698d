"""What somebody can work out of a withheld count from the counts that are shown.

G groups of all features together, A atoms (people who share the groups of every feature and of
every earlier publication), K counts known beside the shown groups, k counts of one kind a group.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """Counts that were shown earlier.

    Attributes:
        members: bool [K, N + M], who was counted: first the N people of now, then M who are
            held out no more.
        counts: int64 [K, k], what was shown of them.
    """

    members: Flags
    counts: Counts


UNTOLD = Told(np.zeros((0, 0), dtype=np.bool_), np.zeros((0, 0), dtype=np.int64))


def _atoms(marks: list[NDArray[np.int64]]) -> tuple[Counts, Counts]:
    """First person and number of each atom, from int64 columns that tell people apart."""
    number = np.zeros(len(marks[0]), dtype=np.int64)
    first = np.zeros(1, dtype=np.int64)
    for column in marks:
        both = number * (int(column.max(initial=0)) + 1) + column
        _, first, number = np.unique(both, return_index=True, return_inverse=True)
    return first, number


@dataclass(frozen=True)
class Puzzle:
    """What an adversary has to solve: sums over atoms.

    Attributes:
        groups: float [G, A], 1 where an atom belongs to a group.
        counts: int64 [G, k] of the groups.
        known: float [K, A], of the total and of what was told earlier.
        known_counts: int64 [K, k].
    """

    groups: Array
    counts: Counts
    known: Array
    known_counts: Counts

    @classmethod
    def of(cls, codes: Counts, groups: int, counts: Counts, told: Told) -> "Puzzle":
        """Return the puzzle of groups with codes int64 [N, F] in 0..groups-1."""
        people = len(codes)
        before = told.members if len(told.members) else np.zeros((0, people), dtype=np.bool_)
        more = before.shape[1] - people
        # Who is held out no more has no group: one number above all groups.
        padded = np.vstack([codes, np.full((more, codes.shape[1]), groups)])
        here = np.r_[np.ones(people, dtype=np.int64), np.zeros(more, dtype=np.int64)]
        first, _ = _atoms([here, *padded.T, *before.astype(np.int64)])
        member = (padded[first][None] == np.arange(groups)[:, None, None]).any(2)
        total = _total(codes, counts)
        known = np.vstack([here[first][None], before[:, first]])
        return cls(
            member.astype(np.float64),
            counts,
            known.astype(np.float64),
            np.vstack([total[None], told.counts.reshape(-1, counts.shape[1])]),
        )

    def exposed(self, hidden: Flags, least: int) -> Counts:
        """Return shown groups that help to work out some hidden one; empty if all are safe.

        Args:
            hidden: bool [G].
            least: as many different values must be possible for every hidden count.
        """
        for find in (self._combined, self._narrow):
            for row in find(hidden, least):
                helpers = np.flatnonzero(~hidden)[row]
                # What the total and earlier publications tell alone cannot be hidden any more.
                helpers = helpers[~self.told[helpers]]
                if len(helpers):
                    return helpers
        return np.zeros(0, dtype=np.int64)

    @cached_property
    def told(self) -> Flags:
        """Return which groups follow from the total and what was told earlier, bool [G]."""
        weights, *_ = np.linalg.lstsq(self.known.T, self.groups.T, rcond=None)
        return np.asarray(np.abs(weights.T @ self.known - self.groups).max(1, initial=0) < 1e-6)

    def _system(self, hidden: Flags) -> tuple[Array, Array]:
        """Sums that are shown or known, and what they are: float [S, A], [S, k]."""
        rows = np.vstack([self.groups[~hidden], self.known])
        return rows, np.vstack([self.counts[~hidden], self.known_counts]).astype(np.float64)

    def _combined(self, hidden: Flags, least: int) -> list[Flags]:
        """For each hidden group that is a combination of shown sums, the shown ones in it."""
        rows, _ = self._system(hidden)
        wanted = self.groups[hidden]
        weights, *_ = np.linalg.lstsq(rows.T, wanted.T, rcond=None)
        exact = np.abs(weights.T @ rows - wanted).max(1, initial=0) < 1e-6
        shown = int((~hidden).sum())
        return [np.abs(w[:shown]) > 1e-9 for w in weights.T[exact]]

    def _narrow(self, hidden: Flags, least: int) -> list[Flags]:
        """For the first hidden count whose possible values lie too close, the sums that say so."""
        rows, sums = self._system(hidden)
        shown = int((~hidden).sum())
        for column in range(sums.shape[1]):
            low, high = np.full(len(hidden), np.inf), np.full(len(hidden), -np.inf)
            for group in np.flatnonzero(hidden).tolist():
                used = np.zeros(len(rows), dtype=bool)
                for sign in (-1.0, 1.0):
                    if high[group] - low[group] >= least:
                        break
                    used |= self._reach(sign, group, rows, sums[:, column], low, high)
                if high[group] - low[group] < least and used[:shown].any():
                    return [used[:shown]]
        return []

    def _reach(
        self, sign: float, group: int, rows: Array, sums: Array, low: Array, high: Array
    ) -> Flags:
        """Push one group's count to an end, note how far all counts went, return what stops it."""
        solved = linprog(sign * self.groups[group], A_eq=rows, b_eq=sums, method="highs")
        if solved.x is None:
            return np.zeros(len(rows), dtype=bool)
        values = self.groups @ solved.x
        np.minimum(low, values, out=low)
        np.maximum(high, values, out=high)
        return np.asarray(np.abs(solved.eqlin.marginals) > 1e-9)


def _total(codes: Counts, counts: Counts) -> Counts:
    """Sum of the counts over the groups of the first feature, int64 [k]."""
    return np.asarray(counts[np.unique(codes[:, 0])].sum(0))
