"""Whom the model treats otherwise: figures by group, of every sensitive feature and crossing.

N held-out people, G groups of all features together. Of a binary target, y and d are 1 for the
favourable outcome and for a favourable decision; all rates are of the favourable one. Exact
figures stay inside. What is published of a binary target is made from one noised table; of
other targets it is exact, with small groups withheld.
"""

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from fairlearn.metrics import (
    MetricFrame,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)

from tasks import artifacts
from tasks.checkout import checkout
from tasks.evidence import history
from tasks.evidence.audited import Audited, audited, by_threshold, count, favourable_name
from tasks.evidence.compared import COUNTED, SCORED
from tasks.evidence.intersections import Crossed, cross
from tasks.evidence.plain_audit import audit_plain
from tasks.evidence.privacy_cost import privacy_cost
from tasks.evidence.published import contents_of, noised_audit, suppressed_audit
from tasks.evidence.score_table import draws_clustered, fine_edges, flat_cells
from tasks.evidence.suppress import UNKNOWN, Groups, find_groups
from tasks.evidence.swap import swap_audit
from tasks.evidence.table_audit import audit_table, nothing_withheld
from tasks.evidence.table_intervals import Figures, resampled
from tasks.held_out import ReleaseLedger, drawn_by_audit
from tasks.params import UserError, command
from tasks.recipe import AuditConfig, ReleasePlan, TargetPlan

Table = dict[str, Any]

# So many rows at most are counted a second time by Fairlearn, which takes seconds for more.
CHECKED = 50_000
# Tables that are resampled by person have so many score bins.
CLUSTERED_BINS = 100


def check_with_fairlearn(data: Audited, groups: Groups, found: Table) -> int:
    """Compare the table's point values with Fairlearn's, group by group of single features.

    Args:
        data: of a binary target.
        groups: of all features.
        found: the audit's tables.

    Returns:
        How many figures were compared; 0 where there are too many people.

    Raises:
        RuntimeError: a figure differs, which is a fault of this code.
    """
    if len(data.y) > CHECKED:
        return 0
    metrics = {
        "selection_rate": selection_rate,
        "tpr": lambda y_true, y_pred: true_positive_rate(y_true, y_pred, pos_label=1),
        "fpr": lambda y_true, y_pred: false_positive_rate(y_true, y_pred, pos_label=1),
    }
    compared = 0
    for feature in (f for f in found["features"] if not f["crosses"]):
        frame = MetricFrame(
            metrics=metrics,
            y_true=data.y,
            y_pred=data.d,
            sensitive_features={"group": groups.column(feature["name"])},
        ).by_group
        numbers = {groups.labels[n]: n for n in groups.of(feature["name"]).tolist()}
        for row in feature["groups"]:
            for name in metrics:
                ours = (row["metrics"][name] or {}).get("value")
                if ours is None:
                    continue
                compared += 1
                theirs = float(frame.loc[numbers[row["label"]], name])
                if abs(ours - theirs) > 1e-9:
                    raise RuntimeError(f"{feature['name']} {row['label']}: {name} {ours} {theirs}")
    return compared


def exact_audit(
    data: Audited,
    crossed: Crossed,
    plan: AuditConfig,
    threshold: float | None,
    names: tuple[str, ...] = (),
) -> Table:
    """Return the audit with nothing withheld: internal.

    Args:
        data: outcomes and predictions of one model.
        crossed: groups of all features and crossings.
        plan: references, confidence and resampling.
        threshold: of the favourable score; None unless binary.
        names: of classes.
    """
    if data.task != "binary":
        return audit_plain(data, crossed, plan, nothing_withheld(crossed.groups.labels), names)
    assert threshold is not None
    counted = count(data, crossed.groups, threshold, fine_edges(threshold))
    found = by_person(data, crossed.groups, threshold, plan) if data.repeated else None
    why = nothing_withheld(counted.scores.labels)
    return audit_table(
        counted.decisions, plan, crossed.parents, why, found=found, scores=counted.scores
    )


