"""Intervals of all figures of a table of people, and of differences and ratios of groups.

G groups, K score bins, R rates.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks import stats
from tasks.evidence import table_metrics as metrics
from tasks.evidence.score_table import ScoreTable, draws
from tasks.evidence.table_metrics import METRICS, RATES, ratio

Array = NDArray[np.float64]

SHARES = (*RATES, "auc", "brier")


@dataclass(frozen=True)
class Figures:
    """One figure of many groups with its interval; NaN where there is none.

    Attributes:
        value: float64 [...].
        low: float64 [...].
        high: float64 [...].
    """

    value: Array
    low: Array
    high: Array

    def at(self, group: int) -> stats.Interval:
        """Return one group's figure."""
        return stats.Interval(*(float(x[group]) for x in (self.value, self.low, self.high)))

    def __getitem__(self, which: Any) -> "Figures":
        """Return the figures of some groups."""
        return Figures(self.value[which], self.low[which], self.high[which])


def wilson(successes: Array, of: Array, confidence: float) -> Figures:
    """Return rates with Wilson's interval, any shape."""

    def one(hits: float, size: float) -> tuple[float, float, float]:
        found = stats.wilson(hits, size, confidence)
        return found.value, found.low, found.high

    value, low, high = np.vectorize(one, otypes=[float] * 3)(successes, of)
    return Figures(value, low, high)


def around(value: Array, spread: Array, size: Array, confidence: float) -> Figures:
    """Return Student's interval of figures with a standard error from so many people."""
    half = special.stdtrit(np.maximum(size - 1, 1), (1 + confidence) / 2) * spread
    return Figures(value, value - half, value + half)


def auc(counts: Array, table: ScoreTable, confidence: float) -> Figures:
    """Return the AUC with DeLong's interval on the logit scale.

    Outcomes that do not overlap have no variance to measure: the far end is then the exact one
    for as many successes as the rarer outcome has people.

    Source: DeLong et al. (1988), from counts with ties; logit after Pepe (2003), section 5.2.
    """
    no, yes = counts[..., 0, :], counts[..., 1, :]
    negatives, positives = no.sum(-1), yes.sum(-1)
    value = metrics.auc(counts, table)
    above = ratio(np.cumsum(no, -1) - no / 2, negatives[..., None])
    below = 1 - ratio(np.cumsum(yes, -1) - yes / 2, positives[..., None])
    spread = np.sqrt(_mean_variance(above, yes) + _mean_variance(below, no))
    with np.errstate(divide="ignore", invalid="ignore"):
        centre, scale = special.logit(value), spread / (value * (1 - value))
        half = stats.normal_quantile(confidence) * scale
        low, high = special.expit(centre - half), special.expit(centre + half)
    smaller = np.minimum(positives, negatives)
    end = special.betaincinv(np.maximum(smaller, 1), 1, (1 - confidence) / 2)
    low = np.where(value == 1, end, np.where(value == 0, 0.0, low))
    high = np.where(value == 0, 1 - end, np.where(value == 1, 1.0, high))
    return Figures(value, low, high)


def _mean_variance(values: Array, size: Array) -> Array:
    """Variance of the mean of values, each held by so many people; NaN below two people."""
    total = size.sum(-1)
    middle = ratio((size * values).sum(-1), total)
    scatter = (size * (values - middle[..., None]) ** 2).sum(-1)
    return ratio(scatter, total * (total - 1))


def _influence_interval(
    value: Array, influence: Array, counts: Array, confidence: float
) -> Figures:
    """Student's interval from each cell's influence on the figure, [..., 2, K]."""
    flat = (*counts.shape[:-2], -1)
    variance = _mean_variance(influence.reshape(flat), counts.reshape(flat))
    return around(value, np.sqrt(variance), counts.sum((-2, -1)), confidence)


def brier(counts: Array, table: ScoreTable, confidence: float) -> Figures:
    """Return the Brier score with the interval of a mean of losses."""
    loss = np.broadcast_to(metrics.squared_loss(table), counts.shape)
    return _influence_interval(metrics.brier(counts, table), loss, counts, confidence)


def cross_entropy(counts: Array, table: ScoreTable, confidence: float) -> Figures:
    """Return the mean cross-entropy with the interval of a mean of losses."""
    loss = np.broadcast_to(metrics.log_loss(table), counts.shape)
    return _influence_interval(metrics.cross_entropy(counts, table), loss, counts, confidence)


