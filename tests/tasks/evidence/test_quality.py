"""The verdict on a method, and what of it may be published."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tasks.evidence.quality import Tried, method_row, published, shown


def tried(people: int = 60, **changes: object) -> Tried:
    """A good method: 0.3 better than random, with some spread."""
    rng = np.random.default_rng(0)
    shares, spread = rng.normal(size=(people, 5)), 0.1 * rng.normal(size=people)
    half = np.full(people, 0.5)
    made = Tried(
        shares, np.ones((people, 5), dtype=bool), shares.sum(1), half / 5, half, half / 50,
        half + 0.3 + spread, half, half - 0.3 + spread, half, 0.1 + spread,
    )  # fmt: skip
    return replace(made, **changes)


def test_a_good_method_passes_with_its_figures() -> None:
    made = tried()
    row = method_row("shapley_sampling", made, default=True)
    assert (row["verdict"], row["better_than_random"]) == ("pass", True)
    unit = np.abs(made.change).mean()
    gain = (made.insertion - 0.5).mean() / unit
    assert row["insertion_gain"]["value"] == pytest.approx(gain)
    assert row["insertion_gain"]["low"] < gain < row["insertion_gain"]["high"]
    assert row["infidelity"]["value"] == pytest.approx(0.1)
    assert row["completeness"] == {"p50": 0.0, "p95": 0.0}


@pytest.mark.parametrize("side", ["insertion", "deletion"])
def test_one_curve_that_is_no_better_than_random_fails(side: str) -> None:
    """The other curve alone would not have noticed."""
    rng = np.random.default_rng(1)
    row = method_row("occlusion", tried(**{side: 0.5 + 0.1 * rng.normal(size=60)}), default=False)
    assert (row["verdict"], row["better_than_random"]) == ("fail", False)
    assert row["reason"].startswith(f"{side} is no better than a random order")
    assert row["completeness"] == {"p50": None, "p95": None}, "occlusion promises no sum"


def test_ranks_that_survive_shuffled_weights_fail() -> None:
    row = method_row("two_step", tried(randomised=np.full(60, 0.9)), default=False)
    assert (row["verdict"], row["better_than_random"]) == ("fail", True)
    assert "shuffled" in row["reason"]


def test_few_people_are_judged_and_shown_by_nobody() -> None:
    few = tried(29)
    row = method_row("shapley_sampling", few, default=True)
    assert (row["verdict"], row["better_than_random"]) == ("inconclusive", None)
    assert {v["value"] for v in row.values() if isinstance(v, dict) and "low" in v} == {None}
    assert row["completeness"] == {"p50": None, "p95": None}
    whole = published({"a": few, "b": few}, {})
    assert whole["agreement"][0]["rank_correlation"]["value"] is None


def test_what_is_not_a_number_is_left_out_and_counted_against_the_bar() -> None:
    values = np.r_[np.full(30, 2.0), np.full(10, np.nan)]
    assert shown(values)["value"] == 2
    assert shown(values[1:])["value"] is None


def test_every_pair_is_compared_once() -> None:
    found = published({"a": tried(), "b": tried(shares=-tried().shares), "c": tried()}, {"x": 1})
    assert [(a["first"], a["second"]) for a in found["agreement"]] == [
        ("a", "b"), ("a", "c"), ("b", "c"),
    ]  # fmt: skip
    same = found["agreement"][0]
    assert same["rank_correlation"]["value"] == pytest.approx(1), "signs do not count"
    assert same["top_k_overlap"]["value"] == 1
    assert same["top_k_by_chance"]["value"] == pytest.approx(0.6)
    assert [m["default"] for m in found["methods"]] == [True, False, False]
    json.dumps(found, allow_nan=False)
