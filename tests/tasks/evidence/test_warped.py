"""Time warping against its recursion written out, and a baseline that knows how sure it is."""

import math

import numpy as np
import pytest

from rnn.batch import PreparedSequences
from tasks.evidence.known import Known
from tasks.evidence.warped import Nearest, by_class, warped_distances
from tasks.params import UserError


def _cost(a: np.ndarray, b: np.ndarray) -> float:
    """The cheapest alignment, step by step."""
    best = np.full((len(a) + 1, len(b) + 1), math.inf)
    best[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            before = min(best[i, j], best[i, j + 1], best[i + 1, j])
            best[i + 1, j + 1] = before + float(np.square(a[i] - b[j]).sum())
    return math.sqrt(best[-1, -1])


def _some(count: int, seed: int) -> list[np.ndarray]:
    numbers = np.random.default_rng(seed)
    return [numbers.standard_normal((int(n), 2)) for n in numbers.integers(1, 9, count)]


def test_distances_are_the_recursion() -> None:
    asked, known = _some(7, 0), _some(5, 1)
    found = warped_distances(asked, known)
    wanted = [[_cost(a, b) for b in known] for a in asked]
    assert found == pytest.approx(np.array(wanted), abs=1e-9)


def test_a_slower_copy_is_no_further() -> None:
    one = np.array([[0.0], [1.0], [3.0]])
    assert warped_distances([one], [np.repeat(one, 3, axis=0)])[0, 0] == 0


def test_a_class_counts_by_its_nearest() -> None:
    distances = np.array([[3.0, 1.0, 2.0]])
    found = by_class(distances, np.array([0, 2, 2]), 3)
    assert found.tolist() == [[3.0, 6.0, 1.0]]


def _prepared(noise: float, count: int = 120) -> PreparedSequences:
    """Rising or falling ramps of any speed."""
    numbers = np.random.default_rng(0)
    lengths = numbers.integers(4, 12, count)
    targets = np.arange(count) % 2
    parts = [
        np.linspace(0, 1, n)[:: 1 if y else -1, None] + noise * numbers.standard_normal((n, 1))
        for n, y in zip(lengths, targets, strict=True)
    ]
    return PreparedSequences(
        np.concatenate(parts).astype(np.float32),
        None,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.zeros((count, 0), dtype=np.float32),
        targets.astype(np.int64),
    )


def test_ramps_are_told_apart_and_noise_makes_it_less_sure() -> None:
    train, test = np.arange(80), np.arange(80, 120)
    sure = []
    for noise in (0.05, 1.0):
        data = _prepared(noise)
        model = Nearest.fit(Known(data, train, "binary", 2, seed=0))
        score = model.score(data, test)
        assert score.shape == (40,)
        wanted = np.asarray(data.targets)[test]
        if noise == 0.05:
            assert ((score > 0.5) == wanted).all()
        sure.append(float(np.abs(score - 0.5).mean()))
    assert sure[0] > 0.4 > sure[1]
    data = _prepared(0.05)
    spread = Nearest.fit(Known(data, train, "multiclass", 3, seed=0))
    rows = spread.score(data, test)
    assert rows.shape == (40, 3)
    assert rows.sum(1) == pytest.approx(np.ones(40))


def test_what_it_cannot_read_is_refused() -> None:
    data = _prepared(0.1)
    with pytest.raises(UserError, match="needs sequences of numbers"):
        Nearest.fit(Known(data, np.arange(5), "regression", 2, seed=0))
