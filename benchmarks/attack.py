"""How near the attack run comes to an ideal attack, and how often it raises a false alarm.

`python -m benchmarks.attack [--runs 20] [--simulations 200] [--stage DIR] [--json FILE]`

Credit's model and training at epsilon 8, 1,000 canaries: the median over runs of the bound for
Gaussian-like mechanisms, against the median of as many simulated ideal attacks of the same design
(orthogonal coordinates, nothing else in the way). The bar is a share of 90 %.

A null: 1,000 simulated attacks on a mechanism that tells nothing; an alarm is any bound above 0 at
confidence 0.95. The bar is that an exact binomial test does not refute 5 % at 0.05. `at_epsilon_8`
is the share of ideal attacks whose bound passes the true epsilon.

A text model with a table of 20,000 words: a step of the run, and how many times as long it takes an
attacker who works out the gradients of words that nobody says, timed by turns. No bar.

With --stage, a checkout with credit trained, the attack stage is run there and timed; the bar is
90 s on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from scipy import stats

from rnn.config import InputShape, ModelConfig, TrainConfig
from rnn.privacy.attack_run import attack_run
from rnn.privacy.engine import rounding_margin
from rnn.privacy.evidence import ideal_scores
from rnn.privacy.invented import InputBounds
from rnn.privacy.loud import LoudLosses
from rnn.privacy.lower_bounds import lower_bound
from rnn.privacy.mechanism import Mechanism
from tasks.budget import private_plan
from tasks.evidence.attacked import ideal_bounds, input_bounds
from tasks.params import load_recipe
from tasks.recipe import AttackConfig, TrainPlan
from tasks.table.encode import input_shape, schema

EPSILON, SHARE, ALARMS, NULLS, SECONDS = 8.0, 0.9, 0.05, 1000, 90.0
WORD_STEPS, WORD_TURNS = 30, 2
Row = dict[str, object]


def credit() -> tuple[TrainPlan, InputBounds, Mechanism]:
    """Return credit's training at epsilon 8, what its inputs are, and its mechanism."""
    recipe = load_recipe(Path("params.yaml"), "credit")
    privacy = replace(recipe.privacy, target_epsilon=EPSILON, noise_multiplier=None)
    plan = private_plan(replace(recipe, privacy=privacy))
    assert plan.privacy is not None
    mechanism = Mechanism.of(
        plan.privacy, sample_rate=plan.sample_rate, noise_multiplier=plan.noise_multiplier
    )
    longest = AttackConfig().run.longest
    return plan, input_bounds(schema(recipe.data), input_shape(recipe.data), longest), mechanism


