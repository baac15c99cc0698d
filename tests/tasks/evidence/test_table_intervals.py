"""Intervals of tables against intervals of rows, and by simulation that also finds bad ones."""

import numpy as np
import pytest
import scipy.stats

from tasks import stats
from tasks.evidence import table_intervals as intervals
from tasks.evidence import table_metrics as metrics
from tasks.evidence.calibration import calibration_line
from tasks.evidence.score_table import (
    ScoreTable,
    draws,
    draws_clustered,
    fine_edges,
    flat_cells,
    tabulate,
)
from tasks.evidence.table_intervals import Figures, difference, figures, quotient
from tasks.evidence.table_metrics import METRICS

N = 4000


@pytest.fixture(scope="module")
def rows() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    score = rng.beta(2, 3, N)
    return {
        "codes": rng.integers(0, 2, (N, 1)),
        "y": (rng.random(N) < score**1.3).astype(np.int64),
        "score": score,
        "decision": (score >= 0.5).astype(np.int64),
    }


@pytest.fixture(scope="module")
def table(rows: dict[str, np.ndarray]) -> ScoreTable:
    return tabulate(("f", "f"), ("a", "b"), **rows, edges=fine_edges(0.5), decided=500)


def same(ours: stats.Interval, theirs: stats.Interval, close: float) -> None:
    """Both ends and the value are about the same."""
    assert (ours.value, ours.low, ours.high) == pytest.approx(
        (theirs.value, theirs.low, theirs.high), abs=close
    )


def test_intervals_equal_those_of_rows(rows: dict[str, np.ndarray], table: ScoreTable) -> None:
    found = figures(table)
    assert set(found) == set(METRICS)
    for group in range(2):
        inside = rows["codes"][:, 0] == group
        y, score, d = rows["y"][inside], rows["score"][inside], rows["decision"][inside]
        same(found["tpr"].at(group), stats.wilson(d[y == 1].sum(), (y == 1).sum()), 1e-12)
        same(found["ppv"].at(group), stats.wilson(y[d == 1].sum(), (d == 1).sum()), 1e-12)
        same(found["auc"].at(group), stats.auc(y == 1, score), 1e-3)
        same(found["brier"].at(group), stats.mean((y - score) ** 2), 2e-4)
        slope, intercept = calibration_line(y == 1, score)
        same(found["calibration_slope"].at(group), slope, 0.01)
        same(found["calibration_intercept"].at(group), intercept, 0.01)


def test_closed_forms_agree_with_the_bootstrap(table: ScoreTable) -> None:
    names = ("selection_rate", "auc", "brier", "skill", "calibration_slope")
    closed = figures(table, names)
    drawn = intervals.resampled(table, draws(table, 1000, seed=1), names, 0.95)
    for name in names:
        width = closed[name].high - closed[name].low
        assert drawn[name].value == pytest.approx(closed[name].value)
        for ours, theirs in (
            (closed[name].low, drawn[name].low),
            (closed[name].high, drawn[name].high),
        ):
            assert (np.abs(ours - theirs) < 0.12 * width).all(), name


def rate(hits: int, of: int) -> Figures:
    """One rate with its interval."""
    return intervals.wilson(np.array([hits]), np.array([of]), 0.95)


def test_difference_is_newcombe() -> None:
    same(difference(rate(56, 70), rate(48, 80)).at(0), stats.newcombe(56, 70, 48, 80), 1e-12)


def test_quotient_is_symmetric_and_close_to_katz() -> None:
    a, b = (
        intervals.wilson(np.array([x]), np.array([n]), 0.95) for x, n in ((400, 900), (560, 1000))
    )
    there, back = quotient(a, b).at(0), quotient(b, a).at(0)
    assert (there.low, there.high) == pytest.approx((1 / back.high, 1 / back.low))
    same(there, stats.rate_ratio(400, 900, 560, 1000), 2e-3)


def test_quotient_of_nothing() -> None:
    none, some = rate(0, 50), rate(25, 50)
    found = quotient(none, some).at(0)
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0 < found.high < 1
    assert quotient(some, none).at(0).as_dict() == {"value": None, "low": None, "high": None}


def test_auc_of_outcomes_apart_equals_that_of_rows() -> None:
    counts = np.zeros((2, 2, 4))
    counts[0] = [[5, 5, 0, 0], [0, 0, 4, 3]]
    counts[1] = counts[0, ::-1]
    table = ScoreTable(("f", "f"), ("a", "b"), counts, fine_edges(0.5, 4), 2)
    found = figures(table, ("auc",))["auc"]
    events = np.r_[np.zeros(10), np.ones(7)] == 1
    same(found.at(0), stats.auc(events, events.astype(float)), 1e-12)
    same(found.at(1), stats.auc(events, 1.0 - events), 1e-12)


@pytest.mark.parametrize("freedom", [1.0, 4.3, 15.0])
@pytest.mark.parametrize("truth", [0.5, 20.0, 900.0, 2400.0, 1e5])
@pytest.mark.parametrize("probability", [0.025, 0.975])
def test_noncentrality_is_the_inverse(freedom: float, truth: float, probability: float) -> None:
    seen = scipy.stats.ncx2.ppf(probability, freedom, truth)
    found = float(intervals.noncentrality(seen, freedom, probability))
    assert found == pytest.approx(truth, rel=2e-3, abs=1e-6)


