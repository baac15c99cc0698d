"""The audit where nothing is decided: errors of a number, and several classes.

N held-out people, G groups of all features together, C classes.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks import stats
from tasks.evidence import families
from tasks.evidence.audited import Audited, listed, pick_reference
from tasks.evidence.compared import Reasons, adjust
from tasks.evidence.intersections import Crossed
from tasks.evidence.means import mean_by_group, perplexity, r2_by_group
from tasks.evidence.score_table import tabulate
from tasks.evidence.suppress import Groups
from tasks.evidence.table_intervals import Figures, closed_form, difference, wilson
from tasks.recipe import AuditConfig

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Table = dict[str, Any]

ONE_AGAINST_REST = ("base_rate", "selection_rate", "tpr", "fpr", "ppv")
LEVEL_OF = {
    **dict.fromkeys(("mae", "bias", "r2", "loss", "perplexity", "interval_width"), "people"),
    "interval_coverage": "covered",
    **dict.fromkeys(("accuracy", "recall"), "cells"),
}
CLASS_LEVEL = {
    **dict.fromkeys(("base_rate", "auc"), "outcome"),
    "selection_rate": "decision",
    **dict.fromkeys(("tpr", "fpr", "ppv"), "classes"),
}
LEFT_OUT = {
    "interval_coverage": "The predictions are single numbers: the recipe asks for no intervals."
}


def figures_of(data: Audited, groups: Groups, confidence: float) -> dict[str, Figures]:
    """Return figures of all groups by metric, with intervals, float64 [G] each."""
    if data.task == "regression":
        error = np.asarray(data.d, dtype=np.float64) - data.y
        truth, predicted = np.asarray(data.y, dtype=np.float64), np.asarray(data.d, np.float64)
        found = {
            "mae": mean_by_group(groups, np.abs(error), data.persons, confidence),
            "bias": mean_by_group(groups, error, data.persons, confidence),
            "r2": r2_by_group(groups, truth, predicted, data.persons, confidence),
        }
        if data.inside is not None:
            assert data.low is not None and data.high is not None
            inside, width = data.inside.astype(np.float64), data.high - data.low
            found["interval_coverage"] = _share(data, groups, inside, confidence)
            found["interval_width"] = mean_by_group(groups, width, data.persons, confidence)
        return found
    right = (data.y == data.d).astype(np.float64)
    found = {
        "recall" if _pure(data, groups) else "accuracy": _share(data, groups, right, confidence)
    }
    if data.loss is not None:
        found["loss"] = mean_by_group(groups, data.loss, data.persons, confidence)
        found["perplexity"] = perplexity(found["loss"])
    return found


def _pure(data: Audited, groups: Groups) -> bool:
    """Whether each group is one class: accuracy is then the recall of that class."""
    seen = [len(np.unique(data.y[groups.members(n)])) for n in range(len(groups.labels))]
    return max(seen, default=0) == 1


def _share(data: Audited, groups: Groups, right: Array, confidence: float) -> Figures:
    """Share for whom something holds: Wilson's interval, or one by person where persons repeat."""
    if data.repeated:
        return mean_by_group(groups, right, data.persons, confidence)
    counts = groups.tally(right.astype(np.int64), 2).astype(np.float64)
    return wilson(counts[:, 1], counts.sum(1), confidence)


def one_against_rest(data: Audited, groups: Groups, confidence: float) -> list[dict[str, Figures]]:
    """Return for each class its figures against all others, by group: float64 [G] each.

    Args:
        data: classes, predictions and, for the AUC, a score of each class.
        groups: of all features.
        confidence: of the intervals.
    """
    classes = 1 + int(max(data.y.max(initial=0), data.d.max(initial=0)))
    classes = classes if data.scores is None else data.scores.shape[1]
    halves, fine = np.array([0.0, 0.5, 1.0]), np.arange(1001) / 1000
    found = []
    for index in range(classes):
        y, d = ((x == index).astype(np.int64) for x in (data.y, data.d))
        head = (groups.features, groups.labels, groups.codes, y)
        counted = tabulate(*head, d.astype(np.float64), d, halves, 1)
        figures = closed_form(counted, ONE_AGAINST_REST, confidence)
        if data.scores is not None:
            score = data.scores[:, index]
            above = (score >= fine[500]).astype(np.int64)
            scored = tabulate(*head, score, above, fine, 500)
            figures |= closed_form(scored, ("auc",), confidence)
        found.append(figures)
    return found