def by_person(
    data: Audited, groups: Groups, threshold: float, plan: AuditConfig
) -> dict[str, Figures]:
    """Return figures whose intervals resample persons with all their rows."""
    assert data.score is not None
    counted = count(data, groups, threshold, fine_edges(threshold, CLUSTERED_BINS))
    found: dict[str, Figures] = {}
    for table, score, decision, names in (
        (counted.decisions, data.d, data.d, ("n", "positives", *COUNTED)),
        (counted.scores, data.score, by_threshold(data, threshold), SCORED),
    ):
        cells = flat_cells(groups.codes, data.y, score, decision, table.edges, table.decided)
        blocks = draws_clustered(table, cells, data.persons, plan.bootstraps, plan.seed)
        found |= resampled(table, blocks, names, plan.confidence)
    return found


def thresholds(recipe: str, wanted: TargetPlan) -> dict[str, float]:
    """Return each model's threshold of the favourable score; empty unless binary."""
    if wanted.target.kind != "binary" or wanted.decision is None:
        return {}
    root = artifacts.folder(recipe, "predictions")
    others = artifacts.read_json(root / "internal" / "metrics.json")
    found = {"model": artifacts.read_json(root / "published" / "metrics.json")["decision"]}
    found |= {name: others[name]["decision"] for name in ("twin", "baseline") if name in others}
    favoured = wanted.target.classes.index(wanted.decision.favourable) == 1
    return {
        name: float(d["threshold"]) if favoured else 1 - float(d["threshold"])
        for name, d in found.items()
    }


def read_metrics(recipe: str) -> Table:
    """Return what predict published."""
    path = artifacts.folder(recipe, "predictions", "published", "metrics.json")
    return dict(artifacts.read_json(path))


def one_threshold(metrics: Table) -> bool:
    """Return whether everybody has the same threshold: not where a feature's groups have theirs.

    Args:
        metrics: predictions/published/metrics.json.
    """
    return (metrics.get("decision") or {}).get("by_group") is None


def internal_audit(
    predictions: pl.DataFrame,
    crossed: Crossed,
    plan: AuditConfig,
    wanted: TargetPlan,
    cuts: dict[str, float],
    by_score: bool = True,
) -> Table:
    """Return the exact audits of model, twin and baseline, and what privacy cost whom."""
    prefixes = {"model": "", "twin": "twin_", "baseline": "baseline_"}
    models = {
        name: audited(predictions, wanted, prefix, by_score)
        for name, prefix in prefixes.items()
        if f"{prefix or 'y_'}pred" in predictions.columns
    }
    names = wanted.target.names or tuple(map(str, wanted.target.classes))
    found: Table = {
        name: exact_audit(data, crossed, plan, cuts.get(name), names)
        for name, data in models.items()
    }
    if wanted.target.kind == "binary":
        checked = check_with_fairlearn(models["model"], crossed.groups, found["model"])
        found["checked_with_fairlearn"] = checked
    if "twin" in models:
        both = models["model"], models["twin"]
        found["privacy_cost"] = privacy_cost(*both, crossed.singles(), plan)
    return found


def published_audit(
    recipe: str,
    predictions: pl.DataFrame,
    sensitive: dict[str, list[str]],
    crossed: Crossed,
    plan: AuditConfig,
    wanted: TargetPlan,
    cuts: dict[str, float],
) -> Table:
    """Return the audit of the private model as it may be shown."""
    people = predictions["person_id"]
    promised = artifacts.read_section(recipe, "release", ReleasePlan)
    root = checkout() / history.ROOT / recipe
    metrics = read_metrics(recipe)
    data = audited(predictions, wanted, by_score=one_threshold(metrics))
    if promised.mode == "noised":
        draw = metrics.get("threshold_draw")
        threshold = cuts["model"]
        ledger = ReleaseLedger.of(recipe, promised)
        return noised_audit(
            data, sensitive, people, plan, promised, threshold, root / "noised", draw,
            charge=lambda: ledger.charge(drawn_by_audit(promised)),
        )  # fmt: skip
    names = wanted.target.names or tuple(map(str, wanted.target.classes))
    contents = contents_of(data, history.names_of(people), wanted)
    shown = suppressed_audit(
        data, crossed, people, plan, contents, cuts.get("model"), root / "shown", names
    )
    if metrics.get("interval"):
        shown["source"]["interval"] = metrics["interval"]
    return shown


