"""Noise and sampling: the right law is accepted, a slightly wrong one is not."""

import copy
import pickle

import numpy as np
import pytest
from scipy import stats

from rnn.privacy.noise import Keystream

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
        assert abs(np.corrcoef(values[:-lag], values[lag:])[0, 1]) < 5 / np.sqrt(COUNT - lag)


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
