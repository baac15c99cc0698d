"""Held-out scores, decisions and figures of the model, its twin and the baseline.

n held-out people, C classes.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rnn.fairness.groups import Groups
from tasks import artifacts, stats
from tasks.evidence import threshold_release
from tasks.evidence.baseline import fit_baseline
from tasks.evidence.calibration import calibration_bins
from tasks.evidence.group_thresholds import event_predicted
from tasks.evidence.metrics import Array, Figures, Predictions, compare, measure
from tasks.evidence.scoring import losses_of, losses_of_scores, model_logits, scores_of
from tasks.evidence.set_aside import with_intervals
from tasks.evidence.summed_scores import Predicted, predicted
from tasks.evidence.threshold import Chooser, draw_name, exact_threshold, published_chooser
from tasks.held_out import ReleaseLedger, drawn_by_predict
from tasks.kinds.table import KINDS
from tasks.params import UserError, command
from tasks.recipe import Cut, Decision, PredictConfig, ReleasePlan, Target, TargetPlan


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


def decide_by_group(
    scored: dict[str, tuple[Array, Array]],
    targets: NDArray[np.generic],
    wanted: TargetPlan,
    prepared: artifacts.Prepared,
    rows: NDArray[np.int64],
    released: dict[str, Any],
) -> dict[str, Predictions]:
    """Return predictions by each person's score and group.

    The model's thresholds were released by training. Twin and baseline, which stay internal, get
    exact ones of their own for the same goal, from the people who are scored.

    Args:
        scored: P(event) and losses by model.
        targets: classes [n].
        wanted: target and decision.
        prepared: of all people, with the feature's groups.
        rows: of the people who are scored.
        released: the model's thresholds.

    Raises:
        UserError: prepare wrote no groups.
    """
    target, decision, groups = wanted.target, wanted.decision, prepared.groups
    if decision is None or groups is None:
        raise UserError(f"{released['feature']!r} has thresholds by group, but prepare wrote none")
    cut = Cut(
        event_favoured=event_favoured(target, decision),
        threshold=decision.threshold,
        approval_rate=decision.approval_rate,
    )
    some = Groups(np.asarray(groups.codes[rows]), groups.labels)
    labels = threshold_release.labels_of(some)
    made = {}
    for name, (scores, losses) in scored.items():
        own = released
        if name != "model":
            own = threshold_release.exact(released, cut, scores, targets.astype(np.int64), some)
        predicted = event_predicted(scores, labels, own)
        made[name] = Predictions(scores, predicted, losses, float(own["overall"]), by_group=own)
    return made


def in_units(scaled: NDArray[np.generic], target: Target) -> Array:
    """Return regression values in the target's units from those scaled to -1..1."""
    low, high = target.bounds or (-1.0, 1.0)
    return low + (np.asarray(scaled, dtype=np.float64) + 1) / 2 * (high - low)


def decision_figures(
    made: Predictions, target: Target, decision: Decision | None, confidence: float
) -> Figures | None:
    """Return threshold, approval rate, event and favourable class; None unless binary.

    Where groups have thresholds of their own, `by_group` has them, and `threshold` is everybody
    else's.
    """
    if made.threshold is None or decision is None:
        return None
    wanted = int(event_favoured(target, decision))
    names = target.names or tuple(map(str, target.classes))
    favourable = int((made.predicted == wanted).sum())
    by_group = {}
    if made.by_group is not None:
        shown = ("feature", "goal", "wanted", "thresholds")
        by_group = {"by_group": {name: made.by_group[name] for name in shown}}
    return {
        "threshold": made.threshold,
        **by_group,
        "approval_rate": stats.wilson(favourable, len(made.predicted), confidence).as_dict(),
        "event": names[1],
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
        if predictions.low is not None:
            columns |= {f"{y}low": predictions.low, f"{y}high": predictions.high}
    return pl.DataFrame(columns)


def predict_all(
    recipe: str, prepared: artifacts.Prepared, rows: NDArray[np.int64]
) -> dict[str, Predictions]:
    """Return the predictions of model, twin and baseline for some people."""
    plan = artifacts.read_section(recipe, "predict", PredictConfig)
    wanted = artifacts.read_section(recipe, "target", TargetPlan)
    release = artifacts.read_section(recipe, "release", ReleasePlan)
    task, target = prepared.schema["task"], wanted.target
    people, ledger = prepared.people["person_id"].gather(rows), ReleaseLedger.of(recipe, release)
    chooser = published_chooser(
        release, people, lambda: ledger.charge(drawn_by_predict(task, release), release)
    )
    targets = np.asarray(prepared.sequences.targets[rows])
    scored = {}
    for name in artifacts.models_of(recipe):
        logits = model_logits(
            artifacts.read_model(artifacts.folder(recipe, name)), prepared.sequences, rows
        )
        scored[name] = scores_of(logits, task), losses_of(logits, targets, task)
    baseline = fit_baseline(plan.baseline, prepared, task, plan.seed)
    if baseline is not None:
        scores = baseline.score(prepared.sequences, rows)
        scored["baseline"] = scores, losses_of_scores(scores, targets, task)
    by_group = threshold_release.read(artifacts.folder(recipe, "model"))
    if by_group is not None:
        return decide_by_group(scored, targets, wanted, prepared, rows, by_group)
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
    noised: bool,
) -> tuple[Figures, Figures]:
    """Return the published and the internal metrics.

    Args:
        task: binary, multiclass or regression.
        truth: as in `measure`.
        made: predictions by model.
        plan: confidence, resamples and seed.
        wanted: target and decision.
        noised: exact figures of held-out people are internal.
    """
    binary = task == "binary"
    exact: Figures = {
        "n": len(truth),
        "calibration": calibration_bins(truth == 1, made["model"].scores) if binary else [],
    }
    internal: Figures = dict(exact)
    for name, one in made.items():
        decided = decision_figures(one, wanted.target, wanted.decision, plan.confidence)
        internal[name] = {**measure(truth, one, plan), "decision": decided}
    model = {name: figure for name, figure in internal["model"].items() if name != "decision"}
    decision = internal["model"]["decision"]
    published: Figures = {"task": task, "confidence": plan.confidence, "decision": decision}
    if noised:
        published["decision"] = {k: v for k, v in decision.items() if k != "approval_rate"}
    else:
        published |= {**exact, "model": model}
    internal["paired"] = paired(truth, made, plan)
    return published, internal


