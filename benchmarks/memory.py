"""Peak memory of a private step against a plain one, each in a process of its own.

`python -m benchmarks.memory [--cells lstm gru rnn] [--json FILE]`

Highest resident memory after ten steps, less that after the imports; the median of three
processes. All imports are done once: every process is a fork of the one that did them.
"""

import argparse
import json
import multiprocessing
import resource
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import torch

from benchmarks.peers.steps import SHAPES, TORCH, Shape

STEPS, TIMES = 10, 3


def _peak() -> float:
    """Highest resident memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(kind: str, cell: str, shape: Shape, answer: Connection) -> None:
    """Send what the steps add, MiB."""
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    # The first product loads the numeric libraries: part of the import.
    torch.ones(4, 4, requires_grad=True).matmul(torch.ones(4, 4)).sum().backward()
    before = _peak()
    step = TORCH[kind](cell, shape)
    for _ in range(STEPS):
        step()
    answer.send(_peak() - before)


def once(kind: str, cell: str, shape: Shape) -> float:
    """Return what the steps add in a fresh process, MiB; the caller has started no thread."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(kind, cell, shape, there))
    process.start()
    there.close()
    try:
        return float(here.recv())
    finally:
        process.join()


def measure(kind: str, cell: str, shape: Shape) -> float:
    """Return the median over processes, MiB."""
    return median(once(kind, cell, shape) for _ in range(TIMES))


def main() -> None:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "rnn"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for cell in options.cells:
        for shape in SHAPES:
            plain, ours = (measure(kind, cell, shape) for kind in ("plain", "ours"))
            ratio = ours / plain
            print(
                f"{cell:<5}{shape!s:<16}plain {plain:7.1f} ours {ours:7.1f} MiB; {ratio:.2f}",
                flush=True,
            )
            name = f"memory/{cell}/{shape}/ratio_to_plain"
            rows.append({"name": name, "value": round(ratio, 3), "unit": "x"})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
