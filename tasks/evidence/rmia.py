"""Membership by likelihood ratios: is a person likelier under the model than they should be?

How likely a person is at all, reference models tell that were trained without them. A hard case
has a high loss whether it was trained on or not; a plain loss threshold cannot tell.

n people, Z of the population, K reference models.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tasks import stats

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Variant = Literal["offline", "online"]

# A loss beyond this is a likelihood of nothing; keeps ratios finite.
_LARGEST_LOSS = 60.0
_GRID = tuple(i / 10 for i in range(11))
# The mean loss times this is the scale of a kind whose losses are no log likelihoods.
_SCALES = {"regression": 2.0, "forecast": 1.0}


@dataclass(frozen=True)
class Referees:
    """What the reference models make of some people.

    Attributes:
        losses: float [K, n].
        seen: bool [K, n], whether a model was trained on the person; models 2i and 2i + 1 on
            opposite halves.
    """

    losses: Array
    seen: Flags

    def of(self, people: NDArray[np.int64]) -> "Referees":
        """Return the same of some people alone."""
        return Referees(self.losses[:, people], self.seen[:, people])


def likelihood(losses: Array, scale: float = 1.0) -> Array:
    """Return exp(-loss / scale), never 0."""
    return np.exp(-np.minimum(losses / scale, _LARGEST_LOSS))


def expected_likelihood(
    referees: Referees, variant: Variant, offline_a: float, scale: float = 1.0
) -> Array:
    """Return how likely each person is to be under a model of unknown training people.

    Online it is the mean of models with and of models without the person, half and half.
    Offline only models without the person count, and the likelihood under the others is taken
    for a line of it, a x + 1 - a.

    Args:
        referees: each person seen by half of them.
        variant: online or offline.
        offline_a: slope of that line, 0 to 1; 1 for models that hardly overfit.
        scale: of the losses.

    Returns:
        float [n].

    Source: Zarifzadeh, Liu and Shokri (2024), "Low-cost high-power membership inference
    attacks".
    """
    found = likelihood(referees.losses, scale)
    without = np.where(referees.seen, 0.0, found).sum(0) / np.maximum((~referees.seen).sum(0), 1)
    if variant == "offline":
        return 0.5 * ((1 + offline_a) * without + 1 - offline_a)
    within = np.where(referees.seen, found, 0.0).sum(0) / np.maximum(referees.seen.sum(0), 1)
    return 0.5 * (within + without)


def scores(ratios: Array, population: Array, gamma: float) -> Array:
    """Return the share of the population that each person's ratio dominates, gamma times over.

    The score rises with the ratio; the population gives it a meaning of its own: of people who
    were not trained on, a share of 1 - t scores above t where gamma is 1.

    Args:
        ratios: float [n], likelihood under the attacked model over the expected one.
        population: float [Z], the same of people who were not trained on.
        gamma: at least 1.

    Returns:
        float [n], each 0 to 1, higher meaning member.

    Source: Zarifzadeh, Liu and Shokri (2024).

    Example:
        >>> scores(np.array([1.0, 3.0]), np.array([0.5, 1.0, 1.5, 2.0]), gamma=1.0).tolist()
        [0.5, 1.0]
        >>> scores(np.array([1.0, 3.0]), np.array([0.5, 1.0, 1.5, 2.0]), gamma=2.0).tolist()
        [0.25, 0.75]
    """
    bars = gamma * np.sort(population)
    return np.searchsorted(bars, ratios, side="right") / max(len(population), 1)


def choose_offline_a(referees: Referees, scale: float = 1.0) -> float:
    """Return the slope at which the first reference model is attacked best by the others.

    No membership of the attacked model is looked at. The model's own pair is left out, so that
    each person, seen or not, is judged by half of the rest. With one pair there is no rest: 1.

    Source: Zarifzadeh, Liu and Shokri (2024).
    """
    if len(referees.losses) < 4:
        return 1.0
    rest = Referees(referees.losses[2:], referees.seen[2:])
    own, member = likelihood(referees.losses[0], scale), referees.seen[0]
    if member.all() or not member.any():
        return 1.0

    def area(a: float) -> float:
        ratios = own / expected_likelihood(rest, "offline", a, scale)
        return float(stats.placements(member, ratios)[0].mean())

    # The largest of equals: the plain ratio needs no assumption.
    return max(reversed(_GRID), key=area)


def scale_of(losses: Array, task: str) -> float:
    """Return what losses are divided by to be minus log likelihoods.

    A classifier's are, and of tokens and symbols each one's on average. A regression's are half
    squares of its error: with the variance of the errors of people who were not trained on, they
    are those of a normal distribution. A forecast's weigh absolute errors: with their mean as
    scale, they are those of an asymmetric Laplace distribution.

    Args:
        losses: float [Z], of the population under the attacked model.
        task: kind of target.

    Source: Yu and Moyeed (2001), "Bayesian quantile regression", for the last.
    """
    scale = _SCALES.get(task, 0.0) * float(losses.mean()) if len(losses) else math.nan
    return scale if scale > 0 else 1.0


def attack_scores(
    target: Array,
    referees: Referees,
    population: NDArray[np.int64],
    *,
    variant: Variant,
    gamma: float,
    offline_a: float,
    scale: float = 1.0,
) -> Array:
    """Return each person's score, higher meaning member.

    Args:
        target: float [n], losses under the attacked model.
        referees: of the same people.
        population: int64 [Z], which of the people stand for all who were not trained on.
        variant: online or offline.
        gamma: by how much a ratio must dominate.
        offline_a: of the offline variant.
        scale: of the losses.

    Returns:
        float [n]; those of the population are of no use.
    """
    ratios = likelihood(target, scale) / expected_likelihood(referees, variant, offline_a, scale)
    return scores(ratios, ratios[population], gamma)
