"""A search as it goes: trials, what is kept of them, and what each is charged.

What is on disk while it goes lies among the checkpoints and is deleted with the last step. Of
unseen trials that is the best so far and how many are done: never a loser.
"""

import math
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from rnn.fit import Fit
from rnn.model import SequenceModel, build, load_weights
from rnn.privacy.event import Event
from rnn.privacy.noise import Keystream
from tasks.artifacts import (
    Prepared,
    digest_folder,
    folder,
    read_json,
    read_prepared,
    read_section,
    replacing,
    replacing_file,
    write_json,
)
from tasks.budget import events_after, prepared_events
from tasks.candidates import following, independent, values_of
from tasks.checkpoint import Checkpoint, HandedOver, checkpoint_key, sole_writer
from tasks.evidence.trial_score import score
from tasks.params import UserError, as_json
from tasks.population import charge, check, read
from tasks.recipe import PopulationPlan, Recipe, TrainPlan
from tasks.search import repeats_of, search_of, sweep_of, trial_plan
from tasks.settings.sweep import AdaptiveSweep, RandomSweep, unselected
from tasks.train import CURVE_POINTS, make_fit, point
from tasks.winner import keep

# Takes how many scores there were and the newest; says whether to go on.
Look = Callable[[int, float], bool]


@dataclass(frozen=True)
class Account:
    """Where a search is charged; nowhere where its noise is seeded.

    Attributes:
        recipe: under whose name.
        plan: of the population; None for a seeded search.
        delta: at which epsilon is read.
        cap: not to be passed.
    """

    recipe: str
    plan: PopulationPlan | None
    delta: float
    cap: float | None

    def check(self, runs: Sequence[str], events: Sequence[Event]) -> float | None:
        """Return what the population will have spent when all runs are charged.

        Args:
            runs: each releases the events once.
            events: of one run.

        Raises:
            UserError: the cap would be passed; nothing was drawn.
        """
        if self.plan is None:
            return None
        written = {entry.run for entry in read(self.plan.population)}
        left = len([run for run in runs if run not in written])
        ahead = [replace(event, count=event.count * left) for event in events if left]
        return check(self.plan.population, ahead, self.delta, self.cap, self.plan.split)

    def charge(self, run: str, events: Sequence[Event]) -> float | None:
        """Write a run down, once; return what the population has spent."""
        if self.plan is None:
            return None
        name, split = self.plan.population, self.plan.split
        return charge(name, run, self.recipe, events, self.delta, self.cap, split)


