"""What a search for settings costs, planned before its first trial: pure, nothing is drawn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from rnn.privacy.accounting import smallest_noise
from rnn.privacy.event import Event
from rnn.privacy.ledger import epsilon_of, training_event, training_noise
from rnn.privacy.selection import Repeats, curve, epsilon_at, winner_event
from tasks.params import UserError
from tasks.recipe import Recipe, TrainPlan
from tasks.settings.sweep import (
    PRICED,
    AdaptiveSweep,
    RandomSweep,
    ScoreConfig,
    candidate,
    extremes,
)

# Steps and expected batch size: what sets the price of a trial.
Price = tuple[int, int]


@dataclass(frozen=True)
class Search:
    """A search whose noise was solved for.

    Attributes:
        noise: price of a candidate -> noise multiplier of its steps.
        whole: all that the search releases, of training and of held-out people.
        each: what one trial releases and is charged for; empty where trials are never seen.
        epsilon: of training people, with all else that the recipe releases about them.
    """

    noise: dict[Price, float]
    whole: tuple[Event, ...]
    each: tuple[Event, ...]
    epsilon: float

    @property
    def training(self) -> tuple[Event, ...]:
        """Return what it releases about training people."""
        return tuple(event for event in self.whole if event.people == "training")


def score_event(config: ScoreConfig, looks: int, unit: str) -> tuple[Event, ...]:
    """Return what a trial's scores release; nothing of people who are public.

    Args:
        config: of the score.
        looks: scores of one trial.
        unit: whose contribution is bounded.
    """
    if config.people == "public":
        return ()
    people = {"training": "training", "held_out": "held-out"}[config.people]
    released = f"counts for the score of a trial ({config.metric})"
    return (
        Event(
            released=released,
            people=people,
            mechanism="gaussian",
            noise_multiplier=config.noise_multiplier,
            count=looks,
            unit=unit,
        ),
    )


def sweep_of(recipe: Recipe) -> RandomSweep | AdaptiveSweep:
    """Return a recipe's search.

    Raises:
        UserError: it has none.
    """
    if recipe.sweep is None:
        raise UserError("sweep is not set: name parameters and a rule, as docs/sweeps.md shows")
    return recipe.sweep


def repeats_of(sweep: RandomSweep) -> Repeats:
    """Return how the number of trials is drawn."""
    return Repeats(mean=sweep.trials, shape=sweep.eta)


def prices_of(recipe: Recipe) -> list[Price]:
    """Return every price that a candidate may have."""
    named = sweep_of(recipe).parameters
    listed: list[list[dict[str, Any]]] = [
        # A range of either is refused with the recipe.
        [{name: value} for value in extremes(named[name])] if name in named else [{}]
        for name in PRICED
    ]
    found = []
    for parts in product(*listed):
        values = {name: value for part in parts for name, value in part.items()}
        _, train, _ = candidate(recipe.model, recipe.train, recipe.promise, values)
        found.append((train.steps, train.expected_batch_size))
    return found


def search_of(recipe: Recipe, beside: Sequence[Event]) -> Search:
    """Return a recipe's search with its noise solved for.

    Args:
        recipe: with a sweep.
        beside: what else the recipe releases about training people.

    Raises:
        UserError: the target cannot be reached, or the noise promises nothing.
    """
    sweep = sweep_of(recipe)
    try:
        if isinstance(sweep, RandomSweep):
            found = _unseen(recipe, sweep, beside)
        else:
            found = _seen(recipe, sweep, beside)
    except ValueError as error:
        raise UserError(f"sweep under privacy.target_epsilon: {error}") from None
    if math.isinf(found.epsilon):
        raise UserError(
            f"sweep.trials = {sweep.trials:g} at this noise promise nothing: their epsilon is "
            "beyond 70; allowed is more noise, or fewer trials or steps"
        )
    return found


def _steps(recipe: Recipe, price: Price, noise: float, trials: int = 1) -> Event:
    """The steps of trials of one price."""
    return training_event(
        noise_multiplier=noise,
        sample_rate=price[1] / recipe.promise.population,
        steps=price[0] * trials,
        unit=recipe.promise.unit,
    )


def _unseen(recipe: Recipe, sweep: RandomSweep, beside: Sequence[Event]) -> Search:
    """A search that shows its winner alone."""
    privacy, repeats, prices = recipe.promise, repeats_of(sweep), prices_of(recipe)
    scores = score_event(sweep.score, 1, privacy.unit)
    of_training = [event for event in scores if event.people == "training"]
    delta = privacy.delta * sweep.delta_share

    def winner(noise: Mapping[Price, float]) -> Event:
        trials = [[_steps(recipe, p, noise[p]), *of_training] for p in prices]
        return winner_event(trials, repeats, delta, "training")

    def total(noise: Mapping[Price, float]) -> float:
        return epsilon_of([winner(noise), *beside], privacy.delta)

    if privacy.noise_multiplier is not None:
        noise = dict.fromkeys(prices, privacy.noise_multiplier)
    else:
        target = privacy.target_epsilon or 0.0
        _room(beside, target, privacy.delta)
        # Prices cost alike alone; then all get more noise by one factor.
        alike = {
            p: smallest_noise(
                lambda n, p=p: epsilon_at(curve([_steps(recipe, p, n)]), privacy.delta),  # type: ignore[misc]
                target,
            )
            for p in prices
        }
        factor = smallest_noise(lambda f: total({p: f * n for p, n in alike.items()}), target)
        noise = {p: factor * n for p, n in alike.items()}
    held_out = [e for e in scores if e.people != "training"]
    shown = [winner(noise)]
    shown += [winner_event([[e]], repeats, delta, e.people) for e in held_out]
    return Search(noise, tuple(shown), (), total(noise))


def _room(beside: Sequence[Event], target: float, delta: float) -> None:
    """Refuse a target that is spent before the first trial."""
    used = epsilon_of(beside, delta)
    if used >= target:
        raise ValueError(f"what is released beside the trials costs {used:.3f} of {target:g}")


def _seen(recipe: Recipe, sweep: AdaptiveSweep, beside: Sequence[Event]) -> Search:
    """A search whose trials are all seen: they add up."""
    privacy, (price,) = recipe.promise, prices_of(recipe)
    scores = score_event(sweep.score, sweep.looks, privacy.unit)
    all_scores = [replace(e, count=e.count * sweep.trials) for e in scores]
    others = [*(e for e in all_scores if e.people == "training"), *beside]
    noise = privacy.noise_multiplier
    if noise is None:
        noise = training_noise(
            target_epsilon=privacy.target_epsilon or 0.0,
            delta=privacy.delta,
            sample_rate=price[1] / privacy.population,
            steps=price[0] * sweep.trials,
            beside=others,
        )
    steps = _steps(recipe, price, noise, sweep.trials)
    return Search(
        {price: noise},
        (steps, *all_scores),
        (_steps(recipe, price, noise), *scores),
        epsilon_of([steps, *others], privacy.delta),
    )


def trial_plan(
    recipe: Recipe, search: Search, values: Mapping[str, Any], beside: tuple[Sequence[Event], ...]
) -> TrainPlan:
    """Return the private run of one candidate.

    Args:
        recipe: with a sweep.
        search: of it.
        values: dotted name -> value of the candidate; empty for the recipe's own.
        beside: what prepare releases about training people, and what train does at its end.
    """
    model, train, privacy = candidate(recipe.model, recipe.train, recipe.promise, values)
    price = (train.steps, train.expected_batch_size)
    if price not in search.noise:
        raise UserError(
            f"sweep.winner: train.steps = {price[0]} with expected_batch_size = {price[1]} is "
            f"none of the searched: {sorted(search.noise)}"
        )
    prepared, after = beside
    return TrainPlan(
        start=recipe.start,
        model=model,
        train=train,
        privacy=privacy,
        mitigation=recipe.mitigation,
        sample_rate=train.expected_batch_size / privacy.population,
        noise_multiplier=search.noise[price],
        epsilon=search.epsilon,
        prepared=tuple(prepared),
        after=tuple(after),
        selected=search.training,
        winner=sweep_of(recipe).winner,
    )


def winner_plan(recipe: Recipe, prepared: Sequence[Event], after: Sequence[Event]) -> TrainPlan:
    """Return the run that a search has won: it is taken over, not trained again.

    Args:
        recipe: with sweep.winner, and the winner's parameters in its fields.
        prepared: what prepare releases about training people.
        after: what train releases about them after the last step.
    """
    return trial_plan(recipe, search_of(recipe, [*prepared, *after]), {}, (prepared, after))
