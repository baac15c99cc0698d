"""What a private run costs its training people: the one ledger whose sum the model card states."""

import math
from collections.abc import Sequence
from typing import Any

from rnn.config import PrivacyConfig, PrivacySpent
from rnn.privacy.accounting import ACCOUNTANT as SECOND_ACCOUNTANT
from rnn.privacy.accounting import accountant_version as second_version
from rnn.privacy.accounting import epsilon_spent
from rnn.privacy.ledger import (
    ACCOUNTANT,
    ADJACENCY,
    Event,
    accountant_version,
    epsilon_of,
    training_event,
)
from rnn.privacy.mechanism import Mechanism
from tasks.recipe import TrainPlan

SAMPLING = "Poisson, independent for each unit and step"
PARALLEL = (
    "Events of training people and of held-out people do not add up: a salted hash of each "
    "person's own id, or that person's own date, decides which of the two a person is, so that "
    "one more or less person moves nobody else. A person's epsilon is the larger of the two sums "
    "(McSherry 2009, theorem 4)."
)


def mechanism_of(plan: TrainPlan, privacy: PrivacyConfig, groups: int) -> Mechanism:
    """Return what a private step releases.

    Args:
        plan: whose noise was solved for.
        privacy: of the plan.
        groups: public number of group labels.
    """
    return Mechanism.of(
        privacy,
        sample_rate=plan.sample_rate,
        noise_multiplier=plan.noise_multiplier,
        mitigation=plan.mitigation,
        groups=groups,
    )


def gradients(plan: TrainPlan, steps: int, noise_multiplier: float | None = None) -> Event:
    """Return the steps of a run as an event.

    Args:
        plan: with privacy.
        steps: released.
        noise_multiplier: another than the plan's, None for the plan's.
    """
    return training_event(
        noise_multiplier=noise_multiplier or plan.noise_multiplier,
        sample_rate=plan.sample_rate,
        steps=steps,
        unit=plan.privacy.unit if plan.privacy else "person",
    )


def events_of(plan: TrainPlan, steps: int, begun_with: Sequence[Event] = ()) -> tuple[Event, ...]:
    """Return all that a run's model owes to training people, in order.

    Args:
        plan: with privacy.
        steps: of it that were taken; what is released beside them counts whole.
        begun_with: events of the weights that it began with, where they saw the same people.
    """
    own = plan.selected or (gradients(plan, steps),)
    return (*begun_with, *plan.prepared, *own, *plan.after)


def spent(
    plan: TrainPlan, steps: int, noise_source: str, begun_with: Sequence[Event] = ()
) -> PrivacySpent:
    """Return the account of a run after `steps` released steps.

    Args:
        plan: with privacy.
        steps: released.
        noise_source: where noise and sampling came from.
        begun_with: as in `events_of`.
    """
    privacy = plan.privacy
    if privacy is None:
        raise ValueError("a run without privacy has no account")
    steps_alone = epsilon_of([gradients(plan, steps)], privacy.delta)
    noise = mechanism_of(plan, privacy, 0).gradient_noise(plan.train.expected_batch_size)
    counts = 0.0
    if noise != plan.noise_multiplier:
        counts = steps_alone - epsilon_of([gradients(plan, steps, noise)], privacy.delta)
    beside = (*begun_with, *plan.prepared, *plan.selected, *plan.after)
    events = events_of(plan, steps, begun_with)
    return PrivacySpent(
        epsilon=epsilon_of(events, privacy.delta) if beside else steps_alone,
        delta=privacy.delta,
        unit=privacy.unit,
        adjacency=ADJACENCY,
        sampling=SAMPLING,
        population=privacy.population,
        sample_rate=plan.sample_rate,
        steps=steps,
        noise_multiplier=plan.noise_multiplier,
        max_grad_norm=privacy.max_grad_norm,
        accountant=ACCOUNTANT,
        accountant_version=accountant_version(),
        noise_source=noise_source,
        clipping=privacy.clipping,
        mitigation=plan.mitigation.method,
        counts_epsilon=counts,
        training_epsilon=steps_alone,
    )


def ledger_of(
    plan: TrainPlan, steps: int, account: PrivacySpent, begun_with: Sequence[Event] = ()
) -> dict[str, Any]:
    """Return the recipe's ledger of training people as JSON values, for the model's folder.

    Args:
        plan: with privacy.
        steps: released.
        account: of the same run.
        begun_with: as in `events_of`.
    """
    second = epsilon_spent(
        noise_multiplier=plan.noise_multiplier,
        sample_rate=plan.sample_rate,
        steps=steps,
        delta=account.delta,
    )
    return {
        "events": [
            {**event.as_dict(), "epsilon_alone": epsilon_of([event], account.delta)}
            for event in events_of(plan, steps, begun_with)
        ],
        "delta": account.delta,
        "epsilon": account.epsilon,
        "accountant": account.accountant,
        "accountant_version": account.accountant_version,
        "cross_check": {
            "accountant": SECOND_ACCOUNTANT,
            "accountant_version": second_version(),
            "of": "the steps of training alone",
            "epsilon": second if math.isfinite(second) else None,
            "epsilon_by_the_first": account.training_epsilon,
        },
        "parallel": PARALLEL,
    }
