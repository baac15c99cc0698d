"""The attack run of a recipe, and what it proves: nobody who exists takes part in it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from typing import Any

import numpy as np
import torch

from rnn.config import InputShape, PrivacySpent
from rnn.model import SequenceModel
from rnn.privacy.attack_run import Attacked, attack_run
from rnn.privacy.canaries import Measured
from rnn.privacy.engine import rounding_margin
from rnn.privacy.evidence import ideal_scores
from rnn.privacy.invented import InputBounds
from rnn.privacy.ledger import training_event
from rnn.privacy.lower_bounds import LowerBound, lower_bound, violated
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.null_verdict import points_of, promised_curve
from tasks.recipe import AttackConfig, TrainPlan

Begin = Callable[[], SequenceModel]

# The verdict may be wrong about a sound run once in a thousand.
SIGNIFICANCE = 0.001
# Units of a layer for which threads only wait for one another.
_SMALL = 64
ASSUMES = (
    "The bound holds, at its confidence, for noise that behaves like a Gaussian one; `pure` holds "
    "for any mechanism. It speaks of the recipe's layers, settings and code, trained on people "
    "who do not exist; the model of this run was discarded."
)


def _choices(channels: Sequence[dict[str, Any]]) -> list[list[int]]:
    """Neighbouring channels that are the values of one feature."""
    found = []
    numbered = enumerate(channels)
    for (_, of_values), group in groupby(
        numbered, lambda pair: (pair[1]["feature"], pair[1]["value"] is not None)
    ):
        if of_values:
            found.append([number for number, _ in group])
    return found


def input_bounds(schema: dict[str, Any], shape: InputShape, longest: int) -> InputBounds:
    """Return what a permitted input of a recipe is.

    Args:
        schema: of the prepared data; it holds settings alone.
        shape: of the model's input.
        longest: steps of an invented sequence at most.
    """
    steps = len(schema.get("steps") or ())
    fixed = 0 < steps <= longest
    return InputBounds(
        shape=shape,
        shortest=steps if fixed else (longest + 1) // 2,
        longest=steps if fixed else longest,
        choices=_choices(schema.get("channels") or ()),
        static_choices=_choices(schema.get("static") or ()),
        missing_indicators=bool(schema.get("missing_indicators")) and not shape.vocabulary_size,
    )


@contextmanager
def threads_for(plan: TrainPlan) -> Iterator[None]:
    """Let torch compute attacks on a recipe as it is trained, but a small network on one thread.

    A small network is as fast on one. Threads are settings, so that sums are the same everywhere;
    numbers that are as good as zero are skipped.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if plan.model.hidden_size <= _SMALL else plan.train.threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def ideal_bounds(
    canaries: int, steps: int, sample_rate: float, noise: float, delta: float, simulations: int
) -> list[LowerBound]:
    """Return what simulated ideal attacks of the same design prove."""
    return [
        lower_bound(*ideal_scores(canaries, steps, sample_rate, noise, seed), delta)
        for seed in range(simulations)
    ]


def _run(
    plan: TrainPlan, mechanism: Mechanism, inputs: InputBounds, labels: Sequence[str], seed: int,
    config: AttackConfig, begin: Begin | None,
) -> Attacked:  # fmt: skip
    """The run itself."""
    with threads_for(plan):
        return attack_run(
            plan.model,
            inputs,
            plan.train,
            mechanism,
            canaries=config.run.canaries,
            bystanders=config.run.bystanders,
            labels=labels,
            seed=seed,
            start=begin() if begin is not None else None,
            freeze=plan.frozen,
        )


def _shown(figure: Measured | None) -> dict[str, float] | None:
    """JSON values; what is claimed stands among the settings."""
    if figure is None:
        return None
    return {name: value for name, value in asdict(figure).items() if name != "claimed"}


def judged(
    attacked: Attacked, plan: TrainPlan, mechanism: Mechanism, spent: PrivacySpent, simulations: int
) -> dict[str, Any]:
    """Return what a run proves, beside an ideal attack and against the ledger's own curve.

    Args:
        attacked: the run.
        plan: of the recipe's training.
        mechanism: of its promise.
        spent: the claim.
        simulations: of the ideal attack.
    """
    batch = plan.train.expected_batch_size
    noise = mechanism.gradient_noise(batch) * (1 + rounding_margin(batch))
    m, steps = len(attacked.present), plan.train.steps
    bound = lower_bound(attacked.scores, attacked.present, spent.delta)
    ideal = ideal_bounds(m, steps, mechanism.sample_rate, noise, spent.delta, simulations)
    event = training_event(
        noise_multiplier=spent.noise_multiplier, sample_rate=spent.sample_rate, steps=spent.steps
    )
    curve = promised_curve(event, spent.delta)
    refuted = None
    if curve is not None:
        refuted = violated(attacked.scores, attacked.present, curve, SIGNIFICANCE)
    reach = float(np.median([b.epsilon for b in ideal]))
    return {
        "settings": {
            "canaries": m,
            "bystanders": attacked.bystanders,
            "rows_each": attacked.rows_each,
            "parameters": attacked.parameters,
            "steps": steps,
            "sample_rate": mechanism.sample_rate,
            "noise_multiplier": noise,
            "simulations": simulations,
            "significance": SIGNIFICANCE,
        },
        "crosstalk": attacked.crosstalk,
        "lower_bound": asdict(bound),
        "ideal": {
            "epsilon": reach,
            "pure": float(np.median([b.pure for b in ideal])),
        },
        "share_of_ideal": bound.epsilon / reach if reach > 0 else None,
        "refutes_curve": refuted,
        "noise_scale": _shown(attacked.noise_scale),
        "contribution": _shown(attacked.contribution),
        "sampling": _shown(attacked.sampling),
        "rejected": list(attacked.rejected) + (["curve"] if refuted else []),
        "points": list(points_of(attacked.scores, attacked.present)),
        "assumes": ASSUMES,
    }


def study(
    plan: TrainPlan,
    spent: PrivacySpent,
    schema: dict[str, Any],
    shape: InputShape,
    labels: Sequence[str],
    config: AttackConfig,
    begin: Begin | None = None,
) -> tuple[dict[str, Any] | None, str | None]:
    """Return what the attack run of a recipe found, or None and why there was none.

    Args:
        plan: of the recipe's training.
        spent: the claim.
        schema: of the prepared data.
        shape: of the model's input.
        labels: of the groups that the recipe's mitigation reads.
        config: of the attack.
        begin: makes the network before its first step, without dropout; random weights if None.
    """
    if not config.run.canaries:
        return None, "attack.run.canaries is 0"
    if plan.privacy is None:
        return None, "the recipe trains without privacy"
    mechanism = Mechanism.of(
        plan.privacy,
        sample_rate=plan.sample_rate,
        noise_multiplier=plan.noise_multiplier,
        mitigation=plan.mitigation,
        groups=len(labels),
    )
    inputs = input_bounds(schema, shape, config.run.longest)
    try:
        attacked = _run(plan, mechanism, inputs, labels, config.seed, config, begin)
    except ValueError as error:
        return None, str(error)
    return judged(attacked, plan, mechanism, spent, config.run.simulations), None
