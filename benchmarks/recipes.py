"""Every recipe as it is committed: its plain twin, its baseline, and its private model.

    python -m benchmarks.recipes [RECIPE ...] [--seeds 3] [--epsilons 3 8] [--threads 1]
        [--json FILE]
    python -m benchmarks.recipes --table

The stages plan, fetch, prepare, train and predict run in a copy of the checkout, with the recipe's
own settings but for the epsilon, the seed of the initial weights and, where asked, the number of
threads, on which sums depend in their last digits. Of a private recipe the twin is the plain model;
where a recipe promises no privacy the model is. Three seeds where training a model and its twin
takes less than five minutes, else one. Row names recipes/RECIPE/plain|baseline|epsilon_E/METRIC,
and .../METRIC_minus_plain, paired on the same held-out people. An interval is that of the held-out
people, the widest ends over the seeds; the baseline, and differences from it, are of the first seed
alone. What was measured is kept in docs/recipes/figures.json, from which `--table` writes the table
of docs/recipes/README.md.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
# What stands in the table, of each kind of target; the first is the one that counts.
METRICS = {
    "binary": ("auc", "ece"),
    "multiclass": ("accuracy", "macro_f1"),
    "regression": ("mae", "r2"),
    "forecast": ("mase", "mae", "rmse", "coverage"),
    "next_token": ("perplexity",),
    "ctc": ("error_rate", "exact"),
    "seq2seq": ("bleu", "chrf", "perplexity"),
}
# Baselines beside the recipe's own.
RIVALS = {"forecast": ("seasonal_naive",)}
SHORT = 300.0
PAGE = ROOT / "docs" / "recipes" / "README.md"
KEPT = PAGE.with_name("figures.json")
BEGIN, END = "<!-- table: written by benchmarks.recipes -->", "<!-- end of table -->"
COLUMNS = {
    "plain": "plain/{}",
    "baseline": "baseline/{}",
    "plain minus baseline": "plain/{}_minus_baseline",
    "epsilon 8": "epsilon_8/{}",
    "epsilon 3": "epsilon_3/{}",
    "epsilon 8 minus plain": "epsilon_8/{}_minus_plain",
    "epsilon 3 minus plain": "epsilon_3/{}_minus_plain",
}
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to vary.

    Attributes:
        seeds: at most so many.
        epsilons: of private recipes.
        threads: instead of the recipe's own.
    """

    seeds: int = 3
    epsilons: tuple[float, ...] = (3.0, 8.0)
    threads: int | None = None


def copy_tree(target: Path) -> None:
    """Copy what Git knows of the checkout, and downloads that are here already."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    kept = ROOT / ".sordino" / "downloads"
    if kept.is_dir():
        shutil.copytree(kept, target / ".sordino" / "downloads")


def stage(folder: Path, *arguments: str) -> float:
    """Run one stage; return seconds of processor time, which other work does not lengthen."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run([sys.executable, "-m", *arguments], cwd=folder, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with status {ended.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_params(folder: Path, recipe: str, block: Json) -> None:
    """Write the recipe alone, and plan it."""
    (folder / "params.yaml").write_text(
        yaml.safe_dump({"run": [recipe], "recipes": {recipe: block}}, sort_keys=False)
    )
    stage(folder, "tasks.plan", recipe)


def varied(block: Json, wanted: Wanted, seed: int, epsilon: float | None = None) -> Json:
    """Return a recipe's block with another seed, number of threads and epsilon."""
    changed: Json = json.loads(json.dumps(block))
    changed["train"]["seed"] = seed
    if wanted.threads:
        changed["train"]["threads"] = wanted.threads
    if epsilon is not None:
        changed["privacy"]["target_epsilon"] = epsilon
        changed["privacy"].pop("noise_multiplier", None)
        changed["gate"]["max_epsilon"] = epsilon
    return changed


