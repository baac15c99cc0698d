"""Figures from sums over people: values, intervals, groups, pairs."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.evidence.summed import Array, Drawn, drawn, everyone, people_of
from tasks.evidence.suppress import Groups, find_groups

SIZE = 600


def _ratio(sums: Mapping[str, Array]) -> dict[str, Array]:
    return {"rate": sums["wrong"][..., 0] / sums["of"], "second": sums["wrong"][..., 1]}


def _drawn(
    wrong: Array,
    of: Array,
    groups: Groups | None = None,
    persons: NDArray[np.int64] | None = None,
    bootstraps: int = 2000,
) -> Drawn:
    return drawn(
        wrong,
        {"wrong": np.column_stack([wrong, 2 * wrong]), "of": of},
        _ratio,
        everyone(len(of)) if groups is None else groups,
        np.arange(len(of)) if persons is None else persons,
        bootstraps=bootstraps,
        seed=0,
        confidence=0.95,
    )


def _rows(seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    of = rng.integers(1, 20, SIZE).astype(np.float64)
    return rng.binomial(of.astype(int), 0.3).astype(np.float64), of


def test_a_ratio_s_interval_is_that_of_its_linear_part() -> None:
    wrong, of = _rows()
    found = _drawn(wrong, of).at("rate", 0)
    rate = wrong.sum() / of.sum()
    # The delta method: residuals of people over the mean denominator.
    error = np.sqrt(((wrong - rate * of) ** 2).sum()) / of.sum()
    assert found.value == pytest.approx(rate)
    assert found.low == pytest.approx(rate - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(rate + 1.96 * error, abs=0.15 * error)
    loss = _drawn(wrong, of).at("loss", 0)
    assert loss.value == pytest.approx(wrong.mean())


def test_all_rows_of_a_person_are_resampled_together() -> None:
    wrong, of = _rows()
    alone = _drawn(wrong, of).at("rate", 0)
    many = [np.repeat(values, 5) for values in (wrong, of)]
    together = _drawn(*many, persons=np.repeat(np.arange(SIZE), 5)).at("rate", 0)
    apart = _drawn(*many).at("rate", 0)
    width = alone.high - alone.low
    assert together.high - together.low == pytest.approx(width, rel=0.1)
    # Five times the rows as people of their own would claim a narrower interval.
    assert apart.high - apart.low == pytest.approx(width / np.sqrt(5), rel=0.2)


def test_groups_have_the_figures_of_their_own_rows() -> None:
    wrong, of = _rows()
    labels = ["a" if number % 3 else "b" for number in range(SIZE)]
    groups = find_groups({"half": labels})
    found = _drawn(wrong, of, groups)
    inside = np.array([label == "b" for label in labels])
    assert found.value["rate"][1] == pytest.approx(wrong[inside].sum() / of[inside].sum())
    assert found.value["second"][1] == pytest.approx(2 * wrong[inside].sum())
    assert found.people.tolist() == [int((~inside).sum()), int(inside.sum())]
    between = found.apart("rate", 1, 0)
    ends = [found.at("rate", group) for group in (0, 1)]
    assert between.value == pytest.approx(ends[1].value - ends[0].value)
    half = np.hypot(*[(end.high - end.low) / 2 for end in ends])
    assert (between.high - between.low) / 2 == pytest.approx(half, rel=0.1)


def test_models_are_compared_on_the_same_resamples() -> None:
    wrong, of = _rows()
    model, worse = _drawn(wrong, of), _drawn(wrong + 0.1 * of, of)
    apart = worse.minus(model).at("rate", 0)
    # Every person is as much worse: the difference has no spread, which says nothing of others.
    assert apart.value == pytest.approx(0.1)
    assert np.nanmax(np.abs([apart.low - 0.1, apart.high - 0.1, 0.0])) < 1e-9


def test_no_interval_where_nobody_differs_or_one_person_is_all() -> None:
    same = _drawn(np.zeros(50), np.ones(50)).at("rate", 0)
    assert (same.value, np.isnan(same.low), np.isnan(same.high)) == (0.0, True, True)
    wrong, of = _rows()
    one = _drawn(wrong, of, persons=np.zeros(SIZE, dtype=np.int64)).at("rate", 0)
    assert np.isfinite(one.value) and np.isnan(one.low)


def test_a_person_counts_once_in_each_group() -> None:
    groups = find_groups({"day": ["mo", "mo", "tu", "tu"]})
    assert people_of(groups, np.array([0, 0, 0, 1])).tolist() == [1, 2]
