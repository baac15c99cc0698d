"""Bets: fair against a true claim whenever one looks, and won when the claim is wrong."""

import math

import numpy as np
import pytest
from scipy import stats

from tasks.watching.bets import FULL, LEAST, STAKES, Bet, always_valid


@pytest.mark.parametrize("side", ["above", "below"])
def test_wealth_is_the_sum_over_stakes_and_times_of_a_change(side):
    rng = np.random.default_rng(0)
    batches = [rng.random(5) for _ in range(4)]
    bet = Bet(0.4, side)
    for batch in batches:
        bet = bet.after(batch)
    # By hand: wealth that begins with batch j is 1 / (j (j + 1)) of all, a twelfth on each stake.
    loss = 0.4 if side == "above" else 0.6
    stakes = np.geomspace(LEAST, FULL, STAKES) / loss
    sign = 1 if side == "above" else -1
    total = 1 / 5
    for first in range(4):
        later = np.concatenate(batches[first:])
        grown = np.prod(1 + np.outer(stakes, sign * (later - 0.4)), axis=1).mean()
        total += grown / ((first + 1) * (first + 2))
    # `highest` is the most that it ever was, of 1 at the start.
    assert math.exp(bet.highest) >= total - 1e-12
    wealth = np.exp(np.array(bet.wealth)).sum() + 1 / 5
    assert wealth == pytest.approx(total)


def test_a_fair_bet_has_an_expected_wealth_of_one():
    # Every sequence of six coins in three batches, exactly.
    total = 0.0
    for code in range(64):
        coins = [(code >> k) & 1 for k in range(6)]
        bet = Bet(0.5, "above")
        for batch in (coins[:2], coins[2:3], coins[3:]):
            bet = bet.after(batch)
        total += (np.exp(np.array(bet.wealth)).sum() + 1 / 4) / 64
    assert total == pytest.approx(1.0)


def test_a_true_claim_is_refuted_as_seldom_as_promised_and_a_false_one_is():
    rng = np.random.default_rng(1)
    alpha, runs = 0.1, 400
    wrong = found = 0
    for _ in range(runs):
        true, false = Bet(0.3, "above"), Bet(0.3, "above")
        for _ in range(30):
            true = true.after((rng.random(20) < 0.3).astype(float))
            false = false.after((rng.random(20) < 0.4).astype(float))
        wrong += true.evidence >= 1 / alpha
        found += false.evidence >= 1 / alpha
    assert stats.binomtest(wrong, runs, alpha, alternative="greater").pvalue > 0.001
    assert found > 0.8 * runs


def test_a_late_change_is_found_in_spite_of_long_quiet():
    rng = np.random.default_rng(2)
    bet = Bet(0.78, "below")
    for _ in range(200):
        bet = bet.after((rng.random(50) < 0.8).astype(float))
    assert bet.evidence < 1000
    for _ in range(40):
        bet = bet.after((rng.random(50) < 0.68).astype(float))
    assert bet.evidence > 1000


def test_ends_empty_batches_and_wrong_values():
    assert Bet(0.0, "above").after([0.0] * 1000).evidence < 2
    assert Bet(1.0, "below").after([1.0] * 1000).evidence < 2
    assert Bet(0.5, "above").after([]) == Bet(0.5, "above")
    for values in ([1.1], [-0.1], [float("nan")]):
        with pytest.raises(ValueError, match=r"must be in 0\.\.1"):
            Bet(0.5, "above").after(values)
    bet = Bet(0.5, "below").after([0.25, 1.0])
    assert Bet.of(bet.as_dict()) == bet and Bet.of(Bet(0.5, "above").as_dict()).batches == 0


def test_an_interval_holds_at_all_times_together():
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(300):
        values = (rng.random(3000) < 0.2).cumsum() / np.arange(1, 3001)
        ends = [always_valid(n, values[n - 1], 0.1) for n in range(10, 3001, 30)]
        missed += any(not low <= 0.2 <= high for low, high in ends)
    assert stats.binomtest(missed, 300, 0.1, alternative="greater").pvalue > 0.001
    low, high = always_valid(1000, 0.5, 0.05)
    assert 0.03 < 0.5 - low < 0.06 and high - 0.5 == pytest.approx(0.5 - low)
    assert always_valid(0, 0.0, 0.05) == (0.0, 1.0)
