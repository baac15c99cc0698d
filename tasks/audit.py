"""Whom the model treats otherwise: figures by group, suppressed where a group is small.

N held-out people, G groups of all sensitive features together. Of a binary target, y and d are
1 for the favourable outcome and for a favourable decision; all rates are of the favourable one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    demographic_parity_ratio,
    equalized_odds_difference,
    equalized_odds_ratio,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)
from numpy.typing import NDArray

from tasks import artifacts, stats
from tasks.evidence.audited import (
    LEVEL_OF,
    Audited,
    audited,
    comparison,
    favourable_name,
    intervals,
    levels_of,
    reference_of,
)
from tasks.evidence.groups import Comparison, extremes, smallest_ratio, to_reference
from tasks.evidence.suppress import UNKNOWN, Groups, find_groups, reasons
from tasks.params import UserError, command
from tasks.recipe import AuditConfig, TargetPlan

Table = dict[str, Any]

EXTREMES: dict[str, Callable[..., float]] = {
    "demographic_parity_difference": demographic_parity_difference,
    "demographic_parity_ratio": demographic_parity_ratio,
    "equalized_odds_difference": equalized_odds_difference,
    "equalized_odds_ratio": equalized_odds_ratio,
}


def by_group(data: Audited, labels: NDArray[Any]) -> dict[str, dict[str, float]]:
    """Return Fairlearn's point values of one feature: label -> metric -> value.

    Rates without anybody in the denominator are left as Fairlearn gives them, 0; the intervals
    mask them.
    """
    metrics: dict[str, Callable[..., Any]] = {}
    if data.task == "binary":
        metrics = {
            "base_rate": lambda y_true, y_pred: np.mean(y_true),
            "selection_rate": selection_rate,
            "tpr": lambda y_true, y_pred: true_positive_rate(y_true, y_pred, pos_label=1),
            "fpr": lambda y_true, y_pred: false_positive_rate(y_true, y_pred, pos_label=1),
            "accuracy": lambda y_true, y_pred: np.mean(y_true == y_pred),
        }
    elif data.task == "multiclass":
        metrics = {"accuracy": lambda y_true, y_pred: np.mean(y_true == y_pred)}
    else:
        metrics = {
            "mae": lambda y_true, y_pred: np.mean(np.abs(y_pred - y_true)),
            "bias": lambda y_true, y_pred: np.mean(y_pred - y_true),
        }
    frame = MetricFrame(
        metrics=metrics,
        y_true=data.y,
        y_pred=data.d,
        sensitive_features={"group": labels},
    )
    return {str(label): row.to_dict() for label, row in frame.by_group.iterrows()}


def group_row(
    label: str,
    figures: dict[str, stats.Interval],
    people: int,
    why: dict[str, str | None],
    plan: AuditConfig,
) -> Table:
    """Return one group's row: its figures, or why they are withheld.

    Args:
        label: of the group.
        figures: by metric.
        people: in the group.
        why: by level, the reason to withhold or None.
        plan: smallest numbers to show.
    """
    reason = {name: why[LEVEL_OF[name]] for name in figures}
    hidden = why["people"]
    shown_people = str(people)
    if hidden:
        shown_people = f"<{plan.min_people}" if hidden.startswith("fewer") else "withheld"
    return {
        "label": label,
        "n": None if hidden else people,
        "people": shown_people,
        "suppressed": hidden,
        "metrics": {n: None if reason[n] else f.as_dict() for n, f in figures.items()},
        "withheld": {name: text for name, text in reason.items() if text},
    }


def group_figures(
    data: Audited, groups: Groups, feature: str, confidence: float
) -> dict[int, dict[str, stats.Interval]]:
    """Return every group's figures, unsuppressed: group number -> metric -> interval."""
    numbers = groups.of(feature)
    labels = np.asarray(groups.labels, dtype=object)[groups.column(feature)]
    points = by_group(data, labels)
    members = {int(number): groups.members(int(number)) for number in numbers}
    # Where each group is one class, accuracy is the recall of that class.
    pure = data.task == "multiclass" and all(
        len(np.unique(data.y[inside])) == 1 for inside in members.values()
    )
    found = {}
    for number, inside in members.items():
        figures = {}
        for metric, figure in intervals(data, inside, confidence).items():
            value = points[groups.labels[number]].get(metric, figure.value)
            # Fairlearn gives 0 where nobody is in the denominator; the interval has NaN there.
            value = value if np.isfinite(figure.value) else figure.value
            name = "recall" if pure else metric
            figures[name] = stats.Interval(float(value), figure.low, figure.high)
        found[number] = figures
    return found


