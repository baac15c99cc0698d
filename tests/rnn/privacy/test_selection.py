"""What showing the best of a random number of trials costs: never below the truth."""

import itertools
import math

import numpy as np
import pytest
import torch
from dp_accounting import rdp
from dp_accounting.dp_event import (
    GaussianDpEvent,
    PoissonSampledDpEvent,
    RepeatAndSelectDpEvent,
    SelfComposedDpEvent,
)
from scipy import special

from rnn.privacy import selection
from rnn.privacy.event import Event
from rnn.privacy.ledger import training_event
from rnn.privacy.noise import Keystream
from rnn.privacy.selection import (
    ORDERS,
    Repeats,
    curve,
    epsilon_at,
    winner_curve,
    winner_event,
)

SHAPES = [0.0, 0.5, 1.0, 2.0, math.inf]
STEPS = training_event(noise_multiplier=1.0, sample_rate=256 / 30000, steps=1170)


def peer(event, delta):
    """By dp-accounting."""
    accountant = rdp.RdpAccountant(ORDERS.tolist())
    accountant.compose(event)
    return accountant.get_epsilon(delta)


def generating(repeats, x):
    """E[x^K] in closed form."""
    if repeats.poisson:
        return np.exp(repeats.mean * (x - 1))
    gamma, eta = repeats.gamma, repeats.shape
    if eta == 0:
        return np.log(1 - (1 - gamma) * x) / math.log(gamma)
    return ((1 - (1 - gamma) * x) ** -eta - 1) / (gamma**-eta - 1)


def winner_of(trial, repeats):
    """Exact chances of the winner's output; outputs are ordered by score, the best last.

    Poisson may draw no trial: that is an output of its own.
    """
    below = np.concatenate([[0.0], np.cumsum(trial)])
    below[-1] = 1.0
    won = np.diff(generating(repeats, below))
    return np.concatenate([[math.exp(-repeats.mean)], won]) if repeats.poisson else won


def divergences(p, q):
    """Renyi divergences of two discrete distributions at all orders."""
    seen = p > 0
    orders = ORDERS[:, None]
    logs = orders * np.log(p[seen]) + (1 - orders) * np.log(q[seen])
    return special.logsumexp(logs, axis=1) / (ORDERS - 1)


def hockey_stick(p, q, epsilon):
    return float(np.maximum(p - math.exp(epsilon) * q, 0).sum())


