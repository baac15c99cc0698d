"""The noised histogram: no person moves it further than stated, and its noise is what it says."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from rnn.privacy.histogram import Histogram
from rnn.privacy.ledger import single_epsilon, single_noise_for
from rnn.privacy.noise import Keystream

CELLS = 100_000


def _counted(cells, size):
    """Counts of rows [N, F] of cell numbers, the tables one after another."""
    return np.concatenate([np.bincount(column, minlength=size) for column in cells.T]).astype(float)


@pytest.mark.parametrize("tables", [1, 3, 5])
@pytest.mark.parametrize("most", [1, 3])
def test_no_person_moves_the_counts_further_than_stated(tables, most):
    rng = np.random.default_rng(tables + 10 * most)
    reached = []
    for _ in range(20):
        persons = np.repeat(np.arange(40), rng.integers(1, most + 1, 40))
        cells = rng.integers(0, 4, (len(persons), tables))
        # All rows of one person in one cell of every table: nobody moves more.
        cells[persons == persons[np.argmax(np.bincount(persons)[persons])]] = 2
        whole = _counted(cells, 4)
        for person in range(40):
            rest = _counted(cells[persons != person], 4)
            reached.append(float(np.linalg.norm(whole - rest)))
    sensitivity = Histogram(tables, 1.0, most).sensitivity
    assert sensitivity == pytest.approx(most * math.sqrt(tables))
    assert max(reached) == pytest.approx(sensitivity)
    # Somebody with one row, or with rows in several cells, moves them less.
    if most > 1:
        assert min(reached) < sensitivity


def _scale_is_right(errors, scale):
    """Two-sided chi-square test of the variance at 1e-4."""
    low, high = stats.chi2(len(errors)).ppf([5e-5, 1 - 5e-5])
    return low < float(errors @ errors) / scale**2 < high


@pytest.mark.parametrize(("tables", "multiplier", "most"), [(1, 0.8, 1), (4, 1.6, 1), (3, 4.2, 2)])
def test_scale_is_accepted_and_wrong_scales_are_rejected(tables, multiplier, most):
    mechanism = Histogram(tables, multiplier, most)
    counts = np.random.default_rng(0).integers(0, 400, CELLS).astype(float)
    errors = mechanism.release(counts, Keystream.from_seed(1)) - counts
    scale = mechanism.standard_deviation
    assert scale == pytest.approx(math.sqrt((multiplier * most) ** 2 * tables + 1 / 12))
    assert _scale_is_right(errors, scale)
    assert not _scale_is_right(errors, 0.95 * scale)
    assert not _scale_is_right(errors, 1.05 * scale)


def test_shape_is_a_rounded_gaussian():
    scale = 3.0
    errors = Histogram(1, scale).release(np.zeros(CELLS), Keystream.from_seed(2))
    values = np.arange(-9, 10)
    edges = np.r_[-np.inf, values[:-1] + 0.5, np.inf]
    chances = np.diff(stats.norm(scale=scale).cdf(edges))
    found = np.bincount(np.clip(errors, -9, 9).astype(int) + 9, minlength=len(values))
    assert stats.chisquare(found, chances * CELLS).pvalue > 1e-4
    laplace = np.diff(stats.laplace(scale=scale / math.sqrt(2)).cdf(edges))
    assert stats.chisquare(found, laplace * CELLS).pvalue < 1e-4


def test_released_counts_are_whole_and_say_nothing_but_count_plus_noise():
    mechanism = Histogram(2, 1.3)
    counts = np.random.default_rng(3).integers(0, 10**6, (4, 2, 5)).astype(float)
    released = mechanism.release(counts, Keystream.from_seed(5))
    assert released.shape == counts.shape
    assert np.array_equal(released, np.rint(released))
    noise = mechanism.release(np.zeros_like(counts), Keystream.from_seed(5))
    assert np.array_equal(released - counts, noise)


def test_golden_noise():
    released = Histogram(3, 2.0).release(np.full(8, 100.0), Keystream.from_seed(7))
    assert released.tolist() == [102.0, 104.0, 98.0, 97.0, 100.0, 102.0, 99.0, 99.0]


@pytest.mark.parametrize("bad", [[0.5], [-1.0], [np.nan], [np.inf]])
def test_what_is_no_count_is_refused(bad):
    with pytest.raises(ValueError, match="whole"):
        Histogram(1, 1.0).release(np.array(bad), Keystream.from_seed(0))


def _analytic_epsilon(noise, delta):
    """Epsilon of one Gaussian release of sensitivity 1. Balle and Wang (2018), theorem 8."""

    def exceeds(epsilon):
        a, b = 1 / (2 * noise), epsilon * noise
        log = epsilon + stats.norm.logcdf(-a - b)
        return stats.norm.cdf(a - b) - math.exp(log) - delta

    return float(optimize.brentq(exceeds, 0, 200, xtol=1e-10))


@pytest.mark.parametrize("delta", [1e-4, 1e-6])
@pytest.mark.parametrize("noise", [0.6, 1.6, 4.2, 20.0])
def test_epsilon_is_the_analytic_gaussian_s(noise, delta):
    spent = single_epsilon(noise_multiplier=noise, delta=delta)
    analytic = _analytic_epsilon(noise, delta)
    assert analytic - 1e-6 <= spent <= analytic + 2e-3
    # An error of 1 % in the noise would be noticed.
    assert single_epsilon(noise_multiplier=0.99 * noise, delta=delta) > analytic + 1e-3


@pytest.mark.parametrize("target", [0.5, 3.0])
def test_solved_noise_meets_the_target_from_below(target):
    noise = single_noise_for(target_epsilon=target, delta=1e-6)
    assert 0.998 * target <= _analytic_epsilon(noise, 1e-6) <= target
    assert _analytic_epsilon(0.99 * noise, 1e-6) > target


def test_a_pure_choice_before_it_is_part_of_the_target():
    alone = single_noise_for(target_epsilon=3.0, delta=1e-6)
    after = single_noise_for(target_epsilon=3.0, delta=1e-6, pure_epsilon=0.3)
    plain = single_noise_for(target_epsilon=2.7, delta=1e-6)
    # Composed exactly, which is cheaper than adding 0.3 and 2.7 up.
    assert alone < after < plain
    assert single_epsilon(noise_multiplier=after, delta=1e-6, pure_epsilon=0.3) <= 3.0
    # Never below what randomized response, the worst pure mechanism, is seen to cost.
    assert _worst_delta(after, 0.3, 3.0) <= 1e-6
    assert _worst_delta(0.97 * after, 0.3, 3.0) > 1e-6


def _worst_delta(noise, pure, epsilon):
    """Delta of randomized response at `pure` with one Gaussian release, at epsilon."""

    def single(e):
        a, b = 1 / (2 * noise), e * noise
        return stats.norm.cdf(a - b) - math.exp(e + stats.norm.logcdf(-a - b))

    yes = math.exp(pure) / (1 + math.exp(pure))
    return yes * single(epsilon - pure) + (1 - yes) * single(epsilon + pure)


def test_a_target_that_is_spent_already_is_refused():
    with pytest.raises(ValueError, match="above the 3 already spent"):
        single_noise_for(target_epsilon=3.0, delta=1e-6, pure_epsilon=3.0)