def audit_plain(
    data: Audited, crossed: Crossed, plan: AuditConfig, why: Reasons, names: tuple[str, ...] = ()
) -> Table:
    """Return tables and comparisons of several classes or of numbers.

    Args:
        data: outcomes and predictions.
        crossed: groups of all features and crossings.
        plan: references and confidence.
        why: by level and group, why it is withheld; None where it is shown.
        names: of classes.
    """
    groups = crossed.groups
    found = figures_of(data, groups, plan.confidence)
    size = groups.tally(np.zeros(len(data.y), dtype=np.int64), 1)[:, 0]
    features = feature_tables(_Closed(found), crossed, size, plan, why)
    single = [
        n
        for name in crossed.single()
        for n in listed(groups.of(name).tolist(), size, why["people"])
    ]
    return {
        "features": features,
        "control": [],
        "exploratory": adjust([r for f in features for r in f["comparisons"]["to_reference"]]),
        "sweep": {"points": []},
        "curves": [],
        "classes": _classes(data, groups, plan, why, names, single),
        "left_out": LEFT_OUT if data.task == "regression" and data.inside is None else {},
        "gate": None,
        "not_judged": [],
    }


class Measured(Protocol):
    """Figures of all groups, and differences of two groups."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the figures' names."""

    def level(self, name: str) -> str:
        """Return which level of suppression decides about a figure."""

    def at(self, name: str, group: int) -> stats.Interval:
        """Return a group's figure."""

    def apart(self, name: str, group: int, other: int) -> stats.Interval:
        """Return a group's figure less that of another."""


@dataclass(frozen=True)
class _Closed:
    """Figures whose groups are independent, by name."""

    found: dict[str, Figures]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self.found)

    def level(self, name: str) -> str:
        """As listed above."""
        return LEVEL_OF[name]

    def at(self, name: str, group: int) -> stats.Interval:
        """One group's."""
        return self.found[name].at(group)

    def apart(self, name: str, group: int, other: int) -> stats.Interval:
        """From both intervals."""
        figures = self.found[name]
        return difference(figures[[group]], figures[[other]]).at(0)


def feature_tables(
    found: Measured, crossed: Crossed, size: Counts, plan: AuditConfig, why: Reasons
) -> list[Table]:
    """Return one table a feature or crossing: its groups, and differences to a reference.

    Args:
        found: figures of all groups.
        crossed: groups of all features and crossings.
        size: int64 [G], people.
        plan: references and confidence.
        why: by level and group, why it is withheld; None where it is shown.
    """
    groups = crossed.groups
    features: list[Table] = []
    for name in crossed.parents:
        numbers = listed(groups.of(name).tolist(), size, why["people"])
        labels, hidden = [groups.labels[n] for n in numbers], [why["people"][n] for n in numbers]
        base = numbers[pick_reference(name, labels, size[numbers], hidden, plan)]
        features.append(
            {
                "name": name,
                "crosses": list(crossed.parents[name]) if len(crossed.parents[name]) > 1 else [],
                "control": name in plan.control,
                "reference": groups.labels[base],
                "groups": [_row(groups, found, why, size, n) for n in numbers],
                "comparisons": {
                    "to_reference": _to_reference(groups, found, why, plan, numbers, base),
                    "to_highest": [],
                    "summary": {},
                },
            }
        )
    return features


def _row(groups: Groups, found: Measured, why: Reasons, size: Counts, group: int) -> Table:
    """One group's row."""
    hidden = why["people"][group]
    reason = {name: why[found.level(name)][group] for name in found.names}
    return {
        "label": groups.labels[group],
        "n": None if hidden else int(size[group]),
        "people": "withheld" if hidden else str(size[group]),
        "suppressed": hidden,
        "metrics": {
            name: None if reason[name] else found.at(name, group).as_dict() for name in found.names
        },
        "withheld": {name: text for name, text in reason.items() if text},
    }


def _to_reference(
    groups: Groups,
    found: Measured,
    why: Reasons,
    plan: AuditConfig,
    numbers: list[int],
    base: int,
) -> list[Table]:
    """Signed differences of each group to the reference."""
    rows = []
    for group in (n for n in numbers if n != base):
        row: Table = {"group": groups.labels[group], "reference": groups.labels[base]}
        row["p_values"] = {}
        for metric in found.names:
            withheld = why[found.level(metric)]
            whole = found.apart(metric, group, base)
            known = withheld[group] is None and withheld[base] is None
            row[f"{metric}_difference"] = whole.as_dict() if known else None
            p = families.p_value(whole, plan.confidence) if known else np.nan
            row["p_values"][metric] = stats.finite(p)
        rows.append(row)
    return rows


def _classes(
    data: Audited,
    groups: Groups,
    plan: AuditConfig,
    why: Reasons,
    names: tuple[str, ...],
    numbers: list[int],
) -> list[Table]:
    """One table a class: its figures against the rest, of the groups of single features."""
    # A group that is one class has neither others to confuse it with nor anything to add.
    if data.task != "multiclass" or _pure(data, groups):
        return []
    found = []
    for index, figures in enumerate(one_against_rest(data, groups, plan.confidence)):
        rows = [
            {
                "feature": groups.features[n],
                "label": groups.labels[n],
                "metrics": {
                    name: None if why[CLASS_LEVEL[name]][n] else figure.at(n).as_dict()
                    for name, figure in figures.items()
                },
            }
            for n in numbers
        ]
        found.append({"class": names[index] if index < len(names) else str(index), "groups": rows})
    return found
