"""Scoring a file: event rows a second and peak memory, and that serving says the same.

python -m benchmarks.score [--rows 10M] [--json FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.prepare import label, parse_rows, recipe_data, write_events
from rnn.config import ModelConfig
from rnn.model import build
from tasks.artifacts import write_json, write_model
from tasks.params import as_json
from tasks.recipe import DataConfig, PathSource
from tasks.score import score
from tasks.serving.scorer import Scorer
from tasks.table.encode import input_shape

IDENTITY = {"name": "benchmark", "version": "1", "alias": "champion"}
CHECKED = 1000


def write_model_files(data: DataConfig, folder: Path) -> None:
    """Write what a registered model's folder holds; untrained weights cost as much."""
    model = build(ModelConfig(hidden_size=32, head_sizes=(32,)), input_shape(data), 0)
    write_model(folder, model, dict(model.named_parameters()))
    public = replace(data, source=PathSource(kind="path", path="-"))
    serving = {"data": as_json(public), "threshold": 0.2, "half_width": None}
    write_json(folder / "serving.json", serving)


def same_as_serving(folder: Path, rows: Path, scores: Path) -> float:
    """Return the largest difference of some people's scores to a request's answer."""
    written = pl.read_parquet(scores)
    chosen = written.sample(min(CHECKED, len(written)), seed=0)
    people = pl.scan_csv(rows, infer_schema=False).filter(
        pl.col("person").is_in(chosen["person_id"].to_list())
    )
    answer = pl.DataFrame(Scorer.read(folder, IDENTITY).score(people.collect()))
    both = chosen.join(answer, on="person_id", suffix="_live")
    if len(both) != len(chosen):
        raise SystemExit("somebody was lost")
    return float(np.abs(both["score"] - both["score_live"]).max() or 0.0)


def measure(rows: int, scratch: Path) -> list[dict[str, object]]:
    """Write the rows, score them in a process of its own, and watch it."""
    events, model = scratch / "events", scratch / "model"
    events.mkdir()
    model.mkdir()
    write_events(rows, "csv", events)
    whole = scratch / "rows.csv"
    with whole.open("wb") as out:
        for number, part in enumerate(sorted(events.iterdir())):
            with part.open("rb") as file:
                header = file.readline()
                if not number:
                    out.write(header)
                while piece := file.read(2**24):
                    out.write(piece)
            part.unlink()
    write_model_files(recipe_data(events, "csv"), model)
    out = scratch / "scores.parquet"
    command = [sys.executable, "-m", "benchmarks.score", "--file", str(whole), str(model), str(out)]
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"scoring failed with exit status {process.returncode}")
    people = pl.scan_parquet(out).select(pl.len()).collect().item()
    difference = same_as_serving(model, whole, out)
    print(f"{label(rows)} rows, {people:,} people, {seconds:.1f} s, differs by {difference:.1e}")
    return [
        {
            "name": f"score/{label(rows)}/rows_per_second",
            "value": round(rows / seconds),
            "unit": "rows/s",
        },
        {
            "name": f"score/{label(rows)}/peak_memory",
            "value": round(usage.ru_maxrss / 2**20, 3),
            "unit": "GiB",
        },
        {
            "name": f"score/{label(rows)}/difference_to_serving",
            "value": float(f"{difference:.2g}"),
            "unit": f"largest, {CHECKED} people",
        },
    ]


def main() -> None:
    """Measure, print and, if asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", type=parse_rows, default=[10_000_000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--file", nargs=3, type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.file:
        rows, model, out = wanted.file
        with tempfile.TemporaryDirectory(dir=out.parent) as work:
            score(Scorer.read(model, IDENTITY, 2), rows, out, Path(work))
        return
    found = []
    for rows in wanted.rows:
        with tempfile.TemporaryDirectory(prefix="sordino-bench-") as scratch:
            found += measure(rows, Path(scratch))
    if wanted.json:
        wanted.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
