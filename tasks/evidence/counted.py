"""The two tables of an audit: the same people by score, and by decision.

Figures of scores (AUC, Brier, calibration) need score bins; figures of decisions need one count
for each outcome and decision. Where decisions get a threshold a group, no score bin tells them.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.evidence.score_table import ScoreTable, collapse

Array = NDArray[np.float64]

# Edges of a table whose score is the decision itself.
DECISION_EDGES = np.array([0.0, 0.5, 1.0])


@dataclass(frozen=True)
class Counted:
    """The same people counted twice.

    Attributes:
        scores: by score bin; its threshold is the overall one.
        decisions: by decision, two bins; the groups are those of `scores`.
        by_score: decisions follow from the score and the overall threshold alone.
    """

    scores: ScoreTable
    decisions: ScoreTable
    by_score: bool = True


def combined(counted: Counted) -> Counted:
    """Return noised tables whose decisions make use of the score bins too.

    Where decisions follow from the score, the bins of each decision add up to a second count of
    the same people: both are averaged, weighted by 1 / variance. The table's noise is then that
    of the noisier decision, at most too large for the other.

    Args:
        counted: noised, as it was drawn.

    Source: generalised least squares; Hay, Rastogi, Miklau, Suciu (2010), section 4.
    """
    if not counted.by_score:
        return counted
    scores, decisions = counted.scores, counted.decisions
    bins = np.array([scores.decided, scores.counts.shape[-1] - scores.decided])
    own, other = decisions.noise**-2.0, 1 / (bins * scores.noise**2)
    weight: Array = own / (own + other)
    sums = collapse(scores.counts, scores.decided)
    counts = weight * decisions.counts + (1 - weight) * sums
    noise = float((own + other).min() ** -0.5)
    return replace(counted, decisions=replace(decisions, counts=counts, noise=noise))
