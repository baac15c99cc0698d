"""Means by group with intervals that hold where persons repeat: losses, errors, R2.

N rows, F features, G groups of all features together.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.evidence.suppress import Groups
from tasks.evidence.table_intervals import Figures, around
from tasks.evidence.table_metrics import ratio

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


def sums(groups: Groups, values: Array) -> Array:
    """Return the sum of a value over each group, float64 [G]."""
    size = len(groups.labels)
    found = [np.bincount(column, values, size) for column in groups.codes.T]
    return np.sum(found, axis=0) if found else np.zeros(size)


def variance(groups: Groups, influences: Array, persons: Counts) -> Array:
    """Return the variance of sums of influences, rows of one person taken together: [G].

    Args:
        groups: of all features.
        influences: float64 [N, F], of each row on the figure of its group of each feature.
        persons: int64 [N], number of each row's person.

    Source: Liang and Zeger (1986), the sandwich with persons as clusters.
    """
    size = len(groups.labels)
    found = np.zeros(size)
    for column, influence in zip(groups.codes.T, influences.T, strict=True):
        pairs, place = np.unique(persons * size + column, return_inverse=True)
        together = np.bincount(place, influence, len(pairs))
        found += np.bincount(pairs % size, together**2, size)
    return found


def mean_by_group(
    groups: Groups,
    values: Array,
    persons: Counts,
    confidence: float,
    weights: Array | None = None,
) -> Figures:
    """Return each group's mean with an interval.

    With token counts as weights and each text's mean loss as value it is the loss a token;
    `np.exp` of all three is the perplexity.

    Args:
        groups: of all features.
        values: float64 [N].
        persons: int64 [N], number of each row's person.
        confidence: of the intervals.
        weights: float64 [N], not negative; all 1 if None.
    """
    weight = np.ones(len(values)) if weights is None else weights
    total = sums(groups, weight)
    value = ratio(sums(groups, weight * values), total)
    rows = groups.codes
    influences = weight[:, None] * (values[:, None] - value[rows]) / total[rows]
    return _around(groups, value, influences, persons, confidence)


def _around(
    groups: Groups, value: Array, influences: Array, persons: Counts, confidence: float
) -> Figures:
    """Interval from influences; none below two people."""
    size = sums(groups, np.ones(len(groups.codes)))
    spread = np.sqrt(variance(groups, influences, persons))
    # One person's influence on a mean is 0: no spread is no knowledge.
    known = np.where(size > 1, spread * np.sqrt(ratio(size, size - 1)), np.nan)
    return around(value, known, size, confidence)


def r2_by_group(
    groups: Groups, y: Array, predicted: Array, persons: Counts, confidence: float
) -> Figures:
    """Return each group's R2, against the group's own mean, with an interval.

    Args:
        groups: of all features.
        y: float64 [N].
        predicted: float64 [N].
        persons: int64 [N].
        confidence: of the intervals.
    """
    size = sums(groups, np.ones(len(y)))
    mean = ratio(sums(groups, y), size)
    square = (predicted - y) ** 2
    error = ratio(sums(groups, square), size)
    own = ratio(sums(groups, (y - y.mean()) ** 2), size) - (mean - y.mean()) ** 2
    rows = groups.codes
    apart = (y[:, None] - mean[rows]) ** 2 - own[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = error[rows] / own[rows] ** 2 * apart - (square[:, None] - error[rows]) / own[rows]
    value = 1 - ratio(error, own)
    return _around(groups, value, pull / size[rows], persons, confidence)


def perplexity(loss: Figures) -> Figures:
    """Return perplexity from a mean loss a token."""
    return Figures(np.exp(loss.value), np.exp(loss.low), np.exp(loss.high))
