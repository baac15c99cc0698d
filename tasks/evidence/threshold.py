"""The threshold that gives a wanted share of people the favourable outcome.

n held-out people. The event is predicted where its probability is at least the threshold.
"""

import secrets
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rnn.privacy.choice import choose
from rnn.privacy.noise import Keystream
from tasks.evidence.calibration import GRID
from tasks.evidence.kept import kept
from tasks.recipe import ReleasePlan

Array = NDArray[np.float64]
# Scores and the wanted share of favourable decisions -> threshold.
Chooser = Callable[[Array, float, bool], float]

# Numbers of the streams of a seeded run; training uses the numbers of its steps.
THRESHOLD, HISTOGRAM = 2**62, 2**62 + 1


def keystream(plan: ReleasePlan, number: int) -> Keystream:
    """Return the randomness of one release: of the operating system, unless a test seeds it.

    Args:
        plan: with or without insecure_seed.
        number: of the release, THRESHOLD or HISTOGRAM.
    """
    if plan.insecure_seed is None:
        return Keystream.from_system()
    return Keystream.from_seed(plan.insecure_seed).child(number)


def draw_name(plan: ReleasePlan) -> str | None:
    """Return a name of one private choice of the threshold; None where it is not chosen privately.

    A second choice costs again, also where it falls on the same threshold: by its name the audit
    tells it from the first.
    """
    if plan.mode != "noised" or not plan.threshold_epsilon:
        return None
    return secrets.token_hex(8) if plan.insecure_seed is None else "seeded"


def grid() -> Array:
    """Return the thresholds that may be chosen: an exact quantile would be one person's score."""
    return np.arange(1, GRID) / GRID


def exact_threshold(scores: Array, rate: float, favourable_event: bool) -> float:
    """Return the smallest threshold whose share of favourable decisions is closest.

    Args:
        scores: P(event) [n].
        rate: wanted share of favourable decisions.
        favourable_event: the event itself is favourable.
    """
    below = np.searchsorted(np.sort(scores), grid(), side="left") / max(len(scores), 1)
    share = 1 - below if favourable_event else below
    return float(grid()[np.argmin(np.abs(share - rate))])


def distances(scores: Array, rate: Fraction, favourable_event: bool) -> list[Fraction]:
    """Return by how many people each threshold misses the wanted share.

    |favourable decisions - rate x n|, which is |sum over people of (decision - rate)|: a person
    who comes or goes moves it by at most the larger of rate and 1 - rate.
    """
    below = np.searchsorted(np.sort(scores), grid(), side="left")
    favourable = len(scores) - below if favourable_event else below
    return [abs(int(people) - rate * len(scores)) for people in favourable.tolist()]


def private_threshold(
    scores: Array, rate: float, favourable_event: bool, plan: ReleasePlan, stream: Keystream
) -> float:
    """Return a threshold close to the wanted share, chosen by the exponential mechanism.

    Args:
        scores: P(event) [n], of the rows that are `kept`.
        rate: wanted share of favourable decisions.
        favourable_event: the event itself is favourable.
        plan: threshold_epsilon and max_rows.
        stream: where the draw comes from.
    """
    wanted = Fraction(str(rate))
    index = choose(
        distances(scores, wanted, favourable_event),
        epsilon=plan.threshold_epsilon,
        sensitivity=plan.max_rows * max(wanted, 1 - wanted),
        stream=stream,
    )
    return float(grid()[index])


def published_chooser(
    plan: ReleasePlan, person_ids: pl.Series, charge: Callable[[], None]
) -> Chooser:
    """Return how the model's threshold is found: privately where its release promises epsilon.

    Twin and baseline stay internal, and so do their thresholds.

    Args:
        plan: of what is published about held-out people.
        person_ids: of the rows to be scored.
        charge: writes the choice down before it is drawn, or refuses it.
    """
    if plan.mode != "noised":
        return exact_threshold

    def choose(scores: Array, rate: float, favourable_event: bool) -> float:
        counted = scores[kept(person_ids, plan)]
        charge()
        stream = keystream(plan, THRESHOLD)
        return private_threshold(counted, rate, favourable_event, plan, stream)

    return choose
