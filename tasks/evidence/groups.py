"""Figures by group with intervals, and differences and ratios between groups.

G groups; a cell counts people by true outcome y and decision d, both 1 for favourable.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import stats
from tasks.evidence.calibration import percentiles, resample_cells

Counts = NDArray[np.int64]
Figure = dict[str, float | None]

FOUR_FIFTHS = 0.8
# A ratio of a withheld group is told in these steps, away from equality.
GRAIN = 0.05
# Each rate's numerator and denominator, as cells [y, d] of int64 [..., 2, 2].
RATES = ("base_rate", "selection_rate", "tpr", "fpr", "accuracy")


def rate_counts(cells: Counts, metric: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return numerator and denominator of a rate.

    Args:
        cells: [..., 2, 2], people by true outcome and decision.
        metric: base_rate, selection_rate, tpr, fpr (both of the favourable outcome) or accuracy.
    """
    everyone = cells.sum((-2, -1))
    return {
        "base_rate": (cells[..., 1, :].sum(-1), everyone),
        "selection_rate": (cells[..., 1].sum(-1), everyone),
        "tpr": (cells[..., 1, 1], cells[..., 1, :].sum(-1)),
        "fpr": (cells[..., 0, 1], cells[..., 0, :].sum(-1)),
        "accuracy": (cells[..., 0, 0] + cells[..., 1, 1], everyone),
    }[metric]


def difference(a: Counts, b: Counts, metric: str, confidence: float) -> stats.Interval:
    """Return a rate of group `a` minus that of group `b`, cells [2, 2] each."""
    (hits, of), (other, other_of) = rate_counts(a, metric), rate_counts(b, metric)
    return stats.newcombe(float(hits), float(of), float(other), float(other_of), confidence)


def impact_ratio(a: Counts, b: Counts, confidence: float) -> stats.Interval:
    """Return the selection rate of group `a` over that of group `b`, cells [2, 2] each."""
    (hits, of), (other, other_of) = (rate_counts(x, "selection_rate") for x in (a, b))
    return stats.rate_ratio(float(hits), float(of), float(other), float(other_of), confidence)


@dataclass(frozen=True)
class Comparison:
    """Groups of one feature that may be compared, by label.

    Attributes:
        cells: label -> int64 [2, 2].
        selection: labels whose selection rate is shown.
        rates: labels whose every rate is shown.
        reference: label to compare with.
        coarse: labels that are withheld only to protect others, and large enough to be judged in
            steps of `GRAIN`.
    """

    cells: dict[str, Counts]
    selection: tuple[str, ...]
    rates: tuple[str, ...]
    reference: str
    coarse: tuple[str, ...] = ()


def to_reference(compared: Comparison, confidence: float) -> list[dict[str, Any]]:
    """Return signed differences and impact ratios of every group to reference and highest."""
    shown = compared.selection
    highest = max(shown, key=lambda g: selection_rate(compared.cells[g]), default=None)
    rows = []
    for label in (g for g in compared.cells if g != compared.reference):
        row: dict[str, Any] = {"group": label, "reference": compared.reference, "highest": highest}
        pair = compared.cells[label], compared.cells[compared.reference]
        for metric in RATES:
            allowed = shown if metric == "selection_rate" else compared.rates
            both = label in allowed and compared.reference in allowed
            figure = difference(*pair, metric, confidence).as_dict() if both else None
            row[f"{metric}_difference"] = figure
        both = label in shown and compared.reference in shown
        row["impact_ratio"] = impact_ratio(*pair, confidence).as_dict() if both else None
        row["impact_ratio_to_highest"] = row["below_four_fifths"] = None
        if highest is not None and label in shown:
            ratio = impact_ratio(pair[0], compared.cells[highest], confidence)
            row["impact_ratio_to_highest"] = ratio.as_dict()
            row["below_four_fifths"] = bool(ratio.value < FOUR_FIFTHS)
        rows.append(row)
    return rows


