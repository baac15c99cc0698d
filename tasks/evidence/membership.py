"""Membership by a threshold: do the scores of an attack tell who was trained on?

The attacker guesses "member" where a score is high; the plainest score is the loss, negated.
n members, m non-members.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from tasks import stats
from tasks.recipe import AttackConfig

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

# The verdict may be wrong about a sound model once in a thousand runs.
VERDICT_CONFIDENCE = 0.999
# Fewer expected false positives than this say nothing about a rate.
LEAST_FALSE_POSITIVES = 10


def rates_at(members: Array, others: Array, wanted: float, confidence: float) -> dict[str, Any]:
    """Return the true positive rate where at most this share of non-members is accused.

    The interval also covers that the threshold is read off a sample: with enough confidence the
    true threshold lies between two ranks of the non-members, and each end is exact at its own.

    Args:
        members: float [n], higher meaning member.
        others: float [m].
        wanted: false positive rate.
        confidence: of the interval.
    """
    falling = np.r_[np.sort(others)[::-1], -math.inf]

    def found(accused: int) -> int:
        """Members above the first of the others who may not be accused, ties included."""
        return int((members > falling[accused]).sum()) if accused >= 0 else 0

    tail = (1 - confidence) / 4
    least, most = (int(binom.ppf(q, len(others), wanted)) for q in (tail, 1 - tail))
    # Each end spends half of its risk on the rank and half on the members.
    inner = 1 - 2 * tail
    low = stats.clopper_pearson(found(least - 1), len(members), inner).low
    high = stats.clopper_pearson(found(most), len(members), inner).high
    value = found(int(wanted * len(others))) / max(len(members), 1)
    return {
        "false_positive_rate": wanted,
        **stats.Interval(value, low, high).as_dict(),
    }


def true_positive_rates(members: Array, others: Array, plan: AttackConfig) -> dict[str, Any]:
    """Return what is found at the rates that so many non-members can measure, and name the rest.

    Args:
        members: float [n], higher meaning member.
        others: float [m].
        plan: false positive rates and confidence.
    """
    rates = plan.false_positive_rates
    measurable = [rate for rate in rates if rate * len(others) >= LEAST_FALSE_POSITIVES]
    return {
        "tpr": [rates_at(members, others, rate, plan.confidence) for rate in measurable],
        "not_measurable": [rate for rate in rates if rate not in measurable],
    }


def epsilon_bound(
    hits: int, members: int, accused: int, others: int, delta: float, confidence: float
) -> float:
    """Return a lower bound on epsilon from one test's true and false positives.

    (epsilon, delta) differential privacy allows any test TPR <= exp(epsilon) FPR + delta. Both
    rates take their worse exact end, each at half of the risk.

    Args:
        hits: members that the test calls members.
        members: how many there are.
        accused: non-members that the test calls members.
        others: how many there are.
        delta: of the claim.
        confidence: that the bound holds.

    Source: Kairouz, Oh, Viswanath (2015), theorem 2.1; Jagielski, Ullman, Oprea (2020).

    Example:
        >>> round(epsilon_bound(50, 100, 50, 100, 1e-6, 0.95), 2)
        0.0
    """
    true_low = stats.clopper_pearson(hits, members, confidence).low
    false_high = stats.clopper_pearson(accused, others, confidence).high
    if true_low <= delta or false_high <= 0:
        return 0.0
    return max(0.0, math.log((true_low - delta) / false_high))


def _best_test(members: Array, others: Array, delta: float) -> tuple[float, bool]:
    """Threshold and direction that promise the highest bound; smoothed rates, every threshold."""
    bars = np.unique(np.concatenate([members, others]))
    true = 1 - np.searchsorted(np.sort(members), bars, side="right") / len(members)
    false = 1 - np.searchsorted(np.sort(others), bars, side="right") / len(others)

    def promise(p: Array, n: int, q: Array, m: int) -> Array:
        # Three standard errors and a little stand in for the exact ends.
        low = p - 3.3 * np.sqrt(p * (1 - p) / n) - 5 / n - delta
        high = q + 3.3 * np.sqrt(q * (1 - q) / m) + 5 / m
        return np.log(np.maximum(low, 1e-12) / high)

    up = promise(true, len(members), false, len(others))
    down = promise(1 - false, len(others), 1 - true, len(members))
    accuse = bool(up.max() >= down.max())
    return float(bars[np.argmax(up if accuse else down)]), accuse


def lower_bound(
    members: Array, others: Array, delta: float, confidence: float, seed: int
) -> dict[str, Any]:
    """Return a lower bound on epsilon: threshold chosen on one half, judged on the other.

    Args:
        members: float [n], higher meaning member.
        others: float [m].
        delta: of the claim.
        confidence: that the bound holds.
        seed: of the halving.
    """
    rng = np.random.default_rng(seed)
    first, second = _halves(members, rng), _halves(others, rng)
    if min(map(len, (*first, *second))) == 0:
        return {"value": 0.0, "confidence": confidence, "test": None}
    bar, accuse = _best_test(first[0], second[0], delta)
    hits, accused = int((first[1] > bar).sum()), int((second[1] > bar).sum())
    n, m = len(first[1]), len(second[1])
    if accuse:
        value = epsilon_bound(hits, n, accused, m, delta, confidence)
    else:
        value = epsilon_bound(m - accused, m, n - hits, n, delta, confidence)
    test = "high scores are members" if accuse else "low scores are not members"
    return {
        "value": value,
        "confidence": confidence,
        "test": test,
        "threshold": bar,
        "members": n,
        "members_above": hits,
        "non_members": m,
        "non_members_above": accused,
    }


def _halves(values: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Two random halves."""
    order = rng.permutation(len(values))
    middle = len(values) // 2
    return values[order[:middle]], values[order[middle:]]


def figures(
    members: Array, others: Array, delta: float, plan: AttackConfig, attacks: int = 1
) -> dict[str, Any]:
    """Return how well scores tell members from non-members.

    Args:
        members: float [n], of training people, higher meaning member; for a loss threshold the
            losses negated.
        others: float [m], of held-out people.
        delta: of the claim.
        plan: false positive rates, confidence and seed.
        attacks: how many share the verdict's risk.
    """
    is_member = np.r_[np.ones(len(members), dtype=bool), np.zeros(len(others), dtype=bool)]
    area = stats.auc(is_member, np.concatenate([members, others]), plan.confidence)
    confidence = 1 - (1 - VERDICT_CONFIDENCE) / attacks
    return {
        "auc": area.as_dict(),
        **true_positive_rates(members, others, plan),
        "epsilon_lower_bound": lower_bound(members, others, delta, confidence, plan.seed),
    }


@dataclass(frozen=True)
class People:
    """Rows of the people of a membership attack, each array rising.

    Attributes:
        members: int64 [n], trained on.
        others: int64 [m], held out.
        population: int64 [Z], held out too, and not guessed about: they stand for everybody.
    """

    members: Rows
    others: Rows
    population: Rows


def choose_people(train: Rows, test: Rows, seed: int, population_share: float = 0.0) -> People:
    """Return members and non-members, as many of each at most as there are of the fewer.

    Args:
        train: rows of training people.
        test: rows of held-out people.
        seed: of the choice.
        population_share: of held-out people, to stand for everybody.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(test)
    kept = len(test) - int(population_share * len(test))
    size = min(len(train), kept)
    members = np.sort(rng.choice(train, size, replace=False))
    return People(members, np.sort(order[:size]), np.sort(order[kept:]))
