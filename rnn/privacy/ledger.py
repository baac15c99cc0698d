"""One account of everything that was released about the same people.

Every event is composed as a privacy loss distribution. Events that touch the same people add up
in one distribution; events that touch disjoint people do not add up at all, and the account of a
person is the largest of them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from rnn.privacy.accounting import smallest_noise
from rnn.privacy.event import ADJACENCY, Event

__all__ = [
    "ACCOUNTANT",
    "ADJACENCY",
    "Event",
    "Ledger",
    "accountant_version",
    "deltas_of",
    "epsilon_of",
    "single_epsilon",
    "single_noise_for",
    "training_event",
    "training_noise",
]

ACCOUNTANT = "PLD, connect the dots (Doroshenko et al. 2022)"
# Loss distributions live on a grid this fine; twenty plans against closed forms and PRV are in
# docs/benchmarks.md.
_GRID = 1e-4
# No accountant says anything useful beyond; its grid would not fit memory either.
_LARGEST = 70.0


def training_event(
    *, noise_multiplier: float, sample_rate: float, steps: int, unit: str = "person"
) -> Event:
    """Return the steps of a private training as one event.

    Args:
        noise_multiplier: standard deviation of the noise over the clip bound.
        sample_rate: inclusion probability a step.
        steps: released.
        unit: whose contribution is clipped.
    """
    return Event(
        released="noised sums of clipped gradients, every step",
        people="training",
        mechanism="sampled_gaussian",
        noise_multiplier=noise_multiplier,
        sample_rate=sample_rate,
        count=steps,
        unit=unit,
    )


def accountant_version() -> str:
    """Return package and version of the accountant."""
    return f"dp-accounting {version('dp-accounting')}"


def _hopeless(event: Event) -> bool:
    """Whether an event alone promises nothing worth computing."""
    if event.mechanism == "stated":
        return event.count * (event.epsilon or 0.0) > _LARGEST
    noise = event.noise_multiplier or 0.0
    if event.mechanism == "laplace":
        return event.count / noise > _LARGEST
    exponent = 1 / noise**2
    # The central limit's mu; at 10, epsilon is beyond 70.
    return exponent > 100 or event.sample_rate * math.sqrt(event.count * math.expm1(exponent)) > 10


def _loss(event: Event) -> Any:
    """The loss distribution of one event, its count included."""
    return _loss_of(replace(event, released="", people="", unit="", adjacency=""))


@lru_cache(maxsize=32)
def _loss_of(event: Event) -> Any:
    """The same, kept: account, ledger and verdict of one run ask for the same."""
    from dp_accounting.pld import common
    from dp_accounting.pld import privacy_loss_distribution as losses

    if event.mechanism == "stated":
        stated = common.DifferentialPrivacyParameters(event.epsilon or 0.0, event.delta)
        one = losses.from_privacy_parameters(stated, value_discretization_interval=_GRID)
        return one.self_compose(event.count)
    noise = float(event.noise_multiplier or 0.0)
    if event.mechanism == "laplace":
        one = losses.from_laplace_mechanism(noise, value_discretization_interval=_GRID)
        return one.self_compose(event.count)
    if event.sample_rate == 1:
        # Gaussian releases add up exactly: n of them are one with noise smaller by sqrt(n).
        noise /= math.sqrt(event.count)
        return losses.from_gaussian_mechanism(noise, value_discretization_interval=_GRID)
    return _sampled_step(noise, event.sample_rate).self_compose(event.count)


@lru_cache(maxsize=16)
def _sampled_step(noise_multiplier: float, sample_rate: float) -> Any:
    """The loss distribution of one sampled Gaussian step; progress asks for the same again."""
    from dp_accounting.pld import privacy_loss_distribution as losses

    return losses.from_gaussian_mechanism(
        noise_multiplier, value_discretization_interval=_GRID, sampling_prob=sample_rate
    )


def _composed(events: Iterable[Event]) -> Any:
    """The loss distribution of all events together; None where there is none."""
    total = None
    for event in events:
        if event.count:
            loss = _loss(event)
            total = loss if total is None else total.compose(loss)
    return total


def epsilon_of(events: Sequence[Event], delta: float) -> float:
    """Return an upper bound on epsilon of events that touch the same people.

    Args:
        events: in any order; each may depend on what the others released.
        delta: at which epsilon is read.

    Returns:
        Epsilon; 0 without events, infinite where they leave no promise worth computing.

    Source: Koskela, Jälkö, Honkela (2020), "Computing tight differential privacy guarantees using
    FFT"; Doroshenko et al. (2022) for the discretisation.
    """
    return _epsilon_of(tuple(events), delta)


# One stage asks for the same sum several times: progress, account, ledger, verdict.
@lru_cache(maxsize=256)
def _epsilon_of(events: tuple[Event, ...], delta: float) -> float:
    """What `epsilon_of` says."""
    if any(_hopeless(event) for event in events if event.count):
        return math.inf
    total = _composed(events)
    return 0.0 if total is None else float(total.get_epsilon_for_delta(delta))


def deltas_of(events: Sequence[Event], epsilons: Sequence[float]) -> list[float]:
    """Return delta at each epsilon: the whole curve that the events promise."""
    total = _composed(events)
    if total is None:
        return [0.0] * len(epsilons)
    return [float(delta) for delta in total.get_delta_for_epsilon(list(epsilons))]


def training_noise(
    *,
    target_epsilon: float,
    delta: float,
    sample_rate: float,
    steps: int,
    beside: Sequence[Event] = (),
) -> float:
    """Return the smallest noise multiplier of training whose epsilon, with all else, is the target.

    What is released beside training is taken out of the one total by composing, not by
    splitting: the sum of losses is far below the sum of epsilons.

    Args:
        target_epsilon: of training and `beside` together.
        delta: at which epsilon is read.
        sample_rate: inclusion probability a step.
        steps: planned steps.
        beside: other events of the same people.

    Raises:
        ValueError: `beside` alone passes the target, or no noise reaches it.
    """
    used = epsilon_of(beside, delta)
    if used >= target_epsilon:
        raise ValueError(
            f"target_epsilon = {target_epsilon:g} is spent before training: what is released "
            f"beside it costs {used:.3f}"
        )
    rest = _composed(beside)

    def epsilon(noise: float) -> float:
        event = training_event(noise_multiplier=noise, sample_rate=sample_rate, steps=steps)
        if _hopeless(event):
            return math.inf
        total = _loss(event)
        return float((total if rest is None else total.compose(rest)).get_epsilon_for_delta(delta))

    return smallest_noise(epsilon, target_epsilon)


def _single(noise_multiplier: float, pure_epsilon: float) -> list[Event]:
    """One Gaussian release, and a pure one before it where there is one."""
    gaussian = Event(
        released="", people="", mechanism="gaussian", noise_multiplier=noise_multiplier
    )
    pure = Event(released="", people="", mechanism="stated", epsilon=pure_epsilon)
    return [gaussian, pure] if pure_epsilon else [gaussian]


def single_epsilon(*, noise_multiplier: float, delta: float, pure_epsilon: float = 0.0) -> float:
    """Return the upper bound on epsilon of one Gaussian release, and of a pure one before it.

    Args:
        noise_multiplier: standard deviation of the noise over the sensitivity.
        delta: at which epsilon is read.
        pure_epsilon: of a (pure_epsilon, 0) release of the same people, on which the Gaussian
            one may depend; 0 for none.
    """
    return epsilon_of(_single(noise_multiplier, pure_epsilon), delta)


def single_noise_for(*, target_epsilon: float, delta: float, pure_epsilon: float = 0.0) -> float:
    """Return the smallest noise multiplier found for one Gaussian release.

    Args:
        target_epsilon: not to be passed, the pure release included.
        delta: at which epsilon is read.
        pure_epsilon: of a pure release of the same people; below target_epsilon.

    Raises:
        ValueError: pure_epsilon leaves nothing, or no noise multiplier reaches the target.
    """
    if pure_epsilon >= target_epsilon:
        raise ValueError(
            f"target_epsilon = {target_epsilon:g} must be above the {pure_epsilon:g} already spent"
        )
    return smallest_noise(
        lambda noise: epsilon_of(_single(noise, pure_epsilon), delta), target_epsilon
    )


@dataclass(frozen=True)
class Ledger:
    """All events of one population, in the order in which they were written.

    Example:
        >>> coin = Event(released="a count", people="training", mechanism="laplace",
        ...              noise_multiplier=2.0)
        >>> round(Ledger((coin,)).epsilon(1e-6), 3)
        0.5
    """

    events: tuple[Event, ...] = ()

    def with_events(self, *events: Event) -> "Ledger":
        """Return a longer ledger; nothing is ever taken out of one."""
        return Ledger((*self.events, *events))

    def by_people(self) -> dict[str, tuple[Event, ...]]:
        """Return the events of each group of people; the groups are disjoint."""
        names = dict.fromkeys(event.people for event in self.events)
        return {n: tuple(e for e in self.events if e.people == n) for n in names}

    def epsilons(self, delta: float) -> dict[str, float]:
        """Return epsilon of each group of people."""
        return {name: epsilon_of(events, delta) for name, events in self.by_people().items()}

    def epsilon(self, delta: float) -> float:
        """Return one person's epsilon, whoever it is: the largest over disjoint groups.

        A person is in one group alone because a function of that person's own data decides which
        (a keyed hash of the id, or the person's own date), so that adding or removing a person
        changes nobody else's group: parallel composition.

        Source: McSherry (2009), theorem 4.
        """
        return max(self.epsilons(delta).values(), default=0.0)
