"""What an attack proves: lower bounds on the privacy loss from guesses in a single run.

m canaries, each there or not by a fair coin of its own. The attacker guesses some of the coins,
r of them, and v guesses are right. A mechanism that keeps its promise makes many right guesses
unlikely; how unlikely is computed here, whatever the attacker knows and does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Array = NDArray[np.float64]
Curve = Callable[[float], float]

_NORMAL = NormalDist()
_LARGEST_EPSILON = 50.0
_LARGEST_MU = 30.0


def guesses_of(scores: Array, present: NDArray[np.bool_], count: int) -> int:
    """Return how many of `count` guesses are right: half "there", from the highest scores down.

    Args:
        scores: float [m], higher where the canary seems to be there.
        present: bool [m], the coins.
        count: guesses, at most m; an odd one more says "there".
    """
    order = np.argsort(-scores, kind="stable")
    there, absent = order[: (count + 1) // 2], order[len(order) - count // 2 :]
    return int(present[there].sum()) + int((~present[absent]).sum())


def p_value(m: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Return how likely at least so many right guesses are under (epsilon, delta).

    Args:
        m: canaries.
        guesses: r, coins that were guessed.
        right: v of them.
        epsilon: claimed.
        delta: claimed.

    Source: Steinke, Nasr, Jagielski (2023), "Privacy auditing with one (1) training run",
    theorem 5.2: randomised response is the worst case, delta adds its own share.
    """
    accuracy = float(special.expit(epsilon))
    beta = float(stats.binom.sf(right - 1, guesses, accuracy))
    if delta == 0:
        return min(1.0, beta)
    back = np.arange(1, right + 1)
    nearer = stats.binom.sf(right - back - 1, guesses, accuracy) - beta
    worst = float((nearer / back).max(initial=0.0))
    return min(1.0, beta + 2 * m * delta * worst)


def epsilon_lower_bound(
    m: int, guesses: int, right: int, delta: float, confidence: float = 0.95
) -> float:
    """Return the largest epsilon that the guesses refute, 0 where they refute none."""
    return _largest_refuted(
        lambda e: p_value(m, guesses, right, e, delta) < 1 - confidence, _LARGEST_EPSILON
    )


def _largest_refuted(refuted: Callable[[float], bool], highest: float) -> float:
    """The end of the values from 0 up that a monotone test refutes."""
    if not refuted(0.0):
        return 0.0
    low, high = 0.0, highest
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def refutes(inverse_blow_up: Curve, m: int, guesses: int, right: int, alpha: float) -> bool:
    """Return whether so many right guesses refute a trade-off curve at significance alpha.

    Suppose that `right` guesses or more come up with probability alpha. Among the guessed coins
    the chance that a given one is right, together with so many others, is then known on average;
    flipping that coin's canary can shrink the probability of such an event to no less than
    `inverse_blow_up` of it. Walked down from `right` to 0, the probabilities that this forces
    must fit into 1.

    Args:
        inverse_blow_up: of the curve: probability y of an event with a canary -> its smallest
            probability without it, rising in y; y itself where nothing can be told apart.
        m: canaries.
        guesses: r, coins that were guessed.
        right: v of them.
        alpha: significance.

    Source: Mahloujifar, Melis, Chaudhuri (2024), "Auditing f-differential privacy in one run",
    theorem 3.2 and its recursion, for two candidates a canary.
    """
    if guesses == 0 or right == 0:
        return False
    there = alpha * right / m
    absent = alpha * (guesses - right) / m
    for i in range(right - 1, -1, -1):
        least = max(absent, inverse_blow_up(there))
        if i:
            there += i / (guesses - i) * (least - absent)
        absent = least
        # Neither ever falls; far beyond 1 they would overflow.
        if there + absent > guesses / m:
            return True
    return False


def gaussian_inverse_blow_up(mu: float) -> Curve:
    """Return the curve of a Gaussian mechanism: sensitivity over noise is mu.

    Source: Dong, Roth, Su (2022), definition 2.6.
    """

    def curve(y: float) -> float:
        if y <= 0 or y >= 1:
            return min(max(y, 0.0), 1.0)
        return _NORMAL.cdf(_NORMAL.inv_cdf(y) - mu)

    return curve


