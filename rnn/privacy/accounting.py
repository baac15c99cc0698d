"""Epsilon of Poisson-sampled Gaussian steps, and the noise that a target needs."""

import math
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version

ACCOUNTANT = "PRV (Gopi, Lee, Wutschitz 2021)"
_TOLERANCE = 1e-3
_HIGHEST_NOISE = 1e4
# Where the central limit's mu is larger, epsilon is beyond 70 and the accountant's grid beyond
# memory.
_LARGEST_MU = 10.0


def accountant_version() -> str:
    """Return package and version of the accountant."""
    return f"opacus {version('opacus')}"


def epsilon_spent(
    *, noise_multiplier: float, sample_rate: float, steps: int, delta: float
) -> float:
    """Return the upper bound on epsilon after a number of steps.

    Args:
        noise_multiplier: standard deviation of the noise over max_grad_norm.
        sample_rate: inclusion probability a step.
        steps: released steps; 0 costs nothing.
        delta: at which epsilon is read.

    Returns:
        Epsilon; infinite where the steps leave no promise worth computing.

    Source: Gopi, Lee, Wutschitz (2021), "Numerical composition of differential privacy".
    """
    if steps == 0:
        return 0.0
    exponent = 1 / noise_multiplier**2
    if exponent > 100 or sample_rate * math.sqrt(steps * math.expm1(exponent)) > _LARGEST_MU:
        return math.inf
    return _prv(noise_multiplier, sample_rate, steps, delta)


@lru_cache(maxsize=256)
def _prv(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """The accountant's own answer."""
    # Imported late: it takes seconds, and a plan that changes nothing does without.
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(noise_multiplier, sample_rate, steps)]
    with warnings.catch_warnings():
        # PRV sizes its grid by a Renyi bound, whose order's being extreme is of no consequence.
        warnings.filterwarnings("ignore", message="Optimal order is the")
        return float(accountant.get_epsilon(delta=delta))


def noise_for(*, target_epsilon: float, sample_rate: float, steps: int, delta: float) -> float:
    """Return the smallest noise multiplier found whose epsilon is at most the target.

    Args:
        target_epsilon: not to be passed.
        sample_rate: inclusion probability a step.
        steps: planned steps.
        delta: at which epsilon is read.

    Raises:
        ValueError: no noise multiplier up to 10,000 reaches the target.
    """

    def epsilon(noise: float) -> float:
        return epsilon_spent(
            noise_multiplier=noise, sample_rate=sample_rate, steps=steps, delta=delta
        )

    return smallest_noise(epsilon, target_epsilon)


def smallest_noise(epsilon: Callable[[float], float], target_epsilon: float) -> float:
    """Return the smallest noise multiplier found whose epsilon is at most the target.

    Args:
        epsilon: of a noise multiplier, falling.
        target_epsilon: not to be passed.

    Raises:
        ValueError: no noise multiplier up to 10,000 reaches the target.
    """
    low, high = 0.25, 1.0
    while (spent := epsilon(high)) > target_epsilon:
        low, high = high, 2 * high
        if high > _HIGHEST_NOISE:
            raise ValueError(f"target_epsilon = {target_epsilon} cannot be reached with any noise")
    while target_epsilon - spent > _TOLERANCE * target_epsilon and high - low > 1e-5:
        middle = (low + high) / 2
        reached = epsilon(middle)
        if reached <= target_epsilon:
            high, spent = middle, reached
        else:
            low = middle
    return high
