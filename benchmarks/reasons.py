"""Live reasons beside exact Shapley values and beside the explain stage's, on held-out people.

    python -m benchmarks.reasons [--recipe credit] [--json FILE]

The recipe must have been built here. Of each person two lists of reasons are compared: whether
the first one is the same, whether the other's first is among the live ones, and how many are in
both, of all that either names. The reference is what the recipe states, the middle of all bounds,
or, for comparison alone, the exact means of those just granted, which no live answer may use.
"""

import argparse
import itertools
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from rnn.batch import PreparedSequences
from tasks import artifacts, register
from tasks.evidence.reasons import MOST, NONE, decided, principal
from tasks.params import load_recipe
from tasks.recipe import TargetPlan
from tasks.serving.features import Features, features_of
from tasks.serving.reasons import Array, Reasoner, Rows, Variants, quantity, variants_of, without
from tasks.serving.scorer import Scorer

IDENTITY = {"name": "benchmark", "version": "1", "alias": "champion"}


def scorer_of(recipe: str) -> Scorer:
    """Return the scorer of a recipe as it would be registered."""
    metrics = artifacts.read_json(
        artifacts.folder(recipe, "predictions", "published", "metrics.json")
    )
    with tempfile.TemporaryDirectory() as work:
        for path in register.serving_files(recipe, metrics, Path(work)).values():
            if path.parent != Path(work):
                (Path(work) / path.name).write_bytes(path.read_bytes())
        return Scorer.read(Path(work), IDENTITY)


def shapley(reasoner: Reasoner, people: PreparedSequences) -> Array:
    """Return each feature's exact Shapley value, float64 [n, K], from all 2^K coalitions."""
    rows, count = np.arange(len(people)), len(reasoner.features.names)
    values = {}
    for size in range(count + 1):
        for gone in itertools.combinations(range(count), size):
            some = people
            for feature in gone:
                some = without(some, Variants(rows, np.full(len(rows), feature)), reasoner.features)
            values[frozenset(gone)] = quantity(reasoner.ask(some), reasoner.data, rows)
    found = np.zeros((len(rows), count))
    for feature in range(count):
        for gone, value in values.items():
            if feature not in gone:
                weight = math.factorial(len(gone)) * math.factorial(count - 1 - len(gone))
                change = value - values[gone | {feature}]
                found[:, feature] += weight / math.factorial(count) * change
    return found


def occlusion(reasoner: Reasoner, people: PreparedSequences) -> Array:
    """Return what live reasons are chosen by, float64 [n, K]."""
    of = variants_of(people, np.arange(len(people)), reasoner.features)
    found = reasoner.effects(people, reasoner.ask(people), of)
    return found.reshape(len(people), -1)


def agreement(live: Rows, other: Rows) -> dict[str, tuple[float, str]]:
    """Return how far two lists of reasons of the same people agree, and in words what that is."""
    both = [
        ({x for x in a if x != NONE}, {x for x in b if x != NONE})
        for a, b in zip(live.tolist(), other.tolist(), strict=True)
    ]
    shared = [len(a & b) / len(a | b) if a | b else 1.0 for a, b in both]
    return {
        "first": (float((live[:, 0] == other[:, 0]).mean()), "the first reason is the same"),
        "first_among": (
            float((live == other[:, :1]).any(1).mean()),
            "the other's first is among the live ones",
        ),
        "all": (float(np.mean(shared)), "in both, of all that either names"),
    }


def stage_reasons(table: pl.DataFrame, rows: Rows, names: Sequence[str]) -> Rows:
    """Return the explain stage's reasons of some rows, int64 [n, MOST]."""
    found = np.full((len(rows), MOST), NONE, dtype=np.int64)
    place = {row: at for at, row in enumerate(rows.tolist())}
    for row, rank, feature in table.select("row", "rank", "feature").iter_rows():
        if rank:
            found[place[row], rank - 1] = names.index(feature)
    return found


def just_granted(name: str, stated: Features) -> Features:
    """Return features whose reference is the means of those nearest to refusal: held out, exact."""
    table, prepared = artifacts.read_predictions(name), artifacts.read_prepared(name).sequences
    target = artifacts.read_section(name, "target", TargetPlan)
    assert target.decision is not None
    favourable = target.target.classes.index(target.decision.favourable)
    score = table["y_score"].to_numpy() if favourable else 1 - table["y_score"].to_numpy()
    favoured = (table["y_pred"] == favourable).to_numpy()
    rows = decided(table["row"].to_numpy(), favoured, score, 1, 1, 0).nearest
    ends = zip(prepared.offsets[rows], prepared.offsets[rows + 1], strict=True)
    steps = np.concatenate([np.arange(a, b) for a, b in ends])
    means = (prepared.sequences[steps].mean(0), prepared.static[rows].mean(0))
    first, second = (mean.astype(np.float32) for mean in means)
    return replace(stated, reference=first, static_reference=second)


def figures(name: str) -> list[dict[str, object]]:
    """Return the rows of docs/benchmarks.md."""
    recipe, scorer = load_recipe(Path("params.yaml"), name), scorer_of(name)
    table = pl.read_parquet(artifacts.folder(name, "attributions", "internal", "reasons.parquet"))
    rows = table["row"].unique().sort().to_numpy()
    prepared = artifacts.read_prepared(name).sequences
    # A variant without any feature is the person.
    out: list[dict[str, object]] = []
    stated = features_of(scorer.data, recipe.serve.reasons)
    for word, features in (
        ("stated", stated),
        ("middle", features_of(scorer.data, {})),
        ("just_granted", just_granted(name, stated)),
    ):
        reasoner = Reasoner(features, scorer.data, scorer.logits)
        people = without(prepared, Variants(rows, np.full(len(rows), NONE)), features)
        live = principal(occlusion(reasoner, people))
        for other, reasons in (
            ("shapley", principal(shapley(reasoner, people))),
            ("explain", stage_reasons(table, rows, features.names)),
        ):
            out += [
                _row(f"reasons/{word}/{other}/{key}", value, f"{of}; {len(rows):,} refused people")
                for key, (value, of) in agreement(live, reasons).items()
            ]
    return out


def _row(name: str, value: float, unit: str) -> dict[str, object]:
    """One row with three digits."""
    return {"name": name, "value": float(f"{value:.3g}"), "unit": unit}


def main() -> None:
    """Run, print and, if asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="credit")
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    rows = figures(wanted.recipe)
    for row in rows:
        print(f"{row['name']:40} {row['value']:>8} {row['unit']}")
    if wanted.json:
        wanted.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
