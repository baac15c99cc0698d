"""Figures along the score: a threshold sweep, ROC curves and calibration by group.

One threshold for everybody at a time. G groups, K score bins.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import stats
from tasks.evidence.compared import Reasons
from tasks.evidence.score_table import ScoreTable, collapse, draws
from tasks.evidence.table_intervals import Figures, percentiles, wilson
from tasks.evidence.table_metrics import rate_counts, rates
from tasks.recipe import AuditConfig

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Table = dict[str, Any]

SWEPT = ("selection_rate", "tpr", "fpr", "ppv")
# A bin of a curve has at least so many people, and about so many bins are drawn.
PEOPLE = 10
BINS = 10
# A threshold stands for an approval rate that it misses by so much at most.
NEAR = 0.05


def part_of(table: ScoreTable, features: list[str]) -> ScoreTable:
    """Return the groups of some features alone."""
    kept = np.flatnonzero([feature in features for feature in table.features])
    return ScoreTable(
        tuple(table.features[n] for n in kept),
        tuple(table.labels[n] for n in kept),
        table.counts[kept],
        table.edges,
        table.decided,
        table.noise,
    )


def _at(table: ScoreTable, cut: int, blocks: list[Array], confidence: float) -> Figures:
    """Rates of `SWEPT` of all groups if the decision began at a bin, [G, 4]."""
    cells = collapse(table.counts, cut) if table.counts.shape[-1] > 2 else table.counts
    if table.noise == 0:
        return wilson(*rate_counts(cells, SWEPT), confidence)
    low, high = percentiles(
        np.concatenate([rates(collapse(b, cut), SWEPT) for b in blocks]), confidence
    )
    return Figures(rates(cells, SWEPT), low, high)


def sweep(table: ScoreTable, features: list[str], plan: AuditConfig, why: Reasons) -> list[Table]:
    """Return rates by group at other approval rates, one threshold for all.

    Args:
        table: of the people.
        features: whose groups to look at.
        plan: approval rates and confidence.
        why: groups withheld at the level of curves are left out.
    """
    if not features or not plan.sweep:
        return []
    shown = part_of(table, features)
    hidden = [w for w, f in zip(why["curves"], table.features, strict=True) if f in features]
    inhabited = [n for n in range(len(shown.labels)) if shown.counts[n].sum() > 0]
    blocks = list(draws(shown, plan.bootstraps, plan.seed)) if table.noise else []
    # Everybody is in the first feature once.
    mass = np.maximum(shown.counts[shown.of(features[0])].sum((0, 1)), 0)
    share = 1 - np.cumsum(mass) / max(float(mass.sum()), 1.0)
    cuts: dict[int, float] = {}
    for rate in plan.sweep:
        cut = 1 + int(np.argmin(np.abs(share[:-1] - rate)))
        off = abs(float(share[cut - 1]) - rate)
        # Few bins may have no threshold near a rate, or the same one for two.
        if off <= NEAR and off < abs(float(share[cut - 1]) - cuts.get(cut, np.inf)):
            cuts[cut] = rate
    found: list[Table] = []
    for cut, rate in sorted(cuts.items(), key=lambda item: item[1]):
        seen = _at(shown, cut, blocks, plan.confidence)
        rows = [_swept(shown, seen, n, hidden[n] is not None) for n in inhabited]
        found.append(
            {
                "approval_rate": rate,
                "share": float(share[cut - 1]),
                "threshold": float(shown.edges[cut]),
                "groups": rows,
                "smallest_ratio": _smallest(rows, features),
            }
        )
    return found


def _swept(table: ScoreTable, seen: Figures, group: int, hidden: bool) -> Table:
    """One group's rates at one threshold."""
    figures = {name: seen[group, index] for index, name in enumerate(SWEPT)}
    return {
        "feature": table.features[group],
        "label": table.labels[group],
        **{name: None if hidden else _figure(figure) for name, figure in figures.items()},
    }


