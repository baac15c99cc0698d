"""Music that the recipe chorales makes up: how much of it could be sung, and has whole bars.

    python -m benchmarks.chorales [--count 200] [--seed 1] [--temperature 0.9] [--here]
        [--json FILE]

The recipe is trained in a copy of the checkout, or `--here` takes data/chorales/model as it is. Row
names recipes/chorales/plain/in_range and .../in_metre, with Wilson intervals over pieces, and the
same of recipes/chorales/held_out, which is Bach's own music in the test. tasks/music/measure.py
says what counts. What was measured is kept in docs/recipes/figures.json.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.recipes import ROOT, cell, copy_tree, keep, stage
from tasks.music.measure import in_metre, in_range
from tasks.music.tokens import Piece, decode
from tasks.stats import wilson

RECIPE = "chorales"
TESTS = {"in_range": in_range, "in_metre": in_metre}
Json = dict[str, Any]


def rows_of(name: str, pieces: list[Piece], unit: str) -> list[Json]:
    """Return a row a test: the share of pieces that pass it."""
    found = []
    for test, passes in TESTS.items():
        share = wilson(sum(map(passes, pieces)), len(pieces))
        row = {"name": f"recipes/{RECIPE}/{name}/{test}", "value": share.value, "low": share.low}
        found.append({**row, "high": share.high, "unit": unit})
    return found


def train(folder: Path) -> None:
    """Train the committed recipe in a copy of the checkout."""
    copy_tree(folder)
    for name in ("plan", "fetch", "prepare", "train"):
        stage(folder, f"tasks.{name}", RECIPE)


def made_up(folder: Path, wanted: argparse.Namespace) -> list[Piece]:
    """Return pieces that the model of a checkout makes up."""
    with tempfile.TemporaryDirectory(prefix="pieces-") as out:
        settings = [f"--{n}={getattr(wanted, n)}" for n in ("count", "seed", "temperature")]
        stage(folder, "tasks.generate", RECIPE, *settings, f"--out={out}")
        told = json.loads((Path(out) / "pieces.json").read_text())
    return [decode(piece["tokens"].split()) for piece in told["pieces"]]


def held_out(folder: Path) -> list[Piece]:
    """Return the sections of the test, which Bach wrote."""
    root = folder / "data" / RECIPE / "prepared" / "arrays"
    names = json.loads((root / "schema.json").read_text())["input"]["vocabulary"]
    ids, offsets = np.load(root / "sequences.npy"), np.load(root / "offsets.npy")
    split = pl.read_parquet(root / "people.parquet")["split"]
    rows = [row for row, side in enumerate(split) if side == "test"]
    # Without <start> and <end>.
    texts = [ids[offsets[row] + 1 : offsets[row + 1] - 1] for row in rows]
    return [decode(names[token] for token in text) for text in texts]


def main() -> None:
    """Measure and print rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chorales-") as work:
        folder = ROOT if wanted.here else Path(work)
        if not wanted.here:
            train(folder)
        unit = f"{wanted.count} pieces, temperature {wanted.temperature:g}, seed {wanted.seed}"
        rows = rows_of("plain", made_up(folder, wanted), unit)
        real = held_out(folder)
        rows += rows_of("held_out", real, f"{len(real)} sections of the test")
    keep(rows)
    if wanted.json:
        wanted.json.write_text(json.dumps([{**row, "value": cell(row)} for row in rows]))
    for row in rows:
        print(f"{row['name']}: {cell(row)}; {row['unit']}")


if __name__ == "__main__":
    main()