def predict(folder: Path, recipe: str) -> Json:
    """Predict, and return internal metrics by model."""
    stage(folder, "tasks.predict", recipe)
    found: Json = json.loads(
        (folder / "data" / recipe / "predictions/internal/metrics.json").read_text()
    )
    return found


def once(folder: Path, recipe: str, block: Json, wanted: Wanted, seed: int) -> Json:
    """Train all models of one seed.

    Returns:
        figures by epsilon (by None where no privacy is promised), and about how many seconds the
        training of one model and its twin takes on a quiet machine.
    """
    private = "none" not in block["privacy"]
    asked = list(wanted.epsilons) if private else [None]
    figures, spent, changed = {}, [], block
    for place, epsilon in enumerate(asked):
        changed = varied(block, wanted, seed, epsilon)
        if seed or place:
            changed.setdefault("predict", {})["baseline"] = "none"
        write_params(folder, recipe, changed)
        if not (folder / "data" / recipe / "prepared").exists():
            stage(folder, "tasks.fetch", recipe)
            stage(folder, "tasks.prepare", recipe)
        twin = 0.0 if place else stage(folder, "tasks.train", recipe, "--twin")
        spent.append(twin + stage(folder, "tasks.train", recipe))
        figures[epsilon] = predict(folder, recipe)
    threads = changed["train"].get("threads", 2)
    return {"figures": figures, "seconds": spent[0] / threads}


def pooled(figures: Iterable[Json]) -> Json:
    """The mean over seeds, between the outermost ends."""
    all_of = list(figures)
    ends = [f[end] for f in all_of for end in ("low", "high") if f.get(end) is not None]
    value = float(np.mean([f["value"] for f in all_of]))
    return {"value": value, "low": min(ends, default=None), "high": max(ends, default=None)}


def seeds(count: int) -> str:
    """How many seeds, in words."""
    return "1 seed" if count == 1 else f"{count} seeds"


def rows_of(label: str, model: str, runs: list[Json], kind: str) -> list[Json]:
    """Rows of one model over the seeds.

    Args:
        label: what row names begin with.
        model: its name in the metrics.
        runs: metrics by model, one a seed.
        kind: of the target.
    """
    found = []
    for metric in METRICS[kind]:
        own = [run.get(model, {}).get(metric) for run in runs]
        if any(figure is None for figure in own):
            continue
        found.append({"name": f"{label}/{metric}", **pooled(own)})
        found += _gaps(f"{label}/{metric}", metric, model, runs)
    return [{"unit": seeds(len(runs)), **row} for row in found]


def _gaps(label: str, metric: str, model: str, runs: list[Json]) -> list[Json]:
    """Rows of what a model has more than the plain one, and more than the baseline."""
    own = {"model": metric, "twin": f"twin_{metric}"}.get(model)
    wanted = {"plain": f"{metric}_minus_twin", "baseline": f"{own}_minus_baseline"}
    found = []
    for other, key in wanted.items():
        gaps = [gap for run in runs if (gap := run.get("paired", {}).get(key))]
        if own is not None and gaps and not (model == "twin" and other == "plain"):
            name = f"{label}_minus_{other}"
            found.append({"name": name, "unit": seeds(len(gaps)), **pooled(gaps)})
    return found


def rivals(folder: Path, recipe: str, block: Json, wanted: Wanted) -> list[Json]:
    """Rows of a kind's further baselines, on the model that was trained last."""
    kind = block["data"]["target"]["kind"]
    found = []
    for rival in RIVALS.get(kind, ()):
        changed = varied(block, wanted, 0)
        changed.setdefault("predict", {})["baseline"] = rival
        write_params(folder, recipe, changed)
        label = f"recipes/{recipe}/{rival}"
        found += rows_of(label, "baseline", [predict(folder, recipe)], kind)
    return found


