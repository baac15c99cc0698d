"""Intervals against hand calculation, scipy, brute force and simulation."""

import math

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

from tasks import stats

TINY = {"rel": 1e-9, "abs": 1e-12}


def test_wilson_by_hand() -> None:
    # Newcombe (1998a), table I: 81 of 263 gives 0.2553 to 0.3662.
    interval = stats.wilson(81, 263)
    assert interval.value == pytest.approx(81 / 263)
    assert (interval.low, interval.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(("successes", "people"), [(0, 10), (3, 10), (10, 10), (29, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_rates_equal_scipy(successes: int, people: int, confidence: float) -> None:
    reference = scipy.stats.binomtest(successes, people)
    for ours, method in ((stats.wilson, "wilson"), (stats.clopper_pearson, "exact")):
        theirs = reference.proportion_ci(confidence, method)
        interval = ours(successes, people, confidence)
        assert (interval.low, interval.high) == pytest.approx(tuple(theirs), **TINY)


def test_nobody_has_no_rate() -> None:
    for interval in (stats.wilson(0, 0), stats.clopper_pearson(0, 0), stats.rate_ratio(0, 0, 1, 2)):
        assert interval.as_dict() == {"value": None, "low": None, "high": None}
    assert stats.newcombe(0, 0, 1, 2).as_dict()["value"] is None
    assert stats.mean([]).as_dict()["value"] is None


def test_newcombe_by_published_example() -> None:
    # Newcombe (1998b), table II: 56/70 minus 48/80 gives 0.0524 to 0.3339 by method 10.
    interval = stats.newcombe(56, 70, 48, 80)
    assert interval.value == pytest.approx(0.2)
    assert (interval.low, interval.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_newcombe_is_signed() -> None:
    there, back = stats.newcombe(5, 20, 9, 30), stats.newcombe(9, 30, 5, 20)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_ratio_equals_scipy() -> None:
    theirs = scipy.stats.contingency.relative_risk(40, 100, 60, 120)
    interval = stats.rate_ratio(40, 100, 60, 120)
    reference = theirs.confidence_interval(0.95)
    assert interval.value == pytest.approx(0.8)
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), rel=1e-9)


def test_ratio_of_zero_events() -> None:
    none = stats.rate_ratio(0, 50, 25, 50)
    assert (none.value, none.low) == (0.0, 0.0)
    assert 0 < none.high < 1
    assert math.isnan(stats.rate_ratio(5, 50, 0, 50).value)


def test_mean_by_hand() -> None:
    interval = stats.mean([1.0, 2.0, 3.0])
    half = 1.959963984540054 / math.sqrt(3)
    assert (interval.low, interval.high) == pytest.approx((2 - half, 2 + half))


def test_midranks_equal_scipy() -> None:
    values = np.random.default_rng(0).integers(0, 9, 200).astype(float)
    assert np.array_equal(stats.midranks(values), scipy.stats.rankdata(values))


def _sample(people: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events and two related scores, with ties."""
    rng = np.random.default_rng(seed)
    events = rng.random(people) < 0.3
    first = np.round(events + rng.normal(size=people), 1)
    return events, first, np.round(first + rng.normal(size=people), 1)


def test_auc_and_its_covariance_by_brute_force() -> None:
    events, *scores = _sample(120, 1)
    values, covariance = stats.auc_covariance(events, np.stack(scores))
    above, below = [], []
    for score in scores:
        pairs = score[events][:, None] - score[~events][None]
        wins = (pairs > 0) + 0.5 * (pairs == 0)
        above.append(wins.mean(1))
        below.append(wins.mean(0))
    expected = np.cov(above) / events.sum() + np.cov(below) / (~events).sum()
    assert values == pytest.approx([roc_auc_score(events, score) for score in scores])
    assert covariance == pytest.approx(expected)


def test_difference_of_a_score_and_itself_is_nothing() -> None:
    events, first, second = _sample(200, 2)
    same = stats.auc_difference(events, first, first)
    assert (same.value, same.low, same.high) == pytest.approx((0, 0, 0), abs=1e-9)
    ours = stats.auc_difference(events, first, second)
    assert ours.value == pytest.approx(roc_auc_score(events, first) - roc_auc_score(events, second))


def test_pairing_narrows_the_difference() -> None:
    events, first, second = _sample(2000, 3)
    paired = stats.auc_difference(events, first, second)
    _, covariance = stats.auc_covariance(events, np.stack([first, second]))
    apart = math.sqrt(covariance[0, 0] + covariance[1, 1]) * 1.96
    assert paired.high - paired.value < 0.8 * apart


def test_auc_at_the_edges() -> None:
    perfect = stats.auc(np.r_[np.zeros(10), np.ones(5)] == 1, np.arange(15.0))
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(0.025 ** (1 / 5))
    assert math.isnan(stats.auc(np.zeros(4, dtype=bool), np.arange(4.0)).value)
    alone = stats.auc(np.array([True, False, False]), np.array([2.0, 1.0, 3.0]))
    assert alone.value == 0.5
    assert math.isnan(alone.low)


def test_macro_auc_equals_sklearn_and_delong() -> None:
    rng = np.random.default_rng(4)
    classes = rng.integers(0, 3, 600)
    scores = rng.dirichlet(np.ones(3), 600) + 0.3 * np.eye(3)[classes]
    scores /= scores.sum(1, keepdims=True)
    interval = stats.macro_auc(classes, scores)
    assert interval.value == pytest.approx(
        roc_auc_score(classes, scores, multi_class="ovr", average="macro")
    )
    # With two classes both curves are one: DeLong's variance, but for N against N - 1.
    binary = (classes == 1).astype(np.int64)
    score = scores[:, 1]
    both = stats.macro_auc(binary, np.column_stack([-score, score]))
    _, covariance = stats.auc_covariance(binary == 1, score)
    width = 2 * 1.959963984540054 * math.sqrt(covariance[0, 0])
    assert both.high - both.low == pytest.approx(width, rel=0.01)
    same = stats.macro_auc_difference(classes, scores, scores)
    assert same.low == same.high == 0.0


def test_macro_auc_leaves_out_classes_that_nobody_has() -> None:
    classes = np.array([0, 1, 0, 1, 1])
    scores = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1]] * 2)[:5]
    full = stats.macro_auc(classes, scores).value
    assert full == pytest.approx(
        roc_auc_score(classes == 1, scores[:, 1]) / 2
        + roc_auc_score(classes == 0, scores[:, 0]) / 2
    )
    assert math.isnan(stats.macro_auc(np.zeros(3, dtype=np.int64), scores[:3]).value)


def _coverage(hits: list[bool]) -> float:
    """Share of simulated intervals that hold the truth."""
    return float(np.mean(hits))


def test_intervals_cover_as_promised_and_wrong_ones_do_not() -> None:
    rng = np.random.default_rng(5)
    rates, gaps, ratios, narrow = [], [], [], []
    for _ in range(2000):
        a, b = int(rng.binomial(100, 0.3)), int(rng.binomial(400, 0.3))
        rate = stats.wilson(a, 100)
        rates.append(rate.low <= 0.3 <= rate.high)
        gap = stats.newcombe(a, 100, b, 400)
        gaps.append(gap.low <= 0 <= gap.high)
        ratio = stats.rate_ratio(a, 100, b, 400)
        ratios.append(ratio.low <= 1 <= ratio.high)
        shrunk = stats.newcombe(a, 100, b, 400, confidence=0.8)
        narrow.append(shrunk.low <= 0 <= shrunk.high)
    for hits in (rates, gaps, ratios):
        assert 0.93 <= _coverage(hits) <= 0.98
    assert _coverage(narrow) < 0.9


def test_auc_interval_covers() -> None:
    rng = np.random.default_rng(6)
    truth = scipy.stats.norm.cdf(1 / math.sqrt(2))
    hits = []
    for _ in range(600):
        events = np.r_[np.ones(40, dtype=bool), np.zeros(160, dtype=bool)]
        interval = stats.auc(events, events + rng.normal(size=200))
        hits.append(interval.low <= truth <= interval.high)
    assert 0.92 <= _coverage(hits) <= 0.98
