"""Held-out scores, decisions and figures of the model, its twin and the baseline.

n held-out people, C classes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks import artifacts, stats
from tasks.evidence.baseline import fit_baseline
from tasks.evidence.calibration import calibration_bins
from tasks.evidence.metrics import Array, Figures, Predictions, compare, measure
from tasks.evidence.scoring import losses_of, losses_of_scores, model_logits, scores_of
from tasks.evidence.threshold import (
    THRESHOLD,
    draw_name,
    exact_threshold,
    kept,
    keystream,
    private_threshold,
)
from tasks.params import UserError, command
from tasks.recipe import Decision, PredictConfig, ReleasePlan, Target, TargetPlan

# Scores and the wanted share of favourable decisions -> threshold.
Chooser = Callable[[Array, float, bool], float]


def event_favoured(target: Target, decision: Decision) -> bool:
    """Return whether the event, the second class, is the favourable outcome."""
    return target.classes.index(decision.favourable) == 1


def decide(
    task: str,
    scores: Array,
    losses: Array,
    target: Target,
    decision: Decision | None,
    choose: Chooser = exact_threshold,
) -> Predictions:
    """Turn scores into predictions; a binary threshold is each model's own at one approval rate.

    Args:
        task: binary, multiclass or regression.
        scores: as in `Predictions`.
        losses: float64 [n].
        target: its classes.
        decision: required for a binary task.
        choose: finds the threshold where the decision states a share.
    """
    if task == "multiclass":
        return Predictions(scores, scores.argmax(1), losses, None)
    if task == "regression":
        return Predictions(scores, scores, losses, None)
    if decision is None:
        raise UserError("data.decision is not set: a binary target needs it")
    threshold = decision.threshold
    if threshold is None:
        rate = float(decision.approval_rate or 0.0)
        threshold = choose(scores, rate, event_favoured(target, decision))
    return Predictions(scores, (scores >= threshold).astype(np.int64), losses, threshold)


def in_units(scaled: NDArray[np.generic], target: Target) -> Array:
    """Return regression values in the target's units from those scaled to -1..1."""
    low, high = target.bounds or (-1.0, 1.0)
    return low + (np.asarray(scaled, dtype=np.float64) + 1) / 2 * (high - low)


def decision_figures(
    made: Predictions, target: Target, decision: Decision | None, confidence: float
) -> Figures | None:
    """Return threshold, approval rate and favourable class; None unless binary."""
    if made.threshold is None or decision is None:
        return None
    wanted = int(event_favoured(target, decision))
    names = target.names or tuple(map(str, target.classes))
    favourable = int((made.predicted == wanted).sum())
    return {
        "threshold": made.threshold,
        "approval_rate": stats.wilson(favourable, len(made.predicted), confidence).as_dict(),
        "favourable": names[wanted],
    }


def table(
    rows: NDArray[np.int64],
    person_ids: pl.Series,
    truth: NDArray[np.generic],
    made: dict[str, Predictions],
) -> pl.DataFrame:
    """Return one row a held-out person; columns of other models carry their name as prefix."""
    columns: dict[str, Any] = {"row": rows, "person_id": person_ids, "y_true": truth}
    for name, predictions in made.items():
        y, short = ("y_", "") if name == "model" else (f"{name}_", f"{name}_")
        columns[f"{y}pred"] = predictions.predicted
        if predictions.scores.ndim == 1:
            columns[f"{y}score"] = predictions.scores
        else:
            for index in range(predictions.scores.shape[1]):
                columns[f"{short}score_{index}"] = predictions.scores[:, index]
        columns[f"{short}loss"] = predictions.losses
    return pl.DataFrame(columns)


def published_chooser(plan: ReleasePlan, person_ids: pl.Series) -> Chooser:
    """Return how the model's threshold is found: privately where its release promises epsilon.

    Twin and baseline stay internal, and so do their thresholds.

    Args:
        plan: of what is published about held-out people.
        person_ids: of the rows to be scored.
    """
    if plan.mode != "noised":
        return exact_threshold

    def choose(scores: Array, rate: float, favourable_event: bool) -> float:
        counted = scores[kept(person_ids, plan)]
        stream = keystream(plan, THRESHOLD)
        return private_threshold(counted, rate, favourable_event, plan, stream)

    return choose


