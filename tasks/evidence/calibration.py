"""Calibration of probabilities, and the resampling that its intervals need.

N people, B resamples, G bins.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from tasks.stats import NOTHING, Array, Interval, normal_quantile

CHUNK = 4_000_000
GRID = 1000


def poisson_weights(people: int, resamples: int, seed: int) -> Iterator[Array]:
    """Yield blocks float [b, N] of how often each resample counts each person.

    A Poisson(1) count a person is the bootstrap in which the size of the resample varies too.

    Source: Hanley and MacGibbon (2006).
    """
    rng = np.random.default_rng(seed)
    block = max(1, CHUNK // max(people, 1))
    for start in range(0, resamples, block):
        yield rng.poisson(1.0, (min(block, resamples - start), people)).astype(np.float64)


def bootstrap(
    rows: ArrayLike,
    statistic: Callable[[Array], Array],
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> Interval:
    """Return a function of sums over people with its percentile interval.

    Args:
        rows: float [N, k], what each person adds to k sums.
        statistic: float [B, k] sums -> float [B].
        resamples: B.
        seed: of the resampling.
        confidence: of the interval.
    """
    table = np.asarray(rows, dtype=np.float64)
    if len(table) == 0:
        return NOTHING
    sums = np.concatenate([w @ table for w in poisson_weights(len(table), resamples, seed)])
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = statistic(sums)
        value = float(statistic(table.sum(0)[None])[0])
    return percentiles(value, draws, confidence)


def percentiles(value: float, draws: Array, confidence: float) -> Interval:
    """Return a figure between the percentiles of its resampled values."""
    kept = draws[np.isfinite(draws)]
    if len(kept) == 0:
        return Interval(value, math.nan, math.nan)
    tail = (1 - confidence) / 2
    return Interval(value, float(np.quantile(kept, tail)), float(np.quantile(kept, 1 - tail)))


def resample_cells(cells: ArrayLike, resamples: int, seed: int) -> NDArray[np.int64]:
    """Return resampled counts int64 [B, ...] of a table of counts.

    For figures made of counts alone this is the bootstrap over people, at the price of the
    number of cells instead of the number of people.
    """
    table = np.asarray(cells, dtype=np.int64)
    total = int(table.sum())
    rng = np.random.default_rng(seed)
    if total == 0:
        return np.zeros((resamples, *table.shape), dtype=np.int64)
    draws = rng.multinomial(total, table.ravel() / total, size=resamples)
    return draws.reshape(resamples, *table.shape)


def equal_mass_bins(scores: ArrayLike, bins: int) -> NDArray[np.int64]:
    """Return each person's bin 0..bins-1 of about equal size; equal scores share a bin."""
    score = np.asarray(scores, dtype=np.float64)
    if len(score) == 0:
        return np.zeros(0, dtype=np.int64)
    edges = np.unique(np.quantile(score, np.arange(1, bins) / bins))
    return np.searchsorted(edges, score, side="right").astype(np.int64)


