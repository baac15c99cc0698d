"""Alternatives to a recipe's mitigation, tried and drawn: `python -m tasks.audit compare RECIPE`.

Every trial is a private run of the same people at the recipe's epsilon. All of them together, and
what they are compared by, lie outside of the account of the model that is published: the folder
is internal. Choosing among them by these figures is a choice that nobody has paid for.
"""

from pathlib import Path
from typing import Any

import polars as pl
import torch

from tasks import artifacts
from tasks.evidence.alternatives import Trials, disagreement, resamples, summary
from tasks.pages.frontier import Point, frontier
from tasks.params import UserError, command, load_recipe
from tasks.recipe import CompareConfig, Recipe
from tasks.settings.mitigation import Alternative
from tasks.trials import Comparison

NOTE = (
    "Trials, each with its own epsilon over the same people: all of them, and any choice among "
    "them by these figures, are outside of the published model's account. Internal."
)


def table(comparison: Comparison, trials: list[Trials], config: CompareConfig) -> dict[str, Any]:
    """Return compare.json: every method's figures, and how often its runs disagree."""
    people = comparison.people
    weights = resamples(len(people.y), config.bootstraps, config.seed)
    methods = [
        {
            "method": one.name,
            "epsilon": one.epsilon,
            "counts_epsilon": one.counts_epsilon,
            "figures": {
                name: figure.as_dict()
                for name, figure in summary(
                    one, people, weights, config.confidence, config.seed
                ).items()
            },
            "disagreement": {
                label: figure.as_dict()
                for label, figure in disagreement(one, people, weights, config.confidence).items()
            },
        }
        for one in trials
    ]
    return {
        "note": NOTE,
        "feature": comparison.feature,
        "reference": people.labels[people.reference],
        "runs": config.runs,
        "people": len(people.y),
        "confidence": config.confidence,
        "methods": methods,
    }


def headline(found: dict[str, Any]) -> str:
    """Return the group whose gap the frontier shows: the largest gap of the first method."""
    gaps = {
        n: f["value"] for n, f in found["methods"][0]["figures"].items() if n.startswith("gap/")
    }
    shown = {name: value for name, value in gaps.items() if value is not None}
    if not shown:
        raise UserError(f"compare.feature: {found['feature']!r} has one group among the held out")
    return max(shown, key=lambda name: abs(shown[name])).removeprefix("gap/")


def drawing(found: dict[str, Any]) -> str:
    """Return the frontier as SVG."""
    group = headline(found)
    points = []
    for method in found["methods"]:
        gap, area = (method["figures"][name] for name in (f"gap/{group}", "auc"))
        points.append(
            Point(
                f"{method['method']}, epsilon {method['epsilon']:.2f}",
                (gap["low"], gap["value"], gap["high"]),
                (area["low"], area["value"], area["high"]),
            )
        )
    return frontier(
        "frontier",
        "Area under the ROC curve against the gap between groups",
        points,
        axis=f"favourable decisions, {group} minus {found['reference']} (share)",
        value_axis="AUC",
    )


def compare(
    recipe: Recipe, prepared: artifacts.Prepared, sensitive: pl.DataFrame
) -> dict[str, Any]:
    """Train every listed alternative, the recipe's own first, and return their figures.

    Raises:
        UserError: nothing is listed, or it does not fit the recipe.
    """
    config = recipe.compare
    if not config.alternatives:
        raise UserError("compare.alternatives is empty: list mitigation blocks to try")
    comparison = Comparison(recipe, prepared, sensitive)
    blocks: list[Alternative] = [recipe.mitigation]
    blocks += [block for block in config.alternatives if block not in blocks]
    trials = [comparison.run(block, config.runs, config.seed) for block in blocks]
    return table(comparison, trials, config)


def main(argv: list[str]) -> None:
    """Write data/RECIPE/compare/internal."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.audit compare RECIPE")
    (name,) = argv
    recipe = load_recipe(Path("params.yaml"), name)
    torch.set_num_threads(recipe.train.threads)
    torch.set_flush_denormal(True)
    try:
        found = compare(
            recipe, artifacts.read_prepared(name), artifacts.read_sensitive_features(name)
        )
    except UserError as error:
        raise UserError(f"recipes.{name}: {error}") from None
    target = artifacts.folder(name, "compare", "internal")
    with artifacts.replacing(target) as draft:
        artifacts.write_json(draft / "compare.json", found)
        (draft / "frontier.svg").write_text(drawing(found) + "\n", encoding="utf-8")
    group = headline(found)
    print(f"{name}: {NOTE}")
    for method in found["methods"]:
        shown = {k: method["figures"][k] for k in ("auc", "worst_group_accuracy", f"gap/{group}")}
        text = ", ".join(
            f"{key} {f['value']:.4f} ({f['low']:.4f} to {f['high']:.4f})"
            for key, f in shown.items()
        )
        print(f"  {method['method']}: {text}, epsilon {method['epsilon']:.3f}")
    print(f"{name}: wrote {target}")


if __name__ == "__main__":
    command(main)