def predict_all(
    recipe: str, prepared: artifacts.Prepared, rows: NDArray[np.int64]
) -> dict[str, Predictions]:
    """Return the predictions of model, twin and baseline for some people."""
    plan = artifacts.read_section(recipe, "predict", PredictConfig)
    wanted = artifacts.read_section(recipe, "target", TargetPlan)
    release = artifacts.read_section(recipe, "release", ReleasePlan)
    chooser = published_chooser(release, prepared.people["person_id"].gather(rows))
    task, target = prepared.schema["task"], wanted.target
    targets = np.asarray(prepared.sequences.targets[rows])
    scored = {}
    for name in ("model", "twin"):
        logits = model_logits(
            artifacts.read_model(artifacts.folder(recipe, name)), prepared.sequences, rows
        )
        scored[name] = scores_of(logits, task), losses_of(logits, targets, task)
    baseline = fit_baseline(plan.baseline, prepared, task, plan.seed)
    if baseline is not None:
        scores = baseline.score(prepared.sequences, rows)
        scored["baseline"] = scores, losses_of_scores(scores, targets, task)
    return {
        name: decide(
            task,
            in_units(scores, target) if task == "regression" else scores,
            losses,
            target,
            wanted.decision,
            chooser if name == "model" else exact_threshold,
        )
        for name, (scores, losses) in scored.items()
    }


def figures_of(
    task: str,
    truth: NDArray[np.generic],
    made: dict[str, Predictions],
    plan: PredictConfig,
    wanted: TargetPlan,
) -> tuple[Figures, Figures]:
    """Return the published and the internal metrics."""

    def decided(name: str) -> Figures | None:
        return decision_figures(made[name], wanted.target, wanted.decision, plan.confidence)

    binary = task == "binary"
    published = {
        "task": task,
        "n": len(truth),
        "confidence": plan.confidence,
        "model": measure(truth, made["model"], plan),
        "decision": decided("model"),
        "calibration": calibration_bins(truth == 1, made["model"].scores) if binary else [],
    }
    internal: Figures = {
        name: {**measure(truth, made[name], plan), "decision": decided(name)}
        for name in made
        if name != "model"
    }
    internal["paired"] = {
        f"{metric}_minus_{b}" if a == "model" else f"{a}_{metric}_minus_{b}": figure
        for a, b in (("model", "twin"), ("model", "baseline"), ("twin", "baseline"))
        if b in made
        for metric, figure in compare(truth, made[a], made[b], plan).items()
    }
    return published, internal


def main(argv: list[str]) -> None:
    """Score the held-out people of a recipe."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.predict RECIPE")
    (recipe,) = argv
    plan = artifacts.read_section(recipe, "predict", PredictConfig)
    wanted = artifacts.read_section(recipe, "target", TargetPlan)
    prepared = artifacts.read_prepared(recipe)
    rows = prepared.rows("test")
    if len(rows) == 0:
        raise UserError(f"{recipe}: nobody is held out; lower data.split.train")
    task = prepared.schema["task"]
    targets = np.asarray(prepared.sequences.targets[rows])
    truth = in_units(targets, wanted.target) if task == "regression" else targets.astype(np.int64)
    made = predict_all(recipe, prepared, rows)
    published, internal = figures_of(task, truth, made, plan, wanted)
    release = artifacts.read_section(recipe, "release", ReleasePlan)
    published["threshold_draw"] = draw_name(release)
    root = artifacts.folder(recipe, "predictions")
    with artifacts.replacing(root / "published") as draft:
        artifacts.write_json(draft / "metrics.json", published)
    with artifacts.replacing(root / "internal") as draft:
        people = prepared.people["person_id"].gather(rows)
        table(rows, people, truth, made).write_parquet(draft / "test.parquet")
        artifacts.write_json(draft / "metrics.json", internal)


if __name__ == "__main__":
    command(main)