def audit_scores(
    recipe: str,
    predictions: pl.DataFrame,
    sensitive: dict[str, list[str]],
    crossed: Crossed,
    plan: AuditConfig,
    wanted: TargetPlan,
) -> tuple[Table, Table]:
    """Return the published and the internal audit of targets with one answer."""
    cuts = thresholds(recipe, wanted)
    favourable = favourable_name(wanted)
    shown_swaps, exact_swaps = swap_audit(recipe, plan, wanted, predictions, favourable)
    by_score = one_threshold(read_metrics(recipe))
    exact = internal_audit(predictions, crossed, plan, wanted, cuts, by_score)
    shown = published_audit(recipe, predictions, sensitive, crossed, plan, wanted, cuts)
    return {**shown, "swaps": shown_swaps}, {**exact, "swaps": exact_swaps}


def audit_sums(
    recipe: str,
    predictions: pl.DataFrame,
    sensitive: dict[str, list[str]],
    crossed: Crossed,
    plan: AuditConfig,
    wanted: TargetPlan,
) -> tuple[Table, Table]:
    """Return the published and the internal audit of targets that are sequences themselves."""
    # It brings torch along, which other audits do not need.
    from tasks.evidence.summed_audit import SummedAudit

    audit = SummedAudit(wanted.target.kind, predictions, crossed, plan)
    none: Table = {"swaps": None}
    return {**audit.published(checkout() / history.ROOT / recipe / "shown"), **none}, {
        **audit.internal(),
        **none,
    }


def main(argv: list[str]) -> None:
    """Audit one recipe's model for publication, and model, twin and baseline internally."""
    if len(argv) == 2 and argv[0] == "compare":
        # Another task, with all that training needs: no part of this stage.
        importlib.import_module("tasks.compare").main(argv[1:])
        return
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.audit RECIPE, or tasks.audit compare RECIPE")
    (recipe,) = argv
    plan = artifacts.read_section(recipe, "audit", AuditConfig)
    wanted = artifacts.read_section(recipe, "target", TargetPlan)
    predictions = artifacts.read_predictions(recipe)
    table = artifacts.read_sensitive_features(recipe)
    sensitive = {
        name: table[name].gather(predictions["row"]).fill_null(UNKNOWN).to_list()
        for name in table.columns
    }
    declared = artifacts.read_section(recipe, "release", ReleasePlan).groups
    groups = find_groups(sensitive, declared)
    if not sensitive:
        groups = replace(groups, codes=np.zeros((len(predictions), 0), dtype=np.int64))
    crossed = cross(groups, plan.intersections, plan.control)
    about = {
        "task": wanted.target.kind,
        "confidence": plan.confidence,
        "min_people": plan.min_people,
        "min_events": plan.min_events,
        "favourable": favourable_name(wanted),
    }
    ours = audit_scores if wanted.target.is_scored else audit_sums
    shown, exact = ours(recipe, predictions, sensitive, crossed, plan, wanted)
    root = artifacts.folder(recipe, "audit")
    with artifacts.replacing(root / "published") as draft:
        artifacts.write_json(draft / "audit.json", {**about, **shown})
    with artifacts.replacing(root / "internal") as draft:
        artifacts.write_json(draft / "audit.json", {**about, **exact})


if __name__ == "__main__":
    command(main)