def promised_inverse_blow_up(epsilons: Sequence[float], deltas: Sequence[float]) -> Curve:
    """Return the curve of a promise that is known as delta at many epsilons.

    An event of probability y keeps at least (y - delta) / e^epsilon, and at least
    1 - delta - e^epsilon (1 - y), for every pair: the largest of them all.

    Args:
        epsilons: at least 0.
        deltas: of each.
    """
    ratio = np.exp(np.asarray(epsilons, dtype=np.float64))
    slack = np.asarray(deltas, dtype=np.float64)

    def curve(y: float) -> float:
        kept = np.maximum((y - slack) / ratio, 1 - slack - ratio * (1 - y))
        return float(kept.max(initial=0.0))

    return curve


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return epsilon of a Gaussian mechanism at delta.

    Source: Balle and Wang (2018), theorem 8.
    """
    if mu <= 0:
        return 0.0

    def excess(epsilon: float) -> bool:
        high = special.log_ndtr(mu / 2 - epsilon / mu)
        low = epsilon + special.log_ndtr(-mu / 2 - epsilon / mu)
        return bool(np.exp(high) - np.exp(low) > delta)

    low, high = 0.0, mu * (mu / 2 + 40)
    while high - low > 1e-9 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) else (low, middle)
    return high


def mu_lower_bound(m: int, guesses: int, right: int, alpha: float) -> float:
    """Return the largest mu of a Gaussian mechanism that the guesses refute."""
    return _largest_refuted(
        lambda mu: refutes(gaussian_inverse_blow_up(mu), m, guesses, right, alpha), _LARGEST_MU
    )


@dataclass(frozen=True)
class LowerBound:
    """What one run's guesses prove.

    Attributes:
        epsilon: lower bound, for Gaussian-like mechanisms (f-DP).
        pure: lower bound, for any mechanism (Steinke, Nasr, Jagielski).
        guesses: number that gave `epsilon`.
        right: of them.
        confidence: that each bound holds, over the choice of the number of guesses too.
    """

    epsilon: float
    pure: float
    guesses: int
    right: int
    confidence: float


def ladder(m: int, rungs: int = 8) -> list[int]:
    """Return numbers of guesses to try: the sure ones alone, up to half of all."""
    return sorted({max(2, round(m / 2 * 2**-k)) for k in range(rungs)})


def lower_bound(
    scores: Array,
    present: NDArray[np.bool_],
    delta: float,
    confidence: float = 0.95,
    counts: Sequence[int] | None = None,
) -> LowerBound:
    """Return the best bounds over several numbers of guesses, each at its share of the risk.

    Args:
        scores: float [m], higher where the canary seems to be there.
        present: bool [m], the coins.
        delta: of the claim.
        confidence: of each of the two bounds.
        counts: numbers of guesses that are tried, fixed before the scores are seen.

    Source: Bonferroni over the numbers of guesses.
    """
    m = len(scores)
    tried = list(counts or ladder(m))
    alpha = (1 - confidence) / len(tried)
    found = []
    pure = 0.0
    for count in tried:
        right = guesses_of(scores, present, count)
        found.append((mu_lower_bound(m, count, right, alpha), count, right))
        pure = max(pure, epsilon_lower_bound(m, count, right, delta, 1 - alpha))
    mu, count, right = max(found)
    return LowerBound(gaussian_epsilon(mu, delta), pure, count, right, confidence)


def violated(
    scores: Array,
    present: NDArray[np.bool_],
    inverse_blow_up: Curve,
    alpha: float = 0.001,
    counts: Sequence[int] | None = None,
) -> bool:
    """Return whether the guesses refute the promised curve itself at significance alpha."""
    tried = list(counts or ladder(len(scores)))
    return any(
        refutes(inverse_blow_up, len(scores), n, guesses_of(scores, present, n), alpha / len(tried))
        for n in tried
    )