@pytest.mark.parametrize("shape", SHAPES)
def test_chances_are_a_distribution_of_that_mean(shape):
    repeats = Repeats(mean=7.0, shape=shape)
    first = 0 if repeats.poisson else 1
    chances = np.array(list(itertools.islice(repeats.chances(), 4000)))
    counts = np.arange(first, first + len(chances))
    assert chances.sum() == pytest.approx(1, abs=1e-12)
    assert (chances * counts).sum() == pytest.approx(7, abs=1e-9)
    for x in (0.3, 0.9):
        assert (chances * x**counts).sum() == pytest.approx(generating(repeats, x), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_follow_the_chances_and_no_other(shape):
    repeats = Repeats(mean=3.0, shape=shape)
    stream = Keystream.from_seed(5)
    drawn = np.array([repeats.draw(stream) for _ in range(20_000)])
    first = 0 if repeats.poisson else 1
    assert drawn.min() == first

    def statistic(mean):
        """Chi-squared over 1..6 and more, against a distribution of some mean."""
        chances = list(itertools.islice(Repeats(mean=mean, shape=shape).chances(), 6))
        wanted = np.array([*chances, 1 - sum(chances)]) * len(drawn)
        found = [(drawn == first + k).sum() for k in range(6)] + [(drawn >= first + 6).sum()]
        return float(((np.array(found) - wanted) ** 2 / wanted).sum())

    # 6 degrees of freedom: 22.5 is passed once in a thousand; two runs of wrong means fail.
    assert statistic(3.0) < 22.5
    assert statistic(2.8) > 22.5 and statistic(3.2) > 22.5


@pytest.mark.parametrize("shape", SHAPES)
def test_one_step_and_ten_trials_agree_with_dp_accounting(shape):
    one = SelfComposedDpEvent(PoissonSampledDpEvent(256 / 30000, GaussianDpEvent(1.0)), 1170)
    assert epsilon_at(curve([STEPS]), 1e-5) == pytest.approx(peer(one, 1e-5), abs=1e-5)
    ours = epsilon_at(winner_curve(curve([STEPS]), Repeats(mean=10.0, shape=shape)), 1e-5)
    theirs = peer(RepeatAndSelectDpEvent(one, 10, shape), 1e-5)
    assert ours == pytest.approx(theirs, rel=2e-3)


def test_the_figures_to_know():
    """Geometric, mean 10: 3.79 where ten trials that are all seen cost 6.10 by the same curve."""
    trial = curve([STEPS])
    assert epsilon_at(trial, 1e-5) == pytest.approx(1.922, abs=1e-3)
    assert epsilon_at(winner_curve(trial, Repeats(mean=10.0)), 1e-5) == pytest.approx(
        3.789, abs=1e-3
    )
    assert epsilon_at(10 * trial, 1e-5) == pytest.approx(6.103, abs=1e-3)


def test_gaussian_scores_are_part_of_a_trial():
    score = Event(
        released="a score", people="training", mechanism="gaussian", noise_multiplier=4.0, count=3
    )
    assert curve([score]) == pytest.approx(3 * ORDERS / 32)
    assert curve([STEPS, score]) == pytest.approx(curve([STEPS]) + curve([score]))
    stated = Event(released="a fact", people="training", mechanism="stated", epsilon=1.0)
    with pytest.raises(ValueError, match="cannot hold a stated event"):
        curve([stated])


def neighbours(kind, rng):
    """Two small mechanisms that are close to one another; any outputs, best last."""
    if kind == "response":
        flip = 1 / (1 + math.exp(0.7))
        return np.array([1 - flip, flip]), np.array([flip, 1 - flip])
    if kind == "noise":
        values = np.arange(-40, 41)
        p, q = (np.exp(-((values - at) ** 2) / (2 * 6.0**2)) for at in (0, 1))
        return p / p.sum(), q / q.sum()
    p = rng.dirichlet(np.ones(5)) + 0.02
    q = p * np.exp(rng.uniform(-0.6, 0.6, 5))
    return p / p.sum(), q / q.sum()


@pytest.mark.parametrize("kind", ["response", "noise", "any"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mean", [2.0, 15.0])
def test_never_below_the_truth_of_small_mechanisms(kind, shape, mean):
    """The winner's exact distribution, both ways: divergences, and delta at epsilon."""
    rng = np.random.default_rng(3)
    repeats = Repeats(mean=mean, shape=shape)
    for _ in range(6 if kind == "any" else 1):
        p, q = neighbours(kind, rng)
        trial = np.maximum(divergences(p, q), divergences(q, p))
        bound = winner_curve(trial, repeats)
        won = winner_of(p, repeats), winner_of(q, repeats)
        for a, b in (won, won[::-1]):
            assert (divergences(a, b) <= bound + 1e-9).all()
            for delta in (1e-3, 1e-6):
                assert hockey_stick(a, b, epsilon_at(bound, delta)) <= delta


def test_a_fixed_number_of_trials_would_break_the_bound():
    """The tests above can fail: take ten trials always, and the same formula is too low."""
    p, q = neighbours("response", None)
    bound = winner_curve(divergences(p, q), Repeats(mean=10.0, shape=1.0))
    below = np.cumsum(np.array([[0.0, *p], [0.0, *q]]), axis=1)
    below[:, -1] = 1.0
    a, b = np.diff(below**10, axis=1)
    assert (np.maximum(divergences(a, b), divergences(b, a)) - bound).max() > 0.1


def test_simulated_winners_follow_the_exact_distribution():
    """A whole search by simulation: draw K, run K trials, keep the best."""
    repeats, stream = Repeats(mean=4.0, shape=1.0), Keystream.from_seed(8)
    rng = np.random.default_rng(8)
    p = np.array([0.5, 0.3, 0.2])
    won = np.zeros(3)
    for _ in range(20_000):
        won[rng.choice(3, size=repeats.draw(stream), p=p).max()] += 1
    exact = winner_of(p, repeats)
    spread = np.sqrt(exact * (1 - exact) / won.sum())
    assert (np.abs(won / won.sum() - exact) < 4 * spread).all()
    # Four trials each time win otherwise.
    fixed = np.diff(np.array([0, 0.5, 0.8, 1]) ** 4)
    assert (np.abs(won / won.sum() - fixed) > 4 * spread).any()


def test_the_dearest_candidate_decides():
    dear = training_event(noise_multiplier=1.0, sample_rate=0.02, steps=500)
    cheap = training_event(noise_multiplier=2.0, sample_rate=0.02, steps=100)
    repeats = Repeats(mean=5.0)
    both = winner_event([[cheap], [dear]], repeats, 1e-6, "training")
    assert both.epsilon == winner_event([[dear]], repeats, 1e-6, "training").epsilon
    assert both.epsilon > winner_event([[cheap]], repeats, 1e-6, "training").epsilon
    assert (both.mechanism, both.delta, both.people) == ("stated", 1e-6, "training")


def test_impossible_numbers_of_trials_are_refused():
    with pytest.raises(ValueError, match="mean = 1 must be above 1"):
        Repeats(mean=1.0)
    with pytest.raises(ValueError, match="shape = -1 must be at least 0"):
        Repeats(mean=2.0, shape=-1.0)


@pytest.mark.parametrize("shape", [1.0, math.inf])
def test_flushed_small_numbers_never_make_it_cheaper(shape):
    """Training sets this mode; the highest order's sum then underflows."""
    repeats = Repeats(mean=10.0, shape=shape)
    steps = training_event(noise_multiplier=1.0, sample_rate=0.28, steps=6)
    epsilon = epsilon_at(winner_curve(curve([steps]), repeats), 1e-5)
    assert epsilon > 5
    selection._sampled.cache_clear()
    torch.set_flush_denormal(True)
    try:
        assert epsilon_at(winner_curve(curve([steps]), repeats), 1e-5) == epsilon
    finally:
        torch.set_flush_denormal(False)
        selection._sampled.cache_clear()
    unknown = np.full(len(ORDERS), math.nan)
    assert math.isinf(epsilon_at(unknown, 1e-5))
