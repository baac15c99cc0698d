"""Families of comparisons: simulated coverage, published examples, and power as promised."""

import math

import numpy as np
import pytest
import scipy.stats

from tasks import stats
from tasks.evidence.families import (
    benjamini_hochberg,
    detectable_gap,
    max_t,
    p_value,
    p_value_of_rates,
)


def simulated_coverage(log: bool) -> tuple[float, float, float]:
    """How often max-T, single and Bonferroni-wide intervals hold all of eight differences."""
    rng = np.random.default_rng(11)
    size, groups = 400, 9
    spread = np.linspace(0.5, 2.0, groups)
    truth = np.linspace(-1.0, 1.0, groups - 1)
    held = np.zeros((size, 2), dtype=bool)
    width = []
    for number in range(size):
        means = rng.normal(0, spread)
        value = truth + means[1:] - means[0]
        resampled = rng.normal(0, spread, (600, groups))
        drawn = value + resampled[:, 1:] - resampled[:, :1]
        family = max_t(*(np.exp(x) if log else x for x in (value, drawn)), log=log)
        low, high = (np.log(x) if log else x for x in (family.low, family.high))
        held[number, 0] = ((low <= truth) & (truth <= high)).all()
        single = 1.96 * drawn.std(0)
        held[number, 1] = (np.abs(value - truth) <= single).all()
        width.append(family.critical)
    return *held.mean(0).tolist(), float(np.mean(width))  # type: ignore[return-value]


@pytest.mark.parametrize("log", [False, True])
def test_max_t_holds_all_at_once_and_single_intervals_do_not(log: bool) -> None:
    together, single, critical = simulated_coverage(log)
    assert 0.925 <= together <= 0.975
    assert single < 0.85
    # Narrower than Bonferroni's over eight comparisons.
    assert 1.96 < critical < stats.normal_quantile(1 - 0.05 / 8)


def test_max_t_by_hand() -> None:
    drawn = np.array([[-1.0, 2.0], [1.0, -2.0], [-1.0, -2.0], [1.0, 2.0]])
    family = max_t([0.0, 0.0], drawn)
    root = math.sqrt(4 / 3)
    # Both columns are always one spread of root, or twice that, away.
    assert family.critical == pytest.approx(1 / root)
    assert family.low == pytest.approx([-1.0, -2.0])
    assert family.high == pytest.approx([1.0, 2.0])
    assert family.confidence == pytest.approx(math.erf(1 / root / math.sqrt(2)))


def test_max_t_leaves_out_what_has_no_value() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(500, 3))
    drawn[:, 1] = np.nan
    drawn[::7, 2] = np.nan
    family = max_t([0.0, np.nan, 0.0], drawn)
    alone = max_t([0.0], drawn[:, :1])
    assert np.isnan([family.low[1], family.high[1]]).all()
    assert family.critical > alone.critical
    assert np.isfinite(family.low[[0, 2]]).all()
    nothing = max_t([np.nan], np.full((10, 1), np.nan))
    assert math.isnan(nothing.critical)
    assert np.isnan(nothing.low).all()


def test_a_figure_that_does_not_vary_has_no_interval() -> None:
    family = max_t([0.5, 0.0], np.column_stack([np.full(100, 0.5), np.linspace(-1, 1, 100)]))
    assert np.isnan(family.low[0])
    assert np.isfinite(family.low[1])


def test_benjamini_hochberg_published_example() -> None:
    # Benjamini and Hochberg (1995), section 3.2: four of fifteen at 0.05.
    p = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459),
        *(0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
    ]
    adjusted = benjamini_hochberg(p)
    assert int((adjusted <= 0.05).sum()) == 4
    assert adjusted == pytest.approx(scipy.stats.false_discovery_control(p))