def measure(folder: Path, recipe: str, block: Json, wanted: Wanted) -> list[Json]:
    """Return all rows of one recipe."""
    kind, label = block["data"]["target"]["kind"], f"recipes/{recipe}"
    runs = [once(folder, recipe, block, wanted, 0)]
    found = rivals(folder, recipe, block, wanted)
    more = range(1, wanted.seeds) if runs[0]["seconds"] < SHORT else ()
    runs += [once(folder, recipe, block, wanted, seed) for seed in more]
    first, *others = runs[0]["figures"]
    plain = "model" if first is None else "twin"
    by_epsilon = {e: [run["figures"][e] for run in runs] for e in (first, *others)}
    found += rows_of(f"{label}/plain", plain, by_epsilon[first], kind)
    found += rows_of(f"{label}/baseline", "baseline", by_epsilon[first][:1], kind)
    for epsilon, figures in by_epsilon.items():
        if epsilon is not None:
            found += rows_of(f"{label}/epsilon_{epsilon:g}", "model", figures, kind)
    return found


def keep(rows: list[Json]) -> None:
    """Put rows beside those of before; a recipe's new ones replace its old ones."""
    known = json.loads(KEPT.read_text()) if KEPT.exists() else []
    names = {row["name"] for row in rows}
    KEPT.write_text(
        json.dumps(sorted([r for r in known if r["name"] not in names] + rows, key=_name), indent=1)
        + "\n"
    )


def _name(row: Json) -> str:
    """What rows are sorted by."""
    return str(row["name"])


def cell(row: Json | None) -> str:
    """A figure and its interval."""
    if row is None:
        return "–"
    if row["low"] is None:
        return f"{row['value']:.3g}"
    return f"{row['value']:.3g} ({row['low']:.3g} to {row['high']:.3g})"


def table(rows: list[Json]) -> str:
    """Return the page's table: a line a recipe and metric, a column a model or difference."""
    # The file keeps what benchmarks.cells measured as well.
    named = {row["name"]: row for row in rows if _name(row).startswith("recipes/")}
    lines = [f"| recipe | metric | {' | '.join(COLUMNS)} |", "|---" * (2 + len(COLUMNS)) + "|"]
    seen = dict.fromkeys(tuple(name.split("/")[1::2]) for name in named)
    for recipe, metric in seen:
        if "_minus_" in metric:
            continue
        paths = (place.format(metric) for place in COLUMNS.values())
        cells = " | ".join(cell(named.get(f"recipes/{recipe}/{path}")) for path in paths)
        page = f"[{recipe}]({recipe}.md)" if PAGE.with_name(f"{recipe}.md").exists() else recipe
        lines.append(f"| {page} | {metric.replace('_', ' ')} | {cells} |")
    return "\n".join(lines)


def write_json(rows: list[Json], file: Path) -> None:
    """Write rows as benchmarks.md shows them, the interval beside the value."""
    shown = [{"name": row["name"], "value": cell(row), "unit": row["unit"]} for row in rows]
    file.write_text(json.dumps(shown, indent=2) + "\n")


def write_table() -> None:
    """Write the page's table from the rows that are kept."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    made = table(json.loads(KEPT.read_text()))
    PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}")


def main() -> None:
    """Measure recipes and print rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epsilons", type=float, nargs="*", default=[3.0, 8.0])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.table:
        write_table()
        return
    wanted = Wanted(seeds=asked.seeds, epsilons=tuple(asked.epsilons), threads=asked.threads)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())["recipes"]
    measured: list[Json] = []
    for recipe in asked.recipes or list(params):
        with tempfile.TemporaryDirectory(prefix="recipes-") as work:
            copy_tree(Path(work))
            rows = measure(Path(work), recipe, params[recipe], wanted)
        keep(rows)
        measured += rows
        for row in rows:
            print(f"{row['name']}: {cell(row)}; {row['unit']}", flush=True)
    if asked.json:
        write_json(measured, asked.json)


if __name__ == "__main__":
    main()
