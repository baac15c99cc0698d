"""Agreement of methods, against scipy a person at a time."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from tasks.evidence.agreement import rank_correlation, top_overlap


def test_rank_correlation_is_spearmans_with_ties_and_padding() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(-3, 4, (20, 9)).astype(float), rng.normal(size=(20, 9))
    real = np.arange(9) < rng.integers(4, 10, 20)[:, None]
    found = rank_correlation(first, second, real)
    for row in range(20):
        a, b = np.abs(first[row, real[row]]), np.abs(second[row, real[row]])
        assert found[row] == pytest.approx(spearmanr(a, b).statistic)


def test_what_is_all_equal_has_no_ranks() -> None:
    real = np.ones((2, 3), dtype=bool)
    values = np.array([[1.0, 1.0, -1.0], [1.0, 2.0, 3.0]])
    assert np.isnan(rank_correlation(values, np.arange(6.0).reshape(2, 3), real)).tolist() == [
        True, False,
    ]  # fmt: skip


def test_overlap_counts_the_largest_and_knows_chance() -> None:
    first = np.array([[5.0, -4.0, 3.0, 0.0], [1.0, 2.0, 9.0, 9.0]])
    second = np.array([[0.0, 4.0, -3.0, 5.0], [2.0, 1.0, 9.0, 9.0]])
    real = np.array([[True] * 4, [True, True, False, False]])
    overlap, chance = top_overlap(first, second, real, 3)
    assert overlap.tolist() == [pytest.approx(2 / 3), 1]
    assert chance.tolist() == [0.75, 1]
    overlap, _ = top_overlap(first, second, real, 1)
    assert overlap.tolist() == [0, 0]