def test_benjamini_hochberg_in_any_order_and_with_gaps() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(40) ** 3
    order = rng.permutation(40)
    assert benjamini_hochberg(p)[order] == pytest.approx(benjamini_hochberg(p[order]))
    with_gaps = np.insert(p, [0, 7, 40], np.nan)
    found = benjamini_hochberg(with_gaps)
    assert np.isnan(found[[0, 8, 42]]).all()
    assert found[np.isfinite(with_gaps)] == pytest.approx(benjamini_hochberg(p))
    assert benjamini_hochberg([]).shape == (0,)


def test_false_discoveries_are_held_and_raw_p_values_are_not() -> None:
    rng = np.random.default_rng(5)
    false, raw = [], []
    for _ in range(400):
        z = rng.normal(size=50) + np.r_[np.full(10, 3.0), np.zeros(40)]
        p = 2 * scipy.stats.norm.sf(np.abs(z))
        for called, shares in ((benjamini_hochberg(p) <= 0.1, false), (p <= 0.1, raw)):
            shares.append(called[10:].sum() / max(1, called.sum()))
    assert np.mean(false) < 0.1
    assert np.mean(raw) > 0.2


@pytest.mark.parametrize("counts", [(60, 100, 50, 100), (3, 40, 30, 90), (400, 500, 390, 500)])
def test_p_value_agrees_with_the_interval(counts: tuple[int, int, int, int]) -> None:
    p = p_value_of_rates(*counts)
    there = stats.newcombe(*counts, 1 - p)
    assert min(abs(there.low), abs(there.high)) < 1e-9
    assert p_value_of_rates(counts[2], counts[3], counts[0], counts[1]) == pytest.approx(p)
    _, pooled = scipy.stats.contingency.chi2_contingency(
        [[counts[0], counts[1] - counts[0]], [counts[2], counts[3] - counts[2]]], correction=False
    )[:2]
    assert p == pytest.approx(pooled, rel=0.6, abs=0.02)


def test_p_values_at_the_edges() -> None:
    assert p_value_of_rates(5, 10, 50, 100) == 1.0
    assert math.isnan(p_value_of_rates(0, 0, 5, 10))
    assert p_value_of_rates(0, 5000, 5000, 5000) < 1e-12
    assert p_value(stats.Interval(-1.96, -4.0, 0.0)) == pytest.approx(0.05, abs=1e-6)
    assert p_value(stats.Interval(0.5, 0.1, 2.0)) < 0.05 < p_value(stats.Interval(0.5, -0.1, 2.0))
    assert math.isnan(p_value(stats.NOTHING))


@pytest.mark.parametrize(("people", "others", "base"), [(100, 400, 0.5), (300, 3000, 0.2)])
def test_the_gap_is_seen_as_often_as_said(people: int, others: int, base: float) -> None:
    gap = detectable_gap(people, others, base)
    rng = np.random.default_rng(9)
    seen = []
    for sign in (-1, 1):
        a = rng.binomial(people, base + sign * gap, 1000)
        b = rng.binomial(others, base, 1000)
        pairs = [stats.newcombe(x, people, y, others) for x, y in zip(a, b, strict=True)]
        seen.append(np.mean([pair.low > 0 or pair.high < 0 for pair in pairs]))
    assert 0.75 < min(seen) < 0.87
    half = rng.binomial(people, base + gap / 2, 1000)
    found = [stats.newcombe(x, people, base * others, others) for x in half]
    assert np.mean([pair.low > 0 for pair in found]) < 0.6


def test_gaps_that_cannot_be_seen() -> None:
    assert math.isnan(detectable_gap(2, 2, 0.5))
    assert math.isnan(detectable_gap(0, 100, 0.5))
    # A rate of 5 % cannot fall far enough to be seen: the gap is one upward.
    assert detectable_gap(40, 40, 0.05) > 0.05
    assert detectable_gap(1000, 1000, 0.5) < detectable_gap(100, 1000, 0.5)
    assert detectable_gap(100, 1000, 0.5, power=0.9) > detectable_gap(100, 1000, 0.5)
