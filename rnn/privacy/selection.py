"""The best of a random number of private trials, and what showing it costs.

Each trial draws its candidate from one fixed public distribution, trains, and gives itself a
score, all of it private. Only the winner is shown: its model, candidate and score. How many
trials there were is drawn before the first of them and is never shown. Then the cost grows with
the logarithm of the mean number of trials, not with their number.

Where the next candidate depends on what earlier ones gave, or where any trial but the winner is
seen, none of this holds, and every trial has to be added up.

lambda: an order of the Renyi divergence; K: the number of trials; gamma: what is left of a
success's chance in the negative binomial distribution.

Source: Papernot and Steinke (2022), "Hyperparameter tuning with Renyi differential privacy",
theorems 2 and 6, definition 1.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rnn.privacy.event import Event

# Torch takes seconds to import, and a plan needs none of it.
if TYPE_CHECKING:
    from rnn.privacy.noise import Keystream

Curve = NDArray[np.float64]

ACCOUNTANT = "Renyi divergences (Papernot and Steinke 2022)"
# Orders at which curves are kept; finer where small epsilons are read.
ORDERS: Curve = np.array(
    [1 + k / 10 for k in range(1, 100)] + [float(k) for k in range(11, 64)] + [128, 256, 512, 1024]
)
# No draw of K lasts longer: the chance of more is below 1e-15 for every mean that is allowed.
_MOST = 10_000_000


@dataclass(frozen=True)
class Repeats:
    """How the number of trials is drawn.

    Attributes:
        mean: of K; of at least one trial, but for Poisson.
        shape: 1 geometric, 0 logarithmic, between and above truncated negative binomial,
            infinite Poisson. The smaller, the cheaper and the more uneven.

    Raises:
        ValueError: the mean or the shape is out of range.

    Example:
        >>> ten = Repeats(mean=10.0, shape=1.0)
        >>> [round(p, 3) for _, p in zip(range(3), ten.chances())]
        [0.1, 0.09, 0.081]
    """

    mean: float
    shape: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no distribution."""
        if not 1 < self.mean <= 10_000:
            raise ValueError(f"mean = {self.mean:g} must be above 1 and at most 10000")
        if not self.shape >= 0:
            raise ValueError(f"shape = {self.shape:g} must be at least 0")

    @property
    def poisson(self) -> bool:
        """Whether K may be 0."""
        return math.isinf(self.shape)

    @cached_property
    def gamma(self) -> float:
        """The parameter that gives the mean, or a hair more."""
        low, high = 0.0, 1.0
        while high - low > 1e-15 * high:
            middle = (low + high) / 2
            if middle in (low, high):
                break
            low, high = (low, middle) if _mean(middle, self.shape) < self.mean else (middle, high)
        return low

    def chances(self) -> Iterator[float]:
        """Yield the chance of K = 1, 2, ... (of Poisson from K = 0 on)."""
        if self.poisson:
            chance, k = math.exp(-self.mean), 0
            while True:
                yield chance
                k += 1
                chance *= self.mean / k
        step, eta = 1 - self.gamma, self.shape
        if eta == 0:
            chance = -step / math.log(self.gamma)
        else:
            chance = step * eta / math.expm1(-eta * math.log(self.gamma))
        k = 1
        while True:
            yield chance
            chance *= step * (k + eta) / (k + 1)
            k += 1

    def draw(self, stream: "Keystream") -> int:
        """Return K; whoever sees it learns more than the account covers.

        Args:
            stream: where the draw comes from; its next number must serve nothing else.
        """
        drawn, below = float(stream.integers(1)[0]) * 2.0**-64, 0.0
        first = 0 if self.poisson else 1
        for k, chance in enumerate(self.chances(), start=first):
            below += chance
            if drawn < below or k >= _MOST:
                return k
        raise AssertionError("the chances never end")


def _mean(gamma: float, eta: float) -> float:
    """The mean of the truncated negative binomial distribution; falls from infinity to 1."""
    if gamma >= 1:
        return 1.0
    if eta == 0:
        return (1 / gamma - 1) / -math.log(gamma) if gamma > 0 else math.inf
    return eta * (1 - gamma) / (gamma * -math.expm1(eta * math.log(gamma))) if gamma else math.inf


