"""Which groups are too small to show, and which others must then be withheld with them.

N held-out people, G groups of all features together, F features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.evidence.disclosure import UNTOLD, Puzzle, Told

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


def find_groups(
    sensitive: Mapping[str, Sequence[str]], declared: Mapping[str, Sequence[str]] | None = None
) -> Groups:
    """Return the groups of every sensitive feature, "unknown" last.

    Args:
        sensitive: label of each of N people by feature.
        declared: by feature, labels that are groups whether anybody has them or not, and
            "unknown" with them.
    """
    features: list[str] = []
    labels: list[str] = []
    columns = []
    for name, values in sensitive.items():
        known = (declared or {}).get(name, ())
        every = {*values, *known, *((UNKNOWN,) if known else ())}
        found = sorted(every, key=lambda label: (label == UNKNOWN, label))
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


def _withhold_more(hidden: Flags, secret: Counts, counts: Counts, least: int, size: Counts) -> bool:
    """Hide the next smallest group of one feature where the hidden ones could be added up.

    `secret` are the feature's groups that nothing told earlier gives away: others protect nobody.
    """
    inside = secret[hidden[secret]]
    if len(inside) == 0 or len(inside) == len(secret):
        return False
    together = counts[inside].sum(0)
    if len(inside) >= 2 and not (together < least).any():
        return False
    rest = secret[~hidden[secret]]
    hidden[rest[np.argmin(size[rest])]] = True
    return True


def complete(
    groups: Groups, first: Flags, counts: Counts, least: int, size: Counts, told: Told = UNTOLD
) -> Flags:
    """Return every group to withhold, given those that are too small themselves.

    Within a feature the withheld groups add up to what the total leaves, so there must be two
    of them and together they must be large enough. Over all features and all that was told
    before, no withheld group may be a linear combination of what is shown, and what is shown
    must leave room for at least `least` different values of each of its counts.

    Args:
        groups: all features' groups.
        first: bool [G], too small themselves.
        counts: int64 [G, k], what must not be small.
        least: smallest count to show.
        size: int64 [G], people.
        told: counts of the same kind that were shown earlier.
    """
    hidden = first.copy()
    if not hidden.any():
        return hidden
    puzzle = Puzzle.of(groups.codes, len(groups.labels), counts, told)
    tables = [groups.of(feature) for feature in dict.fromkeys(groups.features)]
    tables = [table[~puzzle.told[table]] for table in tables]
    changed = True
    while changed:
        changed = False
        for table in tables:
            while _withhold_more(hidden, table, counts, least, size):
                changed = True
        helpers = puzzle.exposed(hidden, least)
        if len(helpers):
            hidden[helpers[np.argmin(size[helpers])]] = True
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


def reasons(
    groups: Groups, levels: list[Level], size: Counts, told: Mapping[str, Told] | None = None
) -> dict[str, list[str | None]]:
    """Return for each level and group why it is withheld, or None where it is shown.

    One text for the small ones and for those withheld with them: who could tell them apart
    would know a bound on each.

    Args:
        groups: all features' groups.
        levels: each after those that it needs.
        size: int64 [G], people.
        told: by level, counts of the same kind that were shown earlier.
    """
    found: dict[str, list[str | None]] = {}
    for level in levels:
        why: list[str | None] = [None] * len(groups.labels)
        for index in range(len(why)):
            why[index] = next((found[n][index] for n in level.needs if found[n][index]), None)
        first = np.array([w is not None for w in why], dtype=bool)
        first |= too_small(level.counts, level.least)
        before = (told or {}).get(level.name, UNTOLD)
        withheld = complete(groups, first, level.counts, level.least, size, before)
        for index in np.flatnonzero(withheld).tolist():
            why[index] = why[index] or (
                f"fewer than {level.least} {level.what}, or withheld to protect such a group"
            )
        found[level.name] = why
    return found
