"""Groups of one feature compared with a reference and with the highest, from a table of people.

G groups of all features together, J groups of one comparison.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks import stats
from tasks.evidence import families
from tasks.evidence.score_table import ScoreTable
from tasks.evidence.table_intervals import Figures, difference, quotient
from tasks.evidence.table_metrics import RATES, rate_counts
from tasks.recipe import AuditConfig

Array = NDArray[np.float64]
Row = dict[str, Any]
Reasons = dict[str, list[str | None]]

FOUR_FIFTHS = 0.8
POWER = 0.8
# Share of false calls among all that the exploratory family calls.
FALSE_CALLS = 0.05
COUNTED = tuple(RATES)
SCORED = ("auc", "brier", "ece", "calibration_slope", "skill")
# FNR is 1 - TPR.
DIFFERENCES = (*(name for name in COUNTED if name != "fnr"), "auc", "brier", "skill")
TESTED = ("selection_rate", "tpr", "fpr", "ppv", "auc", "skill")
# Which level of suppression decides about a figure.
LEVEL_OF = {
    **dict.fromkeys(("n",), "people"),
    **dict.fromkeys(("positives", "base_rate"), "outcome"),
    **dict.fromkeys(SCORED, "scores"),
    "selection_rate": "decision",
    **dict.fromkeys(("tpr", "fpr", "fnr", "ppv", "accuracy"), "cells"),
}


@dataclass(frozen=True)
class Evidence:
    """A table of people, its figures, and what of them may be shown.

    Attributes:
        table: of the people, by decision or by score too.
        found: figures of all groups by metric, with intervals.
        why: by level and group, why it is withheld; None where it is shown.
        plan: confidence and references.
    """

    table: ScoreTable
    found: dict[str, Figures]
    why: Reasons
    plan: AuditConfig

    def shown(self, metric: str, group: int) -> bool:
        """Return whether a group's figure may be shown and is a number."""
        withheld = self.why[LEVEL_OF[metric]][group]
        return withheld is None and bool(np.isfinite(self.found[metric].value[group]))


def highest_of(evidence: Evidence, numbers: NDArray[np.int64]) -> int | None:
    """Return the group with the highest selection rate that is shown."""
    shown = [n for n in numbers.tolist() if evidence.shown("selection_rate", n)]
    rate = evidence.found["selection_rate"].value
    return max(shown, key=lambda n: float(rate[n]), default=None)


def to_reference(evidence: Evidence, numbers: NDArray[np.int64], reference: int) -> list[Row]:
    """Return signed differences and ratios of each group to the reference.

    Args:
        evidence: figures of all groups.
        numbers: int64 [J], groups to compare, the reference among them or not.
        reference: number of the group to compare with.
    """
    labels = evidence.table.labels
    rows = []
    for group in (n for n in numbers.tolist() if n != reference):
        row: Row = {"group": labels[group], "reference": labels[reference]}
        for metric in DIFFERENCES:
            row[f"{metric}_difference"] = _difference(evidence, metric, group, reference)
        row["impact_ratio"] = _ratio(evidence, group, reference)
        row["verdict"] = verdict(row["impact_ratio"])
        row["detectable_gap"] = _detectable(evidence, group, reference)
        row["p_values"] = {m: _p_value(evidence, m, group, reference) for m in TESTED}
        rows.append(row)
    return rows


def to_highest(evidence: Evidence, numbers: NDArray[np.int64]) -> list[Row]:
    """Return difference and ratio of every group's selection rate to the highest that is shown.

    Args:
        evidence: figures of all groups.
        numbers: int64 [J], groups to compare; the highest among them is 1 by definition.
    """
    labels, highest = evidence.table.labels, highest_of(evidence, numbers)
    rows = []
    for group in numbers.tolist():
        ratio = _ratio(evidence, group, highest)
        row: Row = {"group": labels[group], "highest": None if highest is None else labels[highest]}
        row["selection_rate_difference"] = _difference(evidence, "selection_rate", group, highest)
        row["impact_ratio"] = ratio
        row["below_four_fifths"] = None if ratio is None else bool(ratio["value"] < FOUR_FIFTHS)
        row["verdict"] = verdict(ratio)
        rows.append(row)
    return rows


