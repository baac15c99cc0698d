"""Held-out people counted by group, outcome and score bin, and resampled tables of them.

N people, F features, G groups of all features together, K score bins, B resamples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Rows counted at once: their cells then stay in the processor's cache.
ROWS = 1 << 17
# Values of one block of resampled tables, 32 MB.
BLOCK = 4_000_000
# Coarse bins reach over so many units of log-odds at most.
WIDEST = 7.0
# Scores this close to the threshold may lie on either side of it: single precision.
CLOSE = 1e-6


@dataclass(frozen=True)
class ScoreTable:
    """Held-out people counted by group, outcome and score bin.

    All figures of a binary decision are made of it. Where decisions do not follow from the
    score (thresholds by group), count metrics need a table of their own, with the decision as
    the score and the edges 0, 0.5, 1.

    Attributes:
        features: feature of each group, G; an intersection is a feature "sex x age band".
        labels: label of each group, G ("female, 21 to 25").
        counts: float64 [G, 2, K]; y = 1 is the favourable outcome, a higher bin more favourable.
        edges: float64 [K + 1] of the score bins, probabilities of the favourable outcome, 0..1.
        decided: first bin whose people get the favourable decision, 1..K-1.
        noise: standard deviation of the Gaussian noise in every count; 0 where they are exact.
    """

    features: tuple[str, ...]
    labels: tuple[str, ...]
    counts: Array
    edges: Array
    decided: int
    noise: float = 0.0

    def of(self, feature: str) -> Integers:
        """Return the group numbers of one feature."""
        return np.flatnonzero(np.asarray(self.features) == feature)

    @property
    def tables(self) -> list[Integers]:
        """Return the group numbers of each feature; they hold the same people each."""
        return [self.of(feature) for feature in dict.fromkeys(self.features)]

    @cached_property
    def centres(self) -> Array:
        """Return the middle of each score bin, float64 [K]."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    @cached_property
    def cells(self) -> Array:
        """Return people by outcome and decision, float64 [G, 2, 2]."""
        return collapse(self.counts, self.decided)


def collapse(counts: Array, decided: int) -> Array:
    """Return counts by outcome and decision, [..., 2, 2], of counts by score bin [..., 2, K]."""
    if counts.shape[-1] == 2 and decided == 1:
        return counts
    below, above = counts[..., :decided].sum(-1), counts[..., decided:].sum(-1)
    return np.stack([below, above], -1)


def fine_edges(threshold: float, bins: int = 1000) -> Array:
    """Return the edges of equal score bins, the one next to the threshold moved onto it.

    A threshold of 0 or 1 goes just inside, so that each decision has a bin.

    Args:
        threshold: of the favourable decision.
        bins: K, at least 2.

    Example:
        >>> fine_edges(0.27, bins=4)
        array([0.  , 0.27, 0.5 , 0.75, 1.  ])
    """
    edges = np.arange(bins + 1) / bins
    inside = float(np.clip(threshold, CLOSE, 1 - CLOSE))
    edges[1 + int(np.argmin(np.abs(edges[1:-1] - inside)))] = inside
    return edges


