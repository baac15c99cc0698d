"""How far two methods agree about the same people: of ranks and of the largest cells.

B people, P cells of a person.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def rank_correlation(first: Floats, second: Floats, real: Flags) -> Floats:
    """Return Spearman's correlation of the absolute attributions of each person's cells.

    Args:
        first: float64 [B, P].
        second: float64 [B, P], of the same people.
        real: bool [B, P], false for padding.

    Returns:
        float64 [B]; NaN where all of a person's cells are equal.

    Source: Spearman (1904); ties share their mean rank.
    """
    ranks = []
    for values in (first, second):
        # Padding is larger than everything, and so changes no rank of a real cell.
        rank = rankdata(np.where(real, np.abs(values), np.inf), axis=1)
        centre = np.where(real, rank, 0).sum(1, keepdims=True) / real.sum(1, keepdims=True)
        ranks.append(np.where(real, rank - centre, 0.0))
    size = np.sqrt(np.square(ranks[0]).sum(1) * np.square(ranks[1]).sum(1))
    product = (ranks[0] * ranks[1]).sum(1)
    return np.where(size > 0, product / np.where(size > 0, size, 1), np.nan)


def top_overlap(first: Floats, second: Floats, real: Flags, k: int) -> tuple[Floats, Floats]:
    """Return the share of the k largest cells that two methods have in common.

    Args:
        first: float64 [B, P].
        second: float64 [B, P].
        real: bool [B, P].
        k: cells; fewer where a person has fewer.

    Returns:
        float64 [B], and what two random orders would share, float64 [B].
    """
    count = np.minimum(k, real.sum(1))
    tops = []
    for values in (first, second):
        order = np.argsort(np.where(real, -np.abs(values), np.inf), axis=1, kind="stable")
        place = np.argsort(order, axis=1, kind="stable")
        tops.append(place < count[:, None])
    return (tops[0] & tops[1]).sum(1) / count, count / real.sum(1)
