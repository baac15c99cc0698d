"""The ledger's sums against closed forms and against PRV, and what it refuses."""

import math

import numpy as np
import pytest
from scipy import optimize, special

from rnn.privacy.accounting import epsilon_spent
from rnn.privacy.ledger import Event, Ledger, deltas_of, epsilon_of, training_noise


def event(mechanism, people="training", **fields):
    return Event(released="something", people=people, mechanism=mechanism, **fields)


def gaussian_epsilon(mu, delta):
    """Balle and Wang (2018), theorem 8."""

    def curve(epsilon):
        tail = math.exp(epsilon) * special.ndtr(-mu / 2 - epsilon / mu)
        return special.ndtr(mu / 2 - epsilon / mu) - tail - delta

    return optimize.brentq(curve, 0, 100)


@pytest.mark.parametrize(("noise", "count"), [(0.7, 1), (4.0, 16), (30.0, 400)])
def test_gaussian_releases_equal_the_closed_form(noise, count):
    found = epsilon_of([event("gaussian", noise_multiplier=noise, count=count)], 1e-6)
    exact = gaussian_epsilon(math.sqrt(count) / noise, 1e-6)
    assert exact <= found + 1e-9 <= exact + 1e-3


def test_a_laplace_release_equals_the_closed_form():
    found = epsilon_of([event("laplace", noise_multiplier=0.5)], 1e-4)
    assert found == pytest.approx(2 + 2 * math.log1p(-1e-4), abs=1e-4)


def test_pure_releases_add_up_to_the_best_composition():
    """Kairouz, Oh, Viswanath (2015), by enumeration of all answers."""
    count, epsilon, delta = 6, 0.4, 1e-3
    ones = np.array([bin(k).count("1") for k in range(2**count)])
    with_ = np.exp((count - ones) * epsilon) / (1 + math.exp(epsilon)) ** count
    loss = (count - 2 * ones) * epsilon

    def curve(e):
        return float((with_ * np.maximum(0, -np.expm1(e - loss))).sum()) - delta

    exact = optimize.brentq(curve, 0, 10)
    found = epsilon_of([event("stated", epsilon=epsilon, count=count)], delta)
    assert exact - 1e-9 <= found <= exact + 1e-3
    assert found < count * epsilon


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.0, 256 / 30000, 300), (2.5, 0.085, 100)])
def test_sampled_steps_agree_with_prv(noise, rate, steps):
    found = epsilon_of(
        [event("sampled_gaussian", noise_multiplier=noise, sample_rate=rate, count=steps)], 1e-6
    )
    prv = epsilon_spent(noise_multiplier=noise, sample_rate=rate, steps=steps, delta=1e-6)
    # PRV reports the upper end of its bounds, 0.01 above its estimate.
    assert prv - 0.013 <= found <= prv + 1e-4


def test_a_sum_is_above_each_part_and_below_the_plain_sum():
    parts = [
        event("laplace", noise_multiplier=1 / 0.3),
        event("gaussian", noise_multiplier=8.0),
        event("sampled_gaussian", noise_multiplier=1.0, sample_rate=0.01, count=200),
    ]
    alone = [epsilon_of([part], 1e-5) for part in parts]
    together = epsilon_of(parts, 1e-5)
    assert max(alone) < together < sum(alone)
    assert epsilon_of(parts[::-1], 1e-5) == pytest.approx(together, abs=1e-9)


def test_joint_calibration_needs_less_noise_than_a_split_budget():
    beside = [event("laplace", noise_multiplier=1 / 0.3), event("gaussian", noise_multiplier=8.0)]
    noise = training_noise(
        target_epsilon=3.0, delta=1e-5, sample_rate=256 / 30000, steps=1170, beside=beside
    )
    assert 0.80 < noise <= 0.82
    steps = event("sampled_gaussian", noise_multiplier=noise, sample_rate=256 / 30000, count=1170)
    assert 2.99 < epsilon_of([steps, *beside], 1e-5) <= 3.0


def test_what_is_spent_before_training_is_said():
    with pytest.raises(ValueError, match="spent before training"):
        training_noise(
            target_epsilon=1.0,
            delta=1e-6,
            sample_rate=0.01,
            steps=10,
            beside=[event("stated", epsilon=1.5)],
        )


def test_disjoint_people_do_not_add_up():
    train = event("sampled_gaussian", noise_multiplier=2.0, sample_rate=0.1, count=100)
    audit = event("gaussian", people="held out", noise_multiplier=4.0)
    ledger = Ledger((train,)).with_events(audit)
    each = ledger.epsilons(1e-6)
    assert set(each) == {"training", "held out"}
    assert ledger.epsilon(1e-6) == max(each.values())
    again = ledger.with_events(event("gaussian", people="held out", noise_multiplier=4.0))
    assert again.epsilons(1e-6)["held out"] == pytest.approx(
        gaussian_epsilon(math.sqrt(2) / 4, 1e-6), abs=1e-3
    )
    assert again.epsilons(1e-6)["training"] == each["training"]


def test_the_curve_passes_through_the_epsilon():
    events = [event("sampled_gaussian", noise_multiplier=1.0, sample_rate=0.02, count=100)]
    epsilon = epsilon_of(events, 1e-5)
    zero, at, beyond = deltas_of(events, [0.0, epsilon, 2 * epsilon])
    assert zero > at > beyond
    assert at == pytest.approx(1e-5, rel=1e-3)


def test_nothing_costs_nothing_and_hopeless_events_cost_everything():
    assert epsilon_of([], 1e-6) == 0
    assert epsilon_of([event("gaussian", noise_multiplier=1.0, count=0)], 1e-6) == 0
    assert deltas_of([], [0.0, 1.0]) == [0.0, 0.0]
    for hopeless in (
        event("gaussian", noise_multiplier=0.01),
        event("laplace", noise_multiplier=0.01),
        event("stated", epsilon=71.0),
        event("sampled_gaussian", noise_multiplier=0.3, sample_rate=0.9, count=10_000),
    ):
        assert math.isinf(epsilon_of([hopeless], 1e-6))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mechanism": "gaussian"}, "noise_multiplier = None"),
        ({"mechanism": "laplace", "noise_multiplier": 0.0}, "noise_multiplier = 0"),
        ({"mechanism": "stated"}, "epsilon = None"),
        ({"mechanism": "stated", "epsilon": 1.0, "delta": 1.0}, "delta = 1"),
        ({"mechanism": "gaussian", "noise_multiplier": 1.0, "sample_rate": 0.1}, "sample_rate"),
        (
            {"mechanism": "sampled_gaussian", "noise_multiplier": 1.0, "sample_rate": 0.0},
            "sample_rate = 0",
        ),
        ({"mechanism": "gaussian", "noise_multiplier": 1.0, "count": -1}, "count = -1"),
        ({"mechanism": "gaussian", "noise_multiplier": math.nan}, "noise_multiplier = nan"),
    ],
)
def test_an_event_that_cannot_be_added_up_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        event(**fields)
