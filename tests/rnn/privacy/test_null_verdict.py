"""The verdict: what it says, when it says nothing, and how often a sound run is called unsound."""

import json
import math

import numpy as np
import pytest

from rnn.privacy.canaries import SHARE, SIGNIFICANCE, TESTS, NullAccount
from rnn.privacy.ledger import training_event
from rnn.privacy.lower_bounds import gaussian_epsilon
from rnn.privacy.null_verdict import blind_tests, judge, points_of, promised_curve

COUNT, RATE, NOISE, DELTA = 1000, 0.1, 1.5, 1e-5


def simulated(steps=60, noise=NOISE, rate=RATE, size=1.0, seed=0, count=COUNT):
    """Return an account of a run with any noise, rate and contribution, and its coins."""
    rng = np.random.default_rng(seed)
    present = rng.random(count) < 0.5
    account = NullAccount(count, RATE, NOISE)
    for _ in range(steps):
        taken = (rng.random(count) < rate) & present
        noisy = noise * rng.standard_normal(count) + size * taken
        account.add(noisy, taken.nonzero()[0])
    return account, present


def event(steps, noise=NOISE):
    return training_event(noise_multiplier=noise, sample_rate=RATE, steps=steps)


def test_shares_add_up_to_the_significance():
    assert pytest.approx(SIGNIFICANCE) == TESTS * SHARE


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"noise": 0.95 * NOISE}, "noise_scale"),
        ({"noise": 1.05 * NOISE}, "noise_scale"),
        ({"size": 1.5}, "contribution"),
        ({"rate": 0.13}, "sampling"),
    ],
)
def test_a_fault_is_named(change, name):
    found = judge(*simulated(**change), event(60), DELTA)
    assert found.verdict == "violated"
    assert name in found.rejected


def test_a_sound_run_is_consistent_and_says_so_in_json():
    found = judge(*simulated(), event(60), DELTA)
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert (values["verdict"], values["rejected"], values["blind"]) == ("consistent", [], [])
    assert (values["canaries"], values["steps"], values["significance"]) == (COUNT, 60, 0.001)
    assert set(values["noise_scale"]) == {"value", "low", "high", "claimed", "p_value"}
    assert set(values["lower_bound"]) == {"epsilon", "pure", "guesses", "right", "confidence"}
    assert values["noise_scale"]["low"] < NOISE < values["noise_scale"]["high"]
    assert "not that it is proven" in values["note"]


def test_sound_runs_are_seldom_called_unsound():
    """300 runs at one in a thousand: three false alarms or more have a chance of 0.4 %."""
    alarms = 0
    curve_event = event(20)
    for seed in range(300):
        found = judge(*simulated(steps=20, seed=seed, count=100), curve_event, DELTA)
        alarms += found.verdict == "violated"
    assert alarms <= 2


def test_the_promised_curve_is_refuted_by_a_run_that_released_far_more():
    """A ledger that has 20 of 2,000 steps promises a curve that the guesses break."""
    account, present = simulated(steps=2000)
    promised = judge(account, present, event(20), DELTA)
    assert promised.rejected == ("curve", "steps")
    assert judge(account, present, event(2000), DELTA).rejected == ()


def test_a_curve_that_promises_nothing_is_not_refuted_but_named():
    found = judge(*simulated(steps=4, noise=NOISE), event(4, noise=0.05), DELTA)
    assert promised_curve(event(4, noise=0.05), DELTA) is None
    assert not found.refutes_curve
    assert "curve" in found.blind


def test_a_run_that_is_too_short_says_so():
    account, present = simulated(steps=1, count=100)
    found = judge(account, present, event(1), DELTA)
    assert set(found.blind) == {"noise_scale", "contribution", "sampling"}
    assert "too short to refute: noise_scale" in found.as_dict()["note"]
    assert blind_tests(*simulated(steps=60)) == ()


@pytest.mark.parametrize("steps", [3, 8, 20])
def test_blindness_is_what_simulated_faults_show(steps):
    """Where the noise test is not blind, noise wrong by 5 % is found nearly always."""
    caught = sum(
        "noise_scale"
        in judge(
            *simulated(steps=steps, noise=0.95 * NOISE, seed=seed), event(steps), DELTA
        ).rejected
        for seed in range(30)
    )
    blind = "noise_scale" in blind_tests(*simulated(steps=steps))
    assert caught >= 28 or blind
    assert caught < 28 or not blind


def test_nobody_sampled_is_no_fault():
    account = NullAccount(200, RATE, NOISE)
    rng = np.random.default_rng(0)
    for _ in range(5):
        account.add(NOISE * rng.standard_normal(200), np.zeros(0, dtype=np.int64))
    values = judge(account, np.zeros(200, dtype=bool), event(5), DELTA).as_dict()
    assert (values["contribution"], values["sampling"], values["points"]) == (None, None, [])
    assert values["verdict"] == "consistent"
    assert {"contribution", "sampling"} <= set(values["blind"])


def test_points_by_hand():
    scores = np.arange(100.0)
    present = scores >= 50
    points = points_of(scores, present)
    half = points[7]
    assert (half["false_positive_rate"], half["true_positive_rate"]) == (0.0, 1.0)
    assert points[3]["true_positive_rate"] == pytest.approx(0.2)
    assert points[3]["low"] == pytest.approx(0.1003, abs=1e-4)
    assert points[3]["high"] == pytest.approx(0.3372, abs=1e-4)


def test_the_lower_bound_is_below_what_is_spent():
    found = judge(*simulated(steps=60), event(60), DELTA)
    most = gaussian_epsilon(math.sqrt(60) / NOISE, DELTA)
    assert 0 < found.lower_bound.epsilon < most
