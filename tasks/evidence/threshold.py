"""The threshold that gives a wanted share of people the favourable outcome.

n held-out people. The event is predicted where its probability is at least the threshold.
"""

import secrets
from fractions import Fraction
from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rnn.privacy.choice import choose
from rnn.privacy.noise import Keystream
from tasks.evidence.calibration import GRID
from tasks.recipe import ReleasePlan

Array = NDArray[np.float64]

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


def kept(person_ids: pl.Series, plan: ReleasePlan) -> NDArray[np.bool_]:
    """Return which rows count in a release: at most max_rows of a person, drawn by a hash.

    Which of a person's rows are kept depends on that person's rows alone. Where the unit is a
    record, every row is a unit.

    Args:
        person_ids: str [n], of each row.
        plan: unit and max_rows.
    """
    chosen = np.ones(len(person_ids), dtype=np.bool_)
    if plan.unit == "record":
        return chosen
    drawn: dict[str, list[tuple[bytes, int]]] = {}
    for row in np.flatnonzero(person_ids.is_duplicated().to_numpy()).tolist():
        mine = drawn.setdefault(person_ids[row], [])
        mine.append((_draw(person_ids[row], len(mine)), row))
    for mine in drawn.values():
        chosen[[row for _, row in sorted(mine)[plan.max_rows :]]] = False
    return chosen


def _draw(person: str, rank: int) -> bytes:
    """A number for the rank-th row of a person."""
    return blake2b(f"{rank} {person}".encode(), digest_size=8, person=b"kept rows").digest()


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
