"""Small groups stay hidden, also from somebody who adds and subtracts what is shown."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evidence.suppress import Groups, Level, find_groups, reasons

MIN = 30


def _people(**tables: dict[str, int]) -> Groups:
    """Groups of the given sizes, features independent of one another."""
    rng = np.random.default_rng(0)
    columns = {}
    for name, sizes in tables.items():
        labels = [label for label, size in sizes.items() for _ in range(size)]
        columns[name] = rng.permutation(labels).tolist()
    return find_groups(columns)


def _hidden(groups: Groups) -> dict[str, bool]:
    """Which labels the level of people withholds."""
    size = groups.tally(np.zeros(len(groups.codes), dtype=np.int64), 1)
    why = reasons(groups, [Level("people", "people", size, MIN)], size[:, 0])["people"]
    return {label: text is not None for label, text in zip(groups.labels, why, strict=True)}


def test_groups_are_listed_unknown_last() -> None:
    groups = find_groups({"sex": ["m", "unknown", "f", "m"], "zone": ["z", "z", "y", "z"]})
    assert groups.features == ("sex", "sex", "sex", "zone", "zone")
    assert groups.labels == ("f", "m", "unknown", "y", "z")
    assert groups.codes.tolist() == [[1, 4], [2, 4], [0, 3], [1, 4]]
    assert groups.members(1).tolist() == [True, False, False, True]
    assert groups.tally(np.array([0, 1, 1, 0]), 2).tolist() == [
        [0, 1], [2, 0], [0, 1], [0, 1], [2, 1]
    ]  # fmt: skip


def test_nothing_is_hidden_without_need() -> None:
    assert not any(_hidden(_people(a={"x": 30, "y": 500})).values())


def test_one_small_group_takes_the_next_smallest_with_it() -> None:
    assert _hidden(_people(a={"x": 29, "y": 500, "z": 400})) == {"x": True, "y": False, "z": True}


def test_two_small_groups_protect_each_other_only_if_large_together() -> None:
    enough = _hidden(_people(a={"w": 20, "x": 20, "y": 500, "z": 400}))
    assert enough == {"w": True, "x": True, "y": False, "z": False}
    few = _hidden(_people(a={"w": 3, "x": 4, "y": 500, "z": 400}))
    assert few == {"w": True, "x": True, "y": False, "z": True}


def test_of_two_groups_both_are_hidden() -> None:
    assert all(_hidden(_people(a={"x": 5, "y": 500})).values())


def test_a_coarser_feature_may_not_undo_the_suppression() -> None:
    # a: w and x hide each other; b joins x and y, so y shown would give x away.
    fine = ["w"] * 20 + ["x"] * 25 + ["y"] * 300 + ["z"] * 300
    coarse = ["other"] * 20 + ["xy"] * 325 + ["other"] * 300
    assert _hidden(find_groups({"a": fine})) == {"w": True, "x": True, "y": False, "z": False}
    joint = _hidden(find_groups({"a": fine, "b": coarse}))
    assert joint["x"]
    assert joint["y"] or joint["xy"]


def test_a_copy_of_a_feature_is_hidden_too() -> None:
    fine = ["w"] * 20 + ["x"] * 25 + ["y"] * 300 + ["z"] * 300
    hidden = _hidden(find_groups({"a": fine, "b": [f"{label}'" for label in fine]}))
    assert hidden == {
        "w": True, "x": True, "y": False, "z": False,
        "w'": True, "x'": True, "y'": False, "z'": False,
    }  # fmt: skip


def test_declared_labels_are_groups_whether_anybody_has_them_or_not() -> None:
    groups = find_groups({"sex": ["m", "m"], "zone": ["y", "z"]}, {"sex": ["f", "m"]})
    assert groups.labels == ("f", "m", "unknown", "y", "z")
    assert groups.codes.tolist() == [[1, 3], [1, 4]]


def test_the_reason_does_not_tell_small_from_withheld() -> None:
    groups = _people(a={"x": 29, "y": 500, "z": 400})
    size = groups.tally(np.zeros(len(groups.codes), dtype=np.int64), 1)
    why = reasons(groups, [Level("people", "people", size, MIN)], size[:, 0])["people"]
    assert why[0] == why[2] == "fewer than 30 people, or withheld to protect such a group"
    assert why[1] is None


def _attack(groups: Groups, hidden: np.ndarray, counts: np.ndarray) -> list[int]:
    """Groups whose count an adversary solves for exactly from the shown counts and the total.

    Unlike the code, by the range of what is possible: two solutions of the shown equations that
    differ in a hidden count show that it is safe, so the null space decides.
    """
    atoms = np.unique(groups.codes, axis=0)
    rows = [(atoms == group).any(1).astype(float) for group in range(len(groups.labels))]
    known = [row for row, secret in zip(rows, hidden, strict=True) if not secret]
    matrix = np.stack([*known, np.ones(len(atoms))])
    _, singular, right = np.linalg.svd(matrix)
    null = right[int((singular > 1e-9).sum()) :]
    return [g for g in np.flatnonzero(hidden) if np.abs(null @ rows[g]).max(initial=0) < 1e-9]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 120), min_size=2, max_size=6),
    more=st.lists(st.integers(1, 5), min_size=0, max_size=2),
    seed=st.integers(0, 99),
)
def test_nothing_hidden_can_be_computed(sizes: list[int], more: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = np.repeat(np.arange(len(sizes)), sizes)
    tables = {"a": [f"a{code}" for code in base]}
    for index, size in enumerate(more):
        # Every other feature joins groups of the first at random: the hardest case.
        joined = rng.integers(0, size, len(sizes))[base]
        tables[f"f{index}"] = [f"f{index}:{code}" for code in joined]
    groups = find_groups(tables)
    size = groups.tally(np.zeros(len(base), dtype=np.int64), 1)
    why = reasons(groups, [Level("people", "people", size, MIN)], size[:, 0])["people"]
    hidden = np.array([text is not None for text in why])
    assert (hidden | (size[:, 0] >= MIN)).all()
    for group in _attack(groups, hidden, size):
        # What the total alone tells cannot be hidden: a group of everybody.
        assert groups.members(int(group)).all()
    for feature in tables:
        inside = [g for g in groups.of(feature) if hidden[g]]
        if inside and len(inside) < len(groups.of(feature)):
            assert len(inside) >= 2
            assert size[inside].sum() >= MIN


def test_levels_follow_the_levels_that_they_need() -> None:
    groups = _people(a={"x": 10, "y": 100, "z": 200})
    size = groups.tally(np.zeros(310, dtype=np.int64), 1)
    events = np.array([[500], [500], [9]])
    why = reasons(
        groups,
        [
            Level("people", "people", size, MIN),
            Level("cells", "events", events, 10, ("people",)),
        ],
        size[:, 0],
    )
    assert why["people"][0] is not None
    assert why["people"][1] is not None
    assert why["people"][2] is None
    assert why["cells"][:2] == why["people"][:2]
    text = "fewer than 10 events, or withheld to protect such a group"
    assert why["cells"][2] == text


@pytest.mark.parametrize("people", [0, 5])
def test_no_features_or_nobody(people: int) -> None:
    groups = find_groups({})
    assert groups.labels == ()
    assert find_groups({"a": ["x"] * people}).labels == (("x",) if people else ())
