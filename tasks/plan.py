"""Check a whole recipe before anything is spent, and write one JSON a section."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnn.batch import PreparedSequences
from rnn.config import InputShape, TrainConfig
from rnn.fit import Fit, Mechanism
from rnn.model import build
from rnn.privacy.accounting import ACCOUNTANT, epsilon_spent, noise_for
from rnn.privacy.noise import Keystream
from tasks.artifacts import folder, replacing, write_json
from tasks.encode import input_shape
from tasks.params import UserError, as_json, command, load_recipe
from tasks.recipe import Recipe, RegisterPlan, SourcePlan, TargetPlan, TrainPlan
from tasks.sources import resolve

# Steps a sequence that a time estimate assumes where the layout does not say.
_GUESSED_LENGTH = 32


def private_plan(recipe: Recipe) -> TrainPlan:
    """Return the private run with its noise solved for.

    Raises:
        UserError: the target cannot be reached.
    """
    privacy, train = recipe.privacy, recipe.train
    sample_rate = train.expected_batch_size / privacy.population
    noise = privacy.noise_multiplier
    if noise is None:
        try:
            noise = noise_for(
                target_epsilon=privacy.target_epsilon or 0.0,
                sample_rate=sample_rate,
                steps=train.steps,
                delta=privacy.delta,
            )
        except ValueError as error:
            raise UserError(f"privacy.target_epsilon: {error}") from None
    return TrainPlan(
        model=recipe.model,
        train=train,
        privacy=privacy,
        sample_rate=sample_rate,
        noise_multiplier=noise,
        epsilon=epsilon_spent(
            noise_multiplier=noise, sample_rate=sample_rate, steps=train.steps, delta=privacy.delta
        ),
    )


def twin_plan(recipe: Recipe) -> TrainPlan:
    """Return the same run without privacy, changed where the recipe's twin block says so."""
    changes = {k: v for k, v in as_json(recipe.twin).items() if v is not None}
    train = replace(recipe.train, **changes)
    if train.expected_batch_size >= recipe.privacy.population:
        raise UserError(
            f"twin.expected_batch_size = {train.expected_batch_size} must be below "
            f"privacy.population = {recipe.privacy.population}"
        )
    return TrainPlan(
        model=recipe.model,
        train=train,
        sample_rate=train.expected_batch_size / recipe.privacy.population,
    )


def _invented(shape: InputShape, train: TrainConfig, length: int) -> PreparedSequences:
    """Random rows of the recipe's shape: no private row is needed to time a step."""
    count = min(train.expected_batch_size, train.physical_batch_size)
    numbers = np.random.default_rng(0)
    total = count * length
    if shape.vocabulary_size:
        sequences: Any = numbers.integers(1, shape.vocabulary_size, total).astype(np.int32)
    else:
        sequences = numbers.random((total, shape.input_size), dtype=np.float32)
    targets: Any = numbers.integers(0, max(2, shape.output_size), count)
    if shape.task == "regression":
        targets = targets.astype(np.float32)
    return PreparedSequences(
        sequences=sequences,
        missing=None,
        offsets=np.arange(count + 1) * length,
        static=numbers.random((count, shape.static_size), dtype=np.float32),
        targets=targets,
    )


def estimate_minutes(recipe: Recipe, plan: TrainPlan) -> float:
    """Return the training minutes to expect on this machine, from two timed steps."""
    shape = input_shape(recipe.data)
    layout = recipe.data.sequence
    length = len(layout.steps) if layout.layout == "wide" else _GUESSED_LENGTH
    sample = _invented(shape, plan.train, length)
    torch.set_num_threads(plan.train.threads)
    clip = recipe.privacy.max_grad_norm
    fit = Fit(
        build(plan.model, shape, plan.train.seed),
        sample,
        np.arange(len(sample)),
        plan.train,
        sample_rate=1.0,
        mechanism=Mechanism(1.0, plan.noise_multiplier, clip) if plan.privacy else None,
        keystream=Keystream.from_seed(0),
    )
    fit.step()
    began = time.perf_counter()
    fit.step()
    seconds = time.perf_counter() - began
    return seconds * plan.train.steps * plan.train.expected_batch_size / len(sample) / 60


def sections(name: str, recipe: Recipe) -> dict[str, Any]:
    """Return every section of a plan by file name, as plain JSON values."""
    data = recipe.data
    private = private_plan(recipe)
    register = RegisterPlan(
        model_name=recipe.register.model_name or name,
        experiment=recipe.register.experiment or name,
        title=recipe.report.title,
        insecure=recipe.privacy.insecure_seed is not None,
    )
    configs = {
        "source": SourcePlan(source=data.source, files=resolve(data.source)),
        "data": replace(data, decision=None),
        "target": TargetPlan(target=data.target, decision=data.decision),
        "train": private,
        "twin": twin_plan(recipe),
        "predict": recipe.predict,
        "audit": recipe.audit,
        "explain": recipe.explain,
        "attack": recipe.attack,
        "gate": recipe.gate,
        "report": recipe.report,
        "register": register,
    }
    out = {section: as_json(config) for section, config in configs.items()}
    out["summary"] = _summary(name, recipe, private)
    return out


def _summary(name: str, recipe: Recipe, private: TrainPlan) -> dict[str, Any]:
    """What the report says of the recipe as it was planned."""
    return {
        "recipe": name,
        "epsilon": private.epsilon,
        "delta": recipe.privacy.delta,
        "noise_multiplier": private.noise_multiplier,
        "sample_rate": private.sample_rate,
        "steps": recipe.train.steps,
        "unit": recipe.privacy.unit,
        "population": recipe.privacy.population,
        "accountant": ACCOUNTANT,
        "settings": {
            key: value for key, value in as_json(recipe).items() if key not in ("data", "report")
        },
        "data": {key: value for key, value in as_json(recipe.data).items() if key != "source"},
    }


def main(argv: list[str]) -> None:
    """Plan one recipe and say what it will cost."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.plan RECIPE")
    name = argv[0]
    recipe = load_recipe(Path("params.yaml"), name)
    planned = sections(name, recipe)
    target = folder(name, "plan")
    before = {p.stem: p.read_bytes() for p in target.glob("*.json")} if target.exists() else {}
    with replacing(target) as draft:
        for section, values in planned.items():
            write_json(draft / f"{section}.json", values)
    after = {p.stem: p.read_bytes() for p in target.glob("*.json")}
    summary = planned["summary"]
    print(
        f"{name}: epsilon {summary['epsilon']:.3f} at delta {summary['delta']:g}, "
        f"noise multiplier {summary['noise_multiplier']:.4f}, {summary['steps']} steps, "
        f"sample rate {summary['sample_rate']:.4f} of N = {summary['population']}"
    )
    if any(before.get(s) != after[s] for s in ("train", "twin")):
        # The estimate takes a moment: only when training may be ahead.
        private = estimate_minutes(recipe, private_plan(recipe))
        twin = estimate_minutes(recipe, twin_plan(recipe))
        print(f"{name}: expect {private:.1f} min for the model and {twin:.1f} min for its twin")


if __name__ == "__main__":
    command(main)