def test_noncentrality_is_never_below_zero() -> None:
    assert float(intervals.noncentrality(1.0, 15.0, 0.025)) == 0.0
    assert np.isnan(intervals.noncentrality(np.nan, 15.0, 0.025))


def calibrated(size: int, people: int) -> tuple[np.ndarray, ScoreTable]:
    """Many tables of people whose scores are right, so that the true error is 0."""
    edges = fine_edges(0.5, 30)
    centres = (edges[1:] + edges[:-1]) / 2
    mass = np.concatenate([(1 - centres) / 30, centres / 30])
    counts = np.random.default_rng(6).multinomial(people, mass, size=size)
    counts = counts.reshape(size, 1, 2, 30).astype(float)
    return counts, ScoreTable(("f",), ("a",), counts[0], edges, 15)


def test_calibration_error_interval_holds_at_zero_and_percentiles_do_not() -> None:
    counts, table = calibrated(600, 800)
    found = intervals.ece(counts, table, 0.95)
    assert 0.93 < float((found.low <= 0).mean()) < 0.97
    assert (found.high > found.value).all()
    missed = 0
    for number in range(60):
        one = ScoreTable(("f",), ("a",), counts[number], table.edges, 15)
        drawn = intervals.resampled(one, draws(one, 200, number), ("ece",), 0.95)
        missed += int(drawn["ece"].low[0] > 0)
    assert missed > 0.15 * 60


def test_noised_intervals_hold_both_kinds_of_chance() -> None:
    rng = np.random.default_rng(8)
    truth = np.array([[[30, 60, 40, 20], [10, 40, 90, 110]], [[50, 70, 50, 20], [20, 40, 60, 40]]])
    edges, names = fine_edges(0.5, 4), ("selection_rate", "tpr", "auc")
    exact = ScoreTable(("f", "f"), ("a", "b"), truth.astype(float), edges, 2)
    true = {name: METRICS[name](exact.counts, exact) for name in names}
    held = {(name, kind): [] for name in names for kind in ("noised", "blind")}
    for number in range(200):
        sample = rng.multinomial(750, truth.ravel() / 750).reshape(truth.shape)
        noised = sample + rng.normal(0, 15.0, truth.shape)
        table = ScoreTable(("f", "f"), ("a", "b"), noised, edges, 2, noise=15.0)
        blind = ScoreTable(("f", "f"), ("a", "b"), np.maximum(noised, 0), edges, 2)
        for name, found in figures(table, names, resamples=1000, seed=number).items():
            held[name, "noised"].append((found.low <= true[name]) & (true[name] <= found.high))
        drawn = intervals.resampled(blind, draws(blind, 300, number), names, 0.95)
        for name, found in drawn.items():
            held[name, "blind"].append((found.low <= true[name]) & (true[name] <= found.high))
    for name in names:
        assert 0.92 <= np.mean(held[name, "noised"]) <= 0.985, name
        assert np.mean(held[name, "blind"]) < 0.90, name


def test_rows_of_one_person_are_not_many_people() -> None:
    rng = np.random.default_rng(12)
    people, each = 150, 6
    persons = np.repeat(np.arange(people), each)
    edges = np.array([0.0, 0.5, 1.0])
    held = np.zeros((200, 2))
    for number in range(len(held)):
        liking = np.repeat(rng.beta(1, 1, people), each)
        d = (rng.random(people * each) < liking).astype(np.int64)
        columns = (np.zeros((len(d), 1), np.int64), d, d.astype(float), d, edges, 1)
        table = tabulate(("all",), ("all",), *columns)
        blocks = draws_clustered(table, flat_cells(*columns), persons, 300, number)
        found = intervals.resampled(table, blocks, ("selection_rate",), 0.95)["selection_rate"]
        for kind, one in enumerate((found, figures(table, ("selection_rate",))["selection_rate"])):
            held[number, kind] = one.low[0] <= 0.5 <= one.high[0]
    assert 0.91 <= held[:, 0].mean() <= 0.99
    assert held[:, 1].mean() < 0.85


def test_percentiles_leave_out_what_is_no_number() -> None:
    values = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    low, high = intervals.percentiles(values, 0.5)
    assert (low[0], high[0]) == (1.5, 2.5)
    assert np.isnan(low[1])
    assert np.isnan(high[1])


def test_figures_of_some_groups() -> None:
    found = Figures(np.arange(3.0), np.arange(3.0) - 1, np.arange(3.0) + 1)
    assert found[1:].at(0).as_dict() == {"value": 1.0, "low": 0.0, "high": 2.0}


def test_skill_by_the_jackknife(table: ScoreTable) -> None:
    counts = table.counts[:1].reshape(-1)
    held = np.flatnonzero(counts)
    shape = (len(held), 2, table.counts.shape[-1])
    less = np.repeat(counts[None], len(held), 0)
    less[np.arange(len(held)), held] -= 1
    values, weight = metrics.skill(less.reshape(shape), table), counts[held]
    size = weight.sum()
    mean = (weight * values).sum() / size
    spread = np.sqrt((size - 1) / size * (weight * (values - mean) ** 2).sum())
    found = figures(table, ("skill",))["skill"].at(0)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * spread, rel=0.01)
