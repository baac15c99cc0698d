"""What mitigations cost and bring on credit: AUC, gap between groups, worst group, disagreement.

`python -m benchmarks.frontier [--runs 3] [--epsilon 3] [--threads 2] [--json FILE]`

Every method trains at the same epsilon, its counts included, with fresh noise from the operating
system and initial weights of its own in each run. Settings are the methods' defaults;
docs/fairness.md says which were mended after a look. Intervals resample held-out people and runs;
three runs make them rough.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.quality import NAME, prepare_split, scratch
from rnn.fairness.config import (
    BoundedGroupLoss,
    GlobalAdapt,
    GradientReversal,
    GroupClipping,
    NoMitigation,
    Reweight,
)
from tasks.artifacts import read_sensitive_features
from tasks.compare import headline, table
from tasks.evidence.alternatives import Trials
from tasks.params import load_recipe
from tasks.recipe import AdaptiveClipping, CompareConfig, GroupThresholds, Recipe
from tasks.trials import Comparison

FEATURES = {"sex": "credit", "age band": "credit_age"}
SHOWN = ("auc", "worst_group_accuracy", "gap", "impact_ratio", "tpr_gap")


def methods(feature: str) -> dict[str, Any]:
    """Return every method by the name of its rows."""
    return {
        "none": NoMitigation(),
        "adaptive": AdaptiveClipping(method="adaptive", lowest=4.0),
        "reweight": Reweight(method="reweight", feature=feature),
        "reweight_outcome": Reweight(method="reweight", feature=feature, outcome=True),
        "bounded_group_loss": BoundedGroupLoss(method="bounded_group_loss", feature=feature),
        "gradient_reversal": GradientReversal(method="gradient_reversal", feature=feature),
        "dpsgd_f": GroupClipping(method="dpsgd_f", feature=feature),
        "global_adapt": GlobalAdapt(method="global_adapt"),
        "group_thresholds": GroupThresholds(method="group_thresholds", feature=feature),
    }


def measure(recipe: Recipe, runs: int, features: list[str]) -> dict[str, dict[str, Any]]:
    """Return the comparison by feature; a method without a feature is trained once for all."""
    prepared = prepare_split(recipe, recipe.data.split.salt)
    sensitive = read_sensitive_features(NAME)
    known: dict[str, Trials] = {}
    found = {}
    for feature in features:
        config = CompareConfig(feature=feature, runs=runs)
        comparison = Comparison(replace(recipe, compare=config), prepared, sensitive)
        trials = []
        for name, block in methods(feature).items():
            key = f"{name}/{getattr(block, 'feature', '')}"
            if key not in known:
                known[key] = replace(comparison.run(block, runs, 0), name=name)
            trials.append(known[key])
        found[feature] = table(comparison, trials, config)
    return found


def _shown(method: dict[str, Any], group: str) -> dict[str, dict[str, float]]:
    """The figures of one method that are reported."""
    kinds = {k: k if k in ("auc", "worst_group_accuracy") else f"{k}/{group}" for k in SHOWN}
    out = {kind: method["figures"][name] for kind, name in kinds.items()}
    return {**out, "disagreement": method["disagreement"].get("everybody", {})}


def rows_of(found: dict[str, dict[str, Any]]) -> list[dict[str, object]]:
    """Return the figures, and print them as tables."""
    out: list[dict[str, object]] = []
    for feature, one in found.items():
        group = headline(one)
        print(f"\n{feature}: gap is {group} minus {one['reference']}\n")
        print("| method | epsilon of counts | " + " | ".join((*SHOWN, "disagreement")) + " |")
        print("|---" * (len(SHOWN) + 3) + "|")
        for method in one["methods"]:
            shown = _shown(method, group)
            cells = [
                f"{f['value']:.4f} ({f['low']:.4f}, {f['high']:.4f})" for f in shown.values() if f
            ]
            print(f"| {method['method']} | {method['counts_epsilon']:.4f} | {' | '.join(cells)} |")
            units = {"auc": "AUC", "impact_ratio": "ratio"}
            out += [
                {
                    "name": f"frontier/{FEATURES[feature]}/{method['method']}/{kind}",
                    "value": round(figure["value"], 4),
                    "unit": units.get(kind, "share"),
                    "low": figure["low"],
                    "high": figure["high"],
                }
                for kind, figure in shown.items()
                if figure
            ]
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--features", nargs="+", choices=list(FEATURES), default=list(FEATURES))
    parser.add_argument("--threads", type=int, help="instead of the recipe's")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    recipe = load_recipe(Path("params.yaml"), NAME)
    privacy = replace(
        recipe.privacy, target_epsilon=options.epsilon, noise_multiplier=None, insecure_seed=None
    )
    threads = options.threads or recipe.train.threads
    recipe = replace(recipe, privacy=privacy, train=replace(recipe.train, threads=threads))
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    with scratch():
        found = measure(recipe, options.runs, options.features)
    rows = rows_of(found)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + os.linesep)


if __name__ == "__main__":
    main()
