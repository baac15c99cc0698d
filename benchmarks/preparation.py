"""What private bounds, vocabularies and thresholds cost, against public ones, at one epsilon.

`python -m benchmarks.preparation [--runs 5] [--names-runs 2] [--recipes credit names] [--json F]`

Both sides promise the same total epsilon, 3. The private one draws from training people what the
recipe states, afresh in each run, and trains with the noise that is left of the total; a pair
shares split and initial weights. Credit: bounds of bills, payments and limits are drawn; what a
repayment delay can be is the code's definition and stays public; the threshold of decisions is
drawn from held-out people at a tenth of epsilon, against the exact one. Names: the alphabet is
drawn. Intervals are Student's over the paired differences, which takes three pairs.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

from rnn.privacy.noise import Keystream
from tasks import fetch, prepare, stats
from tasks.artifacts import read_json, read_prepared, write_section
from tasks.budget import private_plan
from tasks.evidence.scoring import model_logits, scores_of
from tasks.evidence.threshold import exact_threshold, private_threshold
from tasks.params import load_recipe
from tasks.plan import release_plan
from tasks.population import population_of
from tasks.recipe import PopulationPlan, Recipe, SourcePlan, TextLayout, TrainPlan, WideLayout
from tasks.settings.preparation import preparation_plan
from tasks.settings.private import PrivateBounds, PrivateVocabulary
from tasks.train import make_fit

Array = NDArray[np.float64]
EPSILON = 3.0
SPARE = {"low_quantile": 0.02, "high_quantile": 0.98}
BARS = {"credit": 0.01, "names": 0.02}


def drawn_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe with what it states about money, or about letters, to be drawn."""
    layout, data = recipe.data.sequence, recipe.data
    if isinstance(layout, TextLayout):
        asked = PrivateVocabulary(epsilon=0.2, max_values=16)
        return replace(
            recipe,
            data=replace(data, sequence=replace(layout, alphabet="", private_alphabet=asked)),
        )
    assert isinstance(layout, WideLayout)
    both = PrivateBounds(epsilon=0.1, range=(-1e7, 1e7), **SPARE)
    upper = PrivateBounds(epsilon=0.05, range=(0.0, 1e7), low=0.0, **SPARE)

    def asked_of(feature):
        """Bills may be negative, which a logarithm does not take; the rest is not."""
        if feature.unit != "NT$":
            return feature
        linear_bill = feature.name == "bill" and feature.transform == "linear"
        return replace(feature, bounds=None, private_bounds=both if linear_bill else upper)

    return replace(
        recipe,
        data=replace(
            data,
            sequence=replace(layout, features=tuple(map(asked_of, layout.features))),
            static=tuple(map(asked_of, data.static)),
        ),
    )


