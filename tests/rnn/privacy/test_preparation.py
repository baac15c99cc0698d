"""opendp's mechanisms as they are used here: their price, their chances, and wrong ones noticed."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from rnn.privacy.preparation import (
    candidates_of,
    counts_mechanism,
    private_choice_of,
    private_counts,
    private_mean,
    private_quantile,
    private_vocabulary,
    quantile_mechanism,
    risen,
    spread_out,
    threshold_mechanism,
)

CANDIDATES = [0.0, 10.0, 20.0, 30.0]
VALUES = np.array([1.0, 2, 3, 4, 5, 6, 12, 13, 14, 22])


def _scores(values, quantile):
    """Distance of each candidate from a quantile: 0 where the shares are right."""
    below = np.array([(values < c).sum() for c in CANDIDATES])
    above = np.array([(values > c).sum() for c in CANDIDATES])
    return np.abs((1 - quantile) * below - quantile * above)


def _chances(scores, scale):
    """Of the smallest of scores plus exponential noise: permute-and-flip, over all orders."""
    keep = np.exp(-(scores - scores.min()) / scale)
    found = np.zeros(len(scores))
    orders = list(itertools.permutations(range(len(scores))))
    for order in orders:
        left = 1.0
        for place in order:
            found[place] += left * keep[place]
            left *= 1 - keep[place]
    return found / len(orders)


def _scale(quantile, epsilon, max_values=1):
    return 2 * max_values * max(quantile, 1 - quantile) / epsilon


@pytest.mark.parametrize("max_values", [1, 6])
@pytest.mark.parametrize("quantile", [0.01, 0.5, 0.99])
def test_a_quantile_costs_what_is_claimed(quantile, max_values):
    for epsilon in (0.01, 0.3, 2.0):
        made = quantile_mechanism(CANDIDATES, quantile, epsilon=epsilon, max_values=max_values)
        assert 0.999 * epsilon < made.map(max_values) <= epsilon
        # Half of the distance is half of the price: the map knows how many values a unit has.
        assert made.map(2 * max_values) == pytest.approx(2 * made.map(max_values))


def _drawn_quantiles(epsilon, count=60_000):
    made = quantile_mechanism(CANDIDATES, 0.5, epsilon=epsilon, max_values=1)
    found = [made(VALUES.tolist()) for _ in range(count)]
    return np.array([found.count(c) for c in CANDIDATES])


def test_quantiles_are_chosen_as_often_as_they_should_and_a_wrong_scale_is_noticed():
    drawn = _drawn_quantiles(0.5)
    for factor, right in ((1.0, True), (0.95, False), (1.1, False)):
        wanted = _chances(_scores(VALUES, 0.5), factor * _scale(0.5, 0.5)) * drawn.sum()
        assert (stats.chisquare(drawn, wanted).pvalue > 1e-6) == right


@pytest.mark.parametrize("max_values", [1, 3])
@pytest.mark.parametrize("quantile", [0.1, 0.5])
def test_no_neighbour_moves_the_chances_of_a_quantile_by_more_than_epsilon(quantile, max_values):
    rng = np.random.default_rng(1)
    epsilon, worst = 0.7, 0.0
    scale = _scale(quantile, epsilon, max_values)
    for _ in range(60):
        values = rng.uniform(0, 30, 12)
        others = np.delete(values, rng.choice(12, max_values, replace=False))
        one = _chances(_scores(values, quantile), scale)
        other = _chances(_scores(others, quantile), scale)
        worst = max(worst, np.abs(np.log(one / other)).max())
    assert 0.1 * epsilon < worst <= epsilon + 1e-9


def test_a_quantile_is_near_and_candidates_must_rise():
    values = np.random.default_rng(0).lognormal(10, 1, 20_000)
    candidates = candidates_of(0.0, 1e7)
    found = private_quantile(values, candidates, 0.99, epsilon=1.0)
    assert np.quantile(values, 0.97) < found < np.quantile(values, 0.999)
    for wrong in ([1.0, 1.0], [2.0, 1.0], []):
        with pytest.raises(ValueError, match="candidates must rise"):
            private_quantile(values, wrong, 0.5, epsilon=1.0)
    with pytest.raises(ValueError, match="epsilon = 0 must be above 0"):
        private_quantile(values, CANDIDATES, 0.5, epsilon=0.0)


def test_a_bound_stays_near_a_value_that_very_many_people_have():
    candidates = candidates_of(0.0, 1e7)
    values = np.concatenate([np.linspace(1e4, 4e5, 23_000), np.full(1_000, 5e5)])
    spread = spread_out(values, candidates)
    steps = np.abs(spread - values)
    assert steps.max() <= 5e4 and 1e4 < steps[-1000:].mean() < 3e4

    def far(of):
        """How often a bound is twice as large as anybody's value."""
        made = quantile_mechanism(candidates, 0.98, epsilon=0.05, max_values=1)
        return np.mean([made(of.tolist()) >= 1e6 for _ in range(60)])

    assert far(spread) < 0.05 < 0.1 < far(values)
    # One value less is one value less, and the others are spread like themselves.
    assert len(spread_out(values[1:], candidates)) == len(values) - 1
    assert abs(spread.mean() - values.mean()) < 1e3


