"""The null block: how well it measures the noise of credit's run, and what it costs.

`python -m benchmarks.null_block [--runs 200] [--rounds 480] [--json FILE]`

Runs have credit's steps, sample rate, noise and canaries, and nobody in them: the steps are the
production loop's, its clipping, sum, noise and normaliser. `noise_scale_error` is the median
distance of the measured noise multiplier from the true one; `accept` the share of sound runs that
the test of the noise scale accepts, `reject_0.95x` and `reject_1.05x` the shares of runs with that
noise which it rejects; `train_time_share` what a step of credit's model takes longer with the
block, medians of steps that take turns.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from rnn.batch import PreparedSequences
from rnn.config import InputShape, ModelConfig
from rnn.fit import Fit, Mechanism
from rnn.model import build
from rnn.privacy.canaries import Measured, noise_scale
from rnn.privacy.engine import rounding_margin
from rnn.privacy.ledger import training_event, training_noise
from rnn.privacy.noise import Keystream
from rnn.privacy.null_verdict import judge
from tasks import stats
from tasks.params import load_recipe
from tasks.recipe import Recipe
from tasks.table.encode import input_shape

Row = dict[str, object]

SHARES = {"accept": 1.0, "reject_0.95x": 0.95, "reject_1.05x": 1.05}
BAR, SHARE_BAR = 0.99, 0.05


def invented(shape: InputShape, people: int, length: int) -> PreparedSequences:
    """Return random rows of a shape."""
    numbers = np.random.default_rng(0)
    return PreparedSequences(
        numbers.random((people * length, shape.input_size), dtype=np.float32),
        None,
        np.arange(people + 1) * length,
        numbers.random((people, shape.static_size), dtype=np.float32),
        numbers.integers(0, 2, people),
    )


def make(recipe: Recipe, noise: float, *, people: bool, canaries: bool, seed: int) -> Fit:
    """Return credit's run at its first step, with its people invented, or with nobody in it."""
    shape = input_shape(recipe.data)
    model = recipe.model if people else ModelConfig(cell="rnn", hidden_size=2)
    rate = recipe.train.expected_batch_size / recipe.privacy.population
    count = recipe.privacy.population if people else 1
    steps = len(recipe.data.sequence.steps) if recipe.data.sequence.layout == "wide" else 1
    return Fit(
        build(model, shape, 0),
        invented(shape, count, steps),
        np.arange(count if people else 0),
        replace(recipe.train, device="cpu"),
        sample_rate=rate,
        mechanism=Mechanism.of(recipe.privacy, sample_rate=rate, noise_multiplier=noise),
        keystream=Keystream.from_seed(seed),
        null_canaries=recipe.privacy.null_canaries if canaries else 0,
    )


def measured(recipe: Recipe, noise: float, share: float, seed: int) -> Measured:
    """Return the noise scale of one whole run whose noise is `share` of what is claimed."""
    fit = make(recipe, noise, people=False, canaries=True, seed=seed)
    fit.optimizer.noise_multiplier = share * noise  # type: ignore[attr-defined]
    while fit.step_count < recipe.train.steps:
        fit.step()
    assert fit.null is not None
    return noise_scale(fit.null.account)


def scales(recipe: Recipe, noise: float, runs: int) -> list[Row]:
    """Return how often each noise is rejected, and how far off the measured one is."""
    rows: list[Row] = []
    true = noise * (1 + rounding_margin(recipe.train.expected_batch_size))
    for name, share in SHARES.items():
        found = [measured(recipe, noise, share, 10_000 + seed) for seed in range(runs)]
        hits = sum(m.refuted != (name == "accept") for m in found)
        exact = stats.clopper_pearson(hits, runs)
        print(f"{name}: {hits} of {runs}, {exact.low:.3f} to {exact.high:.3f}", flush=True)
        if name == "accept":
            error = median(abs(m.value / true - 1) for m in found)
            width = median((m.high - m.low) / 2 / m.claimed for m in found)
            print(f"noise scale off by {error:.4%} (median), interval +-{width:.4%}")
            row = {"name": "nullblock/noise_scale_error", "value": round(error, 6), "unit": "share"}
            rows.append(row)
        rows.append({"name": f"nullblock/{name}", "value": round(hits / runs, 4), "unit": "share"})
    return rows


def cost(recipe: Recipe, noise: float, rounds: int) -> list[Row]:
    """Return how much longer a step takes with the block, and how long the verdict takes."""
    fits = [make(recipe, noise, people=True, canaries=c, seed=1) for c in (False, True)]
    for fit in fits * 5:
        fit.step()
    seen: list[list[float]] = [[], []]
    for turn in range(rounds):
        for number in (0, 1) if turn % 2 else (1, 0):
            began = time.perf_counter()
            fits[number].step()
            seen[number].append(time.perf_counter() - began)
    without, beside = (median(values) for values in seen)
    print(f"a step takes {1e3 * without:.2f} ms without, {1e3 * beside:.2f} ms with the block")
    null = fits[1].null
    assert null is not None
    event = training_event(
        noise_multiplier=noise,
        sample_rate=null.account.sample_rate,
        steps=null.account.steps,
    )
    began = time.perf_counter()
    judge(null.account, null.block.present, event, recipe.privacy.delta)
    seconds = time.perf_counter() - began
    print(f"the verdict takes {seconds:.2f} s, once")
    share = round(beside / without - 1, 4)
    return [
        {"name": "nullblock/train_time_share", "value": share, "unit": "share"},
        {"name": "nullblock/verdict", "value": round(seconds, 2), "unit": "s"},
    ]


def main() -> None:
    """Print the table; exit with 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=480)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    recipe = load_recipe(Path(__file__).resolve().parents[1] / "params.yaml", "credit")
    noise = training_noise(
        target_epsilon=recipe.privacy.target_epsilon or 3.0,
        delta=recipe.privacy.delta,
        sample_rate=recipe.train.expected_batch_size / recipe.privacy.population,
        steps=recipe.train.steps,
    )
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; noise multiplier {noise:.4f}")
    torch.set_num_threads(recipe.train.threads)
    rows = cost(recipe, noise, options.rounds)
    torch.set_num_threads(1)
    rows = scales(recipe, noise, options.runs) + rows
    for row in rows:
        print(f"{row['name']:<32} {row['value']:>10} {row['unit']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    values = {str(row["name"]).removeprefix("nullblock/"): float(str(row["value"])) for row in rows}
    bad = [name for name in SHARES if values[name] < BAR]
    bad += ["train_time_share"] if values["train_time_share"] > SHARE_BAR else []
    if bad:
        sys.exit(f"bars missed: {bad}")


if __name__ == "__main__":
    main()