def coarse_edges(threshold: float, bins: int = 10) -> Array:
    """Return few edges, for counts that get noise; the threshold is the middle one.

    From edge to edge the odds double, or less where there are many bins: people are crowded on
    either side of the threshold and towards the ends, where equal bins tell no two of them apart.

    Args:
        threshold: of the favourable decision.
        bins: K, at least 2.

    Example:
        >>> coarse_edges(0.5, bins=4).round(3)
        array([0.   , 0.333, 0.5  , 0.667, 1.   ])
    """
    inside = float(np.clip(threshold, CLOSE, 1 - CLOSE))
    step = min(np.log(2), WIDEST / bins)
    odds = special.logit(inside) + step * (np.arange(1, bins) - bins // 2)
    edges = np.r_[0.0, special.expit(odds), 1.0]
    edges[bins // 2] = inside
    return edges


def decided_bin(edges: Array, threshold: float) -> int:
    """Return the bin that starts at the threshold, which must be an edge of `fine_edges`."""
    return int(np.argmin(np.abs(edges[1:-1] - np.clip(threshold, CLOSE, 1 - CLOSE)))) + 1


def score_bins(
    score: NDArray[np.floating], decision: NDArray[np.integer], edges: Array, decided: int
) -> Integers:
    """Return each person's score bin, on the side of the threshold that the decision says.

    Args:
        score: [N] in 0..1, higher for favourable.
        decision: 0 or 1 [N].
        edges: float64 [K + 1].
        decided: first bin of the favourable decision.

    Returns:
        int64 [N], 0..K-1.

    Raises:
        ValueError: a decision is not what the score and the threshold say.
    """
    if decided == 1 and len(edges) == 3:
        return decision.astype(np.int64)
    found = np.searchsorted(edges[1:-1], score, side="right")
    wrong = np.flatnonzero((found >= decided) != (decision != 0))
    if len(wrong):
        far = np.abs(score[wrong] - edges[decided]) > 2 * CLOSE
        if far.any():
            row = int(wrong[np.argmax(far)])
            raise ValueError(f"row {row}: score {score[row]} is not decided at {edges[decided]}")
        found[wrong] = np.where(decision[wrong] != 0, decided, decided - 1)
    return found


def flat_cells(
    codes: NDArray[np.integer],
    y: NDArray[np.integer],
    score: NDArray[np.floating],
    decision: NDArray[np.integer],
    edges: Array,
    decided: int,
) -> Integers:
    """Return each person's cell of the table flattened, int64 [N, F], one a feature."""
    bins = len(edges) - 1
    inner = score_bins(score, decision, edges, decided)
    inner += bins * y.astype(np.int64)
    return codes.astype(np.int64) * (2 * bins) + inner[:, None]


def tabulate(
    features: tuple[str, ...],
    labels: tuple[str, ...],
    codes: NDArray[np.integer],
    y: NDArray[np.integer],
    score: NDArray[np.floating],
    decision: NDArray[np.integer],
    edges: Array,
    decided: int,
) -> ScoreTable:
    """Count people by group, outcome and score bin.

    Args:
        features: feature of each group, G.
        labels: label of each group, G.
        codes: integers [N, F], each person's group 0..G-1 for each feature.
        y: 1 for the favourable outcome, else 0 [N].
        score: probability of the favourable outcome [N].
        decision: 1 for the favourable decision, else 0 [N].
        edges: float64 [K + 1].
        decided: first bin of the favourable decision.

    Raises:
        ValueError: a decision is not what the score and the threshold say.
    """
    shape = (len(labels), 2, len(edges) - 1)
    counts = np.zeros(shape[0] * shape[1] * shape[2], dtype=np.int64)
    for start in range(0, len(y), ROWS):
        part = slice(start, start + ROWS)
        cells = flat_cells(codes[part], y[part], score[part], decision[part], edges, decided)
        counts += np.bincount(cells.ravel(), minlength=len(counts))
    return ScoreTable(features, labels, counts.reshape(shape).astype(np.float64), edges, decided)


def draws(table: ScoreTable, resamples: int, seed: int) -> Iterator[Array]:
    """Yield blocks float64 [b, G, 2, K] of resampled tables, B in all.

    An exact table is drawn anew from its own people: multinomial over all cells of a feature,
    which is the bootstrap over people. Features are drawn apart, although they hold the same
    people; by the Gaussian correlation inequality this errs towards wide simultaneous
    intervals. Of a noised table people are drawn from counts of at least zero that keep each
    group's outcomes by decision; by how much they differ from those is added to the table's own
    counts, and fresh noise of the same size.

    Args:
        table: of the people.
        resamples: B.
        seed: of the resampling.

    Source: Efron (1979); Royen (2014) for the inequality.
    """
    rng = np.random.default_rng(seed)
    centre = table.counts if table.noise == 0 else _possible(table)
    block = max(1, BLOCK // max(1, centre.size))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = np.zeros((size, *centre.shape))
        for groups in table.tables:
            drawn[:, groups] = _multinomial(rng, centre[groups], size)
        if table.noise:
            drawn += rng.normal(0.0, table.noise, drawn.shape)
            drawn += table.counts - centre
        yield drawn


def _multinomial(rng: np.random.Generator, counts: Array, size: int) -> Array:
    """Draw as many people as there are from their own cells; empty cells stay empty."""
    flat = counts.ravel()
    total = round(float(flat.sum()))
    drawn = np.zeros((size, len(flat)))
    if total > 0:
        held = np.flatnonzero(flat)
        drawn[:, held] = rng.multinomial(total, flat[held] / flat[held].sum(), size=size)
    return drawn.reshape(size, *counts.shape)


def _possible(table: ScoreTable) -> Array:
    """Noised counts without negative ones, each outcome by decision as it was where it can be."""
    kept = np.maximum(table.counts, 0.0)
    wanted = np.maximum(collapse(table.counts, table.decided), 0.0)
    have = collapse(kept, table.decided)
    factor = np.divide(wanted, have, out=np.zeros_like(have), where=have > 0)
    sides = (np.arange(kept.shape[-1]) >= table.decided).astype(np.int64)
    return kept * factor[..., sides]


def draws_clustered(
    table: ScoreTable, cells: Integers, persons: Integers, resamples: int, seed: int
) -> Iterator[Array]:
    """Yield blocks float64 [b, G, 2, K] of tables resampled by person, all rows of one together.

    Each person counts Poisson(1) times, so that rows of one person are never told apart.

    Args:
        table: of the rows, exact.
        cells: int64 [N, F] of `flat_cells`.
        persons: int64 [N], number of each row's person, 0..P-1.
        resamples: B.
        seed: of the resampling.

    Source: Field and Welsh (2007) for clusters; Hanley and MacGibbon (2006) for the weights.
    """
    rng = np.random.default_rng(seed)
    people = int(persons.max()) + 1 if len(persons) else 0
    rows = np.repeat(persons, cells.shape[1])
    ones = np.ones(len(rows))
    held = sparse.csr_array((ones, (rows, cells.ravel())), shape=(people, table.counts.size))
    block = max(1, BLOCK // max(1, people, table.counts.size))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        weights = rng.poisson(1.0, (size, people)).astype(np.float64)
        yield np.asarray(weights @ held).reshape(size, *table.counts.shape)
