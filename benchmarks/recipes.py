"""Every recipe as it is committed: its plain twin, its baseline, and its private model.

    python -m benchmarks.recipes [RECIPE ...] [--seeds 3] [--epsilons 3 8] [--json FILE]
    python -m benchmarks.recipes --table

The stages plan, fetch, prepare, train and predict run in a copy of the checkout, with the recipe's
own settings but for the epsilon and the seed of the initial weights. Of a private recipe the twin
is the plain model; where a recipe promises no privacy the model is. Three seeds where a run takes
less than five minutes, else one. Row names recipes/RECIPE/plain|baseline|epsilon_E/METRIC, and
.../METRIC_minus_plain, paired on the same held-out people. An interval is that of the held-out
people, the widest ends over the seeds. What was measured is kept in docs/recipes/figures.json,
from which `--table` writes the table of docs/recipes/README.md.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
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
SHORT = 300.0
PAGE = ROOT / "docs" / "recipes" / "README.md"
KEPT = PAGE.with_name("figures.json")
BEGIN, END = "<!-- table: written by benchmarks.recipes -->", "<!-- end of table -->"
COLUMNS = ("plain", "baseline", "epsilon_8", "epsilon_3")
Json = dict[str, Any]


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
    """Run one stage and return its seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", *arguments], cwd=folder, check=True)
    return time.perf_counter() - began


def write_params(folder: Path, recipe: str, block: Json, epsilon: float | None, seed: int) -> None:
    """Write the recipe alone, with another epsilon and seed."""
    changed = json.loads(json.dumps(block))
    changed["train"]["seed"] = seed
    if epsilon is not None:
        changed["privacy"]["target_epsilon"] = epsilon
        changed["privacy"].pop("noise_multiplier", None)
        changed["gate"]["max_epsilon"] = epsilon
    (folder / "params.yaml").write_text(
        yaml.safe_dump({"run": [recipe], "recipes": {recipe: changed}}, sort_keys=False)
    )


def once(folder: Path, recipe: str, block: Json, epsilon: float | None, seed: int) -> Json:
    """Train and predict once; return internal metrics by model and the seconds of training."""
    write_params(folder, recipe, block, epsilon, seed)
    stage(folder, "tasks.plan", recipe)
    if not (folder / "data" / recipe / "prepared").exists():
        stage(folder, "tasks.fetch", recipe)
        stage(folder, "tasks.prepare", recipe)
    seconds = stage(folder, "tasks.train", recipe)
    stage(folder, "tasks.train", recipe, "--twin")
    stage(folder, "tasks.predict", recipe)
    found = json.loads((folder / "data" / recipe / "predictions/internal/metrics.json").read_text())
    return {"figures": found, "seconds": seconds}


def pooled(figures: Iterable[Json]) -> Json:
    """The mean over seeds, between the outermost ends."""
    all_of = list(figures)
    ends = [f[end] for f in all_of for end in ("low", "high") if f.get(end) is not None]
    value = float(np.mean([f["value"] for f in all_of]))
    return {"value": value, "low": min(ends, default=None), "high": max(ends, default=None)}


def rows_of(recipe: str, name: str, model: str, runs: list[Json], kind: str) -> list[Json]:
    """Rows of one model over the seeds."""
    found = []
    for metric in METRICS[kind]:
        own = [run["figures"].get(model, {}).get(metric) for run in runs]
        if any(figure is None for figure in own):
            continue
        found.append({"name": f"recipes/{recipe}/{name}/{metric}", **pooled(own)})
        gaps = [run["figures"].get("paired", {}).get(f"{metric}_minus_twin") for run in runs]
        if model == "model" and all(gaps):
            label = f"recipes/{recipe}/{name}/{metric}_minus_plain"
            found.append({"name": label, **pooled(gaps)})
    return [
        {**row, "unit": f"{len(runs)} seeds, {sum(r['seconds'] for r in runs) / len(runs):.0f} s"}
        for row in found
    ]


def measure(recipe: str, block: Json, epsilons: list[float], seeds: int) -> list[Json]:
    """Return all rows of one recipe."""
    kind = block["data"]["target"]["kind"]
    private = "none" not in block["privacy"]
    found: list[Json] = []
    with tempfile.TemporaryDirectory(prefix="recipes-") as work:
        folder = Path(work)
        copy_tree(folder)
        for epsilon in epsilons if private else [None]:
            runs = [once(folder, recipe, block, epsilon, 0)]
            more = range(1, seeds) if runs[0]["seconds"] < SHORT else ()
            runs += [once(folder, recipe, block, epsilon, seed) for seed in more]
            if not found:
                plain = "twin" if private else "model"
                found += rows_of(recipe, "plain", plain, runs, kind)
                found += rows_of(recipe, "baseline", "baseline", runs[:1], kind)
            if epsilon is not None:
                found += rows_of(recipe, f"epsilon_{epsilon:g}", "model", runs, kind)
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
    """Return the page's table: a line a recipe and metric, a column a model."""
    named = {row["name"]: row for row in rows}
    lines = [
        "| recipe | metric | plain | baseline | epsilon 8 | epsilon 3 | epsilon 3 minus plain |",
        "|---|---|---|---|---|---|---|",
    ]
    seen = dict.fromkeys(tuple(_name(row).split("/")[1::2]) for row in rows)
    for recipe, metric in seen:
        if metric.endswith("_minus_plain"):
            continue
        found = [named.get(f"recipes/{recipe}/{model}/{metric}") for model in COLUMNS]
        gap = named.get(f"recipes/{recipe}/epsilon_3/{metric}_minus_plain")
        cells = " | ".join(map(cell, [*found, gap]))
        page = f"[{recipe}]({recipe}.md)" if PAGE.with_name(f"{recipe}.md").exists() else recipe
        lines.append(f"| {page} | {metric.replace('_', ' ')} | {cells} |")
    return "\n".join(lines)


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
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", action="store_true")
    wanted = parser.parse_args()
    if wanted.table:
        write_table()
        return
    params = yaml.safe_load((ROOT / "params.yaml").read_text())["recipes"]
    rows: list[Json] = []
    for recipe in wanted.recipes or list(params):
        rows += measure(recipe, params[recipe], wanted.epsilons, wanted.seeds)
        keep(rows)
    if wanted.json:
        flat = [{**row, "value": cell(row)} for row in rows]
        wanted.json.write_text(json.dumps(flat))
    for row in rows:
        low, high = row["low"], row["high"]
        between = "" if low is None else f" ({low:.4g} to {high:.4g})"
        print(f"{row['name']}: {row['value']:.4g}{between}; {row['unit']}")


if __name__ == "__main__":
    main()
