"""Intersections: people by two or three sensitive features at once, as features of their own.

N held-out people, G groups of all features together, F features.
"""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from tasks.evidence.suppress import Groups
from tasks.params import UserError

CROSS = " x "


@dataclass(frozen=True)
class Crossed:
    """All groups of an audit, and which features each feature crosses.

    Attributes:
        groups: single features first, then their crossings.
        parents: feature -> the single features that it crosses, itself alone if it is one.
    """

    groups: Groups
    parents: dict[str, tuple[str, ...]]

    def single(self) -> tuple[str, ...]:
        """Return the features that are no crossing."""
        return tuple(name for name, of in self.parents.items() if len(of) == 1)

    def singles(self) -> Groups:
        """Return the groups of single features alone."""
        kept = [n for name in self.single() for n in self.groups.of(name).tolist()]
        features = tuple(self.groups.features[n] for n in kept)
        labels = tuple(self.groups.labels[n] for n in kept)
        # Single features come first, so that their groups keep their numbers.
        return Groups(features, labels, self.groups.codes[:, : len(self.single())])


def cross(groups: Groups, most: int, control: tuple[str, ...] = ()) -> Crossed:
    """Return the groups of every feature and of every crossing of up to `most` features.

    A control feature is crossed with each other single feature, whatever `most` is, and enters
    no other crossing. All combinations are groups, also those that nobody has: a list of the
    others would tell who is there.

    Args:
        groups: of the single features.
        most: features crossed at most, 1 for none.
        control: names of control features.

    Raises:
        UserError: a crossing has the name of a feature.

    Example:
        >>> from tasks.evidence.suppress import find_groups
        >>> found = cross(find_groups({"sex": ["f", "m"], "age": ["old", "old"]}), 2)
        >>> found.groups.features[3:], found.groups.labels[3:]
        (('sex x age', 'sex x age'), ('f, old', 'm, old'))
    """
    names = list(dict.fromkeys(groups.features))
    inner = [name for name in names if name not in control]
    wanted = [c for size in range(2, most + 1) for c in combinations(inner, size)]
    wanted += [(name, level) for level in control if level in names for name in inner]
    features, labels = list(groups.features), list(groups.labels)
    columns = [groups.codes]
    parents: dict[str, tuple[str, ...]] = {name: (name,) for name in names}
    for parts in wanted:
        name = CROSS.join(parts)
        if name in parents:
            raise UserError(f"data.sensitive: {name!r} is the name of a crossing of features")
        parents[name] = parts
        numbers = [groups.of(part) for part in parts]
        member = np.zeros(len(groups.codes), dtype=np.int64)
        for part, known in zip(parts, numbers, strict=True):
            member = member * len(known) + groups.column(part) - known[0]
        columns.append(member[:, None] + len(labels))
        found = [", ".join(groups.labels[n] for n in row) for row in product(*numbers)]
        features += [name] * len(found)
        labels += found
    return Crossed(Groups(tuple(features), tuple(labels), np.hstack(columns)), parents)
