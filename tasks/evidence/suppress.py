"""Which groups are too small to show, and which others must then be withheld with them.

G groups of all features together, A atoms (people who share the groups of every feature).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Groups:
    """The groups of all sensitive features, one after another.

    Attributes:
        features: name of the feature of each group, G.
        labels: label of each group, G.
        codes: int64 [N, F], the group of each person for each feature, in 0..G-1.
    """

    features: tuple[str, ...]
    labels: tuple[str, ...]
    codes: Counts

    def of(self, feature: str) -> Counts:
        """Return the group numbers of one feature."""
        return np.flatnonzero(np.asarray(self.features) == feature)

    def column(self, feature: str) -> Counts:
        """Return each person's group of one feature, int64 [N]."""
        return self.codes[:, list(dict.fromkeys(self.features)).index(feature)]

    def members(self, group: int) -> Flags:
        """Return who is in a group, bool [N]."""
        return self.column(self.features[group]) == group

    def tally(self, kinds: Counts, size: int) -> Counts:
        """Return how many people of each kind 0..size-1 each group has: int64 [G, size]."""
        total = np.zeros((len(self.labels), size), dtype=np.int64)
        for column in self.codes.T:
            cell = np.bincount(column * size + kinds, minlength=total.size)
            total += cell.reshape(total.shape)
        return total

    @cached_property
    def indicators(self) -> NDArray[np.float64]:
        """Return float [G, A]: 1 where an atom belongs to a group."""
        atoms = np.unique(self.codes, axis=0)
        return (atoms[None] == np.arange(len(self.labels))[:, None, None]).any(2).astype(float)


def find_groups(sensitive: dict[str, list[str]]) -> Groups:
    """Return the groups of every sensitive feature, "unknown" last.

    Args:
        sensitive: label of each of N people by feature.
    """
    features: list[str] = []
    labels: list[str] = []
    columns = []
    for name, values in sensitive.items():
        found = sorted(set(values), key=lambda label: (label == UNKNOWN, label))
        number = {label: len(labels) + index for index, label in enumerate(found)}
        columns.append([number[value] for value in values])
        features += [name] * len(found)
        labels += found
    people = len(columns[0]) if columns else 0
    codes = np.array(columns, dtype=np.int64).reshape(len(columns), people).T
    return Groups(tuple(features), tuple(labels), codes)


def too_small(counts: Counts, least: int) -> Flags:
    """Return which groups have fewer than `least` in any column of int64 [G, k]."""
    return np.asarray((counts < least).any(1))


def recoverable(hidden: int, shown: Flags, indicators: NDArray[np.float64]) -> Flags:
    """Return which shown groups give a hidden one away by sums and differences; none if safe.

    A count adds up over atoms, so a hidden group follows from the shown ones and the total
    where its indicator is a linear combination of theirs.

    Args:
        hidden: number of the group.
        shown: bool [G].
        indicators: float [G, A].
    """
    known = np.vstack([indicators[shown], np.ones(indicators.shape[1])])
    weights, *_ = np.linalg.lstsq(known.T, indicators[hidden], rcond=None)
    used = np.zeros(len(shown), dtype=bool)
    if np.abs(weights @ known - indicators[hidden]).max() < 1e-6:
        used[np.flatnonzero(shown)] = np.abs(weights[:-1]) > 1e-9
    return used


def _withhold_more(hidden: Flags, table: Counts, counts: Counts, least: int, size: Counts) -> bool:
    """Hide the next smallest group of one feature where the hidden ones could be added up."""
    inside = table[hidden[table]]
    if len(inside) == 0 or len(inside) == len(table):
        return False
    together = counts[inside].sum(0)
    if len(inside) >= 2 and not (together < least).any():
        return False
    rest = table[~hidden[table]]
    hidden[rest[np.argmin(size[rest])]] = True
    return True


def complete(groups: Groups, first: Flags, counts: Counts, least: int, size: Counts) -> Flags:
    """Return every group to withhold, given those that are too small themselves.

    Within a feature the withheld groups add up to what the total leaves, so there must be two
    of them and together they must be large enough. Across features, no withheld group may be a
    linear combination of what is shown.

    Args:
        groups: all features' groups.
        first: bool [G], too small themselves.
        counts: int64 [G, k], what must not be small.
        least: smallest count to show.
        size: int64 [G], people.
    """
    hidden = first.copy()
    tables = [groups.of(feature) for feature in dict.fromkeys(groups.features)]
    indicators = groups.indicators
    changed = True
    while changed:
        changed = False
        for table in tables:
            while _withhold_more(hidden, table, counts, least, size):
                changed = True
        for group in np.flatnonzero(hidden):
            used = np.flatnonzero(recoverable(int(group), ~hidden, indicators))
            # The total alone gives away a group that holds everybody: nothing is left to hide.
            if len(used):
                hidden[used[np.argmin(size[used])]] = True
                changed = True
    return hidden


@dataclass(frozen=True)
class Level:
    """Figures that rest on the same counts are shown or withheld together.

    Attributes:
        name: of the level.
        what: whose number is too small, for a reader.
        counts: int64 [G, k], none of which may be small.
        least: smallest count to show.
        needs: levels that must be shown first.
    """

    name: str
    what: str
    counts: Counts
    least: int
    needs: tuple[str, ...] = ()


def reasons(groups: Groups, levels: list[Level], size: Counts) -> dict[str, list[str | None]]:
    """Return for each level and group why it is withheld, or None where it is shown.

    Args:
        groups: all features' groups.
        levels: each after those that it needs.
        size: int64 [G], people.
    """
    found: dict[str, list[str | None]] = {}
    for level in levels:
        why: list[str | None] = [None] * len(groups.labels)
        for index in range(len(why)):
            why[index] = next((found[n][index] for n in level.needs if found[n][index]), None)
        for index in np.flatnonzero(too_small(level.counts, level.least)).tolist():
            why[index] = why[index] or f"fewer than {level.least} {level.what}"
        first = np.array([w is not None for w in why], dtype=bool)
        withheld = complete(groups, first, level.counts, level.least, size)
        for index in np.flatnonzero(withheld).tolist():
            why[index] = why[index] or "withheld so that a smaller group cannot be computed"
        found[level.name] = why
    return found
