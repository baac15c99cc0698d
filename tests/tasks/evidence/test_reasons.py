"""Reasons: chosen by hand, said in the user's units, and called unstable where they are."""

import numpy as np
import polars as pl
import pytest

from tasks.evidence.contributions import Contributions, contributions, measured
from tasks.evidence.reason_counts import by_group, given, overall
from tasks.evidence.reason_table import Words, reason_table
from tasks.evidence.reasons import (
    CHANGE,
    NONE,
    changed,
    decided,
    found_again,
    number_owners,
    points,
    principal,
    stability,
)
from tasks.evidence.suppress import find_groups
from tests.subject import TEXT, gradient_times_input, subject


def test_points_are_against_those_just_granted() -> None:
    signed, usual = np.array([[3.0, -1.0]]), np.array([1.0, -4.0])
    assert points(signed, usual, 1).tolist() == [[2, 3]]
    assert points(signed, usual, -1).tolist() == [[-2, -3]]


def test_at_most_four_reasons_and_none_that_hardly_counts() -> None:
    against = np.array(
        [
            [5.0, 4.0, 3.0, 2.0, 1.0],
            [10.0, 0.4, -9.0, 0.0, 0.0],
            [-1.0, 0.0, -2.0, 0.0, 0.0],
        ]
    )
    assert principal(against).tolist() == [
        [0, 1, 2, 3],
        [0, NONE, NONE, NONE],
        [NONE, NONE, NONE, NONE],
    ]


def test_the_nearest_are_the_least_favourable_of_the_favoured() -> None:
    score = np.arange(1000.0)
    people = decided(np.arange(1000), score >= 400, score, 1, 50, 0)
    assert people.nearest.tolist() == list(range(400, 460))
    assert len(people.refused) == 50
    assert people.of == 400
    assert (np.diff(people.refused) > 0).all()
    assert people.refused.max() < 400
    every = decided(np.arange(1000), score >= 400, score, 1, 5000, 0)
    assert every.refused.tolist() == list(range(400))


REASONS = np.array([[0, 1], [2, NONE], [NONE, NONE]])


def test_what_is_found_again_by_hand() -> None:
    again = found_again(REASONS, np.array([[1, 3], [0, 2], [0, 1]]))
    assert np.array_equal(again, [[0, 1], [1, np.nan], [np.nan, np.nan]], equal_nan=True)


def test_stable_means_every_way_and_having_reasons() -> None:
    same, half = REASONS, np.array([[0, 3], [2, 1], [1, 0]])
    found = stability(REASONS, {"method": [half], "change": [same, half]}, 0.75)
    assert found.whole["method"][:2].tolist() == [0.5, 1.0]
    assert found.whole["change"][:2].tolist() == [0.75, 1.0]
    assert np.isnan(found.whole["method"][2])
    assert found.first["method"][:2].tolist() == [1.0, 1.0]
    assert found.stable.tolist() == [False, True, False]
    assert stability(REASONS, {"change": [same, half]}, 0.75).stable.tolist() == [True, True, False]
    assert not stability(REASONS, {}, 0.75).stable.any(), "nobody asked again: not known"


def test_a_small_change_moves_numbers_alone_and_readings_together() -> None:
    made = subject(200)
    arrays, schema = made.prepared.sequences, made.prepared.schema
    owners = number_owners(schema["channels"])
    assert owners.tolist() == [0, 0, NONE, NONE]
    rows = np.arange(20, 120)
    moved = changed(arrays, rows, owners, number_owners(schema["static"]), 0)
    before = arrays.batch(rows).inputs.numpy()
    after = moved.batch(np.arange(100)).inputs.numpy()
    assert (after[..., 2:] == before[..., 2:]).all()
    difference = after[..., 0] - before[..., 0]
    gone = arrays.missing[arrays.offsets[rows]][:, 0] == 1
    assert gone.any()
    assert (difference[gone, 0] == 0).all()
    there = difference[~gone]
    assert 0.8 < there.std() / (2 * CHANGE) < 1.2
    other = (after - before)[..., 1][~gone]
    inside = np.abs(after[~gone][..., :2]).max(-1) < 1
    assert np.allclose(there[inside], other[inside], atol=1e-6)
    assert np.abs(after).max() <= 1
    assert (moved.static != arrays.static[rows]).all()
    assert (arrays.batch(rows).inputs.numpy() == before).all(), "the data themselves stay"


def test_a_small_change_of_a_text_is_one_character() -> None:
    arrays = subject(60, TEXT).prepared.sequences
    rows = np.arange(5, 60)
    moved = changed(arrays, rows, number_owners([]), number_owners([]), 0)
    before, after = (a.batch(r).inputs.numpy() for a, r in ((arrays, rows), (moved, np.arange(55))))
    assert before.shape == after.shape
    differs = (before != after).sum(1)
    assert differs.max() == 1
    assert (after[before != after] == 1).all()


def table_of(people: int = 200, **config: float) -> tuple[pl.DataFrame, Contributions]:
    """Reasons by one method, and nobody asked again."""
    made = subject(people, **config)
    favoured = made.predictions["y_pred"].to_numpy() == 0
    score = -made.predictions["y_score"].to_numpy()
    whose = decided(np.arange(people), favoured, score, 1, 10_000, 0)
    found = measured(gradient_times_input, made.model, made.prepared, whose.refused)
    nearest = measured(gradient_times_input, made.model, made.prepared, whose.nearest)
    against = points(found.signed, nearest.signed.mean(0), 1)
    chosen = principal(against)
    stable = stability(chosen, {"change": [chosen]}, 0.75)
    scores = {r: (p, s) for r, p, s in
              made.predictions.select("row", "person_id", "y_score").iter_rows()}  # fmt: skip
    words = Words(made.prepared, made.data, whose.nearest)
    return (
        reason_table(words, whose, found, against, chosen, stable, scores, frozenset()),
        found,
    )


