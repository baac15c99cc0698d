"""Noise and sampling: the right law is accepted, a slightly wrong one is not."""

import copy
import pickle

import numpy as np
import pytest
from scipy import stats

from rnn.privacy.engine import ROUNDING
from rnn.privacy.noise import GRID_SHARE, Keystream, grid_for, noised

COUNT = 200_000


def _scale_is_right(values, scale):
    """Two-sided chi-square test of the variance at 1e-4."""
    statistic = float((values / scale) @ (values / scale))
    low, high = stats.chi2(len(values)).ppf([5e-5, 1 - 5e-5])
    return low < statistic < high


def test_scale_is_accepted_and_wrong_scales_are_rejected():
    values = Keystream.from_seed(1).normal(COUNT)
    assert _scale_is_right(values, 1.0)
    assert not _scale_is_right(0.95 * values, 1.0)
    assert not _scale_is_right(1.05 * values, 1.0)


def test_shape_is_gaussian():
    values = Keystream.from_seed(2).normal(COUNT)
    assert stats.kstest(values, "norm").pvalue > 1e-4
    uniform = (Keystream.from_seed(3).normal(COUNT) > 0) * 1.0
    assert stats.kstest(uniform, "norm").pvalue < 1e-4


def test_values_are_independent_of_their_neighbours():
    values = Keystream.from_seed(4).normal(COUNT)
    for lag in (1, 2, COUNT // 4, COUNT // 2):
        for power in (1, 2):
            early, late = values[:-lag] ** power, values[lag:] ** power
            assert abs(np.corrcoef(early, late)[0, 1]) < 5 / np.sqrt(COUNT - lag)


def test_neighbouring_values_together_are_gaussian_in_every_direction():
    values = Keystream.from_seed(10).normal(COUNT)
    for turn in (0.3, 0.8, 1.2, 2.5):
        mixed = np.cos(turn) * values[:-1:2] + np.sin(turn) * values[1::2]
        assert stats.kstest(mixed, "norm").pvalue > 1e-4


@pytest.mark.parametrize("rate", [0.001, 0.0853, 0.5])
def test_bernoulli_rate(rate):
    drawn = int(Keystream.from_seed(5).bernoulli(rate, COUNT).sum())
    assert stats.binomtest(drawn, COUNT, rate).pvalue > 1e-4
    assert stats.binomtest(drawn, COUNT, min(1.0, rate * 2)).pvalue < 1e-3


def test_rate_of_one_takes_all_and_zero_is_refused():
    assert Keystream.from_seed(0).bernoulli(1.0, 100).all()
    with pytest.raises(ValueError, match="rate = 0"):
        Keystream.from_seed(0).bernoulli(0, 1)


def test_system_streams_differ_and_seeded_ones_repeat():
    assert not np.array_equal(Keystream.from_system().normal(8), Keystream.from_system().normal(8))
    assert np.array_equal(Keystream.from_seed(9).normal(8), Keystream.from_seed(9).normal(8))
    one, other = Keystream.from_seed(9).child(3), Keystream.from_seed(9).child(4)
    assert not np.array_equal(one.normal(8), other.normal(8))


def test_key_cannot_be_printed_or_written():
    stream = Keystream(b"0123456789abcdef0123456789abcdef", "test")
    assert "0123" not in repr(stream)
    with pytest.raises(TypeError):
        pickle.dumps(stream)
    with pytest.raises(TypeError):
        copy.copy(stream)
    with pytest.raises(ValueError, match="key has 3 bytes"):
        Keystream(b"abc", "test")


def test_odd_and_empty_counts():
    assert Keystream.from_seed(0).normal(1).shape == (1,)
    assert Keystream.from_seed(0).normal(0).shape == (0,)


@pytest.mark.parametrize("coordinates", [1, 300, 5_000_000])
@pytest.mark.parametrize("bound", [0.01, 1.0, 37.0])
def test_rounding_to_the_grid_is_a_small_part_of_the_bound(coordinates, bound):
    grid = grid_for(bound, coordinates)
    assert np.log2(grid).is_integer()
    assert grid * np.sqrt(coordinates) <= GRID_SHARE * bound < 4 * grid * np.sqrt(coordinates)
    assert GRID_SHARE < ROUNDING / 10


def test_noised_sums_are_whole_grid_steps():
    grid = grid_for(1.0, COUNT)
    total = np.random.default_rng(0).standard_normal(COUNT)
    steps = noised(total, Keystream.from_seed(6), 1.3, grid) / grid
    assert np.array_equal(steps, np.rint(steps))
    assert np.abs(steps).max() < 2**53
    # Even and odd steps are as frequent: the low bit is noise's, whatever the sum was.
    assert stats.binomtest(int((steps % 2).sum()), COUNT).pvalue > 1e-4


def test_low_bits_of_a_sum_leave_no_trace():
    grid = grid_for(1.0, COUNT)
    total = np.rint(np.random.default_rng(0).standard_normal(COUNT) / grid) * grid
    below = total + 0.4 * grid
    one, other = (noised(t, Keystream.from_seed(7), 1.3, grid) for t in (total, below))
    assert not np.array_equal(total, below)
    assert np.array_equal(one, other)


def test_plain_addition_would_leave_a_trace():
    total = np.full(COUNT, 1e6)
    noise = Keystream.from_seed(8).normal(COUNT)
    fine = Keystream.from_seed(8).normal(COUNT) + 0.0
    # A large sum swallows the noise's low bits, a small one keeps them: the output tells.
    lattice = np.spacing(1e6)
    assert np.array_equal((total + noise) % lattice, np.zeros(COUNT))
    assert np.count_nonzero(fine % lattice) > 0.9 * COUNT
    grid = grid_for(1.0, COUNT)
    for sums in (total, 0 * total):
        assert not np.count_nonzero(noised(sums, Keystream.from_seed(8), 1.0, grid) % grid)


@pytest.mark.parametrize("level", [0.0, 3.7, 1e5])
def test_noised_sums_have_the_scale_and_shape(level):
    values = noised(np.full(COUNT, level), Keystream.from_seed(9), 0.6, grid_for(1.0, COUNT))
    values -= level
    assert _scale_is_right(values, 0.6)
    assert not _scale_is_right(values, 0.6 * 1.05)
    assert not _scale_is_right(values, 0.6 * 0.95)
    assert stats.kstest(values / 0.6, "norm").pvalue > 1e-4


def test_sampler_never_returns_infinity_at_the_ends_of_its_range(monkeypatch):
    for end in (0, 2**64 - 1):
        monkeypatch.setattr(
            Keystream, "integers", lambda self, count, e=end: np.full(count, e, dtype=np.uint64)
        )
        values = Keystream.from_seed(0).normal(4)
        assert np.isfinite(values).all()
        assert np.abs(values).max() < 12.3
