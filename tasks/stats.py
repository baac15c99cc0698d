"""Intervals for counts, means, ratios and areas under the ROC curve.

N people, C classes, K scores of the same people.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure with its confidence interval; NaN where there is none.

    Example:
        >>> Interval(0.5, 0.25, math.nan).as_dict()
        {'value': 0.5, 'low': 0.25, 'high': None}
    """

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Return JSON values: what is not a finite number becomes null."""
        return {"value": finite(self.value), "low": finite(self.low), "high": finite(self.high)}

    def apply(self, rising: "np.ufunc") -> "Interval":
        """Return the interval of a rising function of the figure."""
        return Interval(*(float(rising(x)) for x in (self.value, self.low, self.high)))

    def clip(self, low: float, high: float) -> "Interval":
        """Return the interval with its ends inside what is possible."""
        return Interval(self.value, max(self.low, low), min(self.high, high))


NOTHING = Interval(math.nan, math.nan, math.nan)


def finite(value: float) -> float | None:
    """Return a number for JSON, or None."""
    return float(value) if math.isfinite(value) else None


def normal_quantile(confidence: float) -> float:
    """Return z such that a standard normal lies in -z..z with this probability."""
    return float(special.ndtri((1 + confidence) / 2))


def wilson(successes: float, people: float, confidence: float = 0.95) -> Interval:
    """Return a rate with Wilson's score interval; NaN when there is nobody.

    Args:
        successes: how many of them.
        people: of how many.
        confidence: of the interval.

    Source: Wilson (1927); Newcombe (1998a), method 3.

    Example:
        >>> wilson(8, 10).value
        0.8
    """
    if people <= 0:
        return NOTHING
    z = normal_quantile(confidence)
    rate = successes / people
    centre = rate + z * z / (2 * people)
    half = z * math.sqrt(rate * (1 - rate) / people + z * z / (4 * people * people))
    scale = 1 + z * z / people
    low = 0.0 if successes <= 0 else (centre - half) / scale
    high = 1.0 if successes >= people else (centre + half) / scale
    return Interval(rate, low, high)


def newcombe(
    successes: float, people: float, other: float, other_people: float, confidence: float = 0.95
) -> Interval:
    """Return a signed difference of two independent rates, first minus second.

    Source: Newcombe (1998b), method 10.
    """
    a, b = wilson(successes, people, confidence), wilson(other, other_people, confidence)
    difference = a.value - b.value
    below = math.hypot(a.value - a.low, b.high - b.value)
    above = math.hypot(a.high - a.value, b.value - b.low)
    return Interval(difference, difference - below, difference + above)


def rate_ratio(
    successes: float, people: float, other: float, other_people: float, confidence: float = 0.95
) -> Interval:
    """Return the ratio of two independent rates, first over second, with Katz's log interval.

    A first rate of zero gives 0 with a high end from half an event; a second of zero gives NaN.

    Source: Katz et al. (1978); half an event after Walter (1975).
    """
    if people <= 0 or other_people <= 0 or other <= 0:
        return NOTHING
    value = (successes / people) / (other / other_people)
    events = successes if successes > 0 else 0.5
    size = people if successes > 0 else people + 0.5
    spread = math.sqrt(max(0.0, 1 / events - 1 / size + 1 / other - 1 / other_people))
    centre = (events / size) / (other / other_people)
    factor = math.exp(normal_quantile(confidence) * spread)
    return Interval(value, centre / factor if successes > 0 else 0.0, centre * factor)


def clopper_pearson(successes: int, people: int, confidence: float = 0.95) -> Interval:
    """Return a rate with its exact interval; each end alone errs at most half of the rest.

    Source: Clopper and Pearson (1934).
    """
    if people <= 0:
        return NOTHING
    tail = (1 - confidence) / 2
    low = 0.0
    if successes > 0:
        low = float(special.betaincinv(successes, people - successes + 1, tail))
    high = 1.0
    if successes < people:
        high = float(special.betainccinv(successes + 1, people - successes, tail))
    return Interval(successes / people, low, high)


def mean(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return a mean with its normal interval; the ends are NaN below two values."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 0:
        return NOTHING
    value = float(array.mean())
    if len(array) == 1:
        return Interval(value, math.nan, math.nan)
    half = normal_quantile(confidence) * float(array.std(ddof=1)) / math.sqrt(len(array))
    return Interval(value, value - half, value + half)


def midranks(values: Array) -> Array:
    """Return ranks from 1, ties sharing their mean rank; O(N log N).

    Example:
        >>> midranks(np.array([3.0, 1.0, 3.0]))
        array([2.5, 1. , 2.5])
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    starts = np.flatnonzero(first)
    ends = np.r_[starts[1:], len(values)]
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return ranks


