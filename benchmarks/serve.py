"""Serving on loopback: latency of one person, people a second, beside the bare network.

python -m benchmarks.serve [--recipe credit] [--seconds 20] [--clients 2] [--json FILE]

A server process with one worker answers client processes of their own. The network has the
recipe's sizes and untrained weights: what is measured depends on neither. Everybody is refused,
so that whoever asks for reasons gets them: that is the most work.
"""

import argparse
import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rnn.model import build
from tasks.artifacts import write_json, write_model
from tasks.params import as_json, load_recipe
from tasks.recipe import Recipe, WideLayout
from tasks.serving.answers import sequences_of
from tasks.serving.scorer import Scorer
from tasks.table.encode import encode, input_shape

IDENTITY = {"name": "benchmark", "version": "1", "alias": "champion"}
MANY = 100
WARM_UP = 50
REASONS = 4


@dataclass(frozen=True)
class Load:
    """What one client saw.

    Attributes:
        seconds: between its first and last answer.
        answers: it got.
        latencies: of each, seconds.
    """

    seconds: float
    answers: int
    latencies: list[float]


def write_model_files(recipe: Recipe, folder: Path) -> None:
    """Write what a registered model's folder holds."""
    model = build(recipe.model, input_shape(recipe.data), 0)
    write_model(folder, model, dict(model.named_parameters()))
    serving = {"data": as_json(recipe.data), "threshold": 0.0, "half_width": None}
    serving |= {"reasons": as_json(recipe.serve)["reasons"]}
    write_json(folder / "serving.json", serving)


def rows_of(recipe: Recipe, count: int, seed: int) -> list[dict[str, Any]]:
    """Return raw rows of invented people of a wide table, all values within the bounds."""
    rng = np.random.default_rng(seed)
    layout = recipe.data.sequence
    if not isinstance(layout, WideLayout):
        raise SystemExit("benchmarks.serve needs a recipe with a wide table")
    rows: list[dict[str, Any]] = []
    for number in range(count):
        row: dict[str, Any] = {} if recipe.data.person is None else {recipe.data.person: number}
        for feature in (*layout.features, *recipe.data.static):
            for name in getattr(feature, "columns", None) or (feature.column,):
                if feature.bounds is not None:
                    row[name] = int(rng.uniform(*feature.bounds))
                else:
                    row.setdefault(name, feature.values[int(rng.integers(len(feature.values)))])
        rows.append(row)
    return rows


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def server(folder: Path) -> Iterator[int]:
    """Serve a folder in a process of its own; give its port."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serve", "--serve", str(folder), str(port)]
    process = subprocess.Popen(command, env={**os.environ, "POLARS_MAX_THREADS": "2"})
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def serve(folder: Path, port: int) -> None:
    """Serve until terminated."""
    import uvicorn

    from tasks.serving.app import create_app

    scorer = Scorer.read(folder, IDENTITY)
    app = create_app("benchmark", lambda: scorer)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def load(port: int, body: bytes, seconds: float, reasons: int) -> Load:
    """Ask one after the other over one connection."""
    link = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Content-Type": "application/json"}
    latencies: list[float] = []
    began = time.perf_counter()
    for turn in range(10**9):
        if turn == WARM_UP:
            latencies, began = [], time.perf_counter()
        at = time.perf_counter()
        link.request("POST", f"/score?reasons={reasons}", body, headers)
        answer = link.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"status {answer.status}")
        latencies.append(time.perf_counter() - at)
        if turn > WARM_UP and time.perf_counter() - began > seconds:
            break
    return Load(time.perf_counter() - began, len(latencies), latencies)


def loads(port: int, body: Path, seconds: float, clients: int, reasons: int = 0) -> list[Load]:
    """Several clients at once, each a process."""
    command = [sys.executable, "-m", "benchmarks.serve", "--load", str(body), str(port)]
    command += ["--seconds", str(seconds), "--reasons", str(reasons)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(clients)]
    return [Load(**json.loads(client.communicate()[0])) for client in running]


def bare(scorer: Scorer, rows: list[dict[str, Any]]) -> float:
    """Median seconds of the network alone on encoded people."""
    people = sequences_of(encode(pl.DataFrame(rows), scorer.data), scorer.data)
    times = []
    for _ in range(500):
        at = time.perf_counter()
        scorer.logits(people)
        times.append(time.perf_counter() - at)
    return statistics.median(times)


def figures(recipe: Recipe, seconds: float, clients: int) -> list[dict[str, object]]:
    """Return the rows of docs/benchmarks.md."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        write_model_files(recipe, folder)
        scorer = Scorer.read(folder, IDENTITY)
        one, many = rows_of(recipe, 1, 0), rows_of(recipe, MANY, 1)
        bodies = {}
        for name, rows in (("one", one), ("many", many)):
            bodies[name] = folder / f"{name}.json"
            bodies[name].write_text(json.dumps({"rows": rows}), encoding="utf-8")
        with server(folder) as port:
            (alone,) = loads(port, bodies["one"], seconds, 1)
            (explained,) = loads(port, bodies["one"], seconds, 1, REASONS)
            crowd = loads(port, bodies["many"], seconds, clients)
            told = loads(port, bodies["many"], seconds, clients, REASONS)
        latencies, slower = (np.sort(found.latencies) * 1e3 for found in (alone, explained))
        rate, slow = (
            sum(MANY * found.answers / found.seconds for found in several)
            for several in (crowd, told)
        )
        one_more = f"one person, {REASONS} reasons"
        many_more = f"{MANY} a request, {clients} clients, {REASONS} reasons"
        return [
            _row("serve/p50_ms", float(np.quantile(latencies, 0.5)), "ms, one person"),
            _row("serve/p99_ms", float(np.quantile(latencies, 0.99)), "ms, one person"),
            _row("serve/reasons_p50_ms", float(np.quantile(slower, 0.5)), f"ms, {one_more}"),
            _row("serve/model_ms", bare(scorer, one) * 1e3, "ms, the network alone, one person"),
            _row("serve/people_per_second", rate, f"people/s, {MANY} a request, {clients} clients"),
            _row("serve/reasons_people_per_second", slow, f"people/s, {many_more}"),
            _row(
                "serve/model_people_per_second",
                MANY / bare(scorer, many),
                f"people/s, the network alone, {MANY} at once",
            ),
        ]


def _row(name: str, value: float, unit: str) -> dict[str, object]:
    """One row with three digits."""
    return {"name": name, "value": float(f"{value:.3g}"), "unit": unit}


def main() -> None:
    """Run, print and, if asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="credit")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--reasons", type=int, default=REASONS, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.serve:
        serve(Path(wanted.serve[0]), int(wanted.serve[1]))
        return
    if wanted.load:
        body = Path(wanted.load[0]).read_bytes()
        found = load(int(wanted.load[1]), body, wanted.seconds, wanted.reasons)
        print(json.dumps(vars(found)))
        return
    recipe = load_recipe(Path("params.yaml"), wanted.recipe)
    rows = figures(recipe, wanted.seconds, wanted.clients)
    for row in rows:
        print(f"{row['name']:40} {row['value']:>12} {row['unit']}")
    if wanted.json:
        wanted.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
