"""Check a whole recipe before anything is spent, and write one JSON a section."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rnn.fairness.config import Reweight, feature_of
from rnn.privacy.ledger import ACCOUNTANT, accountant_version
from tasks.artifacts import folder, read_json, replacing, write_json
from tasks.budget import private_plan, twin_plan
from tasks.evidence.profiles import read_profiles
from tasks.evidence.swap_terms import read_swaps
from tasks.params import UserError, as_json, command, load_recipe
from tasks.population import population_of, split_of
from tasks.promised import one_word, unpromised
from tasks.recipe import (
    GroupThresholds,
    NoPrivacy,
    OverridePlan,
    PopulationPlan,
    Recipe,
    RegisterPlan,
    ReleaseConfig,
    ReleasePlan,
    SourcePlan,
    TargetPlan,
    TrainPlan,
)
from tasks.settings.preparation import preparation_plan
from tasks.starting.planned import start_plan
from tasks.table.labels import UNKNOWN, known_labels
from tasks.table.sources import resolve
from tasks.table.split import cutoff
from tasks.table.vocabulary import lists_of, written_out


def training_groups(recipe: Recipe) -> str | None:
    """Return the sensitive feature whose labels training reads, None where it reads none.

    Raises:
        UserError: a weight is for a label that is not declared.
    """
    mitigation = recipe.mitigation
    name = feature_of(mitigation)
    if name is None:
        return None
    (feature,) = (s for s in recipe.data.sensitive if s.name == name)
    declared = [*known_labels(feature), UNKNOWN]
    weights = mitigation.weights if isinstance(mitigation, Reweight) else {}
    for label in weights:
        if label not in declared:
            raise UserError(f"mitigation.weights.{label}: the labels of {name!r} are {declared}")
    return name


def release_plan(recipe: Recipe, private: TrainPlan) -> ReleasePlan:
    """Return what may be published about held-out people, epsilon and delta filled in.

    Without privacy there is neither, and figures are exact, those of small groups suppressed. A
    person is held out or trained on, never both, so that these are no sums.

    Args:
        recipe: checked.
        private: the private run, its epsilon known.

    Raises:
        UserError: a crossing to publish has a feature without declared labels.
    """
    release, privacy = recipe.audit.release, recipe.privacy
    decision, seed = recipe.data.decision, release.insecure_seed
    # Thresholds by group come from training people, the overall one with them.
    by_group = isinstance(recipe.mitigation, GroupThresholds)
    chosen = decision is not None and decision.threshold is None and not by_group
    labels = {feature.name: known_labels(feature) for feature in recipe.data.sensitive}
    undeclared = tuple(name for name, found in labels.items() if not found)
    for name in (n for crossing in release.intersections for n in crossing if n in undeclared):
        raise UserError(
            f"audit.release.intersections names {name!r}, whose cells are its labels; allowed are "
            "features with labels, bins or one_hot, so that the groups are public"
        )
    groups = {n: tuple(dict.fromkeys([*found, UNKNOWN])) for n, found in labels.items() if found}
    if isinstance(privacy, NoPrivacy):
        return ReleasePlan(
            mode="suppressed",
            epsilon=None,
            delta=None,
            threshold_epsilon=0.0,
            unit="record",
            max_rows=release.max_rows,
            score_bins=release.score_bins,
            groups=groups,
            undeclared=undeclared,
            intersections=release.intersections,
        )
    epsilon = release.epsilon or private.epsilon or 0.0
    return ReleasePlan(
        mode=release.mode if recipe.data.target.kind == "binary" else "suppressed",
        epsilon=epsilon,
        delta=release.delta or privacy.delta,
        threshold_epsilon=release.threshold_share * epsilon if chosen else 0.0,
        unit=privacy.unit,
        max_rows=release.max_rows if privacy.unit == "person" else 1,
        decision_share=release.decision_share,
        score_bins=release.score_bins,
        groups=groups,
        undeclared=undeclared,
        intersections=release.intersections,
        insecure_seed=privacy.insecure_seed if seed is None else seed,
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
    if not data.target.is_scored:
        # It brings torch along, which planning other recipes does not need.
        from tasks.kinds.check import check_kind

        check_kind(recipe)
    private, files = private_plan(recipe, before), resolve(data.source)
    swapped = data.sequence.layout == "text" and data.target.is_scored
    without = isinstance(recipe.privacy, NoPrivacy)
    release = release_plan(recipe, private)
    register = RegisterPlan(
        model_name=recipe.register.model_name or name,
        experiment=recipe.register.experiment or name,
        title=recipe.report.title,
        insecure=release.insecure_seed is not None,
        reasons=recipe.serve.reasons,
    )
    configs = {
        "source": SourcePlan(
            source=data.source, files=files, lists=lists_of(data), start=start_plan(recipe, files)
        ),
        "data": replace(written_out(data), decision=None, training_groups=training_groups(recipe)),
        "preparation": preparation_plan(data, None if without else recipe.promise),
        "target": TargetPlan(target=data.target, decision=data.decision),
        "train": private,
        "twin": twin_plan(recipe),
        "predict": recipe.predict,
        "audit": replace(
            recipe.audit,
            release=ReleaseConfig(),
            swaps=read_swaps(recipe.audit.swaps) if swapped else (),
            profiles=(),
        ),
        "profiles": read_profiles(recipe.audit.profiles),
        "release": release,
        "explain": recipe.explain,
        "attack": recipe.attack,
        "gate": recipe.gate,
        "population": PopulationPlan(
            population=population_of(data),
            split=split_of(data, files),
            max_epsilon=recipe.ledger.max_epsilon,
        ),
        "override": OverridePlan(override=recipe.override),
        "report": recipe.report,
        "register": register,
    }
    out = {section: as_json(config) for section, config in configs.items()}
    out["summary"] = _summary(name, recipe, private)
    return out


def _summary(name: str, recipe: Recipe, private: TrainPlan) -> dict[str, Any]:
    """What the report says of the recipe as it was planned."""
    privacy = recipe.privacy
    promised: dict[str, Any] = {
        "accountant": ACCOUNTANT,
        "accountant_version": accountant_version(),
    }
    if isinstance(privacy, NoPrivacy):
        promised |= {"delta": None, "unit": None, "no_privacy": privacy.reason}
        promised |= {"accountant": None, "accountant_version": None}
    else:
        promised |= {"delta": privacy.delta, "unit": privacy.unit}
    return {
        "recipe": name,
        "epsilon": private.epsilon,
        "noise_multiplier": private.noise_multiplier,
        "sample_rate": private.sample_rate,
        "steps": recipe.train.steps,
        "population": privacy.population,
        **promised,
        "settings": {
            key: value
            for key, value in as_json(recipe).items()
            if key not in ("data", "report", "compare")
        },
        "data": {key: value for key, value in as_json(recipe.data).items() if key != "source"},
    }


def main(argv: list[str]) -> None:
    """Plan one recipe and say what it will cost."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.plan RECIPE")
    name = argv[0]
    path = Path("params.yaml")
    recipe = load_recipe(path, name)
    target = folder(name, "plan")
    before = _sections_before(target)
    try:
        planned = sections(name, recipe, before)
    except UserError as error:
        raise UserError(f"params.yaml: recipes.{name}: {error}") from None
    if isinstance(recipe.privacy, NoPrivacy):
        unpromised(name, planned["population"]["population"])
    one_word(path, name, recipe)
    with replacing(target) as draft:
        for section, values in planned.items():
            write_json(draft / f"{section}.json", values)
    print(f"{name}: {_promised(planned['summary'])}")
    written = {section: read_json(target / f"{section}.json") for section in ("train", "twin")}
    if before is None or any(before[section] != written[section] for section in written):
        # Timing takes a moment, and torch: only when training may be ahead.
        from tasks.estimate import estimate_minutes

        private = estimate_minutes(recipe, private_plan(recipe, planned))
        if isinstance(recipe.privacy, NoPrivacy):
            print(f"{name}: expect {private:.1f} min for the model, which has no twin")
            return
        twin = estimate_minutes(recipe, twin_plan(recipe))
        print(f"{name}: expect {private:.1f} min for the model and {twin:.1f} min for its twin")


def _promised(summary: dict[str, Any]) -> str:
    """What a plan will cost, in one line."""
    steps = (
        f"{summary['steps']} steps, sample rate {summary['sample_rate']:.4f} of "
        f"N = {summary['population']}"
    )
    if "no_privacy" in summary:
        return f"no privacy is claimed: {summary['no_privacy']}; {steps}"
    return (
        f"epsilon {summary['epsilon']:.3f} at delta {summary['delta']:g}, "
        f"noise multiplier {summary['noise_multiplier']:.4f}, {steps}"
    )


def _sections_before(target: Path) -> dict[str, Any] | None:
    """Sections of the plan that stands there, None if it is not whole."""
    try:
        return {s: read_json(target / f"{s}.json") for s in ("train", "twin", "summary")}
    except UserError:
        return None


if __name__ == "__main__":
    command(main)
