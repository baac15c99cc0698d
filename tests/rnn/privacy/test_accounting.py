"""Epsilon: golden values, a second accountant, and the noise that a target needs."""

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from rnn.privacy import accounting
from rnn.privacy.accounting import epsilon_spent, noise_for

PLANS = [
    (1.0, 256 / 30_000, 1170, 1e-5),
    (2.265625, 2048 / 24_000, 240, 1e-6),
    (0.8, 64 / 30_000, 2000, 1e-6),
    (5.0, 0.5, 100, 1e-5),
]


def _pld(noise, rate, steps, delta):
    accountant = PLDAccountant()
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    accountant.compose(event, steps)
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize(("noise", "rate", "steps", "delta"), PLANS)
def test_never_below_a_second_accountant_and_close_to_it(noise, rate, steps, delta):
    ours = epsilon_spent(noise_multiplier=noise, sample_rate=rate, steps=steps, delta=delta)
    other = _pld(noise, rate, steps, delta)
    assert ours >= other - 1e-3
    assert ours <= 1.01 * other + 0.01


def test_golden_value():
    spent = epsilon_spent(noise_multiplier=1.0, sample_rate=256 / 30_000, steps=1170, delta=1e-5)
    assert spent == pytest.approx(1.671, abs=0.002)


def test_no_steps_cost_nothing_and_more_cost_more():
    def spent(steps):
        return epsilon_spent(noise_multiplier=1.0, sample_rate=0.01, steps=steps, delta=1e-5)

    assert spent(0) == 0.0
    assert spent(100) < spent(200)


def test_no_promise_is_infinite_and_found_at_once():
    spent = epsilon_spent(noise_multiplier=2.0, sample_rate=0.3, steps=200_000, delta=1e-4)
    assert spent == float("inf")
    assert epsilon_spent(noise_multiplier=0.05, sample_rate=1e-6, steps=1, delta=1e-5) == float(
        "inf"
    )


@pytest.mark.parametrize("target", [0.5, 3.0, 8.0])
def test_solved_noise_meets_the_target_from_below(target):
    settings = {"sample_rate": 0.05, "steps": 300, "delta": 1e-6}
    noise = noise_for(target_epsilon=target, **settings)
    spent = epsilon_spent(noise_multiplier=noise, **settings)
    assert 0.99 * target <= spent <= target


def test_target_out_of_reach(monkeypatch):
    monkeypatch.setattr(accounting, "_HIGHEST_NOISE", 8.0)
    with pytest.raises(ValueError, match="cannot be reached"):
        noise_for(target_epsilon=1e-9, sample_rate=0.5, steps=1000, delta=1e-9)
