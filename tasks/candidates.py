"""Candidates of a search, as Optuna draws them. The studies live in memory alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial, TrialState

from tasks.settings.sweep import AdaptiveSweep, Between, RandomSweep, Searched, Value, is_whole

# Trials that a running one is held against before it may be stopped.
BEFORE_STOPPING = 3

# A line a trial would tell how many there are.
optuna.logging.set_verbosity(optuna.logging.WARNING)


def distribution(name: str, searched: Searched) -> BaseDistribution:
    """Return what a parameter is drawn from; choices by their number, for they may be lists."""
    if not isinstance(searched, Between):
        return CategoricalDistribution(range(len(searched)))
    if is_whole(name):
        return IntDistribution(int(searched.low), int(searched.high), log=searched.log)
    return FloatDistribution(searched.low, searched.high, log=searched.log)


def distributions(parameters: Mapping[str, Searched]) -> dict[str, BaseDistribution]:
    """Return the distribution of each parameter."""
    return {name: distribution(name, searched) for name, searched in parameters.items()}


def values_of(parameters: Mapping[str, Searched], drawn: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values of a candidate from what Optuna drew."""
    return {
        name: drawn[name] if isinstance(searched, Between) else searched[drawn[name]]
        for name, searched in parameters.items()
    }


def independent(sweep: RandomSweep, seed: int | None) -> dict[str, Value]:
    """Return one candidate that hangs on no other.

    Args:
        sweep: where to search.
        seed: for tests; None for the operating system's entropy.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return values_of(sweep.parameters, study.ask(distributions(sweep.parameters)).params)


def following(sweep: AdaptiveSweep, results: Sequence[Mapping[str, Any]]) -> Trial:
    """Return the trial that follows from those before, the same for the same results.

    Args:
        sweep: where to search.
        results: of all earlier trials: drawn, state, score and looks.
    """
    seed = sweep.seed + len(results)
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=seed)
    if sweep.sampler == "tpe":
        first = max(2, min(10, sweep.trials // 3))
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=first)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=BEFORE_STOPPING)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    known = distributions(sweep.parameters)
    for result in results:
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState[result["state"]],
                value=result["score"] if result["state"] == "COMPLETE" else None,
                params=dict(result["drawn"]),
                distributions=known,
                intermediate_values=dict(enumerate(result["looks"])),
            )
        )
    return study.ask(known)
