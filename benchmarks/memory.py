"""Peak memory of a private step against a plain one, each in a process of its own.

`python -m benchmarks.memory [--cells lstm gru rnn] [--json FILE]`

Highest resident memory after ten steps, less that after the imports.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

import torch

from benchmarks.peers.steps import SHAPES, TORCH, Shape

STEPS, TIMES = 10, 3


def _peak() -> float:
    """Highest resident memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(kind: str, cell: str, shape: Shape) -> float:
    """Return what the steps add, MiB."""
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    # The first product loads the numeric libraries: part of the import.
    torch.ones(4, 4, requires_grad=True).matmul(torch.ones(4, 4)).sum().backward()
    before = _peak()
    step = TORCH[kind](cell, shape)
    for _ in range(STEPS):
        step()
    return _peak() - before


def measure(kind: str, cell: str, shape: Shape) -> float:
    """Return the median over processes, MiB."""
    command = [sys.executable, "-m", "benchmarks.memory", "--child", kind, cell, str(shape)]
    runs = [
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for _ in range(TIMES)
    ]
    return median(float(out.splitlines()[-1]) for out in runs)


def main() -> None:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "rnn"])
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.child:
        kind, cell, shape = options.child
        print(child(kind, cell, Shape(*map(int, shape.split("x")))))
        return
    rows = []
    for cell in options.cells:
        for shape in SHAPES:
            plain, ours = (measure(kind, cell, shape) for kind in ("plain", "ours"))
            ratio = ours / plain
            print(f"{cell:<5}{shape!s:<16}plain {plain:7.1f} ours {ours:7.1f} MiB; {ratio:.2f}")
            name = f"memory/{cell}/{shape}/ratio_to_plain"
            rows.append({"name": name, "value": round(ratio, 3), "unit": "x"})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
