"""Many comparisons at once: simultaneous intervals, false discoveries, and what could be seen.

B resamples, J figures of one family.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from tasks import stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """Figures whose intervals hold together.

    Attributes:
        value: float64 [J].
        low: float64 [J].
        high: float64 [J].
        critical: so many standard errors the widest of them is from the truth at most.
    """

    value: Array
    low: Array
    high: Array
    critical: float

    @property
    def confidence(self) -> float:
        """Return the confidence of single intervals that, all together, hold as wanted."""
        return float(2 * special.ndtr(self.critical) - 1)


def max_t(
    values: ArrayLike, draws: ArrayLike, confidence: float = 0.95, log: bool = False
) -> Family:
    """Return intervals that hold all together, from the largest studentised deviation.

    Narrower than Bonferroni's where figures go together, as differences to one reference do.
    With few people, intervals of rates at `Family.confidence` (`stats.newcombe`) hold better
    than the symmetric ones returned here.

    Args:
        values: float [J]; NaN is left out of the family.
        draws: float [B, J], resampled.
        confidence: that all J hold.
        log: figures are ratios; deviations are measured between logarithms.

    Returns:
        The family; NaN ends where a figure has no value or does not vary.

    Source: Westfall and Young (1993); Romano and Wolf (2005), single step.
    """
    value, drawn = np.asarray(values, dtype=np.float64), np.asarray(draws, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = np.log(value) if log else value
        moved = np.where(np.isfinite(drawn), np.log(drawn) if log else drawn, np.nan)
    moved = np.where(np.isfinite(moved), moved, np.nan)
    spread = _spread(moved)
    used = np.isfinite(centre) & (spread > 0)
    if not used.any():
        nothing = np.full(value.shape, math.nan)
        return Family(value, nothing, nothing, math.nan)
    far = np.abs(moved[:, used] - centre[used]) / spread[used]
    largest = np.fmax.reduce(far, axis=1)
    critical = float(np.quantile(largest[np.isfinite(largest)], confidence))
    half = np.where(used, critical * spread, np.nan)
    low, high = centre - half, centre + half
    return Family(value, np.exp(low) if log else low, np.exp(high) if log else high, critical)


def _spread(moved: Array) -> Array:
    """Standard deviation along the first axis of what is a number; NaN below two."""
    there = np.isfinite(moved)
    count = there.sum(0)
    filled = np.where(there, moved, 0.0)
    mean = filled.sum(0) / np.maximum(count, 1)
    square = (np.where(there, moved - mean, 0.0) ** 2).sum(0)
    return np.where(count > 1, np.sqrt(square / np.maximum(count - 1, 1)), np.nan)


def benjamini_hochberg(p_values: ArrayLike) -> Array:
    """Return adjusted p-values: calling all up to q keeps the share of false calls at q.

    Args:
        p_values: float [J]; NaN is left out of the family and stays NaN.

    Source: Benjamini and Hochberg (1995).

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.03])
        array([0.03, 0.04, 0.04])
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, math.nan)
    kept = np.flatnonzero(np.isfinite(given))
    order = kept[np.argsort(-given[kept], kind="stable")]
    rank = np.arange(len(order), 0, -1)
    with np.errstate(divide="ignore"):
        scaled = given[order] * len(order) / rank
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled))
    return adjusted


def p_value(figure: stats.Interval, confidence: float = 0.95) -> float:
    """Return the two-sided p-value of no difference, from a difference's interval.

    The half of the interval that faces 0 is taken for so many standard errors, so that the
    p-value is below 1 - confidence where the interval excludes 0, and only there.

    Args:
        figure: signed difference.
        confidence: of its interval.

    Example:
        >>> round(p_value(stats.Interval(2.0, 0.0, 5.0)), 3)
        0.05
    """
    half = figure.value - figure.low if figure.value > 0 else figure.high - figure.value
    if not math.isfinite(figure.value) or not half > 0:
        return math.nan
    return float(2 * special.ndtr(-abs(figure.value) / half * stats.normal_quantile(confidence)))


def p_value_of_rates(successes: float, people: float, other: float, other_people: float) -> float:
    """Return the two-sided p-value of equal rates that agrees with Newcombe's interval.

    It is 1 less the confidence at which the interval of the difference just reaches 0, so that
    p-value and interval never say different things.

    Source: inversion of Newcombe (1998b), method 10.

    Example:
        >>> round(p_value_of_rates(60, 100, 50, 100), 3)
        0.155
    """
    value = stats.newcombe(successes, people, other, other_people).value
    if not math.isfinite(value):
        return math.nan
    if value == 0:
        return 1.0
    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        apart = _excludes_zero(successes, people, other, other_people, middle)
        low, high = (middle, high) if apart else (low, middle)
    return float(2 * special.ndtr(-low))


def _excludes_zero(
    successes: float, people: float, other: float, other_people: float, z: float
) -> bool:
    """Whether Newcombe's interval of so many standard errors leaves out equality."""
    confidence = float(special.erf(z / math.sqrt(2)))
    if confidence >= 1:
        return False
    found = stats.newcombe(successes, people, other, other_people, confidence)
    return found.low > 0 or found.high < 0


def detectable_gap(
    people: float, other_people: float, base: float, power: float = 0.8, confidence: float = 0.95
) -> float:
    """Return the smallest difference of two rates that the sample would have shown.

    A gap of this size, up or down where both are possible, would have an interval that
    excludes equality with the given probability. NaN where no gap would.

    Args:
        people: of the group, as many as are in the rate's denominator.
        other_people: of the reference.
        base: the reference's rate.
        power: probability of seeing the gap.
        confidence: of the interval.

    Source: two-sample test of proportions, Fleiss, Levin and Paik (2003), section 4.2.

    Example:
        >>> round(detectable_gap(500, 500, 0.5), 3)
        0.088
    """
    if people <= 0 or other_people <= 0 or not 0 <= base <= 1:
        return math.nan
    found = []
    for sign, room in ((-1, base), (1, 1 - base)):

        def seen(gap: float, sign: int = sign) -> bool:
            return _power(people, other_people, base, base + sign * gap, confidence) >= power

        if room <= 0 or not seen(room):
            continue
        low, high = 0.0, room
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if seen(middle) else (middle, high)
        found.append(high)
    return max(found, default=math.nan)


def _power(
    people: float, other_people: float, base: float, rate: float, confidence: float
) -> float:
    """Probability that the test of equal rates rejects."""
    pooled = (people * rate + other_people * base) / (people + other_people)
    null = math.sqrt(pooled * (1 - pooled) * (1 / people + 1 / other_people))
    true = math.sqrt(rate * (1 - rate) / people + base * (1 - base) / other_people)
    reach = abs(rate - base) - stats.normal_quantile(confidence) * null
    if true == 0:
        return 1.0 if reach > 0 else 0.0
    return float(special.ndtr(reach / true))