def test_the_table_speaks_of_the_persons_own_values() -> None:
    from tests.subject import frame

    table, _ = table_of()
    raw = frame(200)
    limits = table.filter((pl.col("feature") == "limit") & (pl.col("value") != ""))
    assert len(limits) > 10
    for row in limits.iter_rows(named=True):
        assert float(row["value"]) == pytest.approx(float(raw["limit"][row["row"]]), rel=1e-3)
        assert row["unit"] == "EUR"
        assert row["words"].startswith(f"limit: {row['value']} EUR; typical of those just granted")
        assert row["direction"] == (
            "above typical" if float(row["value"]) > float(row["typical"]) else "below typical"
        )
    bills = table.filter((pl.col("feature") == "bill") & (pl.col("value") != "missing"))
    for row in bills.iter_rows(named=True):
        column = {"May": "b1", "June": "b2"}[row["step"]]
        said = float(row["value"].split(" or")[0].replace(",", ""))
        assert said == pytest.approx(float(raw[column][row["row"]]), rel=2e-3)
    assert set(table.filter(pl.col("feature") == "status")["value"]) <= {"late", "paid", "other"}


def test_ranks_follow_points_and_every_refused_person_is_there() -> None:
    table, found = table_of()
    assert table["row"].n_unique() == len(found.signed) == 100
    for _, rows in table.filter(pl.col("rank") > 0).group_by("row"):
        ordered = rows.sort("rank")
        assert ordered["rank"].to_list() == list(range(1, len(rows) + 1))
        assert ordered["points"].is_sorted(descending=True)
        assert len(rows) <= 4
    assert (table.filter(pl.col("rank") > 0)["points"] > 0).all()
    assert not table.filter(pl.col("rank") == 0)["stable"].any()


def contributions_of(features: int, people: int) -> Contributions:
    empty = np.zeros((people, features))
    names = tuple(f"f{i}" for i in range(features))
    return Contributions(names, ("sequence",) * features, empty, empty, empty.astype(np.int64))


def test_who_was_given_what() -> None:
    assert given(REASONS, 3).tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_published_counts_are_rounded_and_small_ones_withheld() -> None:
    chosen = np.full((1000, 4), NONE)
    chosen[:, 0] = 0
    chosen[:333, 1] = 1
    chosen[:9, 2] = 2
    stable = stability(chosen, {"change": [chosen]}, 0.75)
    inside = overall(contributions_of(3, 1000), chosen, stable, 0.95, False)
    outside = overall(contributions_of(3, 1000), chosen, stable, 0.95, True)
    assert [r["feature"] for r in inside["reasons"]] == ["f0", "f1", "f2"]
    assert inside["reasons"][2]["principal"]["count"] == 9
    assert [r["feature"] for r in outside["reasons"]] == ["f0", "f1"], "nine people are few"
    assert outside["reasons"][1]["principal"] == {"value": 0.33, "low": 0.3, "high": 0.36}
    assert outside["ways"] == {"change": {"found_again": 1.0, "first_again": 1.0}}
    few = overall(contributions_of(3, 29), chosen[:29], stable, 0.95, True)
    assert few["reasons"] == []
    assert few["stable"] is None


def test_by_group_nothing_can_be_worked_out() -> None:
    """A reason that 5 of the second group lack is told of neither group."""
    rng = np.random.default_rng(0)
    chosen = np.full((300, 4), NONE)
    chosen[:, 0] = np.where(rng.random(300) < 0.5, 0, 1)
    chosen[200:, 1] = 2
    chosen[295:, 1] = NONE
    chosen[:100, 1] = 2
    groups = find_groups({"g": ["a"] * 200 + ["b"] * 90 + ["c"] * 10})
    stable = stability(chosen, {"change": [chosen]}, 0.75)
    found = contributions_of(3, 300)
    inside = by_group(groups, found, chosen, stable, 0.95, False)
    assert [g["label"] for g in inside["sensitive"][0]["groups"]] == ["a", "b", "c"]
    outside = by_group(groups, found, chosen, stable, 0.95, True)
    shown = outside["sensitive"][0]
    assert shown["withheld"]
    # c is small, and would be what is left of all people without one more group.
    assert [g["label"] for g in shown["groups"]] == ["a"]
    assert all(set(c) == {"value", "low", "high"} for c in shown["groups"][0]["reasons"] if c)


def test_of_a_text_each_character_is_a_feature() -> None:
    made = subject(30, TEXT)
    rows = np.arange(30)
    raw = gradient_times_input(made.model, made.prepared.sequences, rows)
    found = contributions(raw, made.prepared, rows, -1)
    assert found.names[1:] == tuple(f"character “{c}”" for c in "abc<")
    np.testing.assert_allclose(found.signed.sum(1), raw.inputs.sum(1), atol=1e-9)
    np.testing.assert_allclose(found.size.sum(1), np.abs(raw.inputs).sum(1), atol=1e-9)
    tokens = made.prepared.sequences.batch(rows).inputs.numpy()
    for n in range(30):
        for f in range(5):
            places = np.flatnonzero(tokens[n] == f + 1)
            if len(places):
                assert found.peak[n, f] == places[np.argmin(raw.inputs[n, places])]
    np.testing.assert_allclose(found.shares().sum(1), 1)
