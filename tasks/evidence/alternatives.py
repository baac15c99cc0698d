"""Figures of several models of the same held-out people, with intervals over people and runs.

n held-out people, R runs of one method, G groups, B resamples. d and y are 1 for the favourable
decision and outcome.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tasks.stats import Interval

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Scores are binned for the area under the ROC curve; ties within a bin count half.
BINS = 1000


@dataclass(frozen=True)
class Trials:
    """The runs of one method.

    Attributes:
        name: of the method.
        epsilon: of one run.
        counts_epsilon: the part of it that counts and histograms cost.
        scores: float64 [R, n], of the favourable outcome.
        decisions: int64 [R, n].
    """

    name: str
    epsilon: float
    counts_epsilon: float
    scores: Array
    decisions: Integers


@dataclass(frozen=True)
class People:
    """Held-out people.

    Attributes:
        y: int64 [n].
        codes: int64 [n], number of the group's label.
        labels: G labels.
        reference: number of the group that others are compared with.
    """

    y: Integers
    codes: Integers
    labels: tuple[str, ...]
    reference: int


def auc(weights: Array, y: Integers, bins: Integers) -> Array:
    """Return weighted areas under the ROC curve, float64 [B].

    Args:
        weights: float64 [B, n].
        y: int64 [n].
        bins: int64 [n], of the score.
    """
    cells = bins + (BINS + 1) * y
    size = 2 * (BINS + 1)
    counts = np.stack([np.bincount(cells, row, size) for row in weights]).reshape(-1, 2, BINS + 1)
    low, high = counts[:, 0], counts[:, 1]
    below = np.cumsum(low, 1) - low / 2
    return (high * below).sum(1) / (high.sum(1) * low.sum(1))


def by_group(weights: Array, codes: Integers, values: Array, groups: int) -> Array:
    """Return weighted means by group, float64 [B, G]; NaN where nobody is."""
    out = []
    for row in weights:
        people = np.bincount(codes, row, groups)
        with np.errstate(invalid="ignore"):
            out.append(np.bincount(codes, row * values, groups) / people)
    return np.stack(out)


def figures(weights: Array, people: People, scores: Array, decisions: Integers) -> dict[str, Array]:
    """Return the figures of one run, each float64 [B].

    Args:
        weights: float64 [B, n], how often each person counts.
        people: outcomes and groups.
        scores: float64 [n].
        decisions: int64 [n].
    """
    groups, at = len(people.labels), people.reference
    present = np.flatnonzero(np.bincount(people.codes, minlength=groups))
    right = (decisions == people.y).astype(np.float64)
    correct = by_group(weights, people.codes, right, groups)
    chosen = by_group(weights, people.codes, decisions.astype(np.float64), groups)
    good = weights * people.y
    found = by_group(good, people.codes, decisions.astype(np.float64), groups)
    bins = np.rint(np.clip(scores, 0, 1) * BINS).astype(np.int64)
    out = {
        "auc": auc(weights, people.y, bins),
        "accuracy": (weights * right).sum(1) / weights.sum(1),
        "worst_group_accuracy": np.nanmin(correct[:, present], 1),
    }
    for group in present.tolist():
        label = people.labels[group]
        out[f"accuracy/{label}"] = correct[:, group]
        if group != at:
            with np.errstate(invalid="ignore", divide="ignore"):
                out[f"impact_ratio/{label}"] = chosen[:, group] / chosen[:, at]
            out[f"gap/{label}"] = chosen[:, group] - chosen[:, at]
            out[f"tpr_gap/{label}"] = found[:, group] - found[:, at]
    return out


def resamples(people: int, count: int, seed: int) -> Array:
    """Return how often each person counts, float64 [count + 1, people]; the first is everybody."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(people, np.full(people, 1 / people), count)
    return np.vstack([np.ones(people), drawn]).astype(np.float64)


def interval(values: Array, confidence: float) -> Interval:
    """Return the first value with the percentile interval of the others."""
    rest = values[1:][np.isfinite(values[1:])]
    if not len(rest):
        return Interval(float(values[0]), float("nan"), float("nan"))
    low, high = np.quantile(rest, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values[0]), float(low), float(high))


def summary(
    trials: Trials, people: People, weights: Array, confidence: float, seed: int
) -> dict[str, Interval]:
    """Return each figure's mean over runs; intervals resample people and runs.

    They speak of the method, as far as R runs can: with three, an interval is rough.

    Args:
        trials: of one method.
        people: of all runs.
        weights: from `resamples`; the same for all methods, so that they can be compared.
        confidence: of the intervals.
        seed: of the draws of runs.
    """
    runs = len(trials.scores)
    all_figures = [
        figures(weights, people, scores, decisions)
        for scores, decisions in zip(trials.scores, trials.decisions, strict=True)
    ]
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(runs, np.full(runs, 1 / runs), len(weights) - 1) / runs
    shares = np.vstack([np.full(runs, 1 / runs), drawn]).T
    return {
        name: interval((shares * np.stack([f[name] for f in all_figures])).sum(0), confidence)
        for name in all_figures[0]
    }


def disagreement(
    trials: Trials, people: People, weights: Array, confidence: float
) -> dict[str, Interval]:
    """Return how often another run would have decided otherwise about the same person, by group.

    The chance that two runs differ, averaged over all pairs of runs.

    Args:
        trials: at least two runs.
        people: of all runs.
        weights: from `resamples`.
        confidence: of the intervals, over people; the runs are these.
    """
    pairs = list(combinations(range(len(trials.decisions)), 2))
    if not pairs:
        return {}
    differ = np.mean([trials.decisions[a] != trials.decisions[b] for a, b in pairs], axis=0)
    shares = by_group(weights, people.codes, differ, len(people.labels))
    whole = (weights * differ).sum(1) / weights.sum(1)
    found = {"everybody": interval(whole, confidence)}
    for group in np.flatnonzero(np.bincount(people.codes, minlength=len(people.labels))).tolist():
        found[people.labels[group]] = interval(shares[:, group], confidence)
    return found