def test_candidates_are_round_and_cover_the_range():
    found = candidates_of(-2e5, 3e6)
    assert found[0] == -2e5 and found[-1] == 3e6 and 0.0 in found and found == sorted(set(found))
    inside = [c for c in found if c > 3]
    assert max(b / a for a, b in itertools.pairwise(inside)) < 1.34
    assert len(candidates_of(0, 1, "linear")) == 101 and len(found) < 130
    with pytest.raises(ValueError, match="must be finite and rise"):
        candidates_of(1.0, 1.0)


def test_bounds_that_fall_together_are_pulled_apart():
    assert risen(3.0, 8.0, [0.0, 3.0, 8.0]) == (3.0, 8.0)
    assert risen(0.0, 0.0, [0.0, 3.0, 8.0]) == (0.0, 3.0)
    assert risen(8.0, 8.0, [0.0, 3.0, 8.0]) == (3.0, 8.0)


@pytest.mark.parametrize(
    ("epsilon", "delta", "max_values"), [(1.0, 1e-9, 1), (0.1, 8e-9, 16), (0.01, 0.05, 3)]
)
def test_a_vocabulary_costs_what_is_claimed(epsilon, delta, max_values):
    made = threshold_mechanism(epsilon=epsilon, delta=delta, max_values=max_values)
    paid = made.map((max_values, max_values, 1))
    assert 0.999 * epsilon < paid[0] <= epsilon
    # The chance that one of K values of a unit alone is shown, and the smallest threshold for it.
    least = next(t for t in itertools.count(1) if _alone(t, epsilon, max_values) <= delta)
    shown = made({str(i): least for i in range(20_000)})
    assert least <= min(shown.values()) <= least + 4


def _alone(threshold, epsilon, max_values):
    """Chance that noise lifts one of K counts of 1 to a threshold."""
    step = math.exp(-epsilon / max_values)
    return 1 - (1 - step ** (threshold - 1) / (1 + step)) ** max_values


def test_values_of_one_unit_are_shown_as_seldom_as_claimed_and_more_is_noticed():
    # Values of a neighbour alone, each shown with a chance of delta at most, here a large one.
    delta = _alone(7, 0.5, 1)
    made = threshold_mechanism(epsilon=0.5, delta=delta + 1e-9, max_values=1)
    count = 250_000
    shown = len(made({str(i): 1 for i in range(count)}))
    assert stats.binomtest(shown, count, delta).pvalue > 1e-7
    # Noise of 0.95 times the scale, and a threshold of one less or more, would show: the nearest
    # lies 13 standard deviations away.
    for wrong in (_alone(7, 0.5 / 0.95, 1), _alone(6, 0.5, 1), _alone(8, 0.5, 1)):
        assert stats.binomtest(shown, count, wrong).pvalue < 1e-6


