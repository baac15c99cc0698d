"""Figures of binary decisions from tables of people by outcome and score bin, many at once.

G groups, K score bins; any number of leading axes, such as resamples. Counts are [..., 2, K],
y = 1 the favourable outcome; cells are [..., 2, 2] by outcome and decision. A figure is NaN
where its denominator is 0. What rests on scores takes everybody at the middle of the bin.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.evidence.score_table import ScoreTable, collapse, draws

Array = NDArray[np.float64]
Metric = Callable[[Array, ScoreTable], Array]

# Numerator and denominator of each rate, as cells [y, d].
ALL = ((1, 1), (1, 1))
RATES = {
    "base_rate": (((0, 0), (1, 1)), ALL),
    "selection_rate": (((0, 1), (0, 1)), ALL),
    "tpr": (((0, 0), (0, 1)), ((0, 0), (1, 1))),
    "fpr": (((0, 1), (0, 0)), ((1, 1), (0, 0))),
    "fnr": (((0, 0), (1, 0)), ((0, 0), (1, 1))),
    "ppv": (((0, 0), (0, 1)), ((0, 1), (0, 1))),
    "accuracy": (((1, 0), (0, 1)), ALL),
}
# Calibration is measured in at most so many bins, of at least so many people on average.
BINS = 15
PEOPLE_A_BIN = 20


def ratio(top: Array, bottom: Array) -> Array:
    """Return a quotient, NaN where the denominator is not positive."""
    top, bottom = np.broadcast_arrays(top, bottom)
    return np.divide(top, bottom, out=np.full(bottom.shape, np.nan), where=bottom > 0)


def rate_counts(cells: Array, names: tuple[str, ...]) -> tuple[Array, Array]:
    """Return numerators and denominators of some rates of `RATES`, each [..., R].

    Args:
        cells: [..., 2, 2].
        names: R of them.
    """
    flat = cells.reshape(*cells.shape[:-2], 4).astype(np.float64)
    masks = np.array([RATES[name] for name in names], dtype=np.float64).reshape(-1, 2, 4)
    return flat @ masks[:, 0].T, flat @ masks[:, 1].T


def rates(cells: Array, names: tuple[str, ...] = tuple(RATES)) -> Array:
    """Return some rates of [..., 2, 2] cells at once, [..., R].

    Example:
        >>> rates(np.array([[3.0, 1.0], [2.0, 6.0]]), ("selection_rate", "tpr"))
        array([0.58333333, 0.75      ])
    """
    return ratio(*rate_counts(cells, names))


def rate_draws(table: ScoreTable, names: tuple[str, ...], resamples: int, seed: int) -> Array:
    """Return resampled rates, float64 [B, G, R]; an exact table is collapsed before drawing."""
    small = collapsed(table) if table.noise == 0 else table
    return np.concatenate(
        [rates(collapse(b, small.decided), names) for b in draws(small, resamples, seed)]
    )


def collapsed(table: ScoreTable) -> ScoreTable:
    """Return an exact table with one bin a decision: all that count metrics need."""
    edges = table.edges[[0, table.decided, -1]]
    return ScoreTable(table.features, table.labels, table.cells, edges, 1)


def people(counts: Array, table: ScoreTable) -> Array:
    """Return how many people there are."""
    return np.asarray(counts.sum((-2, -1)))


def positives(counts: Array, table: ScoreTable) -> Array:
    """Return how many people have the favourable outcome."""
    return np.asarray(counts[..., 1, :].sum(-1))


def auc(counts: Array, table: ScoreTable) -> Array:
    """Return the area under the ROC curve; people in one bin share their rank."""
    no, yes = counts[..., 0, :], counts[..., 1, :]
    below = np.cumsum(no, -1) - no / 2
    return ratio((yes * below).sum(-1), yes.sum(-1) * no.sum(-1))


def brier(counts: Array, table: ScoreTable) -> Array:
    """Return the mean squared distance of score and outcome."""
    return mean_loss(counts, squared_loss(table))


def squared_loss(table: ScoreTable) -> Array:
    """Return the squared loss of each cell, float64 [2, K]."""
    return np.stack([table.centres**2, (1 - table.centres) ** 2])


def log_loss(table: ScoreTable) -> Array:
    """Return the cross-entropy of each cell, float64 [2, K]."""
    return -np.stack([np.log1p(-table.centres), np.log(table.centres)])


def cross_entropy(counts: Array, table: ScoreTable) -> Array:
    """Return the mean cross-entropy of score and outcome."""
    return mean_loss(counts, log_loss(table))


def mean_loss(counts: Array, loss: Array) -> Array:
    """Return the mean of a loss by cell."""
    return ratio((counts * loss).sum((-2, -1)), counts.sum((-2, -1)))


def skill(counts: Array, table: ScoreTable) -> Array:
    """Return 1 - cross-entropy over that of predicting the group's own base rate for all.

    Cross-entropy alone mirrors base rates; skill does not: 0 is no better than the base rate,
    1 is perfect, below 0 is worse than knowing nothing of the person.

    Source: skill score, after Murphy (1988).
    """
    rate = ratio(positives(counts, table), people(counts, table))
    own = special.entr(rate) + special.entr(1 - rate)
    return 1 - ratio(mean_loss(counts, log_loss(table)), own)


def mass_bins(counts: Array) -> NDArray[np.int64]:
    """Return the bin of about equal mass of each score bin, int64 [..., K].

    At most `BINS`, fewer where a bin would have fewer than `PEOPLE_A_BIN` people.
    """
    size = np.maximum(counts, 0).sum(-2)
    total = size.sum(-1, keepdims=True)
    bins = np.clip(total // PEOPLE_A_BIN, 1, BINS)
    middle = (np.cumsum(size, -1) - size / 2) / np.maximum(total, 1e-300)
    return np.minimum(np.floor(middle * bins), bins - 1).astype(np.int64)


def gaps(counts: Array, table: ScoreTable) -> tuple[Array, Array, Array]:
    """Return weight, gap and the gap's variance of each bin of equal mass.

    The gap is mean outcome minus mean score; its variance is of sampling and of the table's
    noise. A bin of fewer than two people has weight 0.

    Returns:
        float64 [..., BINS] each.
    """
    kept = np.maximum(counts, 0)
    rows = int(np.prod(counts.shape[:-2]))
    which = mass_bins(counts).reshape(rows, -1) + BINS * np.arange(rows)[:, None]

    def binned(values: Array) -> Array:
        total = np.bincount(which.ravel(), values.ravel(), minlength=rows * BINS)
        return total.astype(np.float64).reshape(*counts.shape[:-2], BINS)

    error = np.stack([-table.centres, 1 - table.centres])
    size = binned(kept.sum(-2))
    gap = ratio(binned((kept * error).sum(-2)), size)
    square = ratio(binned((kept * error**2).sum(-2)), size)
    some = size >= 2
    variance = np.where(some, (square - gap**2) / np.where(some, size - 1, 1), 0.0)
    if table.noise:
        ones = np.ones_like(kept)
        centre = np.where(some, gap, 0.0)
        moved = [binned((ones * error**power).sum(-2)) for power in (0, 1, 2)]
        pull = moved[2] - 2 * centre * moved[1] + centre**2 * moved[0]
        variance += np.where(some, table.noise**2 * pull / np.where(some, size, 1) ** 2, 0.0)
    weight = np.where(some, size, 0.0)
    share = ratio(weight, weight.sum(-1, keepdims=True))
    return share, np.where(some, gap, 0.0), np.maximum(variance, 0.0)


def squared_calibration_error(counts: Array, table: ScoreTable) -> Array:
    """Return the mean squared gap of outcome and score over bins, without bias.

    The plain figure grows with the gaps' sampling variance, so that variance is taken off;
    the figure may fall below 0 where calibration is good.

    Source: Bröcker (2012); Kumar, Liang and Ma (2019), section 5, the debiased estimator.
    """
    share, gap, variance = gaps(counts, table)
    return np.asarray((share * (gap**2 - variance)).sum(-1))


def ece(counts: Array, table: ScoreTable) -> Array:
    """Return the debiased calibration error: root mean square gap over bins of equal mass."""
    return np.sqrt(np.maximum(squared_calibration_error(counts, table), 0.0))


def calibration(counts: Array, table: ScoreTable, steps: int = 40) -> tuple[Array, Array]:
    """Return slope and intercept of the logistic regression of the outcome on the score's logit.

    Both are NaN where the regression has no solution (one outcome, one score, outcomes apart).

    Args:
        counts: [..., 2, K].
        table: for the middles of the bins.
        steps: of Newton's method at most.

    Source: Cox (1958).
    """
    # Negative counts of a noised table stay: without them the sums would lean to one side.
    size, yes = counts.sum(-2), counts[..., 1, :]
    x = special.logit(table.centres)
    base = ratio(yes.sum(-1), size.sum(-1))
    slope, intercept = np.zeros(base.shape), special.logit(base)
    change = np.full(base.shape, np.inf)
    for _ in range(steps):
        turn, shift = _newton(size, yes, x, slope, intercept)
        # A step of more than 1 logit is taken in parts: Newton's alone may run away.
        scale = 1 / np.maximum(1, np.maximum(np.abs(turn), np.abs(shift)))
        slope, intercept = slope + scale * turn, intercept + scale * shift
        change = np.maximum(np.abs(turn), np.abs(shift))
        if not (change > 1e-9).any():
            break
    solved = change <= 1e-6
    return np.where(solved, slope, np.nan), np.where(solved, intercept, np.nan)


def information(size: Array, x: Array, fitted: Array) -> tuple[Array, Array, Array, Array]:
    """Return the entries of the 2 x 2 information of slope and intercept, and its determinant."""
    weight = size * fitted * (1 - fitted)
    a, b, c = (weight * x**2).sum(-1), (weight * x).sum(-1), weight.sum(-1)
    found = a * c - b * b
    return a, b, c, np.where(found > 1e-12 * np.maximum(a * c, 1e-300), found, np.nan)


def _newton(size: Array, yes: Array, x: Array, slope: Array, start: Array) -> tuple[Array, Array]:
    """Newton's step of slope and intercept."""
    fitted = special.expit(slope[..., None] * x + start[..., None])
    rest = yes - size * fitted
    u, v = (rest * x).sum(-1), rest.sum(-1)
    a, b, c, determinant = information(size, x, fitted)
    return (c * u - b * v) / determinant, (a * v - b * u) / determinant


def calibration_slope(counts: Array, table: ScoreTable) -> Array:
    """Return the slope: 1 where scores are as sure as they should be, below 1 too sure."""
    return calibration(counts, table)[0]


def calibration_intercept(counts: Array, table: ScoreTable) -> Array:
    """Return the intercept: 0 where calibrated."""
    return calibration(counts, table)[1]


def _rate(name: str) -> Metric:
    """A rate as a function of counts by score bin."""

    def measured(counts: Array, table: ScoreTable) -> Array:
        return np.asarray(rates(collapse(counts, table.decided), (name,))[..., 0])

    return measured


METRICS: dict[str, Metric] = {
    "n": people,
    "positives": positives,
    **{name: _rate(name) for name in RATES},
    "auc": auc,
    "brier": brier,
    "loss": cross_entropy,
    "ece": ece,
    "calibration_slope": calibration_slope,
    "calibration_intercept": calibration_intercept,
    "skill": skill,
}
