"""Figures of held-out predictions, each with an interval, and paired differences.

n held-out people, C classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import stats
from tasks.evidence.calibration import bootstrap, calibration_line, expected_calibration_error
from tasks.recipe import PredictConfig

Array = NDArray[np.float64]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Predictions:
    """What one model says of the held-out people.

    Attributes:
        scores: binary P(event) [n]; multiclass [n, C]; regression in the target's units [n].
        predicted: int64 [n] classes, or the scores themselves for regression.
        losses: float64 [n], as training counts them.
        threshold: event is predicted from here on; None unless binary. Groups may have their own.
        low: of each interval, in the target's units [n]; None where there are none.
        high: of each interval.
        by_group: thresholds of the groups of one feature; None where all have the same.
    """

    scores: Array
    predicted: NDArray[np.generic]
    losses: Array
    threshold: float | None
    low: Array | None = None
    high: Array | None = None
    by_group: Figures | None = None


def measure(truth: NDArray[np.generic], made: Predictions, plan: PredictConfig) -> Figures:
    """Return a model's figures on held-out people, each with an interval.

    Args:
        truth: int64 [n] classes, or float64 [n] in the target's units.
        made: its predictions.
        plan: confidence, resamples and seed.
    """
    loss = stats.mean(made.losses, plan.confidence)
    if made.threshold is not None:
        figures = _binary(truth, made, plan)
    elif made.scores.ndim == 2:
        figures = _multiclass(truth.astype(np.int64), made, plan)
        figures["perplexity"] = loss.apply(np.exp)
    else:
        figures = _regression(np.asarray(truth, dtype=np.float64), made, plan)
    return {name: figure.as_dict() for name, figure in {"loss": loss, **figures}.items()}


def _accuracy(truth: NDArray[np.generic], made: Predictions, plan: PredictConfig) -> stats.Interval:
    """Share of people predicted rightly."""
    return stats.wilson(int((made.predicted == truth).sum()), len(truth), plan.confidence)


def _binary(truth: NDArray[np.generic], made: Predictions, plan: PredictConfig) -> Figures:
    """Figures of a probability of the event."""
    event = truth == 1
    slope, intercept = calibration_line(event, made.scores, plan.confidence)
    return {
        "accuracy": _accuracy(truth, made, plan),
        "auc": stats.auc(event, made.scores, plan.confidence),
        "ece": _ece(event, made.scores, plan),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
    }


def _multiclass(truth: NDArray[np.int64], made: Predictions, plan: PredictConfig) -> Figures:
    """Figures of probabilities of classes; calibration is that of the likeliest class."""
    right = made.predicted == truth
    return {
        "accuracy": _accuracy(truth, made, plan),
        "macro_f1": bootstrap(
            _cells(truth, made), macro_f1, plan.bootstraps, plan.seed, plan.confidence
        ),
        "auc": stats.macro_auc(truth, made.scores, plan.confidence),
        "ece": _ece(right, made.scores.max(1), plan),
    }


def _cells(truth: NDArray[np.int64], made: Predictions) -> Array:
    """Whether each person is rightly, is said to be, and is of each class: float64 [n, 3 C]."""
    classes = np.arange(made.scores.shape[1])
    said, actual = made.predicted[:, None] == classes, truth[:, None] == classes
    return np.concatenate([said & actual, said, actual], axis=1).astype(np.float64)


def macro_f1(sums: Array) -> Array:
    """Return the mean over classes of twice the hits over those said plus those there.

    Args:
        sums: float64 [draws, 3 C], from totals of hits, of those said and of those there. A class
            that is neither said nor there counts as 0.

    Example:
        >>> macro_f1(np.array([[1.0, 2.0, 2.0, 3.0, 2.0, 3.0]])).round(3)
        array([0.583])
    """
    hits, said, there = np.split(sums, 3, axis=1)
    return (2 * hits / np.maximum(said + there, 1e-12)).mean(1)


def _ece(event: NDArray[np.bool_], scores: Array, plan: PredictConfig) -> stats.Interval:
    """Expected calibration error by the plan's settings."""
    return expected_calibration_error(
        event,
        scores,
        resamples=plan.bootstraps,
        seed=plan.seed,
        confidence=plan.confidence,
    )


def _regression(truth: Array, made: Predictions, plan: PredictConfig) -> Figures:
    """Figures of a number, in the target's units."""
    error = made.scores - truth
    # R2 from sums alone: count, truth, its square, squared error; centred for precision.
    centred = truth - truth.mean() if len(truth) else truth
    sums = np.column_stack([np.ones(len(truth)), centred, centred**2, error**2])

    def r2(s: Array) -> Array:
        return 1 - s[:, 3] / (s[:, 2] - s[:, 1] ** 2 / s[:, 0])

    squared = stats.mean(error**2, plan.confidence).clip(0.0, np.inf)
    return {
        "mae": stats.mean(np.abs(error), plan.confidence),
        "rmse": squared.apply(np.sqrt),
        "r2": bootstrap(sums, r2, plan.bootstraps, plan.seed, plan.confidence),
        **_intervals(truth, made, plan),
    }


def _intervals(truth: Array, made: Predictions, plan: PredictConfig) -> Figures:
    """Share of people within their interval, and its mean width."""
    if made.low is None or made.high is None:
        return {}
    inside = int(((made.low <= truth) & (truth <= made.high)).sum())
    return {
        "interval_coverage": stats.wilson(inside, len(truth), plan.confidence),
        "interval_width": stats.mean(made.high - made.low, plan.confidence),
    }


def _f1_difference(sums: Array) -> Array:
    """First macro F1 minus second, from the cells of both side by side."""
    first, second = np.split(sums, 2, axis=1)
    return macro_f1(first) - macro_f1(second)


def compare(
    truth: NDArray[np.generic], a: Predictions, b: Predictions, plan: PredictConfig
) -> Figures:
    """Return differences of two models, first minus second, paired on the same people."""
    figures = {"loss": stats.mean(a.losses - b.losses, plan.confidence)}
    if a.threshold is None and a.scores.ndim == 1:
        actual = np.asarray(truth, dtype=np.float64)
        gap = np.abs(a.scores - actual) - np.abs(b.scores - actual)
        figures["mae"] = stats.mean(gap, plan.confidence)
        return {name: figure.as_dict() for name, figure in figures.items()}
    right = (a.predicted == truth).astype(float) - (b.predicted == truth)
    figures["accuracy"] = stats.mean(right, plan.confidence)
    if a.scores.ndim == 1:
        figures["auc"] = stats.auc_difference(truth == 1, a.scores, b.scores, plan.confidence)
    else:
        classes = truth.astype(np.int64)
        both = np.concatenate([_cells(classes, a), _cells(classes, b)], axis=1)
        figures["macro_f1"] = bootstrap(
            both, _f1_difference, plan.bootstraps, plan.seed, plan.confidence
        )
        figures["auc"] = stats.macro_auc_difference(classes, a.scores, b.scores, plan.confidence)
    return {name: figure.as_dict() for name, figure in figures.items()}
