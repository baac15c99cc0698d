"""Train the private model, or with --twin the same without privacy.

A recipe that promises none has one model, trained once: its twin's folder says so.
"""

import math
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from rnn.fairness.config import feature_of
from rnn.fit import Fit, StepReport, learning_rate
from rnn.privacy.ledger import Event, epsilon_of
from rnn.privacy.noise import Keystream
from rnn.privacy.null_verdict import judge
from tasks.account import gradients, ledger_of, mechanism_of, spent
from tasks.artifacts import (
    Prepared,
    digest_folder,
    folder,
    read_json,
    read_prepared,
    read_section,
    replacing,
    write_json,
    write_model,
)
from tasks.checkpoint import Checkpoint, HandedOver, checkpoint_key, sole_writer
from tasks.early import Stopper, set_aside
from tasks.evidence import threshold_release
from tasks.feed import Feed, feed
from tasks.params import UserError, as_json, command
from tasks.population import RunLedger
from tasks.promised import unpromised
from tasks.recipe import TrainPlan
from tasks.starting.begin import FILE as START
from tasks.starting.begin import SAW
from tasks.starting.fresh import begun, fresh_model
from tasks.winner import take_over

CURVE_POINTS = 100
EPSILON_POINTS = 10


def make_fit(plan: TrainPlan, prepared: Prepared) -> Fit:
    """Return a run at its first step.

    Args:
        plan: with `privacy`, or without it for the twin.
        prepared: arrays of all people; those of split "train" are trained on.

    Raises:
        UserError: the bounds of privacy.layer_max_grad_norms do not fit the model.
    """
    rows, _ = set_aside(plan, prepared.rows("train"))
    mechanism, groups = None, prepared.groups
    keystream = Keystream.from_seed(plan.train.seed)
    if plan.privacy is not None:
        mechanism = mechanism_of(plan, plan.privacy, len(groups.labels) if groups else 0)
        seed = plan.privacy.insecure_seed
        keystream = Keystream.from_system() if seed is None else Keystream.from_seed(seed)
    try:
        return Fit(
            fresh_model(plan, prepared, plan.train.seed),
            prepared.sequences,
            rows,
            plan.train,
            sample_rate=plan.sample_rate,
            mechanism=mechanism,
            keystream=keystream,
            mitigation=plan.mitigation,
            groups=groups if feature_of(plan.mitigation) else None,
            null_canaries=plan.privacy.null_canaries if plan.privacy else 0,
            freeze=plan.frozen,
        )
    except ValueError as error:
        raise UserError(f"privacy: {error}") from None


