"""Intervals of predicted numbers: how wide, from the residuals of people set aside for it.

Split conformal prediction. Half of the held-out people, by a hash of each one's id alone, give
nothing but the half width: the other half is audited and measured. The half width is one of K
public candidates, chosen privately among those people. n rows of them.

Who was trained on cannot give it: a model is closer to the people it has seen, and an interval
made of them would be too narrow for everybody else.

Source: Vovk, Gammerman, Shafer (2005); Papadopoulos et al. (2002) for the split; Angelopoulos,
Bates, Zrnic, Jordan (2022), "Private prediction sets", for the private quantile.
"""

import math
from fractions import Fraction
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rnn.privacy.choice import choose
from rnn.privacy.event import Event
from rnn.privacy.noise import Keystream
from tasks.recipe import ReleasePlan

Array = NDArray[np.float64]

# Number of the stream of a seeded run, beside those of threshold and histogram.
WIDTH = 2**62 + 2
CANDIDATES = 500
# The narrowest candidate, as a share of the target's whole range.
NARROWEST = 1e-5


def setting_aside(person_ids: pl.Series) -> NDArray[np.bool_]:
    """Return which rows are of people that give the half width and nothing else.

    The half depends on the id alone, not on the split: whoever is in it stays in it in every
    version of the data and of the split.

    Args:
        person_ids: str [n], of held-out rows.
    """
    drawn = [
        blake2b(str(person).encode(), digest_size=8, person=b"interval").digest()[0] < 128
        for person in person_ids.to_list()
    ]
    return np.array(drawn, dtype=np.bool_)


def half_widths(bounds: tuple[float, float]) -> Array:
    """Return the candidates, rising evenly on the log scale; the last is the whole range.

    Args:
        bounds: public, of the target.

    Returns:
        float64 [K].
    """
    return (bounds[1] - bounds[0]) * np.geomspace(NARROWEST, 1.0, CANDIDATES)


def sensitivity(level: float, max_rows: int) -> Fraction:
    """Return how far one person moves any shortfall.

    Args:
        level: share of people whose number shall lie in the interval.
        max_rows: of one person.
    """
    wanted = Fraction(str(level))
    return max_rows * max(wanted, 1 - wanted)


def spare(level: float, epsilon: float, max_rows: int) -> Fraction:
    """Return how many people more to aim at, so that `level` is covered whatever is chosen.

    Whatever the data, the exponential mechanism misses by t people or more with a chance of at
    most K exp(-r t), r = epsilon / (2 sensitivity). Another person's residual has each rank among
    the n + 1 with the same chance, and lies outside only where fewer people than its rank are
    within; summed over the ranks, all but level (n + 1) of them are outside if
    log(K) / r + 1 / (1 - exp(-r)) people are added to the count that is aimed at.

    Args:
        level: share of people whose number shall lie in the interval.
        epsilon: of the choice.
        max_rows: of one person.

    Source: McSherry and Talwar (2007), theorem 6, for the chance.
    """
    rate = epsilon / (2 * float(sensitivity(level, max_rows)))
    return Fraction(math.log(CANDIDATES) / rate - 1 / math.expm1(-rate))


def shortfalls(residuals: Array, widths: Array, level: float, more: Fraction) -> list[Fraction]:
    """Return by how many people each candidate misses being the smallest that is wide enough.

    Too narrow by as many people as lie within it short of level x (n + 1) + more; too wide by as
    many as the next narrower one has beyond that. The whole range is never too narrow. Somebody
    who comes or goes moves each by at most the larger of level and 1 - level.

    Args:
        residuals: |number - prediction| [n].
        widths: candidates, rising [K].
        level: share of people to be within.
        more: people, beyond that share.
    """
    wanted = Fraction(str(level)) * (len(residuals) + 1) + more
    within = np.searchsorted(np.sort(residuals), widths, side="right").tolist()
    found, before = [], 0
    for index, people in enumerate(within):
        narrow = Fraction(0) if index == len(widths) - 1 else wanted - people
        found.append(max(Fraction(0), narrow, before - wanted))
        before = people
    return found


def private_half_width(
    residuals: Array,
    level: float,
    bounds: tuple[float, float],
    plan: ReleasePlan,
    stream: Keystream,
) -> float:
    """Return a half width that covers the share, chosen by the exponential mechanism.

    Args:
        residuals: of the rows that are set aside and `kept` [n].
        level: share of people whose number shall lie in the interval.
        bounds: public, of the target.
        plan: epsilon and max_rows.
        stream: where the draw comes from.
    """
    widths, (epsilon, _) = half_widths(bounds), plan.promise
    index = choose(
        shortfalls(residuals, widths, level, spare(level, epsilon, plan.max_rows)),
        epsilon=epsilon,
        sensitivity=sensitivity(level, plan.max_rows),
        stream=stream,
    )
    return float(widths[index])


def exact_half_width(residuals: Array, level: float, bounds: tuple[float, float]) -> float:
    """Return the smallest candidate that covers the share; arguments as above. Internal."""
    widths = half_widths(bounds)
    found = shortfalls(residuals, widths, level, Fraction(0))
    return float(widths[found.index(min(found))])


def ends(predicted: Array, half_width: float, bounds: tuple[float, float]) -> tuple[Array, Array]:
    """Return low and high ends of the intervals, within the target's bounds [n] each."""
    return np.clip(predicted - half_width, *bounds), np.clip(predicted + half_width, *bounds)


def event_of(plan: ReleasePlan) -> Event:
    """Return the choice as an event of a ledger."""
    return Event(
        released="the width of prediction intervals",
        people="held-out",
        mechanism="stated",
        epsilon=plan.promise[0],
        unit=plan.unit,
    )


def account(plan: ReleasePlan, stream: Keystream) -> dict[str, Any]:
    """Return what the width cost the people set aside for it."""
    return {
        "people": "held-out people set aside for the width of intervals",
        "epsilon": plan.epsilon,
        "delta": 0.0,
        "unit": plan.unit,
        "mechanism": "exponential",
        "candidates": CANDIDATES,
        "max_rows": plan.max_rows,
        "events": [event_of(plan).as_dict()],
        "composition": "parallel with training and with the people who are audited: max",
        "noise_source": stream.source,
        "insecure": plan.insecure_seed is not None,
    }
