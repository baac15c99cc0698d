"""Does privacy cost accuracy on credit? Splits x runs, paired on the same held-out people.

`python -m benchmarks.quality [--splits 5] [--runs 3] [--epsilon 3] [--json FILE]`

Each split has its own salt; each run its own initial weights and, for the private model, fresh
noise and sampling from the operating system. Boosting has no randomness of note: once a split.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from rnn.fit import Fit
from tasks import fetch, prepare, stats
from tasks.artifacts import Prepared, folder, read_prepared, write_section
from tasks.budget import private_plan, twin_plan
from tasks.evidence.baseline import fit_baseline
from tasks.evidence.scoring import model_logits, scores_of
from tasks.params import load_recipe
from tasks.recipe import Recipe, SourcePlan, TrainPlan
from tasks.train import make_fit

NAME = "credit"


@contextlib.contextmanager
def scratch() -> Iterator[None]:
    """Work in an empty folder that shares the checkout's downloads."""
    home = Path(".sordino").resolve()
    home.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        Path(".sordino").symlink_to(home)
        yield


def prepare_split(recipe: Recipe, salt: str) -> Prepared:
    """Fetch and prepare the data with another split."""
    data = replace(recipe.data, split=replace(recipe.data.split, salt=salt), decision=None)
    write_section(NAME, "source", SourcePlan(source=data.source))
    write_section(NAME, "data", data)
    if not folder(NAME, "raw").exists():
        fetch.main([NAME])
    prepare.main([NAME])
    return read_prepared(NAME)


def finish(fit: Fit) -> Fit:
    """Take all steps and put the released weights in place."""
    while fit.step_count < fit.config.steps:
        fit.step()
    fit.model.load_state_dict(fit.average)
    fit.model.eval()
    return fit


def auc_of(plan: TrainPlan, prepared: Prepared, seed: int) -> float:
    """Train one model and return its held-out AUC."""
    seeded = replace(plan, train=replace(plan.train, seed=seed))
    fit = finish(make_fit(seeded, prepared))
    rows = prepared.rows("test")
    scores = scores_of(model_logits(fit.model, prepared.sequences, rows), "binary")
    return stats.auc(np.asarray(prepared.sequences.targets[rows]), scores).value


def boosting_auc(prepared: Prepared) -> float:
    """Return the held-out AUC of gradient boosting on the same inputs."""
    rows = prepared.rows("test")
    baseline = fit_baseline("boosting", prepared, "binary", 0)
    if baseline is None:
        raise RuntimeError("boosting was not fitted")
    targets = np.asarray(prepared.sequences.targets[rows])
    return stats.auc(targets, baseline.score(prepared.sequences, rows)).value


def measure(recipe: Recipe, splits: int, runs: int) -> dict[str, np.ndarray]:
    """Return held-out AUC: model and twin [splits, runs], boosting [splits, 1]."""
    private, twin = private_plan(recipe), twin_plan(recipe)
    found: dict[str, list[list[float]]] = {"model": [], "twin": [], "boosting": []}
    progress = tqdm(total=splits * runs, unit="run", disable=None)
    for split in range(splits):
        prepared = prepare_split(recipe, f"quality-{split}")
        found["boosting"].append([boosting_auc(prepared)])
        found["model"].append([])
        found["twin"].append([])
        for run in range(runs):
            found["model"][-1].append(auc_of(private, prepared, run))
            found["twin"][-1].append(auc_of(twin, prepared, run))
            progress.update()
    return {name: np.array(values) for name, values in found.items()}


def rows_of(found: dict[str, np.ndarray], label: str) -> list[dict[str, object]]:
    """Return the figures; every difference is paired on a split."""
    model, twin, boosting = found["model"], found["twin"], found["boosting"]
    figures = {
        f"quality/credit/{label}/auc": model,
        "quality/credit/twin/auc": twin,
        "quality/credit/boosting/auc": boosting,
        f"quality/credit/{label}/auc_minus_twin": model - twin.mean(1, keepdims=True),
        f"quality/credit/{label}/auc_minus_boosting": model - boosting,
        "quality/credit/twin/auc_minus_boosting": twin - boosting,
    }
    out: list[dict[str, object]] = []
    for name, values in figures.items():
        print(
            f"{name:48} {values.mean():+.4f}  (over splits: sd {values.mean(1).std(ddof=1):.4f}, "
            f"worst {values.mean(1).min():+.4f})"
        )
        out.append({"name": name, "value": round(float(values.mean()), 5), "unit": "AUC"})
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.splits < 2:
        sys.exit("error: --splits must be at least 2")
    recipe = load_recipe(Path("params.yaml"), NAME)
    recipe = replace(
        recipe,
        privacy=replace(
            recipe.privacy,
            target_epsilon=options.epsilon,
            noise_multiplier=None,
            insecure_seed=None,
        ),
    )
    torch.set_num_threads(recipe.train.threads)
    torch.set_flush_denormal(True)
    with scratch():
        found = measure(recipe, options.splits, options.runs)
    rows = rows_of(found, f"epsilon_{options.epsilon:g}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + os.linesep)


if __name__ == "__main__":
    main()
