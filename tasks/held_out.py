"""What is drawn about held-out people, written into their population's ledger before it is drawn.

Predict draws the threshold, or the width of intervals; audit draws the noised tables.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from rnn.privacy.ledger import Event, single_noise_for
from tasks.artifacts import folder, read_json
from tasks.evidence import prediction_interval
from tasks.params import validate
from tasks.population import HELD_OUT, charge, check
from tasks.recipe import PopulationPlan, ReleasePlan


@dataclass(frozen=True)
class ReleaseLedger:
    """A recipe's place in the ledger of its population, for what it draws of held-out people.

    Attributes:
        recipe: under whose name.
        plan: of the population and its cap; None where noise is seeded and nothing is promised.
        delta: at which epsilon is read.
    """

    recipe: str
    plan: PopulationPlan | None
    delta: float

    @classmethod
    def of(cls, recipe: str, release: ReleasePlan) -> "ReleaseLedger":
        """Return the ledger of a recipe; of a release without noise or with a seed it is empty."""
        if release.insecure_seed is not None or release.delta is None:
            return cls(recipe, None, release.delta or 0.0)
        path = folder(recipe, "plan", "population.json")
        return cls(recipe, validate(PopulationPlan, read_json(path), str(path)), release.delta)

    def charge(self, events: Sequence[Event], release: ReleasePlan | None = None) -> None:
        """Write events down, each time anew: every draw costs.

        Args:
            events: about to be drawn.
            release: whose tables audit draws later; if those would pass the cap, nothing is
                drawn now.

        Raises:
            UserError: the population cannot pay; nothing was drawn or written.
        """
        if self.plan is None or not events:
            return
        name, cap, split = self.plan.population, self.plan.max_epsilon, self.plan.split
        if release is not None:
            check(name, [*events, *drawn_by_audit(release)], self.delta, cap, split)
        run = secrets.token_hex(8)
        charge(name, run, self.recipe, list(events), self.delta, cap, split)


def drawn_by_predict(task: str, release: ReleasePlan) -> tuple[Event, ...]:
    """Return what predict draws about held-out people: a width or a threshold.

    Args:
        task: regression with intervals, or binary.
        release: what may be published.
    """
    if release.epsilon is None:
        return ()
    if task == "regression":
        return (prediction_interval.event_of(release),)
    if release.mode != "noised" or not release.threshold_epsilon:
        return ()
    chosen = Event(
        released="the threshold",
        people=HELD_OUT,
        mechanism="stated",
        epsilon=release.threshold_epsilon,
        unit=release.unit,
    )
    return (chosen,)


def drawn_by_audit(release: ReleasePlan) -> tuple[Event, ...]:
    """Return the noised tables as the one Gaussian release that they are together."""
    if release.mode != "noised" or release.epsilon is None or release.delta is None:
        return ()
    noise_multiplier = single_noise_for(
        target_epsilon=release.epsilon,
        delta=release.delta,
        pure_epsilon=release.threshold_epsilon,
    )
    tables = Event(
        released="noised tables of held-out people",
        people=HELD_OUT,
        mechanism="gaussian",
        noise_multiplier=noise_multiplier,
        unit=release.unit,
    )
    return (tables,)