def _difference(evidence: Evidence, metric: str, a: int, b: int | None) -> Row | None:
    """A signed difference, None where one of the two is withheld."""
    if b is None or not (evidence.shown(metric, a) and evidence.shown(metric, b)):
        return None
    if a == b:
        return stats.Interval(0.0, 0.0, 0.0).as_dict()
    found = evidence.found[metric]
    return difference(found[[a]], found[[b]]).at(0).as_dict()


def _ratio(evidence: Evidence, a: int, b: int | None) -> Row | None:
    """Selection rate of one group over that of another; None where one is withheld or zero."""
    metric = "selection_rate"
    if b is None or not (evidence.shown(metric, a) and evidence.shown(metric, b)):
        return None
    if a == b:
        return stats.Interval(1.0, 1.0, 1.0).as_dict()
    found = evidence.found[metric]
    whole = quotient(found[[a]], found[[b]]).at(0)
    return whole.as_dict() if np.isfinite(whole.value) else None


def verdict(ratio: Row | None, bar: float = FOUR_FIFTHS) -> str | None:
    """Return whether a ratio of favourable rates stays within a bar and its inverse.

    By the interval alone: pass where it lies inside, fail where it lies outside, else
    inconclusive; None without a ratio.

    Example:
        >>> verdict({"value": 0.9, "low": 0.79, "high": 1.0})
        'inconclusive'
    """
    if ratio is None or ratio["low"] is None:
        return None
    high = np.inf if ratio["high"] is None else ratio["high"]
    if ratio["low"] >= bar and high <= 1 / bar:
        return "pass"
    return "fail" if high < bar or ratio["low"] > 1 / bar else "inconclusive"


def _spread(evidence: Evidence, metric: str, group: int) -> float:
    """Standard error that the interval stands for."""
    found = evidence.found[metric].at(group)
    return (found.high - found.low) / (2 * stats.normal_quantile(evidence.plan.confidence))


def _spread_apart(evidence: Evidence, metric: str, a: int, b: int) -> float:
    """Standard error of a difference of two groups."""
    return float(np.hypot(_spread(evidence, metric, a), _spread(evidence, metric, b)))


def _detectable(evidence: Evidence, a: int, b: int) -> float | None:
    """The smallest gap of selection rates that the sample would have shown."""
    metric, table = "selection_rate", evidence.table
    if not (evidence.shown(metric, a) and evidence.shown(metric, b)):
        return None
    if table.noise == 0:
        people = table.cells.sum((1, 2))
        base = float(evidence.found[metric].value[b])
        gap = families.detectable_gap(people[a], people[b], base, POWER, evidence.plan.confidence)
        return stats.finite(gap)
    reach = stats.normal_quantile(evidence.plan.confidence) + float(special.ndtri(POWER))
    return stats.finite(reach * _spread_apart(evidence, metric, a, b))


def _p_value(evidence: Evidence, metric: str, a: int, b: int) -> float | None:
    """Two-sided p-value of no difference."""
    if not (evidence.shown(metric, a) and evidence.shown(metric, b)):
        return None
    if metric in RATES and evidence.table.noise == 0:
        hits, of = rate_counts(evidence.table.cells[[a, b]], (metric,))
        (x, y), (n, m) = hits[:, 0].tolist(), of[:, 0].tolist()
        return stats.finite(families.p_value_of_rates(x, n, y, m))
    found = evidence.found[metric]
    apart = difference(found[[a]], found[[b]]).at(0)
    return stats.finite(families.p_value(apart, evidence.plan.confidence))


def adjust(rows: list[Row]) -> Row:
    """Add Benjamini-Hochberg's p-values to all rows of the exploratory family.

    Returns:
        How many comparisons there were and how many are called.
    """
    places = [
        (row, metric) for row in rows for metric, p in row["p_values"].items() if p is not None
    ]
    given = [row["p_values"][metric] for row, metric in places]
    adjusted = families.benjamini_hochberg(given) if given else np.zeros(0)
    for row in rows:
        row["p_adjusted"] = dict.fromkeys(row["p_values"])
    for (row, metric), p in zip(places, adjusted.tolist(), strict=True):
        row["p_adjusted"][metric] = stats.finite(p)
    return {
        "comparisons": len(given),
        "called": int((adjusted <= FALSE_CALLS).sum()),
        "false_discovery_rate": FALSE_CALLS,
        "metrics": list(dict.fromkeys(metric for _, metric in places)),
    }
