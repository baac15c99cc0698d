"""What explaining costs, and how exact it is.

`python -m benchmarks.explain [--json FILE]`

Reads data/credit and data/names as `dvc repro` leaves them; a recipe that is not built is named
and left out. Integrated Gradients with 20 points, 6,000 people (of credit: all that are held out,
some of them twice); the whole stage in a process of its own, imports included; relative errors of
completeness of 2,000 held-out people; highest memory by internal_batch_size, less that after the
imports. A machine that is shared makes seconds long: the seconds of the processor stand beside.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tasks import explain
from tasks.artifacts import Prepared, folder, read_model, read_prepared
from tasks.recipe import ExplainConfig

ROOT = Path(__file__).resolve().parents[1]
PEOPLE, SAMPLE, TIMES = 6000, 2000, 3
SIZES = (256, 1024, 4096, 16384)
NEEDED = ("plan", "prepared", "model", "predictions")
GRADIENTS = ExplainConfig(method="integrated_gradients", compare=(), n_steps=20)
Row = dict[str, object]


def built(recipe: str) -> bool:
    """Return whether a recipe's outputs are there; say how to make them if not."""
    missing = [part for part in NEEDED if not folder(recipe, part).exists()]
    if missing:
        print(f"{recipe}: no data/{recipe}/{missing[0]}; build it with dvc repro predict@{recipe}")
    return not missing


def row(name: str, value: float, unit: str) -> Row:
    """Print and return a figure."""
    print(f"{name:52}{value:12.6g} {unit}")
    return {"name": name, "value": float(f"{value:.4g}"), "unit": unit}


def drawn(prepared: Prepared, people: int) -> np.ndarray:
    """Return held-out rows, all of them again where they are too few."""
    held_out = np.random.default_rng(0).permutation(prepared.rows("test"))
    return np.resize(held_out, people)


def seconds(recipe: str) -> list[Row]:
    """Return the time of Integrated Gradients, the best of some runs."""
    model, prepared = read_model(folder(recipe, "model")), read_prepared(recipe)
    rows, best = drawn(prepared, PEOPLE), (float("inf"), float("inf"))
    for _ in range(TIMES):
        clocks = time.perf_counter(), time.process_time()
        explain.attribute_rows(model, prepared.sequences, rows, GRADIENTS)
        found = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
        best = min(best[0], found[0]), min(best[1], found[1])
    return [
        row(f"explain/{recipe}/seconds", best[0], "s"),
        row(f"explain/{recipe}/processor_seconds", best[1], "s"),
    ]


def stage_seconds(recipe: str) -> list[Row]:
    """Return the time of the whole stage, on a copy of what it reads."""
    best = (float("inf"), float("inf"))
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "data" / recipe).mkdir(parents=True)
        for part in folder(recipe).iterdir():
            if part.name != "attributions":
                (Path(place) / "data" / recipe / part.name).symlink_to(part.resolve())
        command = [sys.executable, "-m", "tasks.explain", recipe]
        for _ in range(TIMES):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            started = time.perf_counter()
            subprocess.run(
                command, cwd=place, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            wall = time.perf_counter() - started
            work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            best = min(best[0], wall), min(best[1], work)
            shutil.rmtree(Path(place) / "data" / recipe / "attributions")
    return [
        row(f"explain/{recipe}/stage_seconds", best[0], "s"),
        row(f"explain/{recipe}/stage_processor_seconds", best[1], "s"),
    ]


def completeness(recipe: str) -> list[Row]:
    """Return the errors of the default, of Integrated Gradients, and of 20 points for everybody."""
    model, prepared = read_model(folder(recipe, "model")), read_prepared(recipe)
    groups = explain.groups_of(model, prepared.schema)
    rows, out = drawn(prepared, SAMPLE), []
    kinds = {
        "completeness_p95": GRADIENTS,
        "completeness_p95_fixed_20": replace(GRADIENTS, max_steps=20),
        "completeness_p95_default": ExplainConfig(),
    }
    for name, config in kinds.items():
        found = explain.attribute_rows(model, prepared.sequences, rows, config, groups)
        p95 = float(np.quantile(found.completeness_errors(), 0.95))
        out.append(row(f"explain/{recipe}/{name}", p95, "relative"))
        if name == "completeness_p95" and found.points is not None:
            out.append(row(f"explain/{recipe}/mean_points", float(found.points.mean()), "points"))
    return out


def _highest() -> float:
    """Highest resident memory of this process, MiB; getrusage would begin with the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def peak(recipe: str, rows: int) -> float:
    """Return what explaining adds to the highest memory, MiB; in a process of its own."""
    model, prepared = read_model(folder(recipe, "model")), read_prepared(recipe)
    torch.ones(4, 4, requires_grad=True).matmul(torch.ones(4, 4)).sum().backward()
    before = _highest()
    config = replace(GRADIENTS, internal_batch_size=rows)
    explain.attribute_rows(model, prepared.sequences, drawn(prepared, 1000), config)
    return _highest() - before


def memory(recipe: str) -> list[Row]:
    """Return the peak by internal_batch_size."""
    out = []
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.explain", "--child", recipe, str(size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        value = float(done.stdout.splitlines()[-1])
        out.append(row(f"explain/{recipe}/peak_memory/{size}", value, "MiB"))
    return out


def main() -> None:
    """Print the figures; write them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(explain.THREADS)
    torch.set_flush_denormal(True)
    if options.child:
        print(peak(options.child[0], int(options.child[1])))
        return
    rows: list[Row] = []
    if built("credit"):
        rows += seconds("credit") + stage_seconds("credit")
        rows += completeness("credit") + memory("credit")
    if built("names"):
        rows += completeness("names") + memory("names")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
