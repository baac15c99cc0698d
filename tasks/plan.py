"""Check a whole recipe before anything is spent, and write one JSON a section."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnn.privacy.accounting import ACCOUNTANT, accountant_version, epsilon_spent, noise_for
from rnn.privacy.effective import count_noise, gradient_noise
from tasks.artifacts import folder, read_json, replacing, write_json
from tasks.params import UserError, as_json, command, load_recipe, validate
from tasks.recipe import Recipe, RegisterPlan, SourcePlan, TargetPlan, TrainPlan
from tasks.table.sources import resolve
from tasks.table.split import cutoff


def _known(recipe: Recipe, before: dict[str, Any] | None) -> TrainPlan | None:
    """The plan of before, if what its noise was solved from is the same."""
    if before is None or before["summary"].get("accountant_version") != accountant_version():
        return None
    try:
        old = validate(TrainPlan, before["train"], "plan/train.json")
    except UserError:
        return None
    new = recipe.train
    same = (old.train.steps, old.train.expected_batch_size, old.privacy)
    if same != (new.steps, new.expected_batch_size, recipe.privacy):
        return None
    return replace(old, model=recipe.model, train=new)


def private_plan(recipe: Recipe, before: dict[str, Any] | None = None) -> TrainPlan:
    """Return the private run with its noise solved for.

    Args:
        recipe: with a target_epsilon or a noise_multiplier.
        before: sections of an earlier plan, whose noise is taken over where it still holds.

    Raises:
        UserError: the target cannot be reached, or the noise promises nothing.
    """
    if (known := _known(recipe, before)) is not None:
        return known
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
    epsilon = epsilon_spent(
        noise_multiplier=noise, sample_rate=sample_rate, steps=train.steps, delta=privacy.delta
    )
    if math.isinf(epsilon):
        raise UserError(
            f"privacy.noise_multiplier = {noise:g} over train.steps = {train.steps} promises "
            "nothing: its epsilon is beyond 70; allowed is more noise or fewer steps"
        )
    if privacy.clipping == "adaptive":
        batch = train.expected_batch_size
        count = count_noise(privacy.adaptive, noise_multiplier=noise, expected_batch_size=batch)
        try:
            gradient_noise(noise, count)
        except ValueError as error:
            raise UserError(f"privacy.adaptive.count_noise: {error}") from None
    return TrainPlan(
        model=recipe.model,
        train=train,
        privacy=privacy,
        sample_rate=sample_rate,
        noise_multiplier=noise,
        epsilon=epsilon,
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


def sections(name: str, recipe: Recipe, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return every section of a plan by file name, as plain JSON values.

    Args:
        name: of the recipe.
        recipe: checked.
        before: sections of an earlier plan, if there is one.
    """
    data = recipe.data
    if data.split.as_of is not None:
        cutoff(data.split)
    private = private_plan(recipe, before)
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
        "accountant_version": accountant_version(),
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
    target = folder(name, "plan")
    before = _sections_before(target)
    try:
        planned = sections(name, recipe, before)
    except UserError as error:
        raise UserError(f"params.yaml: recipes.{name}: {error}") from None
    with replacing(target) as draft:
        for section, values in planned.items():
            write_json(draft / f"{section}.json", values)
    summary = planned["summary"]
    print(
        f"{name}: epsilon {summary['epsilon']:.3f} at delta {summary['delta']:g}, "
        f"noise multiplier {summary['noise_multiplier']:.4f}, {summary['steps']} steps, "
        f"sample rate {summary['sample_rate']:.4f} of N = {summary['population']}"
    )
    written = {section: read_json(target / f"{section}.json") for section in ("train", "twin")}
    if before is None or any(before[section] != written[section] for section in written):
        # Timing takes a moment, and torch: only when training may be ahead.
        from tasks.estimate import estimate_minutes

        private = estimate_minutes(recipe, private_plan(recipe, planned))
        twin = estimate_minutes(recipe, twin_plan(recipe))
        print(f"{name}: expect {private:.1f} min for the model and {twin:.1f} min for its twin")


def _sections_before(target: Path) -> dict[str, Any] | None:
    """Sections of the plan that stands there, None if it is not whole."""
    try:
        return {s: read_json(target / f"{s}.json") for s in ("train", "twin", "summary")}
    except UserError:
        return None


if __name__ == "__main__":
    command(main)