def summary(data: Audited, compared: Comparison, labels: NDArray[Any], plan: AuditConfig) -> Table:
    """Return Fairlearn's gaps and ratios over the groups that are shown, with their spread."""
    found: Table = {}
    for kind, shown in (
        ("demographic_parity", compared.selection),
        ("equalized_odds", compared.rates),
    ):
        if len(shown) < 2:
            continue
        inside = np.isin(labels, shown)
        points = {
            name: float(f(data.y[inside], data.d[inside], sensitive_features=labels[inside]))
            for name, f in EXTREMES.items()
            if name.startswith(kind)
        }
        cells = np.stack([compared.cells[label] for label in shown])
        found |= extremes(cells, points, plan.bootstraps, plan.seed, plan.confidence)
    return found


def audit(data: Audited, groups: Groups, plan: AuditConfig) -> Table:
    """Return the audit's tables, comparisons and the gate's figure.

    Args:
        data: outcomes and predictions.
        groups: of all sensitive features.
        plan: suppression, references and intervals.
    """
    size = groups.tally(np.zeros(len(data.y), dtype=np.int64), 1)[:, 0]
    levels = levels_of(data, groups, plan.min_people, plan.min_events)
    why = reasons(groups, levels, size)
    features, compared = [], {}
    for feature in dict.fromkeys(groups.features):
        reference = reference_of(groups, feature, size, why["people"], plan)
        figures = group_figures(data, groups, feature, plan.confidence)
        table = {
            "name": feature,
            "reference": reference,
            "groups": [
                group_row(
                    groups.labels[number],
                    figures[number],
                    int(size[number]),
                    {level: texts[number] for level, texts in why.items()},
                    plan,
                )
                for number in figures
            ],
            "comparisons": {},
        }
        if data.task == "binary":
            compared[feature] = comparison(data, groups, feature, why, levels, reference)
            labels = np.asarray(groups.labels, dtype=object)[groups.column(feature)]
            table["comparisons"] = {
                "to_reference": to_reference(compared[feature], plan.confidence),
                "summary": summary(data, compared[feature], labels, plan),
            }
        features.append(table)
    return {
        "task": data.task,
        "confidence": plan.confidence,
        "min_people": plan.min_people,
        "min_events": plan.min_events,
        "features": features,
        "gate": smallest_ratio(compared, plan.confidence),
        "not_judged": [
            {"feature": feature, "group": label, "reason": "too few people for a verdict"}
            for feature, c in compared.items()
            for label in c.cells
            if label not in (*c.selection, *c.coarse)
        ],
    }


def main(argv: list[str]) -> None:
    """Audit one recipe's model for publication, and model, twin and baseline internally."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.audit RECIPE")
    (recipe,) = argv
    plan = artifacts.read_section(recipe, "audit", AuditConfig)
    wanted = artifacts.read_section(recipe, "target", TargetPlan)
    predictions = artifacts.read_predictions(recipe)
    sensitive = artifacts.read_sensitive_features(recipe)
    groups = find_groups(
        {
            name: sensitive[name].gather(predictions["row"]).fill_null(UNKNOWN).to_list()
            for name in sensitive.columns
        }
    )
    favourable = favourable_name(wanted)
    published = {**audit(audited(predictions, wanted), groups, plan), "favourable": favourable}
    exact = replace(plan, min_people=1, min_events=0)
    internal = {
        name: {**audit(audited(predictions, wanted, prefix), groups, exact)}
        for name, prefix in (("model", ""), ("twin", "twin_"), ("baseline", "baseline_"))
        if f"{prefix or 'y_'}pred" in predictions.columns
    }
    root = artifacts.folder(recipe, "audit")
    with artifacts.replacing(root / "published") as draft:
        artifacts.write_json(draft / "audit.json", published)
    with artifacts.replacing(root / "internal") as draft:
        artifacts.write_json(draft / "audit.json", {**internal, "favourable": favourable})


if __name__ == "__main__":
    command(main)