def _figure(figure: Figures) -> Table:
    """Value and interval for JSON."""
    return (
        Figures(*(np.atleast_1d(x) for x in (figure.value, figure.low, figure.high)))
        .at(0)
        .as_dict()
    )


def _smallest(rows: list[Table], features: list[str]) -> float | None:
    """The smallest ratio of selection rates within a feature, without a coverage claim."""
    ratios = []
    for feature in features:
        given = [row["selection_rate"] for row in rows if row["feature"] == feature]
        values = [g["value"] for g in given if g and g["value"] is not None and g["value"] >= 0]
        if len(values) > 1 and max(values) > 0:
            ratios.append(min(values) / max(values))
    return min(ratios, default=None)


def bins_of(size: Array, least: float) -> Counts:
    """Return where bins begin that hold at least so many people each, rising from 0."""
    starts, inside = [0], 0.0
    rest = float(size.sum())
    for index, people in enumerate(size.tolist()):
        if inside >= least and rest >= least:
            starts.append(index)
            inside = 0.0
        inside += people
        rest -= people
    return np.array(starts, dtype=np.int64)


def curves(table: ScoreTable, features: list[str], plan: AuditConfig, why: Reasons) -> list[Table]:
    """Return ROC points and calibration bins of each group that is shown.

    Args:
        table: of the people.
        features: whose groups to look at.
        plan: confidence and smallest numbers.
        why: groups withheld at the level of curves are left out.
    """
    found = []
    for feature in features:
        groups = [
            {"label": table.labels[n], **curve(table, n, plan)}
            for n in table.of(feature).tolist()
            if why["curves"][n] is None and table.counts[n].sum() > 0
        ]
        found.append({"feature": feature, "groups": groups})
    return found


def _rates(merged: Array, bins: Counts, noise: float, confidence: float) -> Figures:
    """Observed rates of bins, whose intervals hold sampling and noise."""
    people = merged.sum(0)
    found = wilson(merged[1], people, confidence)
    if noise == 0:
        return found
    spread = noise * np.sqrt(bins * (found.value**2 + (1 - found.value) ** 2)) / people
    half = stats.normal_quantile(confidence) * spread
    low = found.value - np.hypot(found.value - found.low, half)
    high = found.value + np.hypot(found.high - found.value, half)
    return Figures(found.value, np.maximum(low, 0.0), np.minimum(high, 1.0))


def curve(table: ScoreTable, group: int, plan: AuditConfig) -> Table:
    """Return one group's calibration bins and ROC points.

    Args:
        table: of the people.
        group: its number.
        plan: confidence.
    """
    counts = np.maximum(table.counts[group], 0.0)
    size = counts.sum(0)
    # Noise of one count, both outcomes, must not make a bin.
    least = max(PEOPLE, size.sum() / BINS, 4 * table.noise)
    starts = bins_of(size, least)
    merged = np.add.reduceat(counts, starts, axis=1)
    scores = np.add.reduceat(size * table.centres, starts)
    people = merged.sum(0)
    rate = _rates(merged, np.diff([*starts, len(size)]), table.noise, plan.confidence)
    ends = [*starts[1:].tolist(), len(size)]
    calibration = [
        {
            "low": float(table.edges[start]),
            "high": float(table.edges[end]),
            "n": round(float(people[index])),
            "mean_score": float(scores[index] / people[index]),
            "rate": rate.at(index).as_dict(),
        }
        for index, (start, end) in enumerate(zip(starts.tolist(), ends, strict=True))
        if people[index] > 0
    ]
    above = merged[:, ::-1].cumsum(1)
    shares = above / np.maximum(merged.sum(1, keepdims=True), 1e-300)
    roc = [[0.0, 0.0], *([float(fpr), float(tpr)] for fpr, tpr in shares.T)]
    return {"calibration": calibration, "roc": roc}