def test_only_what_units_have_is_ever_shown():
    counts = {"a": 5000, "b": 2500, "c": 3}
    for _ in range(50):
        # "c" has a chance of about 1e-11 each time.
        found = private_vocabulary(counts, epsilon=1.0, delta=1e-11, max_values=2)
        assert found == ["a", "b"]
    assert private_vocabulary({}, epsilon=1.0, delta=1e-6, max_values=2) == []
    for epsilon, delta in ((0.0, 1e-6), (1.0, 0.0)):
        with pytest.raises(ValueError, match=r"must be above 0"):
            private_vocabulary(counts, epsilon=epsilon, delta=delta, max_values=1)


def test_a_public_list_keeps_what_is_there_and_its_order():
    counts = {"b": 900, "a": 800, "unlisted": 10_000}
    kept = [
        private_choice_of(counts, ["a", "z", "b"], epsilon=1.0, max_values=2) for _ in range(300)
    ]
    assert all([value for value in found if value != "z"] == ["a", "b"] for found in kept)
    assert sum("z" in found for found in kept) < 15


def _laplace(scale):
    """Chances of -60..60 under discrete Laplace noise."""
    places = np.arange(-60, 61)
    weights = np.exp(-np.abs(places) / scale)
    return places, weights / weights.sum()


def test_counts_have_discrete_laplace_noise_and_a_wrong_scale_is_noticed():
    # Two values a unit at an epsilon of 1: the scale is 2.
    drawn = private_counts(np.full(200_000, 7), epsilon=1.0, max_values=2) - 7
    edges = np.arange(-7.5, 8.5)
    seen = np.histogram(drawn.clip(-7, 7), edges)[0]
    for scale, right in ((2.0, True), (1.9, False), (2.1, False)):
        places, chances = _laplace(scale)
        wanted = np.histogram(places.clip(-7, 7), edges, weights=chances)[0] * len(drawn)
        assert (stats.chisquare(seen, wanted).pvalue > 1e-6) == right, scale


def test_no_neighbour_moves_the_chances_of_counts_by_more_than_epsilon():
    for epsilon, distance in ((0.3, 1), (1.0, 3), (0.1, 2**20)):
        made = counts_mechanism(epsilon=epsilon, distance=distance)
        assert 0.999 * epsilon < made.map(distance) <= epsilon
    # Discrete noise of scale 1 / epsilon: the bound is reached, so that a smaller scale breaks it.
    places, chances = _laplace(2.0)
    ratios = np.log(chances[1:] / chances[:-1])
    assert np.abs(ratios).max() == pytest.approx(0.5) and len(places) == len(chances)


def test_a_mean_is_near_and_as_noisy_as_claimed():
    values = np.random.default_rng(0).uniform(-5, 15, 1000)
    drawn = np.array([private_mean(values, (0.0, 10.0), epsilon=1.0) for _ in range(6000)])
    exact = np.clip(values, 0, 10).mean()
    assert drawn.mean() == pytest.approx(exact, abs=0.015)
    # Sum and count have scale 2 each: a sum in units of half the range, and the offset of the
    # mean from the middle, over a thousand people.
    wanted = math.sqrt(2) * 2 * 5 / 1000 * math.hypot(1, (exact - 5) / 5)
    assert drawn.std() == pytest.approx(wanted, rel=0.1)
    assert drawn.min() >= 0 and drawn.max() <= 10


def test_a_mean_of_nobody_is_the_middle_or_at_least_inside():
    for _ in range(100):
        assert 2.0 <= private_mean(np.zeros(0), (2.0, 4.0), epsilon=0.5) <= 4.0


def test_draws_differ():
    one, other = (private_counts(np.zeros(50, dtype=int), epsilon=0.1) for _ in range(2))
    assert (one != other).any()
