"""Calibration figures against hand calculation, sklearn and simulation."""

import math

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression

from tasks.evidence import calibration


def test_poisson_weights_are_seeded_and_of_mean_one() -> None:
    weights = np.concatenate(list(calibration.poisson_weights(50, 400, seed=1)))
    again = np.concatenate(list(calibration.poisson_weights(50, 400, seed=1)))
    assert weights.shape == (400, 50)
    assert np.array_equal(weights, again)
    assert weights.mean() == pytest.approx(1, abs=0.03)
    assert weights.var() == pytest.approx(1, abs=0.05)


def test_poisson_weights_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(calibration.poisson_weights(7, 20, seed=3)))
    monkeypatch.setattr(calibration, "CHUNK", 14)
    blocks = list(calibration.poisson_weights(7, 20, seed=3))
    assert len(blocks) == 10
    assert np.array_equal(np.concatenate(blocks), whole)


def test_bootstrap_of_a_mean_has_the_normal_width() -> None:
    values = np.random.default_rng(0).normal(5, 2, 1000)
    rows = np.column_stack([values, np.ones(1000)])
    interval = calibration.bootstrap(rows, lambda s: s[:, 0] / s[:, 1], 2000, seed=0)
    assert interval.value == pytest.approx(values.mean())
    width = 2 * 1.96 * values.std() / math.sqrt(1000)
    assert interval.high - interval.low == pytest.approx(width, rel=0.08)


def test_resampled_cells_have_the_multinomial_moments() -> None:
    cells = np.array([[10, 30], [20, 40]])
    draws = calibration.resample_cells(cells, 20_000, seed=0)
    assert draws.shape == (20_000, 2, 2)
    assert (draws.sum((1, 2)) == 100).all()
    assert draws.mean(0) == pytest.approx(cells, abs=0.2)
    assert draws[:, 0, 1].var() == pytest.approx(100 * 0.3 * 0.7, rel=0.05)
    assert calibration.resample_cells(np.zeros((2, 2)), 3, seed=0).sum() == 0


def test_error_by_hand() -> None:
    # Two bins of two: mean outcome 0.5 against 0.2, and 1 against 0.8.
    scores, events = np.array([0.1, 0.3, 0.7, 0.9]), np.array([0, 1, 1, 1]) == 1
    interval = calibration.expected_calibration_error(events, scores, bins=2)
    assert interval.value == pytest.approx(0.5 * 0.3 + 0.5 * 0.2)


def test_error_interval_covers_where_plain_percentiles_do_not() -> None:
    rng = np.random.default_rng(1)
    covered, percentile_covered = [], []
    for _ in range(60):
        scores = rng.uniform(0.1, 0.9, 400)
        events = rng.random(400) < scores
        found = calibration.expected_calibration_error(events, scores, 10, 200)
        covered.append(found.low == 0.0)
        which = calibration.equal_mass_bins(scores, 10)
        gaps = np.zeros((400, 10))
        gaps[np.arange(400), which] = events - scores
        plain = calibration.bootstrap(gaps / 400, lambda s: np.abs(s).sum(1), 200, seed=0)
        percentile_covered.append(plain.low <= 0)
    assert np.mean(covered) > 0.88
    assert np.mean(percentile_covered) < 0.1


def test_error_interval_finds_a_real_fault() -> None:
    rng = np.random.default_rng(2)
    scores = rng.uniform(0.1, 0.9, 3000)
    events = rng.random(3000) < scores / 2
    found = calibration.expected_calibration_error(events, scores)
    assert found.low <= 0.25 <= found.high
    assert found.low > 0.15


def test_line_equals_sklearn() -> None:
    rng = np.random.default_rng(3)
    scores = rng.uniform(0.05, 0.95, 800)
    events = rng.random(800) < special.expit(0.4 + 0.6 * special.logit(scores))
    slope, intercept = calibration.calibration_line(events, scores)
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(special.logit(scores)[:, None], events)
    assert slope.value == pytest.approx(reference.coef_[0, 0], abs=1e-4)
    assert intercept.value == pytest.approx(reference.intercept_[0], abs=1e-4)
    assert slope.low <= 0.6 <= slope.high < 1


def test_line_without_a_solution_is_nothing() -> None:
    for events, scores in (
        (np.ones(5) == 1, np.linspace(0.1, 0.9, 5)),
        (np.arange(5) > 2, np.full(5, 0.3)),
        (np.arange(6) > 2, np.linspace(0.1, 0.9, 6)),
        (np.zeros(0, dtype=bool), np.zeros(0)),
    ):
        slope, intercept = calibration.calibration_line(events, scores)
        assert math.isnan(slope.value)
        assert math.isnan(intercept.low)


@pytest.mark.parametrize("shape", ["uniform", "lumpy", "narrow"])
def test_bins_hold_enough_people_on_a_grid(shape: str) -> None:
    rng = np.random.default_rng(4)
    scores = {
        "uniform": rng.random(1000),
        "lumpy": rng.choice([0.1, 0.5004, 0.9], 1000),
        "narrow": 0.3 + 1e-5 * rng.random(1000),
    }[shape]
    bins = calibration.calibration_bins(rng.random(1000) < scores, scores)
    assert sum(row["n"] for row in bins) == 1000
    assert min(row["n"] for row in bins) >= 30
    for row in bins:
        assert round(row["low"] * 1000) == pytest.approx(row["low"] * 1000, abs=1e-9)
        assert row["low"] <= row["mean_score"] <= row["high"]
    assert (bins[0]["low"], bins[-1]["high"]) == (0.0, 1.0)


def test_too_few_people_have_no_bins() -> None:
    assert calibration.calibration_bins(np.ones(29) == 1, np.linspace(0, 1, 29)) == []


def test_calibration_line_of_scores_far_too_sure() -> None:
    """Newton from slope 1 runs away here; the likelihood has its one maximum all the same."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4000)
    events = rng.random(4000) < special.expit(truth - 1.5)
    logit = np.clip(8 * truth - 15, -20, 20)
    slope, intercept = calibration.calibration_line(events, special.expit(logit))
    reference = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10).fit(
        logit[:, None], events
    )
    assert slope.value == pytest.approx(reference.coef_[0, 0], rel=1e-4)
    assert intercept.value == pytest.approx(reference.intercept_[0], abs=1e-3)
