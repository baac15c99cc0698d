"""How much noise training needs: one total epsilon for all that is released about its people."""

import math
from dataclasses import replace
from typing import Any

from rnn.config import TrainConfig
from rnn.fairness.config import BoundedGroupLoss, GradientReversal, NoMitigation, Reweight
from rnn.privacy.effective import gradient_noise, releases_of
from rnn.privacy.ledger import Event, accountant_version, epsilon_of, training_noise
from tasks.account import events_of
from tasks.params import UserError, validate
from tasks.recipe import NoPrivacy, Recipe, TrainPlan
from tasks.search import winner_plan
from tasks.settings.mitigation import cut_of, threshold_events
from tasks.settings.preparation import preparation_events


def prepared_events(recipe: Recipe) -> tuple[Event, ...]:
    """Return what prepare releases about training people.

    Raises:
        UserError: vocabularies leave nothing of privacy.delta.
    """
    try:
        return preparation_events(recipe.data, recipe.promise)
    except ValueError as error:
        raise UserError(f"data: {error}") from None


def events_after(recipe: Recipe) -> tuple[Event, ...]:
    """Return what train releases about training people after its last step."""
    return threshold_events(recipe.mitigation, recipe.promise)


def _known(recipe: Recipe, before: dict[str, Any] | None) -> TrainPlan | None:
    """The plan of before, if what its noise was solved from is the same."""
    if recipe.sweep is not None and recipe.sweep.winner is not None:
        return None
    if before is None or before["summary"].get("accountant_version") != accountant_version():
        return None
    try:
        old = validate(TrainPlan, before["train"], "plan/train.json")
    except UserError:
        return None
    if old.winner is not None:
        return None
    new = recipe.train
    same = (old.train.steps, old.train.expected_batch_size, old.privacy)
    if same != (new.steps, new.expected_batch_size, recipe.privacy):
        return None
    if (old.prepared, old.after) != (prepared_events(recipe), events_after(recipe)):
        return None
    same_noise = replace(old, model=recipe.model, train=new, mitigation=recipe.mitigation)
    return replace(same_noise, start=recipe.start)


def private_plan(recipe: Recipe, before: dict[str, Any] | None = None) -> TrainPlan:
    """Return the private run with its noise solved for; a plain one where nothing is promised.

    Args:
        recipe: with a target_epsilon or a noise_multiplier, or without privacy.
        before: sections of an earlier plan, whose noise is taken over where it still holds.

    Raises:
        UserError: the target cannot be reached, or the noise promises nothing.
    """
    if isinstance(recipe.privacy, NoPrivacy):
        return plain_plan(recipe, recipe.train)
    plan = _known(recipe, before) or _solved(recipe)
    releases = releases_of(
        recipe.privacy.clipping,
        recipe.privacy.adaptive,
        plan.mitigation,
        noise_multiplier=plan.noise_multiplier,
        expected_batch_size=plan.train.expected_batch_size,
    )
    try:
        gradient_noise(plan.noise_multiplier, *releases)
    except ValueError as error:
        raise UserError(str(error)) from None
    return replace(plan, cut=cut_of(recipe.mitigation, recipe.data))


def _solved(recipe: Recipe) -> TrainPlan:
    """The private run, its noise found."""
    privacy, train = recipe.promise, recipe.train
    prepared, after = prepared_events(recipe), events_after(recipe)
    if recipe.sweep is not None and recipe.sweep.winner is not None:
        return winner_plan(recipe, prepared, after)
    sample_rate = train.expected_batch_size / privacy.population
    noise = privacy.noise_multiplier
    if noise is None:
        try:
            noise = training_noise(
                target_epsilon=privacy.target_epsilon or 0.0,
                delta=privacy.delta,
                sample_rate=sample_rate,
                steps=train.steps,
                beside=[*prepared, *after],
            )
        except ValueError as error:
            raise UserError(f"privacy.target_epsilon: {error}") from None
    plan = TrainPlan(
        model=recipe.model,
        train=train,
        privacy=privacy,
        mitigation=recipe.mitigation,
        sample_rate=sample_rate,
        noise_multiplier=noise,
        prepared=prepared,
        after=after,
        start=recipe.start,
    )
    epsilon = epsilon_of(events_of(plan, train.steps), privacy.delta)
    if math.isinf(epsilon):
        raise UserError(
            f"privacy.noise_multiplier = {noise:g} over train.steps = {train.steps} promises "
            "nothing: its epsilon is beyond 70; allowed is more noise or fewer steps"
        )
    return replace(plan, epsilon=epsilon)


def twin_plan(recipe: Recipe) -> TrainPlan:
    """Return the same run without privacy, changed where the recipe's twin block says so.

    Where the recipe promises none the two runs are one.
    """
    changes = {k: v for k, v in vars(recipe.twin).items() if v is not None}
    train = replace(recipe.train, **changes)
    if train.expected_batch_size >= recipe.privacy.population:
        raise UserError(
            f"twin.expected_batch_size = {train.expected_batch_size} must be below "
            f"privacy.population = {recipe.privacy.population}"
        )
    return plain_plan(recipe, train)


def plain_plan(recipe: Recipe, train: TrainConfig) -> TrainPlan:
    """Return a run without privacy.

    Args:
        recipe: whose model is trained.
        train: how.
    """
    # What is done to losses is done without privacy too; bounds there are none.
    of_losses = isinstance(recipe.mitigation, Reweight | BoundedGroupLoss | GradientReversal)
    return TrainPlan(
        model=recipe.model,
        train=train,
        no_privacy=recipe.privacy if isinstance(recipe.privacy, NoPrivacy) else None,
        mitigation=recipe.mitigation if of_losses else NoMitigation(),
        start=recipe.start,
        sample_rate=train.expected_batch_size / recipe.privacy.population,
    )
