"""A private choice: its chances, its promise, and wrong chances that a test notices."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from rnn.privacy.choice import choose, weights
from rnn.privacy.noise import Keystream

NEAR = [Fraction(d) for d in (0, 1, 2, 5)]
ONE = Fraction(1)


def _chances(distances, epsilon, sensitivity=ONE):
    found = weights(distances, epsilon=epsilon, sensitivity=sensitivity)
    return [Fraction(w, sum(found)) for w in found]


def test_weights_are_the_exponentials():
    found = weights(NEAR, epsilon=0.7, sensitivity=ONE)
    assert found[0] == 1 << 256
    for distance, weight in zip(NEAR, found, strict=True):
        assert weight / found[0] == pytest.approx(math.exp(-0.35 * float(distance)), rel=1e-15)


def test_a_constant_added_to_all_distances_changes_nothing():
    far = [d + 10**9 for d in NEAR]
    assert weights(far, epsilon=0.7, sensitivity=ONE) == weights(NEAR, epsilon=0.7, sensitivity=ONE)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_no_neighbour_changes_a_chance_by_more_than_epsilon(epsilon):
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(200):
        distances = [Fraction(int(d)) for d in rng.integers(0, 30, 12)]
        # The worst neighbour moves one candidate nearer and all others further away.
        moves = [abs(d + int(m)) for d, m in zip(distances, rng.choice([-1, 1], 12), strict=True)]
        one, other = _chances(distances, epsilon), _chances(moves, epsilon)
        ratios = [float(a / b) for a, b in zip(one, other, strict=True)]
        worst = max(worst, *(abs(math.log(r)) for r in ratios))
    assert 0.5 * epsilon < worst <= epsilon + 1e-12
    # The bound is reached, so that half of the sensitivity would break the promise.
    level = _chances([ONE] * 2, epsilon)
    apart = _chances([Fraction(0), Fraction(2)], epsilon)
    assert float(apart[1] / apart[0]) == pytest.approx(math.exp(-epsilon))
    assert level == [Fraction(1, 2)] * 2


def _drawn(epsilon, count=20_000):
    stream = Keystream.from_seed(4)
    chosen = [choose(NEAR, epsilon=epsilon, sensitivity=ONE, stream=stream) for _ in range(count)]
    return np.bincount(chosen, minlength=len(NEAR))


def test_draws_follow_the_chances_and_a_wrong_epsilon_is_noticed():
    found = _drawn(1.0)
    for epsilon, right in ((1.0, True), (0.9, False), (1.1, False)):
        wanted = np.array([float(c) for c in _chances(NEAR, epsilon)]) * found.sum()
        assert (stats.chisquare(found, wanted).pvalue > 1e-4) == right


def test_ends_of_the_draw(monkeypatch):
    for word, wanted in ((0, 0), (2**64 - 1, len(NEAR) - 1)):
        monkeypatch.setattr(
            Keystream, "integers", lambda self, count, w=word: np.full(count, w, dtype=np.uint64)
        )
        chosen = choose(NEAR, epsilon=1.0, sensitivity=ONE, stream=Keystream.from_seed(0))
        assert chosen == wanted


def test_golden_choices():
    stream = Keystream.from_seed(3)
    many = [Fraction(abs(i - 500)) for i in range(999)]
    found = [choose(many, epsilon=0.3, sensitivity=ONE, stream=stream) for _ in range(5)]
    assert found == [497, 502, 495, 506, 496]


def test_nothing_to_choose_is_refused():
    stream = Keystream.from_seed(0)
    for distances, epsilon, sensitivity in (([], 1, ONE), (NEAR, 0, ONE), (NEAR, 1, Fraction(0))):
        with pytest.raises(ValueError, match="needs candidates"):
            choose(distances, epsilon=epsilon, sensitivity=sensitivity, stream=stream)