def paired(
    truth: NDArray[np.generic], made: dict[str, Predictions], plan: PredictConfig
) -> Figures:
    """Return differences between models on the same people; arguments as in `figures_of`."""
    return {
        f"{metric}_minus_{b}" if a == "model" else f"{a}_{metric}_minus_{b}": figure
        for a, b in (("model", "twin"), ("model", "baseline"), ("twin", "baseline"))
        if a in made and b in made
        for metric, figure in compare(truth, made[a], made[b], plan).items()
    }


def predicted_scores(
    recipe: str, plan: PredictConfig, prepared: artifacts.Prepared, rows: NDArray[np.int64]
) -> Predicted:
    """Return figures and scores of some held-out people, of targets with one answer."""
    wanted = artifacts.read_section(recipe, "target", TargetPlan)
    task = prepared.schema["task"]
    targets = np.asarray(prepared.sequences.targets[rows])
    truth = in_units(targets, wanted.target) if task == "regression" else targets.astype(np.int64)
    release = artifacts.read_section(recipe, "release", ReleasePlan)
    made = predict_all(recipe, prepared, rows)
    people, interval = prepared.people["person_id"].gather(rows), None
    if task == "regression" and plan.interval is not None:
        bounds = wanted.target.bounds or (-1.0, 1.0)
        ReleaseLedger.of(recipe, release).charge(drawn_by_predict(task, release), release)
        half = with_intervals(people, truth, made, plan.interval, bounds, release)
        rows, truth, people = rows[half.rows], truth[half.rows], people.filter(half.rows)
        made, interval = half.made, half.interval
    noised = release.mode == "noised"
    published, internal = figures_of(task, truth, made, plan, wanted, noised)
    published |= {"interval": interval, "threshold_draw": draw_name(release)}
    return Predicted(published, internal, table(rows, people, truth, made))


def main(argv: list[str]) -> None:
    """Score the held-out people of a recipe."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.predict RECIPE")
    (recipe,) = argv
    plan = artifacts.read_section(recipe, "predict", PredictConfig)
    prepared = artifacts.read_prepared(recipe)
    rows = prepared.rows("test")
    if len(rows) == 0:
        raise UserError(f"{recipe}: nobody is held out; lower data.split.train")
    ours = predicted if prepared.schema["task"] in KINDS else predicted_scores
    found = ours(recipe, plan, prepared, rows)
    root = artifacts.folder(recipe, "predictions")
    with artifacts.replacing(root / "published") as draft:
        artifacts.write_json(draft / "metrics.json", found.published)
        if found.pictures:
            artifacts.write_json(draft / "pictures.json", found.pictures[0])
    with artifacts.replacing(root / "internal") as draft:
        found.table.write_parquet(draft / "test.parquet")
        artifacts.write_json(draft / "metrics.json", found.internal)
        if found.pictures:
            artifacts.write_json(draft / "pictures.json", found.pictures[1])


if __name__ == "__main__":
    command(main)