def expected_calibration_error(
    events: ArrayLike,
    scores: ArrayLike,
    bins: int = 15,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Return the mean gap between score and outcome over bins of equal mass.

    Resampling the figure itself covers next to nothing, because a sum of absolute values only
    grows with noise. Instead the resampled distance between observed and true gaps, whose
    quantile bounds the error of the figure by the triangle inequality, is taken off and added:
    conservative, never too narrow.

    Args:
        events: bool [N].
        scores: float [N], probabilities.
        bins: G.
        resamples: B.
        seed: of the resampling.
        confidence: of the interval.

    Source: Naeini, Cooper and Hauskrecht (2015) for the figure.
    """
    score = np.asarray(scores, dtype=np.float64)
    if len(score) == 0:
        return NOTHING
    which = equal_mass_bins(score, bins)
    gaps = np.zeros((len(score), int(which.max()) + 1))
    gaps[np.arange(len(score)), which] = np.asarray(events, dtype=np.float64) - score
    observed = gaps.mean(0)
    draws = [
        np.abs(w @ gaps / np.maximum(w.sum(1, keepdims=True), 1) - observed).sum(1)
        for w in poisson_weights(len(score), resamples, seed)
    ]
    reach = float(np.quantile(np.concatenate(draws), confidence))
    value = float(np.abs(observed).sum())
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach))


def _shortened(design: Array, outcome: Array, beta: Array, change: Array) -> Array:
    """Newton's step, halved until it does not lower the likelihood."""

    def likelihood(at: Array) -> float:
        line = design @ at
        return float((outcome * line - np.logaddexp(0, line)).sum())

    now = likelihood(beta)
    for _ in range(30):
        if likelihood(beta + change) >= now - 1e-9 * abs(now):
            break
        change = change / 2
    return change


def calibration_line(
    events: ArrayLike, scores: ArrayLike, confidence: float = 0.95, steps: int = 50
) -> tuple[Interval, Interval]:
    """Return slope and intercept of the logistic regression of the outcome on the score's logit.

    A well calibrated score has slope 1 and intercept 0; below 1 it is too sure of itself. Both
    are NaN where the regression has no solution (one class, one score, classes apart).

    Args:
        events: bool [N].
        scores: float [N], probabilities.
        confidence: of the intervals, from the robust (sandwich) covariance.
        steps: of Newton's method at most.

    Source: Cox (1958).
    """
    outcome = np.asarray(events, dtype=np.float64)
    logit = special.logit(np.clip(np.asarray(scores, dtype=np.float64), 1e-9, 1 - 1e-9))
    if len(outcome) == 0 or outcome.min() == outcome.max() or np.ptp(logit) < 1e-9:
        return NOTHING, NOTHING
    design = np.column_stack([logit, np.ones(len(logit))])
    beta = np.array([0.0, special.logit(outcome.mean())])
    for _ in range(steps):
        fitted = special.expit(design @ beta)
        hessian = (design * (fitted * (1 - fitted))[:, None]).T @ design
        if np.linalg.cond(hessian) > 1e12:
            return NOTHING, NOTHING
        change = np.linalg.solve(hessian, design.T @ (outcome - fitted))
        beta = beta + _shortened(design, outcome, beta, change)
        if np.abs(change).max() < 1e-10:
            break
    else:
        return NOTHING, NOTHING
    inverse = np.linalg.inv(hessian)
    scatter = design * (outcome - fitted)[:, None]
    spread = np.sqrt(np.diag(inverse @ (scatter.T @ scatter) @ inverse))
    half = normal_quantile(confidence) * spread
    slope, intercept = (
        Interval(float(b), float(b - h), float(b + h)) for b, h in zip(beta, half, strict=True)
    )
    return slope, intercept


def calibration_bins(
    events: ArrayLike, scores: ArrayLike, bins: int = 10, people: int = 30
) -> list[dict[str, float | int]]:
    """Return mean score and event rate by bins of score, none smaller than `people`.

    Edges lie on a grid of 0.001, so that none of them is one person's exact score.

    Args:
        events: bool [N].
        scores: float [N], probabilities.
        bins: at most.
        people: in a bin at least; with fewer people in all, there is no bin.
    """
    score, outcome = np.asarray(scores, dtype=np.float64), np.asarray(events, dtype=np.float64)
    if len(score) < people:
        return []
    inner = np.quantile(score, np.arange(1, bins) / bins)
    edges = [0.0]
    for edge in np.unique(np.round(inner * GRID) / GRID):
        inside = int(((score >= edges[-1]) & (score < edge)).sum())
        if inside >= people and int((score >= edge).sum()) >= people:
            edges.append(float(edge))
    which = np.searchsorted(edges[1:], score, side="right")
    rows = []
    for index, (low, high) in enumerate(zip(edges, [*edges[1:], 1.0], strict=True)):
        inside_bin = which == index
        rows.append(
            {
                "low": low,
                "high": high,
                "n": int(inside_bin.sum()),
                "mean_score": float(score[inside_bin].mean()),
                "rate": float(outcome[inside_bin].mean()),
            }
        )
    return rows