class Hunt:
    """One search: its plan, its people, and where it stands."""

    def __init__(self, name: str, recipe: Recipe, prepared: Prepared, checkpoint: Checkpoint):
        """Plan the search, and refuse it where the population cannot pay.

        Raises:
            UserError: the recipe has no sweep, or the cap would be passed.
        """
        sweep = unselected(sweep_of(recipe))
        self.name, self.sweep, self.prepared = name, sweep, prepared
        self.recipe = replace(recipe, sweep=sweep)
        self.checkpoint = checkpoint
        self.beside = (prepared_events(self.recipe), events_after(self.recipe))
        self.search = search_of(self.recipe, [*self.beside[0], *self.beside[1]])
        self.seed = recipe.promise.insecure_seed
        plan = None
        if self.seed is None:
            plan = read_section(name, "population", PopulationPlan)
        self.account = Account(name, plan, recipe.promise.delta, recipe.ledger.max_epsilon)
        parts = len(self.parts())
        self.runs: list[str] = checkpoint.at_start(
            "runs", [secrets.token_hex(8) for _ in range(parts)]
        )
        self.together = self.account.check(self.runs, self.events)
        self.bars = checkpoint.at_start("bars", read_json(folder(name, "plan", "gate.json")))
        self._forget_unfinished()

    @property
    def events(self) -> tuple[Event, ...]:
        """Return what each run of the ledger releases: one trial, or the whole search."""
        return self.search.each or self.search.whole

    def parts(self) -> list[str]:
        """Return the names of what is done one after the other and may be seen."""
        if isinstance(self.sweep, RandomSweep):
            return ["all trials, unseen"]
        return [f"trial {number + 1} of {self.sweep.trials}" for number in range(self.sweep.trials)]

    def take(self, number: int) -> None:
        """Do one part, if it is not done.

        Raises:
            HandedOver: another process asked to go on.
        """
        torch.set_num_threads(self.recipe.train.threads)
        torch.set_flush_denormal(True)
        if isinstance(self.sweep, AdaptiveSweep):
            if number == self.standing["done"]:
                # Whatever becomes of it: it was planned, and it will be seen.
                self.account.charge(self.runs[number], self.events)
                self._seen(self.sweep)
            return
        stream = Keystream.from_system() if self.seed is None else Keystream.from_seed(self.seed)
        # Drawn once: a search that begins again when it grows long has another distribution.
        trials = self.checkpoint.at_start("trials", repeats_of(self.sweep).draw(stream))
        while (done := self.standing["done"]) < trials:
            seed = None if self.seed is None else self.seed + done
            self._unseen(independent(self.sweep, seed), done)

    @property
    def standing(self) -> dict[str, Any]:
        """Return how many trials are done and which is best; of seen ones, all results."""
        file = self.checkpoint.folder / "standing.json"
        if not file.exists():
            return {"done": 0, "best": None, "results": []}
        return dict(read_json(file))

    def _seen(self, sweep: AdaptiveSweep) -> None:
        """A trial whose result everybody may see; a failed or stopped one is a result too."""
        before = self.standing
        trial = following(sweep, before["results"])
        values = values_of(sweep.parameters, trial.params)
        found: list[float] = []

        def go_on(number: int, value: float) -> bool:
            found.append(value)
            trial.report(value, number)
            return number + 1 == sweep.looks or not trial.should_prune()

        run = self._trained(values, before["done"], sweep.looks, go_on)
        state = "FAIL" if run is None else "COMPLETE" if len(found) == sweep.looks else "PRUNED"
        result = {
            "parameters": values,
            "drawn": trial.params,
            "state": state,
            "score": found[-1] if state == "COMPLETE" else None,
            "looks": found,
        }
        self._note(before, run, result, [*before["results"], result])

    def _unseen(self, values: dict[str, Any], number: int) -> None:
        """A trial of which nothing is kept unless it is the best so far."""
        found: list[float] = []

        def go_on(_number: int, value: float) -> bool:
            found.append(value)
            return True

        run = self._trained(values, number, 1, go_on)
        value = found[-1] if run is not None else None
        self._note(self.standing, run, {"parameters": values, "score": value}, [])

    def _note(
        self,
        before: dict[str, Any],
        run: tuple[Fit, TrainPlan, list[dict[str, Any]]] | None,
        result: dict[str, Any],
        results: list[dict[str, Any]],
    ) -> None:
        """Keep a trial if it is the best, then write down where the search stands."""
        best, number, value = before["best"], before["done"], result["score"]
        if run is not None and value is not None and (best is None or value > best["score"]):
            fit, plan, curve = run
            with replacing(self.checkpoint.folder / f"run-{number}") as draft:
                keep(draft, fit.tensors(), plan, curve, self.bars)
            best = {"number": number, "score": value, "parameters": result["parameters"]}
        with replacing_file(self.checkpoint.folder / "standing.json") as draft:
            write_json(draft, {"done": number + 1, "best": best, "results": results})
        self._forget_unfinished()

    def _forget_unfinished(self) -> None:
        """Delete the weights of all but the best; those of a trial cut short are unseen."""
        best = self.standing["best"]
        kept = None if best is None else f"run-{best['number']}"
        for found in self.checkpoint.folder.glob("run-*"):
            if found.is_dir() and found.name != kept:
                shutil.rmtree(found)

    def _trained(
        self, values: dict[str, Any], number: int, looks: int, go_on: Look
    ) -> tuple[Fit, TrainPlan, list[dict[str, Any]]] | None:
        """Train a candidate; None where it cannot be used or was told to stop."""
        plan = trial_plan(self.recipe, self.search, values, self.beside)
        fit = make_fit(self._with_noise(plan, number), self.prepared)
        stream = Keystream.from_system()
        if self.seed is not None:
            stream = Keystream.from_seed(self.seed + 1_000_003 * (number + 1))
        steps, curve = plan.train.steps, list[dict[str, Any]]()
        ends = [steps * (k + 1) // looks for k in range(looks)]
        while fit.step_count < steps:
            if self.checkpoint.handover_requested():
                raise HandedOver(f"sweep {self.name}: another process goes on")
            report = fit.step()
            if report.step % max(1, steps // CURVE_POINTS) == 0:
                curve.append(point(report, None))
            if fit.step_count in ends:
                if not all(bool(t.isfinite().all()) for t in fit.average.values()):
                    return None
                value = score(
                    self._model(fit, plan), self.prepared, self.sweep.score, self._unit, stream
                )
                if not math.isfinite(value):
                    return None
                if not go_on(ends.index(fit.step_count), value):
                    break
        return fit, plan, curve

    @property
    def _unit(self) -> str:
        """Whose contribution is bounded."""
        return self.recipe.promise.unit

    def _with_noise(self, plan: TrainPlan, number: int) -> TrainPlan:
        """The plan, with noise of its own where noise is seeded."""
        if plan.privacy is None or self.seed is None:
            return plan
        return replace(plan, privacy=replace(plan.privacy, insecure_seed=self.seed + number))

    def _model(self, fit: Fit, plan: TrainPlan) -> SequenceModel:
        """The model that would be released now."""
        model = build(plan.model, self.prepared.shape, plan.train.seed)
        load_weights(model, {name: t.cpu() for name, t in fit.average.items()})
        return model.eval()


@contextmanager
def opened(name: str, recipe: Recipe) -> Iterator[Hunt]:
    """Hold a recipe's search alone, from where it was left.

    Args:
        name: under data/.
        recipe: checked.

    Raises:
        UserError: the recipe has no sweep, data is not prepared, or the cap would be passed.
    """
    prepared = read_prepared(name)
    bare = replace(recipe, sweep=unselected(sweep_of(recipe)))
    parts = {k: as_json(getattr(bare, k)) for k in ("model", "train", "privacy", "sweep")}
    arrays = digest_folder(folder(name, "prepared", "arrays"))
    # What is searched leaves the recipe's own values without effect.
    for dotted in bare.sweep.parameters if bare.sweep else ():
        block, _, key = dotted.partition(".")
        parts[block].pop(key)
    begun = as_json(recipe.start) if recipe.start is not None else None
    key = checkpoint_key(parts, as_json(recipe.mitigation), arrays, begun)
    with sole_writer(f"{name}-sweep", key) as checkpoint:
        try:
            yield Hunt(name, recipe, prepared, checkpoint)
        except UserError as error:
            raise type(error)(f"recipes.{name}: {error}") from None