def runs(count: int) -> tuple[list[float], list[float]]:
    """Return each run's bound for Gaussian-like mechanisms, and for any."""
    plan, inputs, mechanism = credit()
    config = AttackConfig().run
    gaussian, pure = [], []
    assert plan.privacy is not None
    for seed in range(count):
        began = time.perf_counter()
        found = attack_run(
            plan.model, inputs, plan.train, mechanism,
            canaries=config.canaries, bystanders=config.bystanders, seed=seed,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        bound = lower_bound(found.scores, found.present, plan.privacy.delta)
        gaussian.append(bound.epsilon)
        pure.append(bound.pure)
        print(
            f"run {seed}: epsilon >= {bound.epsilon:.3f} ({bound.pure:.3f} for any mechanism), "
            f"crosstalk {found.crosstalk:.3f}, {seconds:.1f} s",
            flush=True,
        )
    return gaussian, pure


def against_ideal(count: int, simulations: int) -> tuple[list[Row], bool]:
    """Return the rows of the runs, and whether the bar was missed."""
    plan, _, mechanism = credit()
    assert plan.privacy is not None
    batch = plan.train.expected_batch_size
    noise = mechanism.gradient_noise(batch) * (1 + rounding_margin(batch))
    ideal = ideal_bounds(
        1000, plan.train.steps, plan.sample_rate, noise, plan.privacy.delta, simulations
    )
    best = float(np.median([b.epsilon for b in ideal]))
    over = sum(b.epsilon > EPSILON for b in ideal) / simulations
    print(f"ideal: epsilon >= {best:.3f} (median of {simulations})", flush=True)
    gaussian, pure = runs(count)
    bound = float(np.median(gaussian))
    prefix = "attack/credit/epsilon_8"
    rows: list[Row] = [
        {"name": f"{prefix}/bound", "value": round(bound, 4), "unit": "epsilon"},
        {"name": f"{prefix}/ideal", "value": round(best, 4), "unit": "epsilon"},
        {"name": f"{prefix}/share_of_ideal", "value": round(bound / best, 4), "unit": "share"},
        {"name": f"{prefix}/pure_bound", "value": round(float(np.median(pure)), 4),
         "unit": "epsilon"},
        {"name": "attack/ideal/bounds_above_the_truth", "value": over, "unit": "share"},
    ]  # fmt: skip
    return rows, bound < SHARE * best


def false_alarms() -> tuple[list[Row], bool]:
    """Return the rows of the null, and whether the bar was missed."""
    plan, _, _ = credit()
    assert plan.privacy is not None
    alarms = 0
    for seed in range(NULLS):
        # The scores of canaries whose coins are somebody else's: the mechanism without an effect.
        scores, _ = ideal_scores(1000, 1, plan.sample_rate, plan.noise_multiplier, seed)
        present = np.random.default_rng(NULLS + seed).random(1000) < 0.5
        alarms += lower_bound(scores, present, plan.privacy.delta).epsilon > 0
    test = stats.binomtest(alarms, NULLS, ALARMS, alternative="greater")
    print(f"null: {alarms} false alarms of {NULLS}, p = {test.pvalue:.3f} against 5 %", flush=True)
    row: Row = {
        "name": "attack/null/false_alarm_rate", "value": alarms / NULLS, "unit": "share",
    }  # fmt: skip
    return [row], bool(test.pvalue < 0.05)


def words() -> tuple[list[Row], bool]:
    """Time runs on a model with a large table, with and without what nobody can touch."""
    shape = InputShape(
        input_size=0, vocabulary_size=20_000, static_size=0, output_size=3, task="multiclass"
    )
    model = ModelConfig(hidden_size=48, embedding_size=50, bidirectional=True, pooling="mean")
    train = TrainConfig(
        steps=WORD_STEPS, expected_batch_size=1024, physical_batch_size=512, threads=1
    )
    mechanism, longest = Mechanism(1024 / 30_700, 0.8, 1.0), AttackConfig().run.longest
    inputs = InputBounds(shape, (longest + 1) // 2, longest)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * WORD_TURNS):
        narrow = turn % 2 == 0
        with patch.object(LoudLosses, "look", LoudLosses.look if narrow else lambda *_: None):
            began = time.perf_counter()
            attack_run(model, inputs, train, mechanism, canaries=64, bystanders=64)
            seconds[narrow].append((time.perf_counter() - began) / WORD_STEPS)
    quick, slow = (min(seconds[narrow]) for narrow in (True, False))
    return [
        {"name": "attack/words_20000/step", "value": round(quick, 3), "unit": "s"},
        {
            "name": "attack/words_20000/whole_table",
            "value": round(slow / quick, 1),
            "unit": "times as long",
        },
    ], False


def stage(checkout: Path) -> tuple[list[Row], bool]:
    """Time the attack stage of credit in a checkout where credit is trained."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "tasks.attack", "credit"], cwd=checkout, check=True)
    seconds = time.perf_counter() - began
    row: Row = {"name": "attack/credit/seconds", "value": round(seconds, 1), "unit": "s"}
    return [row], seconds > SECONDS


def main() -> None:
    """Print the table; exit with 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--stage", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    torch.set_flush_denormal(True)
    parts = [false_alarms(), words()]
    if options.runs:
        parts.append(against_ideal(options.runs, options.simulations))
    if options.stage:
        parts.append(stage(options.stage))
    rows = [row for found, _ in parts for row in found]
    for row in rows:
        print(f"{row['name']!s:<45}{row['value']} {row['unit']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if any(missed for _, missed in parts):
        sys.exit("a bar was missed")


if __name__ == "__main__":
    main()
