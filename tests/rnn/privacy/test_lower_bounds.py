"""Lower bounds from one run: never above the truth more often than promised, and not empty."""

import math

import numpy as np
import pytest
from scipy import stats

from rnn.privacy.ledger import Event, deltas_of, epsilon_of
from rnn.privacy.lower_bounds import (
    epsilon_lower_bound,
    gaussian_epsilon,
    gaussian_inverse_blow_up,
    guesses_of,
    ladder,
    lower_bound,
    mu_lower_bound,
    p_value,
    promised_inverse_blow_up,
    refutes,
    violated,
)


def test_guesses_are_the_surest_at_both_ends():
    scores = np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    present = np.array([True, False, False, False, True])
    assert guesses_of(scores, present, 2) == 2
    assert guesses_of(scores, present, 4) == 3
    assert guesses_of(scores, present, 5) == 4


def test_the_pure_p_value_is_a_binomial_tail():
    accuracy = math.exp(1.0) / (1 + math.exp(1.0))
    assert p_value(100, 20, 18, 1.0, 0.0) == pytest.approx(stats.binom.sf(17, 20, accuracy))
    assert p_value(100, 20, 18, 1.0, 1e-3) > p_value(100, 20, 18, 1.0, 0.0)
    assert p_value(100, 20, 0, 1.0, 1e-3) == 1


def test_delta_adds_its_share_by_hand():
    beta = stats.binom.sf(1, 2, 0.5)
    nearer = [stats.binom.sf(0, 2, 0.5) - beta, (1 - beta) / 2]
    expected = beta + 2 * 10 * 0.01 * max(nearer)
    assert p_value(10, 2, 2, 0.0, 0.01) == pytest.approx(expected)


def test_perfect_guesses_bound_epsilon_by_the_closed_form():
    """v = r right guesses refute e^(r log accuracy) below alpha."""
    accuracy = 0.05 ** (1 / 100)
    assert epsilon_lower_bound(1000, 100, 100, 0.0) == pytest.approx(
        math.log(accuracy / (1 - accuracy)), abs=1e-3
    )
    assert epsilon_lower_bound(1000, 100, 50, 0.0) == 0


@pytest.mark.parametrize(("epsilon", "guesses"), [(0.0, 200), (0.7, 60), (2.0, 40)])
def test_randomised_response_is_refuted_as_often_as_promised_and_no_more(epsilon, guesses):
    """The worst mechanism for pure epsilon: its own curve may be refuted at 5 % of runs."""
    curve = promised_inverse_blow_up([epsilon], [0.0])
    accuracy = math.exp(epsilon) / (1 + math.exp(epsilon))
    bar = next((v for v in range(guesses + 1) if refutes(curve, guesses, guesses, v, 0.05)), None)
    assert bar is not None
    assert stats.binom.sf(bar - 1, guesses, accuracy) <= 0.05
    # One guess fewer would be refuted too often, or nearly so: the test is not empty.
    assert stats.binom.sf(bar - 4, guesses, accuracy) > 0.01


@pytest.mark.parametrize("mu", [0.3, 1.0])
def test_a_gaussian_mechanism_is_seldom_refuted_by_its_own_curve(mu):
    rng = np.random.default_rng(1)
    curve, m = gaussian_inverse_blow_up(mu), 200
    bars = {
        n: next((v for v in range(n + 1) if refutes(curve, m, n, v, 0.05)), n + 1)
        for n in (20, 100)
    }
    wrong = dict.fromkeys(bars, 0)
    for _ in range(1000):
        present = rng.random(m) < 0.5
        scores = mu * present + rng.standard_normal(m)
        for n, bar in bars.items():
            wrong[n] += guesses_of(scores, present, n) >= bar
    # 72 of 1,000 is the 0.1 % point of 5 %.
    assert max(wrong.values()) <= 72


def test_a_mechanism_noisier_than_claimed_passes_and_one_with_half_the_noise_does_not():
    rng = np.random.default_rng(2)
    present = rng.random(1000) < 0.5
    noise = rng.standard_normal(1000)
    curve = gaussian_inverse_blow_up(1.0)
    assert not violated(present + noise, present, curve)
    assert violated(3.0 * present + noise, present, curve)


def test_the_bounds_lie_between_nothing_and_the_truth():
    rng = np.random.default_rng(3)
    for mu in (0.5, 1.7):
        truth = gaussian_epsilon(mu, 1e-5)
        found = []
        for _ in range(5):
            present = rng.random(1000) < 0.5
            scores = mu * present + rng.standard_normal(1000)
            found.append(lower_bound(scores, present, 1e-5))
        assert max(bound.epsilon for bound in found) < truth
        middle = sorted(bound.epsilon for bound in found)[2]
        # A quarter to a half of the truth is what one ideal run of 1,000 canaries shows.
        assert 0.2 * truth < middle
        assert all(bound.pure < bound.epsilon for bound in found)


def test_random_guesses_bound_nothing():
    rng = np.random.default_rng(4)
    present = rng.random(500) < 0.5
    assert lower_bound(rng.standard_normal(500), present, 1e-5).epsilon < 0.2
    assert mu_lower_bound(500, 100, 50, 0.05) == 0


def test_a_curve_of_a_promise_is_the_gaussian_one():
    noise = 0.8
    events = [Event(released="r", people="p", mechanism="gaussian", noise_multiplier=noise)]
    epsilons = np.linspace(0, 12, 400)
    curve = promised_inverse_blow_up(epsilons, deltas_of(events, list(epsilons)))
    exact = gaussian_inverse_blow_up(1 / noise)
    for y in (1e-4, 0.01, 0.3, 0.9, 0.999):
        assert curve(y) <= exact(y) + 1e-6
        assert curve(y) == pytest.approx(exact(y), rel=0.02, abs=1e-6)
    assert exact(0.0) == 0 and exact(1.0) == 1


def test_the_closed_form_agrees_with_the_ledger():
    events = [Event(released="r", people="p", mechanism="gaussian", noise_multiplier=1.25)]
    assert gaussian_epsilon(0.8, 1e-6) == pytest.approx(epsilon_of(events, 1e-6), abs=1e-3)
    assert gaussian_epsilon(0.0, 1e-6) == 0


def test_the_ladder_is_fixed_by_the_number_of_canaries_alone():
    assert ladder(1000) == [4, 8, 16, 31, 62, 125, 250, 500]


def test_a_promise_is_refuted_however_far_the_probabilities_run():
    """499 of 500 right: what that forces is so far beyond 1 that sums of it would overflow."""
    steps = Event(
        released="r",
        people="p",
        mechanism="sampled_gaussian",
        noise_multiplier=0.7,
        sample_rate=0.1,
        count=5,
    )
    epsilons = np.linspace(0, 70, 141).tolist()
    curve = promised_inverse_blow_up(epsilons, deltas_of([steps], epsilons))
    assert refutes(curve, 1000, 500, 499, 0.001)
    assert not refutes(curve, 1000, 500, 300, 0.001)
