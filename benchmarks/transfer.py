"""What weights that others trained are worth: recipe origins begun with them, and at random.

    python -m benchmarks.transfer [--people N] [--steps N] [--batch N] [--runs N] [--json FILE]

Needs data/origins/prepared, and has no figures without it. Prints one line of JSON a variant:
accuracy on held-out names of each run, the private runs at the recipe's epsilon. Private noise is
the system's: figures differ.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnn.fit import Fit
from rnn.model import load_weights
from rnn.privacy.noise import Keystream
from tasks.account import mechanism_of
from tasks.artifacts import Prepared, folder, read_prepared
from tasks.budget import private_plan, twin_plan
from tasks.evidence.scoring import model_logits
from tasks.params import load_recipe
from tasks.recipe import Recipe, TrainPlan
from tasks.starting.fresh import fresh_model

FROZEN: dict[str, dict[str, Any] | None] = {
    "random": None,
    "start": {},
    "start, embedding frozen": {"embedding": "always"},
    "start, all but the last layer frozen": {"embedding": "always", "recurrent": "always"},
}


def accuracy(plan: TrainPlan, prepared: Prepared, people: int, seed: int) -> float:
    """Return the share of held-out names that a run on some training people gets right."""
    everyone = prepared.rows("train")
    rows = np.sort(np.random.default_rng(seed).permutation(everyone)[:people])
    private = plan.privacy is not None
    fit = Fit(
        fresh_model(plan, prepared, seed),
        prepared.sequences,
        rows,
        plan.train,
        sample_rate=plan.sample_rate,
        mechanism=mechanism_of(plan, plan.privacy, 0) if plan.privacy else None,
        keystream=Keystream.from_system() if private else Keystream.from_seed(seed),
        freeze=plan.frozen,
    )
    for _ in range(plan.train.steps):
        fit.step()
    load_weights(fit.model, fit.average)
    test = prepared.rows("test")[::3]
    found = model_logits(fit.model.eval(), prepared.sequences, test).argmax(1)
    return float((found == np.asarray(prepared.sequences.targets[test])).mean())


def smaller(recipe: Recipe, people: int, steps: int, batch: int) -> Recipe:
    """Return the recipe for fewer people and steps, its delta for so few."""
    train = replace(recipe.train, steps=steps, expected_batch_size=batch)
    delta = max(recipe.promise.delta, 1 / (10.6 * people))
    privacy = replace(recipe.promise, population=people, delta=delta)
    return replace(recipe, train=train, privacy=privacy, start=None)


def main() -> None:
    """Measure every variant."""
    asked = argparse.ArgumentParser()
    for name, default in (("people", 118_000), ("steps", 150), ("batch", 1024), ("runs", 1)):
        asked.add_argument(f"--{name}", type=int, default=default)
    asked.add_argument("--json", type=Path)
    given = asked.parse_args()
    if not folder("origins", "prepared").exists():
        print("data/origins/prepared is missing: dvc repro prepare@origins")
        rows: list[dict[str, Any]] = []
    else:
        rows = variants(given)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


def variants(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Train every variant; return a row each, the mean accuracy over the runs."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    recipe, prepared = load_recipe(Path("params.yaml"), "origins"), read_prepared("origins")
    rows = []
    bare = smaller(recipe, given.people, given.steps, given.batch)
    for kind, planned in (("private", private_plan), ("plain", twin_plan)):
        for name, frozen in FROZEN.items():
            begun = None
            if frozen is not None and recipe.start is not None:
                begun = replace(recipe.start, freeze=frozen)
            plan = planned(replace(bare, start=begun))
            found = [accuracy(plan, prepared, given.people, seed) for seed in range(given.runs)]
            line = {"kind": kind, "name": name, "epsilon": plan.epsilon, "accuracy": found}
            print(json.dumps(line), flush=True)
            label = f"transfer/{kind}/{name.replace(', ', '/').replace(' ', '_')}/accuracy"
            unit = f"{given.runs} runs of {given.steps} steps"
            rows.append({"name": label, "value": round(float(np.mean(found)), 3), "unit": unit})
    return rows


if __name__ == "__main__":
    main()
