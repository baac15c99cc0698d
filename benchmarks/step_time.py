"""A whole private step against plain training, Opacus' layers and jax, in one run.

`python -m benchmarks.step_time [--cells lstm gru rnn] [--rounds 7] [--no-jax] [--json FILE]`

Forward, backward, per-example clip, noise, optimizer step. The peers take turns, a block of
steps each, round after round; a figure is the median over the rounds. jax lives in .venv.peers:
`python -m venv .venv.peers && .venv.peers/bin/pip install -r benchmarks/peers/requirements.txt`
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.peers.steps import SHAPES, TORCH, Shape
from rnn.privacy.noise import Keystream

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".venv.peers" / "bin" / "python"
JAX = {"jax_privacy": "privacy", "jax_vmap": "vmap"}
# A block of a peer takes about this long, so that each round sees the same machine.
BLOCK_SECONDS = 0.4

Row = dict[str, object]
Timer = Callable[[int], float]


class JaxServer:
    """The jax peers' process; it waits while others are timed."""

    def __init__(self) -> None:
        """Start it."""
        if not PEERS.exists():
            sys.exit(f"no {PEERS.parent.parent.name}: see the script's head, or use --no-jax")
        self.process = subprocess.Popen(
            [str(PEERS), str(ROOT / "benchmarks" / "peers" / "jax_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def timer(self, cell: str, shape: Shape, method: str) -> Timer:
        """Return a function that takes steps and returns the seconds of one."""

        def timed(times: int) -> float:
            ask = {"cell": cell, "shape": list(shape), "method": method, "times": times}
            assert self.process.stdin and self.process.stdout
            self.process.stdin.write(json.dumps(ask) + "\n")
            self.process.stdin.flush()
            return float(json.loads(self.process.stdout.readline())["seconds"])

        return timed

    def close(self) -> None:
        """End it."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def torch_timer(step: Callable[[], None]) -> Timer:
    """Return a function that takes steps and returns the seconds of one."""

    def timed(times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            step()
        return (time.perf_counter() - began) / max(1, times)

    return timed


def measure(timers: dict[str, Timer], rounds: int) -> dict[str, float]:
    """Return each peer's median seconds a step; they take turns."""
    counts = {}
    for name, timed in timers.items():
        timed(1)
        counts[name] = max(1, round(BLOCK_SECONDS / timed(1)))
    seen: dict[str, list[float]] = {name: [] for name in timers}
    for turn in range(rounds):
        names = list(timers)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seen[name].append(timers[name](counts[name]))
    return {name: median(values) for name, values in seen.items()}


def rows_of(cell: str, shape: Shape, found: dict[str, float]) -> list[Row]:
    """Return the figures of one shape."""
    prefix = f"step_time/{cell}/{shape}"
    rows: list[Row] = [
        {"name": f"{prefix}/{name}", "value": round(1e3 * seconds, 2), "unit": "ms"}
        for name, seconds in found.items()
    ]
    ratio = found["ours"] / found["plain"]
    rows.append({"name": f"{prefix}/ratio_to_plain", "value": round(ratio, 3), "unit": "x"})
    for name in [n for n in found if n not in ("ours", "plain")]:
        speedup = round(found[name] / found["ours"], 2)
        rows.append({"name": f"{prefix}/speedup_over_{name}", "value": speedup, "unit": "x"})
    return rows


def run(cells: list[str], rounds: int, server: JaxServer | None) -> list[Row]:
    """Measure every cell at every shape, printing as it goes."""
    rows: list[Row] = []
    for cell in cells:
        ratios = []
        for shape in SHAPES:
            timers = {name: torch_timer(make(cell, shape)) for name, make in TORCH.items()}
            for name, method in JAX.items() if server else ():
                timers[name] = server.timer(cell, shape, method)
            found = measure(timers, rounds)
            ratios.append(found["ours"] / found["plain"])
            rows += rows_of(cell, shape, found)
            times = "  ".join(f"{name} {1e3 * t:8.2f}" for name, t in found.items())
            print(f"{cell:<5}{shape!s:<16}{times}  ms; to plain {ratios[-1]:.2f}", flush=True)
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"{cell:<5}geometric mean to plain {mean:.2f}")
        name = f"step_time/{cell}/geomean/ratio_to_plain"
        rows.append({"name": name, "value": round(mean, 3), "unit": "x"})
    return rows


def noise(rounds: int, count: int = 330_000) -> list[Row]:
    """Return the cost of the keystream's noise against torch's, for a layer's parameters."""
    stream = Keystream.from_system()

    def plain() -> None:
        torch.normal(0.0, 1.0, (count,))

    def secure() -> None:
        np.asarray(stream.normal(count))

    found = measure({"plain": torch_timer(plain), "secure": torch_timer(secure)}, rounds)
    ratio = found["secure"] / found["plain"]
    a_value = 1e9 * found["secure"] / count
    print(f"noise: keystream {a_value:.1f} ns a value, {ratio:.1f} times torch.normal's")
    return [
        {"name": "secure_noise/ratio_to_plain_noise", "value": round(ratio, 2), "unit": "x"},
        {"name": "secure_noise/per_value", "value": round(a_value, 2), "unit": "ns"},
    ]


def noise_share(rows: list[Row], per_value: float) -> list[Row]:
    """Return the noise's share of our step, by cell and shape."""
    gates = {"lstm": 4, "gru": 3, "rnn": 1}
    out: list[Row] = []
    for row in rows:
        parts = str(row["name"]).split("/")
        if parts[-1] != "ours":
            continue
        _, _, inputs, hidden = map(int, parts[2].split("x"))
        count = gates[parts[1]] * hidden * (inputs + hidden + 2) + 2 * (hidden + 1)
        share = 100 * count * per_value * 1e-6 / float(str(row["value"]))
        name = f"secure_noise/{parts[1]}/{parts[2]}/share_of_step"
        out.append({"name": name, "value": round(share, 1), "unit": "%"})
    return out


def main() -> None:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "rnn"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-jax", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    server = None if options.no_jax else JaxServer()
    rows = run(options.cells, options.rounds, server)
    if server:
        server.close()
    noises = noise(options.rounds)
    rows += noises + noise_share(rows, float(str(noises[1]["value"])))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
