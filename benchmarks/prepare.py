"""Events to sequences: rows a second and peak memory of the stage prepare, layout long.

python benchmarks/prepare.py [--rows 20M 100M] [--format csv|parquet] [--json FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tasks import artifacts  # noqa: E402
from tasks.params import as_json, validate  # noqa: E402
from tasks.recipe import DataConfig  # noqa: E402
from tasks.table.sources import resolve  # noqa: E402

EVENTS_A_PERSON = 20
_CHUNK = 1_000_000


@dataclass(frozen=True)
class Figure:
    """One measured run.

    Attributes:
        rows: events.
        seconds: wall time of the stage, interpreter start included.
        peak_gib: highest resident memory of the stage's process, GiB.
    """

    rows: int
    seconds: float
    peak_gib: float


def parse_rows(text: str) -> int:
    """Return a number of rows; 20M is 20 million."""
    return int(float(text[:-1]) * 1e6) if text.upper().endswith("M") else int(text)


def label(rows: int) -> str:
    """Return 20M for 20 million."""
    return f"{rows // 1_000_000}M" if rows % 1_000_000 == 0 else str(rows)


def events(rows: int, chunk: int) -> pl.DataFrame:
    """Return one chunk of made-up events: people in random order, described in every row.

    Args:
        rows: events of the whole file; there are rows / EVENTS_A_PERSON people.
        chunk: number of the chunk, which seeds it.
    """
    count = min(_CHUNK, rows - chunk * _CHUNK)
    random = np.random.default_rng([rows, chunk])
    person = random.integers(0, max(1, rows // EVENTS_A_PERSON), count)
    return pl.DataFrame(
        {
            "person": person,
            "day": random.integers(0, 3650, count),
            "amount": random.exponential(100.0, count).round(2),
            "balance": random.normal(0.0, 1000.0, count).round(2),
            "kind": random.integers(0, 4, count),
            "age": 18 + person * 7919 % 70,
            "sex": person * 104_729 % 2,
            "outcome": (person * 15_485_863 % 97 < 20).astype(np.int64),
        }
    )


def write_events(rows: int, kind: str, folder: Path) -> None:
    """Write the events to files of at most 20 chunks, each chunk made on its own."""
    for chunk in range(-(-rows // _CHUNK)):
        frame = events(rows, chunk)
        if kind == "parquet":
            frame.write_parquet(folder / f"{chunk:05d}.parquet")
            continue
        with (folder / f"{chunk // 20:05d}.csv").open("ab") as file:
            frame.write_csv(file, include_header=file.tell() == 0)


def recipe_data(folder: Path, kind: str) -> DataConfig:
    """Return the data block of the made-up events."""
    block = {
        "source": {"kind": "path", "path": f"{folder}/*.{kind}"},
        "person": "person",
        "sequence": {
            "layout": "long",
            "time": "day",
            "max_length": 512,
            "features": [
                {"name": "amount", "column": "amount", "bounds": [0, 1000], "transform": "log"},
                {"name": "balance", "column": "balance", "bounds": [-5000, 5000]},
                {"name": "kind", "column": "kind", "values": [0, 1, 2, 3]},
            ],
        },
        "static": [{"name": "age", "column": "age", "bounds": [18, 90]}],
        "target": {"column": "outcome", "kind": "binary", "classes": [0, 1]},
        "sensitive": [{"name": "sex", "column": "sex", "labels": {0: "a", 1: "b"}}],
        "split": {"salt": "bench"},
    }
    return validate(DataConfig, block, "benchmark")


def measure(rows: int, kind: str, scratch: Path) -> Figure:
    """Write the events, run the stage in a process of its own, and watch it."""
    folder = scratch / f"events-{rows}"
    folder.mkdir()
    write_events(rows, kind, folder)
    data = recipe_data(folder, kind)
    here = Path.cwd()
    os.chdir(scratch)
    try:
        artifacts.write_section("bench", "data", data)
        files = [as_json(file) for file in resolve(data.source)]
        artifacts.write_json(artifacts.folder("bench", "raw", "manifest.json"), {"files": files})
        return _run(rows)
    finally:
        os.chdir(here)
        for path in folder.iterdir():
            path.unlink()


def _run(rows: int) -> Figure:
    """Run the stage in the current folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tasks.prepare", "bench"]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"prepare failed with exit status {process.returncode}")
    # Linux counts in KiB, macOS in bytes.
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return Figure(rows, seconds, usage.ru_maxrss / unit)


def figures_json(figures: list[Figure]) -> list[dict[str, object]]:
    """Return named values for docs/benchmarks.md."""
    out: list[dict[str, object]] = []
    for figure in figures:
        name = f"prepare/{label(figure.rows)}"
        out += [
            {"name": f"{name}/peak_memory", "value": round(figure.peak_gib, 3), "unit": "GiB"},
            {
                "name": f"{name}/rows_per_second",
                "value": round(figure.rows / figure.seconds),
                "unit": "rows/s",
            },
        ]
    return out


def main(argv: list[str]) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", type=parse_rows, default=[20_000_000, 100_000_000])
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    figures = []
    print(f"{'rows':>8} {'seconds':>8} {'rows/s':>12} {'peak GiB':>9}")
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="sordino-bench-") as scratch:
            figure = measure(rows, options.format, Path(scratch))
        figures.append(figure)
        speed = figure.rows / figure.seconds
        print(f"{label(rows):>8} {figure.seconds:8.1f} {speed:12,.0f} {figure.peak_gib:9.2f}")
    if options.json:
        options.json.write_text(
            json.dumps(figures_json(figures), indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
