"""Shares by group: the test holds its level, sees what is there, and tells of no few."""

from itertools import combinations

import numpy as np
import pytest

from tasks.evidence.by_group import as_rows, group_shares, largest, permutation_p
from tasks.evidence.families import benjamini_hochberg
from tasks.evidence.suppress import find_groups


def shares(people: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).dirichlet([2, 3, 5], people)
    return np.asarray(drawn)


def test_p_values_are_those_of_all_permutations() -> None:
    """Eight people, four of them members: all 70 ways, Welch's statistic by hand."""
    values = np.array([[0.1], [0.5], [0.2], [0.9], [0.4], [0.3], [0.8], [0.7]])
    member = np.array([1, 1, 1, 1, 0, 0, 0, 0], dtype=bool)

    def statistic(inside: np.ndarray) -> float:
        a, b = values[inside, 0], values[~inside, 0]
        error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
        return abs(a.mean() - b.mean()) / error

    ways = [np.isin(np.arange(8), chosen) for chosen in combinations(range(8), 4)]
    exact = np.mean([statistic(way) >= statistic(member) - 1e-12 for way in ways])
    found = permutation_p(member, values, 20_000, 0)[0]
    assert found == pytest.approx(exact, abs=0.015)


def test_no_difference_is_called_as_often_as_it_should() -> None:
    """Unequal spread and size: a test of means without studentising calls 15 % here."""
    rng = np.random.default_rng(1)
    called = 0
    for turn in range(400):
        member = np.arange(60) < 15
        values = np.where(member, rng.normal(0, 3, 60), rng.normal(0, 1, 60))[:, None]
        called += permutation_p(member, values, 199, turn)[0] <= 0.05
    assert 6 <= called <= 40


def test_a_real_difference_is_found_and_its_size_is_right() -> None:
    table = shares(400)
    labels = np.where(np.arange(400) % 2 == 0, "a", "b")
    table[labels == "a"] = table[labels == "a"] * [0.5, 1, 1]
    groups = find_groups({"g": labels.tolist()})
    found = group_shares(groups, table, 199, 0)
    assert found.p[0, 0] == 1 / 200
    difference = found.difference(0, 0, 0.95)
    truth = table[labels == "a", 0].mean() - table[labels == "b", 0].mean()
    assert difference.value == pytest.approx(truth)
    assert difference.low < truth < difference.high < 0


def test_two_groups_count_once_in_the_family() -> None:
    groups = find_groups(
        {"g": ["a", "b"] * 50, "h": np.random.default_rng(0).choice(list("xyz"), 100).tolist()}
    )
    found = group_shares(groups, shares(100), 199, 0)
    assert (found.p[0] == found.p[1]).all()
    once = np.r_[found.p[:1], found.p[2:]]
    assert found.adjusted[0] == pytest.approx(benjamini_hochberg(once.ravel())[:3])
    assert found.adjusted[1] == pytest.approx(found.adjusted[0])


def test_a_feature_that_few_have_is_not_told_of_them() -> None:
    table = shares(80)
    table[9:, 2] = 0
    groups = find_groups({"g": ["a"] * 40 + ["b"] * 40})
    found = group_shares(groups, table, 99, 0)
    outside = as_rows(groups, found, ("p", "q", "r"), 0.95, [None, None])[0]["groups"]
    assert outside[0]["shares"][2] is None
    assert outside[0]["shares"][0] is not None
    assert outside[1]["shares"][2]["share"]["value"] == 0
    assert "n" not in outside[0]
    inside = as_rows(groups, found, ("p", "q", "r"), 0.95)[0]["groups"]
    assert inside[0]["shares"][2] is not None
    assert inside[0]["n"] == 40


def test_withheld_groups_are_not_named() -> None:
    groups = find_groups({"g": ["a"] * 40 + ["b"] * 5})
    found = group_shares(groups, shares(45), 99, 0)
    rows = as_rows(groups, found, ("p", "q", "r"), 0.95, [None, "few"])
    assert [g["label"] for g in rows[0]["groups"]] == ["a"]
    assert rows[0]["withheld"]


def test_one_person_and_one_group_have_no_figures() -> None:
    groups = find_groups({"g": ["a"] * 20 + ["b"], "h": ["all"] * 21})
    found = group_shares(groups, shares(21), 99, 0)
    assert np.isnan(found.p[1]).all()
    assert np.isnan(found.p[2]).all()
    assert not np.isnan(found.mean[2]).any()


def test_the_largest_come_first() -> None:
    assert largest(np.array([[0.1, 0.6, 0.3]]), 2).tolist() == [1, 2]