@lru_cache(maxsize=4096)
def _sampled(sample_rate: float, noise_multiplier: float) -> tuple[float, ...]:
    """Renyi divergences of one sampled Gaussian step."""
    # Imported late: it takes seconds.
    from opacus.accountants.analysis.rdp import compute_rdp

    found = compute_rdp(
        q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=ORDERS.tolist()
    )
    values = np.atleast_1d(np.asarray(found, dtype=np.float64))
    # An order whose sum could not be worked out, as where torch flushes small numbers to zero
    # while it trains, promises nothing.
    return tuple(np.where(np.isnan(values), math.inf, values).tolist())


def curve(events: Sequence[Event]) -> Curve:
    """Return the Renyi divergences of events of the same people together, [len(ORDERS)].

    Args:
        events: sampled_gaussian or gaussian.

    Raises:
        ValueError: an event of another mechanism, which these orders say nothing of.

    Source: Mironov, Talwar, Zhang (2019), section 3.3, by Opacus; Mironov (2017), proposition 7.
    """
    total = np.zeros(len(ORDERS))
    for event in (event for event in events if event.count):
        noise = event.noise_multiplier or 0.0
        if event.mechanism == "sampled_gaussian" and event.sample_rate < 1:
            total += event.count * np.array(_sampled(event.sample_rate, noise))
        elif event.mechanism in ("gaussian", "sampled_gaussian"):
            total += event.count * ORDERS / (2 * noise**2)
        else:
            raise ValueError(f"{event.released}: a trial cannot hold a {event.mechanism} event")
    return total


def winner_curve(trial: Curve, repeats: Repeats) -> Curve:
    """Return the Renyi divergences of showing the best of K trials.

    Args:
        trial: of one trial, its score included; the largest over all candidates.
        repeats: how K is drawn.
    """
    above = ORDERS - 1
    if repeats.poisson:
        return (
            trial
            + repeats.mean * _delta(trial, np.log1p(1 / above))
            + (math.log(repeats.mean) / above)
        )
    # The order of the second divergence is free: one serves all.
    other = np.min((1 - 1 / ORDERS) * trial - math.log(repeats.gamma) / ORDERS)
    mean = math.log(_mean(repeats.gamma, repeats.shape))
    found = trial + (1 + repeats.shape) * other + mean / above
    # A divergence rises with its order, so that a higher order bounds a lower one.
    return np.minimum.accumulate(found[::-1])[::-1]


def _delta(trial: Curve, epsilons: Curve) -> Curve:
    """Delta at some epsilons, read from divergences (Canonne, Kamath, Steinke 2020)."""
    above = ORDERS - 1
    logs = above * (trial - epsilons[:, None]) + above * np.log1p(-1 / ORDERS) - np.log(ORDERS)
    return np.minimum(1.0, np.exp(np.minimum(logs.min(axis=1), 0.0)))


def epsilon_at(divergences: Curve, delta: float) -> float:
    """Return the epsilon that Renyi divergences promise at delta.

    Source: Canonne, Kamath, Steinke (2020), "The discrete Gaussian for differential privacy",
    proposition 12.
    """
    above = ORDERS - 1
    found = divergences + np.log1p(-1 / ORDERS) - np.log(delta * ORDERS) / above
    return math.inf if np.isnan(found).any() else max(0.0, float(found.min()))


def winner_event(
    candidates: Sequence[Sequence[Event]], repeats: Repeats, delta: float, people: str
) -> Event:
    """Return one event for all that a search shows about some people: its winner.

    Args:
        candidates: the events of one trial, for every kind of candidate that costs differently.
        repeats: how the number of trials is drawn.
        delta: of the event.
        people: whose data.

    Returns:
        A stated event.
    """
    worst = np.max([curve(events) for events in candidates], axis=0)
    epsilon = epsilon_at(winner_curve(worst, repeats), delta)
    return Event(
        released=f"the best of unseen private trials (mean {repeats.mean:g}), and its score",
        people=people,
        mechanism="stated",
        epsilon=epsilon,
        delta=delta,
        unit=candidates[0][0].unit,
    )