def skill(counts: Array, table: ScoreTable, confidence: float) -> Figures:
    """Return the skill with the interval that people's influences on it give."""
    value = metrics.skill(counts, table)
    rate = ratio(counts[..., 1, :].sum(-1), counts.sum((-2, -1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        own = special.entr(rate) + special.entr(1 - rate)
        slope = -special.logit(rate)
        y = np.array([0.0, 1.0]) - rate[..., None]
        loss, mean = metrics.log_loss(table), (1 - value) * own
        pull = (mean * slope / own**2)[..., None] * y
        influence = pull[..., None] - (loss - mean[..., None, None]) / own[..., None, None]
    return _influence_interval(value, influence, counts, confidence)


def calibration(counts: Array, table: ScoreTable, confidence: float) -> tuple[Figures, Figures]:
    """Return calibration slope and intercept with robust intervals.

    Source: Cox (1958); Huber (1967) for the covariance.
    """
    slope, intercept = metrics.calibration(counts, table)
    x, size = special.logit(table.centres), counts.sum(-2)
    fitted = special.expit(slope[..., None] * x + intercept[..., None])
    a, b, c, determinant = metrics.information(size, x, fitted)
    rest = counts[..., 0, :] * fitted**2 + counts[..., 1, :] * (1 - fitted) ** 2
    p, q, r = (rest * x**2).sum(-1), (rest * x).sum(-1), rest.sum(-1)
    of_slope = c * c * p - 2 * b * c * q + b * b * r
    of_intercept = a * a * r - 2 * a * b * q + b * b * p
    total = size.sum(-1)
    return (
        around(slope, np.sqrt(of_slope) / determinant, total, confidence),
        around(intercept, np.sqrt(of_intercept) / determinant, total, confidence),
    )


def ece(counts: Array, table: ScoreTable, confidence: float) -> Figures:
    """Return the debiased calibration error with an interval that holds at zero error too.

    The plain mean square gap is close to a noncentral chi-square variable whose noncentrality
    is the true error; the interval is all errors that would not make what is seen surprising.
    Too small gaps are luck and no sign of less than no error: for errors so small that only
    too large gaps could surprise, the whole risk is on that side. Resampling instead covers too
    seldom, because a sum of squares only grows with noise.

    Source: noncentral chi-square with Satterthwaite's (1946) degrees of freedom; inverted as in
    Smithson (2003), chapter 4.
    """
    share, gap, variance = metrics.gaps(counts, table)
    first, second = (share * variance).sum(-1), (share**2 * variance**2).sum(-1)
    unit, freedom = ratio(second, first), ratio(first**2, second)
    seen = ratio((share * gap**2).sum(-1), unit)
    tail = (1 - confidence) / 2
    one_sided = noncentrality(freedom, freedom, tail)
    small = noncentrality(seen, freedom, 1 - 2 * tail)
    large = np.maximum(noncentrality(seen, freedom, 1 - tail), one_sided)
    low = np.sqrt(unit * np.where(small <= one_sided, small, large))
    high = np.sqrt(unit * noncentrality(np.maximum(seen, freedom), freedom, tail))
    return Figures(metrics.ece(counts, table), low, np.minimum(high, 1.0))


def noncentrality(seen: Array, freedom: Array, probability: float) -> Array:
    """Return the noncentrality at which a chi-square value up to `seen` has a probability.

    0 where even none gives less. Far out, the root of the variable is close to normal.
    """
    seen, freedom = np.asarray(seen, dtype=np.float64), np.asarray(freedom, dtype=np.float64)
    shift = special.ndtri(probability)
    root = np.maximum(np.sqrt(seen) - shift, 0) ** 2 - (freedom - 1)
    with np.errstate(invalid="ignore"):
        near = special.chndtrinc(np.minimum(seen, 2000.0), freedom, probability)
        found = np.where(seen < 2000, near, root)
        none = special.chdtr(freedom, seen) <= probability
    return np.where(none, 0.0, np.where(np.isfinite(seen), np.maximum(found, 0.0), np.nan))


INTERVALS = {"auc": auc, "brier": brier, "loss": cross_entropy, "ece": ece, "skill": skill}


def closed_form(table: ScoreTable, names: tuple[str, ...], confidence: float) -> dict[str, Figures]:
    """Return figures of an exact table with intervals that need no resampling."""
    found: dict[str, Figures] = {}
    wanted = tuple(name for name in names if name in RATES)
    if wanted:
        every = wilson(*metrics.rate_counts(table.cells, wanted), confidence)
        found = {name: every[..., index] for index, name in enumerate(wanted)}
    for name, interval in INTERVALS.items():
        if name in names:
            found[name] = interval(table.counts, table, confidence)
    if {"calibration_slope", "calibration_intercept"} & set(names):
        lines = calibration(table.counts, table, confidence)
        for name, line in zip(("calibration_slope", "calibration_intercept"), lines, strict=True):
            found[name] = line
    for name in ("n", "positives"):
        value = METRICS[name](table.counts, table)
        found[name] = Figures(value, value, value)
    return {name: found[name] for name in names}


def resampled(
    table: ScoreTable, blocks: Iterable[Array], names: tuple[str, ...], confidence: float
) -> dict[str, Figures]:
    """Return figures with the percentiles of their resampled values.

    Args:
        table: of the people.
        blocks: float64 [b, G, 2, K] each, from `draws` or `draws_clustered`.
        names: of `METRICS`.
        confidence: of the intervals.
    """
    seen: dict[str, list[Array]] = {name: [] for name in names}
    for block in blocks:
        for name in names:
            seen[name].append(METRICS[name](block, table))
    found = {}
    for name in names:
        value = METRICS[name](table.counts, table)
        ends = (value, *percentiles(np.concatenate(seen[name]), confidence))
        # Noise can take a share beyond what a share can be.
        found[name] = Figures(*(np.clip(x, 0, 1) if name in SHARES else x for x in ends))
    return found


def percentiles(values: Array, confidence: float) -> tuple[Array, Array]:
    """Return both percentiles along the first axis, of the values that are numbers."""
    tail = (1 - confidence) / 2
    if np.isfinite(values).all():
        low, high = np.quantile(values, (tail, 1 - tail), axis=0)
        return low, high
    flat = values.reshape(len(values), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    for column in range(flat.shape[1]):
        kept = flat[np.isfinite(flat[:, column]), column]
        if len(kept):
            ends[:, column] = np.quantile(kept, (tail, 1 - tail))
    low, high = ends.reshape(2, *values.shape[1:])
    return low, high


def figures(
    table: ScoreTable,
    names: tuple[str, ...] = tuple(METRICS),
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Figures]:
    """Return figures of all groups with intervals, float64 [G] each.

    Exact counts need no resampling; noised ones are resampled with their noise, but for the
    calibration error, which resampling only makes larger.

    Args:
        table: of the people.
        names: of `METRICS`.
        confidence: of the intervals.
        resamples: of a noised table.
        seed: of the resampling.
    """
    if table.noise == 0:
        return closed_form(table, names, confidence)
    rest = tuple(name for name in names if name != "ece")
    found = resampled(table, draws(table, resamples, seed), rest, confidence)
    if "ece" in names:
        found["ece"] = ece(table.counts, table, confidence)
    return {name: found[name] for name in names}


def difference(a: Figures, b: Figures) -> Figures:
    """Return a figure of some groups minus that of other groups, of other people.

    For rates with Wilson's interval this is Newcombe's method 10.

    Source: Newcombe (1998b); Zou and Donner (2008) for any figures.
    """
    value = a.value - b.value
    below = np.hypot(a.value - a.low, b.high - b.value)
    above = np.hypot(a.high - a.value, b.value - b.low)
    return Figures(value, value - below, value + above)


def quotient(a: Figures, b: Figures) -> Figures:
    """Return a rate of some groups over that of other groups, of other people.

    Differences of logarithms; a low end of 0 where the first may be 0, a high end without limit
    where the second may be. NaN where the second is 0; the widest high end where the first is.

    Source: Zou and Donner (2008), on the log scale.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [Figures(*(np.log(x) for x in (f.value, f.low, f.high))) for f in (a, b)]
        below = np.hypot(_apart(logs[0].value, logs[0].low), _apart(logs[1].high, logs[1].value))
        above = np.hypot(_apart(logs[0].high, logs[0].value), _apart(logs[1].value, logs[1].low))
        value = ratio(a.value, b.value)
        high = np.where(a.value == 0, a.high / b.low, value * np.exp(above))
        return Figures(value, value * np.exp(-below), np.where(np.isnan(value), np.nan, high))


def _apart(upper: Array, lower: Array) -> Array:
    """Distance of two logarithms, 0 where both are of 0."""
    return np.where(upper == lower, 0.0, upper - lower)