class Progress:
    """A bar on a terminal, ten lines elsewhere: step, epsilon so far, time left; never a loss."""

    def __init__(self, plan: TrainPlan, label: str, start: int):
        """Begin at step `start`."""
        self.plan, self.label, self.start = plan, label, start
        self.began = time.monotonic()
        self.bar = tqdm(
            total=plan.train.steps, initial=start, desc=label, unit="step", disable=None
        )
        self.lines = bool(self.bar.disable)

    def epsilon(self, step: int) -> float | None:
        """Epsilon after a step, read now and then: it takes a while."""
        every = max(1, self.plan.train.steps // EPSILON_POINTS)
        if self.plan.privacy is None or (step % every and step != self.plan.train.steps):
            return None
        return epsilon_of([gradients(self.plan, step)], self.plan.privacy.delta)

    def show(self, step: int, epsilon: float | None) -> None:
        """Advance."""
        self.bar.update(1)
        if epsilon is not None:
            self.bar.set_postfix_str(f"epsilon {epsilon:.2f}")
        steps = self.plan.train.steps
        if self.lines and (step % max(1, steps // 10) == 0 or step == steps):
            left = (time.monotonic() - self.began) / (step - self.start) * (steps - step)
            so_far = "" if epsilon is None else f", epsilon so far {epsilon:.2f}"
            print(
                f"{self.label}: step {step} of {steps}{so_far}, {left:.0f} s left", file=sys.stderr
            )


def point(report: StepReport, epsilon: float | None) -> dict[str, float | int | None]:
    """One point of the training curve, in JSON's numbers."""

    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "step": report.step,
        "loss": number(report.loss),
        "gradient_norm_median": number(report.gradient_norm),
        "clipped_share": number(report.clipped_share),
        "refused": report.refused,
        "epsilon": epsilon,
    }


def tell_live(live: Feed, plan: TrainPlan, report: StepReport, epsilon: float | None) -> None:
    """Tell who follows; settings alone make what is public, and of the twin nothing is."""
    figures = point(report, epsilon)
    figures["learning_rate"] = learning_rate(plan.train, report.step - 1)
    twin = plan.privacy is None and plan.no_privacy is None
    names = () if twin else ("epsilon", "learning_rate")
    public = {name: figures[name] for name in names}
    people = {name: value for name, value in figures.items() if name not in {"step", *names}}
    live.add(report.step, public, people, always=epsilon is not None)


def train(
    fit: Fit,
    plan: TrainPlan,
    checkpoint: Checkpoint,
    label: str,
    stopper: Stopper | None = None,
    live: Feed | None = None,
) -> list[dict[str, Any]]:
    """Run to the last step from the newest checkpoint, and return the training curve.

    Args:
        fit: at its first step.
        plan: of the run.
        checkpoint: of the same.
        label: for progress.
        stopper: may end a run without privacy earlier; the best weights are then the released ones.
        live: takes what is told while it runs.

    Raises:
        HandedOver: another process asked to go on.
        UserError: the loss is no longer finite.
    """
    saved = checkpoint.load()
    curve: list[dict[str, Any]] = []
    if saved is not None:
        fit.load_tensors(saved[0])
        curve = saved[1]["curve"]
        if stopper is not None:
            stopper.load(saved[0], saved[1]["early"])
        print(f"{label}: going on from step {fit.step_count}", file=sys.stderr)
    progress = Progress(plan, label, fit.step_count)
    every = max(1, plan.train.steps // CURVE_POINTS)
    last_save = time.monotonic()
    while fit.step_count < plan.train.steps and not (stopper and stopper.stopped):
        report = fit.step()
        if stopper is not None:
            stopper.after(fit)
        epsilon = progress.epsilon(report.step)
        progress.show(report.step, epsilon)
        if live is not None:
            tell_live(live, plan, report, epsilon)
        if epsilon is not None or report.step % every == 0:
            curve.append(point(report, epsilon))
        asked = checkpoint.handover_requested()
        if asked or time.monotonic() - last_save > plan.train.checkpoint_seconds:
            _save(checkpoint, fit, curve, stopper)
            last_save = time.monotonic()
        if asked:
            raise HandedOver(f"{label}: another process goes on from step {fit.step_count}")
    _save(checkpoint, fit, curve, stopper)
    if stopper is not None:
        stopper.restore(fit)
    if not all(bool(t.isfinite().all()) for t in fit.average.values()):
        raise UserError(
            f"{label}: the weights are not finite after {fit.step_count} steps; "
            f"lower train.learning_rate = {plan.train.learning_rate}"
        )
    return curve


def _save(
    checkpoint: Checkpoint, fit: Fit, curve: list[dict[str, Any]], stopper: Stopper | None
) -> None:
    """Keep all that another process needs to go on."""
    tensors, notes = fit.tensors(), {"curve": curve}
    if stopper is None:
        checkpoint.save(tensors, notes)
    else:
        checkpoint.save({**tensors, **stopper.tensors()}, {**notes, "early": stopper.notes()})


def stopper_of(plan: TrainPlan, prepared: Prepared) -> Stopper | None:
    """Return what may end a run early; None where nothing may."""
    _, aside = set_aside(plan, prepared.rows("train"))
    return Stopper(plan, prepared.sequences, aside) if len(aside) else None


def _columns(curve: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The curve as columns."""
    return {key: [point[key] for point in curve] for key in (curve[0] if curve else {})}


def null_block(fit: Fit, plan: TrainPlan) -> dict[str, Any] | None:
    """Return what the run measured of itself, from coins alone; None where it has no null block.

    Args:
        fit: at its last step.
        plan: of the run, with privacy.
    """
    if fit.null is None or plan.privacy is None:
        return None
    event = gradients(plan, fit.step_count)
    return judge(fit.null.account, fit.null.block.present, event, plan.privacy.delta).as_dict()


def write_outputs(
    recipe: str,
    fit: Fit,
    plan: TrainPlan,
    curve: list[dict[str, Any]],
    bars: object = None,
    ledger: RunLedger | None = None,
    prepared: Prepared | None = None,
) -> None:
    """Write the model and its training figures, or the twin, each folder whole.

    Args:
        recipe: name under data/.
        fit: at its last step.
        plan: with privacy, or without it for the twin.
        curve: from `train`.
        bars: of the gate when training began, to be kept with the private model.
        ledger: of the population, which is charged before the model is there to be released.
        prepared: of all people, for what is released about them after the last step.
    """
    if plan.privacy is None and plan.no_privacy is None:
        with replacing(folder(recipe, "twin")) as draft:
            write_model(draft, fit.model, fit.average)
            write_json(draft / "curve.json", _columns(curve))
        return
    with replacing(folder(recipe, "model")) as draft:
        write_model(draft, fit.model, fit.average)
        _write_start(draft, plan, prepared)
        _write_account(draft, fit, plan, ledger, prepared)
        if bars is not None:
            write_json(draft / "bars.json", bars)
    with replacing(folder(recipe, "training")) as draft:
        write_json(draft / "curve.json", _columns(curve))
        write_json(draft / SAW, _saw(recipe, prepared))


def _saw(recipe: str, prepared: Prepared | None) -> dict[str, Any]:
    """Whom a model saw, for whoever begins with it: its people, and what it began with itself."""
    path = folder(recipe, "plan", "population.json")
    known = read_json(path) if path.exists() else {}
    start = prepared.start.facts if prepared is not None and prepared.start is not None else None
    vectors = prepared.vectors_facts if prepared is not None else None
    return {
        **{name: known.get(name) for name in ("population", "split")},
        "began_with": [as_json(one) for one in (start, vectors) if one is not None],
    }


def _write_start(draft: Path, plan: TrainPlan, prepared: Prepared | None) -> None:
    """Which layers began with others' weights and which stayed as they were, where any did."""
    if prepared is None:
        return
    _, record = begun(plan, prepared, plan.train.seed)
    if record is not None:
        write_json(draft / START, record)


def events_before(plan: TrainPlan, prepared: Prepared | None) -> tuple[Event, ...]:
    """Return what weights that saw the same people had cost them: the model owes it too.

    Args:
        plan: of the run.
        prepared: what it is for.
    """
    if prepared is None or prepared.start is None or plan.start is None:
        return ()
    facts = prepared.start.facts
    return tuple(
        replace(one, released=f"{one.released}, of {facts.origin} with which training began")
        for one in facts.events
    )


def _write_account(
    draft: Path, fit: Fit, plan: TrainPlan, ledger: RunLedger | None, prepared: Prepared | None
) -> None:
    """What the model cost its training people, charged; or that nothing is promised, and why."""
    if plan.no_privacy is not None:
        without = {"epsilon": None, **asdict(plan.no_privacy)}
        write_json(draft / "privacy_spent.json", without)
    else:
        threshold_release.write(draft, plan, prepared, fit.keystream)
        before = events_before(plan, prepared)
        account = spent(plan, fit.step_count, fit.keystream.source, before)
        if ledger is not None:
            account = ledger.charge(account)
        write_json(draft / "privacy_spent.json", asdict(account))
        write_json(draft / "ledger.json", ledger_of(plan, fit.step_count, account, before))
        write_json(draft / "null_block.json", null_block(fit, plan))


def write_no_twin(recipe: str, plan: TrainPlan) -> None:
    """Write the twin's folder of a recipe without privacy: the model is its own twin.

    Args:
        recipe: name under data/.
        plan: with `no_privacy`.
    """
    reason = plan.no_privacy.reason if plan.no_privacy else ""
    with replacing(folder(recipe, "twin")) as draft:
        write_json(draft / "same_as_model.json", {"same_as": "model", "no_privacy": reason})


def main(argv: list[str]) -> None:
    """Train one recipe's model or twin."""
    if len(argv) not in (1, 2) or argv[1:] not in ([], ["--twin"]):
        raise UserError("usage: python -m tasks.train RECIPE [--twin]")
    recipe, stage = argv[0], "twin" if argv[1:] else "train"
    plan = read_section(recipe, stage, TrainPlan)
    if plan.no_privacy is not None:
        unpromised(recipe)
        if stage == "twin":
            write_no_twin(recipe, plan)
            return
    prepared = read_prepared(recipe)
    torch.set_num_threads(plan.train.threads)
    torch.set_flush_denormal(True)
    key = checkpoint_key(as_json(plan), digest_folder(folder(recipe, "prepared", "arrays")))
    with sole_writer(f"{recipe}-{stage}", key) as checkpoint:
        if plan.winner is not None:
            take_over(recipe, plan, checkpoint)
        ledger = RunLedger.of(recipe, plan, checkpoint)
        ledger.check()
        # No dependency in dvc.yaml: another bar must not train again. What counts is where the
        # bars stood before anybody saw a result, so a run that is taken up keeps its own.
        bars = checkpoint.at_start("bars", read_json(folder(recipe, "plan", "gate.json")))
        fit = make_fit(plan, prepared)
        with feed(recipe, stage, plan.train.steps) as live:
            stopper = stopper_of(plan, prepared)
            curve = train(fit, plan, checkpoint, f"{stage} {recipe}", stopper, live)
        write_outputs(recipe, fit, plan, curve, bars, ledger, prepared)
        checkpoint.discard()


if __name__ == "__main__":
    command(main)
