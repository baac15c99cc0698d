"""Stopping early: people set aside tell, the best weights are kept, and a run can be taken up."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rnn.batch import PreparedSequences
from rnn.config import EarlyStopping, InputShape, ModelConfig, PrivacyConfig, TrainConfig
from rnn.fit import Fit
from rnn.model import build
from rnn.privacy.noise import Keystream
from tasks.early import Stopper, set_aside
from tasks.params import UserError, validate
from tasks.recipe import Recipe, TrainPlan
from tests.tiny import RECIPE

SHAPE = InputShape(input_size=2, vocabulary_size=0, static_size=0, output_size=1, task="binary")
EARLY = EarlyStopping(share=0.25, every=2, patience=3)
PLAN = TrainPlan(
    model=ModelConfig(hidden_size=4),
    train=TrainConfig(steps=400, expected_batch_size=16, learning_rate=0.3, early_stopping=EARLY),
    sample_rate=0.5,
)


def people(count: int = 40) -> PreparedSequences:
    """Noise with labels of chance: there is nothing to learn but the training people."""
    rng = np.random.default_rng(0)
    return PreparedSequences(
        sequences=rng.normal(size=(3 * count, 2)).astype(np.float32),
        missing=None,
        offsets=np.arange(count + 1) * 3,
        static=np.zeros((count, 0), dtype=np.float32),
        targets=rng.integers(0, 2, count),
    )


def begin() -> tuple[Fit, Stopper]:
    """A run and its stopper."""
    data = people()
    kept, aside = set_aside(PLAN, np.arange(40))
    fit = Fit(
        build(PLAN.model, SHAPE, 0), data, kept, PLAN.train,
        sample_rate=0.5, mechanism=None, keystream=Keystream.from_seed(0),
    )  # fmt: skip
    return fit, Stopper(PLAN, data, aside)


def go(fit: Fit, stopper: Stopper, until: int = 400) -> dict[int, float]:
    """Losses by step."""
    found = {}
    while fit.step_count < until and not stopper.stopped:
        fit.step()
        loss = stopper.after(fit)
        if loss is not None:
            found[fit.step_count] = loss
    return found


def test_people_set_aside_are_not_trained_on_and_a_private_run_sets_nobody_aside():
    kept, aside = set_aside(PLAN, np.arange(100, 140))
    assert len(aside) == 10 and set(kept) | set(aside) == set(range(100, 140))
    assert not set(kept) & set(aside)
    private = replace(PLAN, privacy=PrivacyConfig(population=40, delta=1e-3, noise_multiplier=1.0))
    assert len(set_aside(private, np.arange(40))[1]) == 0
    plain = replace(PLAN, train=replace(PLAN.train, early_stopping=None))
    assert len(set_aside(plain, np.arange(40))[1]) == 0


def test_the_best_weights_are_kept_and_nobody_waits_longer_than_asked():
    fit, stopper = begin()
    losses = go(fit, stopper)
    best = min(losses, key=lambda step: losses[step])
    assert stopper.stopped and stopper.best_step == best
    assert fit.step_count == best + EARLY.patience * EARLY.every < 400
    stopper.restore(fit)
    assert stopper.loss(fit) == pytest.approx(losses[best])


def test_a_run_that_is_taken_up_ends_as_it_would_have():
    fit, stopper = begin()
    whole = go(fit, stopper)
    first, half = begin()
    go(first, half, until=4)
    second, again = begin()
    second.load_tensors({**first.tensors(), **half.tensors()})
    again.load(half.tensors(), half.notes())
    rest = go(second, again)
    assert {step: whole[step] for step in rest} == pytest.approx(rest)
    assert (again.best_step, second.step_count) == (stopper.best_step, fit.step_count)
    for name, value in stopper.best.items():
        torch.testing.assert_close(again.best[name], value)


def changed(**blocks: dict[str, Any]) -> Recipe:
    """The small recipe with changes."""
    values = {name: {**RECIPE.get(name, {}), **block} for name, block in blocks.items()}
    return validate(Recipe, {**RECIPE, **values}, "recipes.tiny")


def test_a_private_run_takes_its_planned_steps_and_its_twin_may_stop():
    from tasks.budget import twin_plan

    with pytest.raises(UserError, match=r"train\.early_stopping is for training without privacy"):
        changed(train={"early_stopping": {"patience": 3}})
    recipe = changed(twin={"early_stopping": {"patience": 3}, "gradient_clip": 1.0})
    found = twin_plan(recipe).train
    assert found.early_stopping == EarlyStopping(patience=3) and found.gradient_clip == 1.0