def placements(events: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    """Return for each person the share of the other class that the score ranks rightly.

    Args:
        events: bool [N].
        scores: float [N], higher meaning event.

    Returns:
        Of events float [P] and of the others float [N - P]; the mean of either is the AUC.

    Source: DeLong, DeLong and Clarke-Pearson (1988); Sun and Xu (2014).
    """
    is_event = np.asarray(events, dtype=bool)
    score = np.asarray(scores, dtype=np.float64)
    together = midranks(score)
    positives, negatives = int(is_event.sum()), int((~is_event).sum())
    above = (together[is_event] - midranks(score[is_event])) / max(negatives, 1)
    below = 1 - (together[~is_event] - midranks(score[~is_event])) / max(positives, 1)
    return above, below


def auc_covariance(events: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    """Return the AUC of several scores of the same people, and their covariance.

    Args:
        events: bool [N].
        scores: float [K, N].

    Returns:
        AUC float [K] and covariance float [K, K]; NaN unless both classes have two people.
    """
    columns = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    is_event = np.asarray(events, dtype=bool)
    positives, negatives = int(is_event.sum()), int((~is_event).sum())
    size = len(columns)
    if min(positives, negatives) < 1:
        return np.full(size, math.nan), np.full((size, size), math.nan)
    pairs = [placements(is_event, column) for column in columns]
    above, below = np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs])
    if min(positives, negatives) < 2:
        return above.mean(1), np.full((size, size), math.nan)
    covariance = np.cov(above) / positives + np.cov(below) / negatives
    return above.mean(1), covariance.reshape(size, size)


def auc(events: ArrayLike, scores: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the area under the ROC curve with DeLong's interval on the logit scale.

    Classes that do not overlap have no variance to measure: the far end is then the exact one
    for as many successes as the smaller class has people.

    Args:
        events: bool [N].
        scores: float [N], higher meaning event.
        confidence: of the interval.

    Source: DeLong et al. (1988); logit after Pepe (2003), section 5.2.
    """
    values, covariance = auc_covariance(events, scores)
    smaller = int(min(np.sum(events), len(np.asarray(events)) - np.sum(events)))
    return _auc_interval(float(values[0]), float(covariance[0, 0]), smaller, confidence)


def _auc_interval(value: float, variance: float, smaller: int, confidence: float) -> Interval:
    """Interval on the logit scale, exact where the classes are apart."""
    if not math.isfinite(value) or not math.isfinite(variance):
        return Interval(value, math.nan, math.nan)
    if value in (0.0, 1.0):
        end = clopper_pearson(smaller, smaller, confidence).low
        return Interval(1.0, end, 1.0) if value else Interval(0.0, 0.0, 1 - end)
    half = normal_quantile(confidence) * math.sqrt(variance) / (value * (1 - value))
    centre = float(special.logit(value))
    return Interval(value, float(special.expit(centre - half)), float(special.expit(centre + half)))


def auc_difference(
    events: ArrayLike, scores: ArrayLike, other: ArrayLike, confidence: float = 0.95
) -> Interval:
    """Return the AUC of `scores` minus that of `other`, paired on the same people.

    Source: DeLong et al. (1988).
    """
    values, covariance = auc_covariance(events, np.stack([np.asarray(scores), np.asarray(other)]))
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return _around(float(values[0] - values[1]), max(variance, 0.0), confidence)


def _around(value: float, variance: float, confidence: float) -> Interval:
    """Normal interval of a difference."""
    half = normal_quantile(confidence) * math.sqrt(variance)
    return Interval(value, value - half, value + half)


def macro_auc_influence(classes: NDArray[np.int64], scores: Array) -> tuple[float, Array]:
    """Return the mean one-vs-rest AUC and each person's influence on it.

    The variance of the figure is the variance of the influences over N, because one person
    counts in the curves of all classes. Classes that nobody has, or everybody, are left out.

    Args:
        classes: int64 [N], each in 0..C-1.
        scores: float [N, C].

    Returns:
        The figure and float [N].
    """
    influence, values = np.zeros(len(classes)), []
    for column in range(scores.shape[1]):
        is_event = classes == column
        share = float(is_event.mean()) if len(classes) else 0.0
        if not 0 < share < 1:
            continue
        above, below = placements(is_event, scores[:, column])
        values.append(float(above.mean()))
        influence[is_event] += (above - values[-1]) / share
        influence[~is_event] += (below - values[-1]) / (1 - share)
    if not values:
        return math.nan, np.full(len(classes), math.nan)
    return float(np.mean(values)), influence / len(values)


def macro_auc(classes: NDArray[np.int64], scores: Array, confidence: float = 0.95) -> Interval:
    """Return the mean one-vs-rest AUC with the interval that its influences give."""
    value, influence = macro_auc_influence(classes, scores)
    if not math.isfinite(value):
        return NOTHING
    return _around(value, float(influence.var(ddof=1)) / len(influence), confidence).clip(0, 1)


def macro_auc_difference(
    classes: NDArray[np.int64], scores: Array, other: Array, confidence: float = 0.95
) -> Interval:
    """Return the mean one-vs-rest AUC of `scores` minus that of `other`, paired."""
    value, influence = macro_auc_influence(classes, scores)
    other_value, other_influence = macro_auc_influence(classes, other)
    if not math.isfinite(value):
        return NOTHING
    variance = float((influence - other_influence).var(ddof=1)) / len(influence)
    return _around(value - other_value, variance, confidence)
