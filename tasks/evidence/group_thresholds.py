"""Thresholds by group from one noised histogram: everybody decided by score and group alone.

G groups of a feature, K score bins. Made of a released table, this costs no privacy. Decisions
are not random: who has the same score and group gets the same decision.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.evidence.score_table import ScoreTable

Array = NDArray[np.float64]
Goal = Literal["equal_opportunity", "demographic_parity"]

# A group's own threshold needs this many people in the counts that it is read from, and noise
# in their sum of at most this share of it.
LEAST = 50
NOISE_SHARE = 0.2
# Thresholds are multiples of this, as the overall one is.
STEP = 0.001


@dataclass(frozen=True)
class GroupThresholds:
    """From which score of the favourable outcome on the decision is favourable.

    Attributes:
        feature: whose groups have thresholds.
        goal: what is made equal.
        overall: threshold of everybody else.
        wanted: share that every group is brought to: of all people, or of those with the
            favourable outcome.
        thresholds: by label; a group of too few people has none of its own.
    """

    feature: str
    goal: Goal
    overall: float
    wanted: float
    thresholds: dict[str, float]

    def of(self, labels: list[str]) -> Array:
        """Return each person's threshold [N]; a label without one gets the overall one."""
        known = {label: self.thresholds.get(label, self.overall) for label in set(labels)}
        return np.array([known[label] for label in labels], dtype=np.float64)

    def decide(self, scores: NDArray[np.floating], labels: list[str]) -> NDArray[np.int64]:
        """Return 1 for the favourable decision, else 0.

        Args:
            scores: probability of the favourable outcome [N].
            labels: of each person [N].
        """
        return (np.asarray(scores, dtype=np.float64) >= self.of(labels)).astype(np.int64)


def nonnegative(counts: Array) -> Array:
    """Return the closest counts of at least 0 with the same sum over the last axis.

    Where the sum is not above 0, all are 0.

    Source: Held, Wolfe, Crowder (1974), projection on the simplex.

    Example:
        >>> nonnegative(np.array([5.0, -1.0, 2.0]))
        array([4.5, 0. , 1.5])
    """
    total = np.maximum(counts.sum(-1, keepdims=True), 0.0)
    falling = -np.sort(-counts, axis=-1)
    excess = (np.cumsum(falling, -1) - total) / np.arange(1, counts.shape[-1] + 1)
    kept = (falling > excess).sum(-1, keepdims=True)
    shift = np.take_along_axis(excess, np.maximum(kept - 1, 0), -1)
    return np.where(total > 0, np.maximum(counts - shift, 0.0), 0.0)


def share_from(counts: Array, edges: Array, threshold: float) -> float:
    """Return the share of people whose score is at least a threshold, even within a bin.

    Args:
        counts: [K], none negative, not all 0.
        edges: [K + 1].
        threshold: 0..1.
    """
    above = np.r_[np.cumsum(counts[::-1])[::-1], 0.0] / counts.sum()
    return float(np.interp(threshold, edges, above))


def threshold_for(counts: Array, edges: Array, wanted: float) -> float:
    """Return the threshold above which the wanted share of people lies, a multiple of STEP."""
    candidates = np.arange(1, round(1 / STEP)) * STEP
    above = np.r_[np.cumsum(counts[::-1])[::-1], 0.0] / counts.sum()
    missed = np.abs(np.interp(candidates, edges, above) - wanted)
    # The middle of a stretch without people leaves the most room to either side.
    best = np.flatnonzero(missed <= missed.min() + 1e-12)
    return float(np.round(candidates[best[len(best) // 2]], 3))


def group_thresholds(
    table: ScoreTable,
    feature: str,
    goal: Goal = "equal_opportunity",
    approval_rate: float | None = None,
) -> GroupThresholds:
    """Return thresholds that bring every group of a feature to one rate.

    Equal opportunity equals the share of favourable decisions among people with the favourable
    outcome (TPR), demographic parity that among all people. Overall TPR, or selection rate,
    stays what one threshold for everybody gives.

    Args:
        table: released; exact ones work too, for tests and internal use.
        feature: one of the table's.
        goal: what is made equal.
        approval_rate: share of all people that the overall threshold favours; None: the overall
            threshold is the table's.

    Raises:
        ValueError: the table has no such feature.
    """
    groups = table.of(feature)
    if not len(groups):
        raise ValueError(f"{feature!r} is not among {sorted(set(table.features))}")
    rows = table.counts[groups]
    held = rows[:, 1] if goal == "equal_opportunity" else rows.sum(1)
    summed = held.shape[1] * (1 if goal == "equal_opportunity" else 2)
    everyone = nonnegative(held.sum(0))
    overall = float(table.edges[table.decided])
    if approval_rate is not None:
        all_rows = nonnegative(rows.sum((0, 1)))
        # Counts that noise has left nothing of say nothing: the middle stands for them.
        some = all_rows.sum() > 0
        overall = threshold_for(all_rows, table.edges, approval_rate) if some else 0.5
    enough = max(LEAST, table.noise * np.sqrt(summed) / NOISE_SHARE)
    if everyone.sum() < enough:
        return GroupThresholds(feature, goal, overall, float("nan"), {})
    if approval_rate is not None and goal == "demographic_parity":
        wanted = approval_rate
    else:
        wanted = share_from(everyone, table.edges, overall)
    thresholds = {
        table.labels[group]: threshold_for(nonnegative(counts), table.edges, wanted)
        for group, counts in zip(groups.tolist(), held, strict=True)
        if counts.sum() >= enough
    }
    return GroupThresholds(feature, goal, overall, wanted, thresholds)


def as_published(found: GroupThresholds, event_favoured: bool) -> dict[str, Any]:
    """Return thresholds as decisions use them: on the probability of the event.

    Args:
        found: on the probability of the favourable outcome.
        event_favoured: the event is the favourable outcome.
    """

    def turned(threshold: float) -> float:
        return threshold if event_favoured else round(1 - threshold, 6)

    return {
        "feature": found.feature,
        "goal": found.goal,
        "wanted": found.wanted if math.isfinite(found.wanted) else None,
        "overall": turned(found.overall),
        "thresholds": {label: turned(value) for label, value in found.thresholds.items()},
    }


def event_predicted(
    scores: NDArray[np.floating], labels: Iterable[str], published: Mapping[str, Any]
) -> NDArray[np.int64]:
    """Return for whom the event is predicted, 1 or 0.

    Args:
        scores: probability of the event [N].
        labels: of the feature, of each person [N]; one without a threshold gets the overall one.
        published: from `as_published`.
    """
    cuts = cuts_of(labels, published, published["overall"])
    return (np.asarray(scores, dtype=np.float64) >= cuts).astype(np.int64)


def cuts_of(labels: Iterable[str | None], published: Mapping[str, Any], overall: float) -> Array:
    """Return the threshold of each person, float64 [N].

    Args:
        labels: of the feature, N; one without a threshold gets the overall one.
        published: from `as_published`, or what metrics.json says of it.
        overall: threshold of everybody else.
    """
    known = published["thresholds"]
    return np.array([known.get(label, overall) for label in labels], dtype=np.float64)