def selection_rate(cells: Counts) -> float:
    """Return the share of favourable decisions, 0 for an empty group."""
    hits, of = rate_counts(cells, "selection_rate")
    return float(hits) / max(float(of), 1.0)


def extremes(
    cells: Counts, points: dict[str, float], resamples: int, seed: int, confidence: float
) -> dict[str, Any]:
    """Return largest gaps and smallest ratios over groups, with how far resampling moves them.

    They are biased away from equality and no interval of theirs covers as it should: `low` and
    `high` are the spread of resampled values, and are said to be without coverage.

    Args:
        cells: int64 [G, 2, 2].
        points: figure by name; only names that the resampling knows get a spread.
        resamples: B.
        seed: of the resampling.
        confidence: share of the resampled values between `low` and `high`.
    """
    draws = resample_cells(cells, resamples, seed)

    def rate(metric: str) -> NDArray[np.float64]:
        hits, of = rate_counts(draws, metric)
        return np.divide(hits, of, out=np.full(of.shape, np.nan), where=of > 0)

    with np.errstate(invalid="ignore", divide="ignore"):
        spreads = {}
        for kind, parts in {
            "demographic_parity": ("selection_rate",),
            "equalized_odds": ("tpr", "fpr"),
        }.items():
            rates = [rate(metric) for metric in parts]
            gaps = np.stack([r.max(1) - r.min(1) for r in rates])
            ratios = np.stack([r.min(1) / r.max(1) for r in rates])
            spreads[f"{kind}_difference"] = gaps.max(0)
            spreads[f"{kind}_ratio"] = ratios.min(0)
    return {
        name: {**percentiles(value, spreads[name], confidence).as_dict(), "coverage": False}
        for name, value in points.items()
    }


def _outward(interval: stats.Interval) -> stats.Interval:
    """The interval in coarse steps, never narrower; the value in the nearest step."""
    steps = interval.low / GRAIN, interval.value / GRAIN, interval.high / GRAIN
    low, value, high = math.floor(steps[0]), round(steps[1]), math.ceil(steps[2])
    return stats.Interval(*(round(step * GRAIN, 2) for step in (value, low, high)))


def smallest_ratio(features: dict[str, Comparison], confidence: float) -> dict[str, Any] | None:
    """Return the smallest impact ratio between any two judged groups, for the gate.

    The lower rate over the higher, over all pairs of groups of all features. The interval is
    simultaneous: each pair's at 1 - (1 - confidence) / pairs, the least of the low ends and the
    least of the high ends, so that it covers the smallest true ratio whichever pair that is.
    Groups that are withheld only to protect a smaller one are judged too, in coarse steps.

    Returns:
        None where no two groups can be compared.

    Source: Bonferroni; log intervals as in `stats.rate_ratio`.
    """
    pairs = [
        (feature, a, b)
        for feature, compared in features.items()
        for a, b in combinations((*compared.selection, *compared.coarse), 2)
    ]
    if not pairs:
        return None
    each = 1 - (1 - confidence) / len(pairs)
    found = []
    for feature, a, b in pairs:
        compared = features[feature]
        if selection_rate(compared.cells[a]) > selection_rate(compared.cells[b]):
            a, b = b, a
        ratio = impact_ratio(compared.cells[a], compared.cells[b], each)
        if a in compared.coarse or b in compared.coarse:
            ratio = _outward(ratio)
        found.append((ratio, {"feature": feature, "group": a, "reference": b}))
    least = min(found, key=lambda f: f[0].value)
    loosest = min(found, key=lambda f: f[0].low)
    high = min(1.0, *(ratio.high for ratio, _ in found))
    return {
        **least[1],
        "impact_ratio": stats.Interval(least[0].value, loosest[0].low, high).as_dict(),
        "low_from": loosest[1],
        "pairs": len(pairs),
        "confidence": confidence,
    }
