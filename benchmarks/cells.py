"""Every recipe with each kind of cell, with and without privacy.

    python -m benchmarks.cells [RECIPE ...] [--threads 1] [--json FILE]
    python -m benchmarks.cells --table

Only model.cell differs from the committed settings, which were chosen for one of the cells: the
comparison is of what a person gets who changes that word, not of the best of each cell. One seed,
at the recipe's own epsilon. Row names cells/RECIPE/CELL/private|plain/METRIC; the figures of the
cell that a recipe names are those of `python -m benchmarks.recipes`. All are kept in
docs/recipes/figures.json, from which `--table` writes the table of docs/experiments.md. A recipe
whose recurrent layers begin with weights that others trained has no other cell.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.recipes import (
    KEPT,
    METRICS,
    ROOT,
    Wanted,
    cell,
    copy_tree,
    keep,
    once,
    rows_of,
    write_json,
)

PAGE = ROOT / "docs" / "experiments.md"
BEGIN, END = "<!-- table: written by benchmarks.cells -->", "<!-- end of table -->"
CELLS = ("rnn", "gru", "lstm")
Json = dict[str, Any]


def own_epsilon(block: Json) -> float | None:
    """The epsilon that a recipe promises; None where it promises none."""
    found = block["privacy"].get("target_epsilon")
    return None if found is None else float(found)


def own_cell(block: Json) -> str:
    """The cell that a recipe names."""
    return str(block.get("model", {}).get("cell", "gru"))


def other_cells(block: Json) -> list[str]:
    """The cells that could stand in a recipe's place: none where given weights fill its own."""
    begun = block.get("start", {}).get("layers", ())
    if any(layer.startswith("recurrent") for layer in begun):
        return []
    return [name for name in CELLS if name != own_cell(block)]


def measure(folder: Path, recipe: str, block: Json, kind: str, threads: int | None) -> list[Json]:
    """Return the rows of the cells that a recipe does not name."""
    epsilon, found = own_epsilon(block), []
    wanted = Wanted(seeds=1, epsilons=() if epsilon is None else (epsilon,), threads=threads)
    for name in other_cells(block):
        changed = json.loads(json.dumps(block))
        changed["model"]["cell"] = name
        changed.setdefault("predict", {})["baseline"] = "none"
        run = once(folder, recipe, changed, wanted, 0)["figures"][epsilon]
        label = f"cells/{recipe}/{name}"
        found += rows_of(f"{label}/plain", "model" if epsilon is None else "twin", [run], kind)
        if epsilon is not None:
            found += rows_of(f"{label}/private", "model", [run], kind)
    return found


def line(recipe: str, block: Json, named: dict[str, Json]) -> str:
    """One recipe's line of the table: its first metric, plain and private, a cell a column."""
    metric, epsilon = METRICS[block["data"]["target"]["kind"]][0], own_epsilon(block)
    cells = []
    for name in CELLS:
        for way in ("plain", "private"):
            place = f"cells/{recipe}/{name}/{way}/{metric}"
            if name == own_cell(block):
                way = f"epsilon_{epsilon:g}" if way == "private" and epsilon is not None else way
                place = f"recipes/{recipe}/{way}/{metric}"
            found = cell(named.get(place))
            cells.append(f"**{found}**" if name == own_cell(block) and found != "–" else found)
    promise = "none" if epsilon is None else f"{epsilon:g}"
    return f"| {recipe} | {metric.replace('_', ' ')} | {promise} | {' | '.join(cells)} |"


def write_table(params: Json) -> None:
    """Write the page's table from the rows that are kept."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    named = {row["name"]: row for row in json.loads(KEPT.read_text())}
    heads = [f"{name} {way}" for name in CELLS for way in ("plain", "private")]
    lines = [
        f"| recipe | metric | epsilon | {' | '.join(heads)} |",
        "|---" * (3 + len(heads)) + "|",
        *(line(recipe, block, named) for recipe, block in params.items()),
    ]
    PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}")


def main() -> None:
    """Measure cells and print rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    params = yaml.safe_load((ROOT / "params.yaml").read_text())["recipes"]
    if asked.table:
        write_table(params)
        return
    measured: list[Json] = []
    for recipe in asked.recipes or list(params):
        block = params[recipe]
        with tempfile.TemporaryDirectory(prefix="cells-") as work:
            copy_tree(Path(work))
            kind = block["data"]["target"]["kind"]
            rows = measure(Path(work), recipe, block, kind, asked.threads)
        keep(rows)
        measured += rows
        for row in rows:
            print(f"{row['name']}: {cell(row)}; {row['unit']}", flush=True)
    if asked.json:
        write_json(measured, asked.json)


if __name__ == "__main__":
    main()