@contextlib.contextmanager
def apart(raw: Path, recipe: str) -> Iterator[None]:
    """Work in an empty folder that has the recipe's raw files, and a ledger of its own."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        shutil.copytree(raw, Path("data", recipe, "raw"))
        yield


@dataclass(frozen=True)
class Outcome:
    """One run: AUC or accuracy, share decided right, distance from the wanted approvals."""

    score: float
    decided: float = float("nan")
    missed: float = float("nan")


def outcome(name: str, recipe: Recipe, plan: TrainPlan, seed: int, private: bool) -> Outcome:
    """Prepare, train and score once."""
    data = recipe.data
    write_section(name, "data", replace(data, decision=None))
    write_section(name, "preparation", preparation_plan(data, recipe.privacy))
    write_section(name, "train", plan)
    write_section(name, "population", PopulationPlan(population=population_of(data)))
    prepare.main([name])
    prepared = read_prepared(name)
    if private:
        found = read_json(Path("data", name, "prepared", "arrays", "preparation.json"))
        print([(r["name"], r["value"]) for r in found["releases"]], file=sys.stderr)
    fit = make_fit(replace(plan, train=replace(plan.train, seed=seed)), prepared)
    while fit.step_count < plan.train.steps:
        fit.step()
    fit.model.load_state_dict(fit.average)
    rows = prepared.rows("test")
    logits = model_logits(fit.model.eval().cpu(), prepared.sequences, rows)
    scores = scores_of(logits, data.target.kind)
    truth = np.asarray(prepared.sequences.targets[rows])
    if data.target.kind == "multiclass":
        return Outcome(float((scores.argmax(1) == truth).mean()))
    assert data.decision is not None and data.decision.approval_rate is not None
    rate, favoured = data.decision.approval_rate, data.decision.favourable == 1
    threshold = exact_threshold(scores, rate, favoured)
    if private:
        chosen = release_plan(recipe, plan)
        threshold = private_threshold(scores, rate, favoured, chosen, Keystream.from_system())
    decided = scores >= threshold
    approved = decided.mean() if favoured else 1 - decided.mean()
    return Outcome(
        stats.auc(truth, scores).value, float((decided == truth).mean()), abs(approved - rate)
    )


def measure(
    name: str, runs: int, threads: int | None = None, steps: int | None = None
) -> list[tuple[Outcome, Outcome]]:
    """Return pairs of runs: with public settings, and with drawn ones."""
    recipe = load_recipe(Path("params.yaml"), name)
    privacy = replace(recipe.privacy, target_epsilon=EPSILON, noise_multiplier=None)
    train = replace(recipe.train, steps=steps or recipe.train.steps)
    public = replace(recipe, privacy=privacy, train=train)
    drawn = drawn_recipe(public)
    torch.set_num_threads(threads or recipe.train.threads)
    torch.set_flush_denormal(True)
    plans = private_plan(public), private_plan(drawn)
    noise = [plan.noise_multiplier for plan in plans]
    print(f"{name}: noise multiplier {noise[0]:.4f} public, {noise[1]:.4f} private", flush=True)
    pairs = []
    with tempfile.TemporaryDirectory() as place:
        home = Path(".sordino").resolve()
        home.mkdir(exist_ok=True)
        with contextlib.chdir(place):
            Path(".sordino").symlink_to(home)
            write_section(name, "source", SourcePlan(source=recipe.data.source))
            fetch.main([name])
        raw = Path(place, "data", name, "raw")
        for run in range(runs):
            found = []
            for private, one, plan in zip((False, True), (public, drawn), plans, strict=True):
                split = replace(one.data.split, salt=f"preparation-{run}")
                salted = replace(one, data=replace(one.data, split=split))
                with apart(raw, name):
                    found.append(outcome(name, salted, plan, run, private))
            pairs.append((found[0], found[1]))
            print(f"{name} run {run + 1} of {runs}: {found}", file=sys.stderr, flush=True)
    return pairs


def interval(values: Array) -> tuple[float, float, float]:
    """Return mean and its 95 % interval."""
    if len(values) < 2:
        return float(values.mean()), float("nan"), float("nan")
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def rows_of(name: str, pairs: list[tuple[Outcome, Outcome]]) -> list[dict[str, object]]:
    """Return and print the figures of one recipe."""
    kind = "auc" if name == "credit" else "accuracy"
    one, other = (np.array([pair[side].score for pair in pairs]) for side in (0, 1))
    figures = {f"{kind}_public": one, f"{kind}_private": other, "difference": other - one}
    if name == "credit":
        decided = [np.array([pair[side].decided for pair in pairs]) for side in (0, 1)]
        figures["decided_right_difference"] = decided[1] - decided[0]
        figures["approval_rate_error"] = np.array([pair[1].missed for pair in pairs])
    rows: list[dict[str, object]] = []
    for figure, values in figures.items():
        value, low, high = interval(values)
        row = f"preparation/{name}/{figure}"
        print(f"{row:44} {value:+.4f} ({low:+.4f}, {high:+.4f}) of {len(values)}", flush=True)
        unit = kind if "error" not in figure else "share"
        rows.append({"name": row, "value": round(value, 5), "unit": unit})
    worst = -float((other - one).mean())
    print(f"{name}: costs {worst:.4f}, at most {BARS[name]:g} allowed: {worst <= BARS[name]}")
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--names-runs", type=int, default=2)
    parser.add_argument("--recipes", nargs="+", default=["credit", "names"], choices=sorted(BARS))
    parser.add_argument("--threads", type=int, help="of torch; the recipe's if not given")
    parser.add_argument("--steps", type=int, help="of training, for a quick look")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    for name in options.recipes:
        runs = options.runs if name == "credit" else options.names_runs
        pairs = measure(name, runs, options.threads, options.steps)
        rows += rows_of(name, pairs)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
