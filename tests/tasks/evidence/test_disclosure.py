"""An adversary with integer programming against every table of an audit at once."""

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from tasks.evidence.audited import Audited, levels_of
from tasks.evidence.disclosure import UNTOLD, Puzzle
from tasks.evidence.intersections import cross
from tasks.evidence.suppress import Groups, Level, find_groups, reasons, too_small

LEAST = {"people": 30, "outcome": 10, "decision": 10, "cells": 10}
# Which of the cells y0d0, y0d1, y1d0, y1d1 each count of a level adds up.
COLUMNS = {
    "people": [[1, 1, 1, 1]],
    "outcome": [[1, 1, 0, 0], [0, 0, 1, 1]],
    "decision": [[1, 0, 1, 0], [0, 1, 0, 1]],
    "cells": np.eye(4).tolist(),
}
Reasons = dict[str, list[str | None]]


def _people(seed: int) -> tuple[Audited, Groups, list[Level]]:
    """A few hundred people with two lopsided features and their crossing."""
    rng = np.random.default_rng(seed)
    people = int(rng.integers(200, 900))
    columns = {
        name: rng.choice(list(labels), people, p=rng.dirichlet([1, 1, 3])).tolist()
        for name, labels in (("a", "abc"), ("b", "xyz"))
    }
    y = (rng.random(people) < 0.7).astype(np.int64)
    data = Audited("binary", y, np.where(rng.random(people) < 0.8, y, 1 - y))
    groups = cross(find_groups(columns), 2).groups
    return data, groups, levels_of(data, groups, 30, 10)


def _ranges(
    data: Audited, groups: Groups, levels: list[Level], why: Reasons
) -> dict[tuple[str, int], float]:
    """How many whole values each small withheld count may have, given all that is shown.

    Unlike the code, over the cells of all levels together, in whole numbers, and with all
    totals; the adversary also knows which combinations of labels occur.
    """
    atoms, place = np.unique(groups.codes, axis=0, return_inverse=True)
    counts = np.zeros((len(atoms), 4))
    np.add.at(counts, (place, 2 * data.y + data.d), 1)
    truth = counts.ravel()
    member = [(atoms == group).any(1).astype(float) for group in range(len(groups.labels))]
    shown = [np.kron(np.ones(len(atoms)), cell) for cell in np.eye(4)]
    secret = []
    for level in levels:
        for group, text in enumerate(why[level.name]):
            for column in COLUMNS[level.name]:
                weights = np.kron(member[group], column)
                if text is None:
                    shown.append(weights)
                elif weights.any() and weights @ truth < LEAST[level.name]:
                    secret.append((level.name, group, weights))
    known = np.array(shown)
    rule = LinearConstraint(known, known @ truth, known @ truth)
    found: dict[tuple[str, int], float] = {}
    for name, group, weights in secret:
        ends = [
            milp(sign * weights, constraints=rule, integrality=np.ones(len(weights)),
                 bounds=Bounds(0, np.inf))
            for sign in (1, -1)
        ]  # fmt: skip
        if all(end.x is not None for end in ends):
            width = -ends[1].fun - ends[0].fun
            found[name, group] = min(found.get((name, group), np.inf), width)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_no_small_count_can_be_worked_out_from_tables_and_crossings(seed: int) -> None:
    data, groups, levels = _people(seed)
    size = groups.tally(np.zeros(len(data.y), dtype=np.int64), 1)[:, 0]
    found = _ranges(data, groups, levels, reasons(groups, levels, size))
    # Each level alone leaves room for 10 values or more; all together may leave fewer.
    assert min(found.values()) >= 5


def test_the_adversary_finds_what_only_the_small_groups_hide() -> None:
    leaks = 0
    for seed in range(4):
        data, groups, levels = _people(seed)
        why: Reasons = {
            level.name: ["small" if x else None for x in too_small(level.counts, level.least)]
            for level in levels
        }
        leaks += sum(width == 0 for width in _ranges(data, groups, levels, why).values())
    assert leaks >= 4


def _puzzle(columns: dict[str, list[str]]) -> tuple[Puzzle, Groups]:
    groups = find_groups(columns)
    size = groups.tally(np.zeros(len(groups.codes), dtype=np.int64), 1)
    return Puzzle.of(groups.codes, len(groups.labels), size, UNTOLD), groups


def test_a_sum_names_what_gives_it_away() -> None:
    puzzle, _ = _puzzle({"a": ["x"] * 3 + ["y"] * 50 + ["z"] * 60})
    assert puzzle.exposed(np.array([True, False, False]), 10).tolist() == [1, 2]
    # Two of them may share 53 people in many ways.
    assert puzzle.exposed(np.array([True, True, False]), 10).tolist() == []
    # At most 53 + 1 ways, though.
    assert puzzle.exposed(np.array([True, True, False]), 60).tolist() == [2]


def test_bounds_give_away_what_no_equation_does() -> None:
    # Of the crossing only "f, old" is shown; rows and columns are. "f, young" and "m, old" have
    # 4 people each, and "m, young" must be what is left: nobody is told, all is known to +-4.
    columns = {"sex": ["f"] * 104 + ["m"] * 304, "age": ["old"] * 100 + ["young"] * 4 + ["old"] * 4
               + ["young"] * 300}  # fmt: skip
    groups = cross(find_groups(columns), 2).groups
    size = groups.tally(np.zeros(408, dtype=np.int64), 1)
    puzzle = Puzzle.of(groups.codes, len(groups.labels), size, UNTOLD)
    hidden = np.array([label in ("f, young", "m, old", "f, old", "m, young")
                       for label in groups.labels])  # fmt: skip
    # All four hidden, sums shown: each is pinned to within 104 by the smallest sum.
    assert puzzle.exposed(hidden, 100).tolist() == []
    assert len(puzzle.exposed(hidden, 106)) > 0
