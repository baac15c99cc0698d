"""What is done for groups, what of it is a release, and which alternatives are compared."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Discriminator

from rnn.config import FORBID_EXTRA, AdaptiveConfig, Count, Positive, PrivacyConfig
from rnn.fairness.config import (
    BoundedGroupLoss,
    GlobalAdapt,
    GradientReversal,
    GroupClipping,
    GroupThresholds,
    NoMitigation,
    Reweight,
)
from rnn.privacy.event import Event
from tasks.settings.data import DataConfig

Trained = Annotated[
    NoMitigation
    | Reweight
    | BoundedGroupLoss
    | GradientReversal
    | GroupClipping
    | GlobalAdapt
    | GroupThresholds,
    Discriminator("method"),
]


@dataclass(frozen=True, kw_only=True)
class AdaptiveClipping(AdaptiveConfig):
    """The recipe with privacy.clipping = adaptive: `lowest` keeps the bound from falling.

    Attributes:
        max_grad_norm: the bound at first; null: the recipe's.

    Source: Zhao, Rehn, Heikkila, Tajeddine, Honkela (2025), "Mitigating disparate impact of
    differentially private learning through bounded adaptive clipping".
    """

    method: Literal["adaptive"]
    max_grad_norm: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What thresholds by group are made from beside scores: plan/train.json has it.

    Attributes:
        event_favoured: the event itself is the favourable outcome.
        threshold: of everybody, on the probability of the event; None: see approval_rate.
        approval_rate: share of favourable decisions that the overall threshold gives.
    """

    __pydantic_config__ = FORBID_EXTRA

    event_favoured: bool
    threshold: float | None = None
    approval_rate: float | None = None


Alternative = Annotated[Trained | AdaptiveClipping, Discriminator("method")]


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Trials of `python -m tasks.audit compare`: internal, outside of the model's epsilon.

    Attributes:
        feature: sensitive feature whose groups are compared; null: the first of data.sensitive.
        alternatives: mitigations, each instead of the recipe's own.
        runs: private runs of each, with fresh noise.
        bootstraps: of the intervals.
        confidence: of the intervals.
        seed: of the bootstraps, and of initial weights.
    """

    __pydantic_config__ = FORBID_EXTRA

    feature: str | None = None
    alternatives: tuple[Alternative, ...] = ()
    runs: Count = 3
    bootstraps: Annotated[int, Ge(100), Le(100_000)] = 1000
    confidence: Annotated[float, Gt(0.5), Le(0.999)] = 0.95
    seed: Annotated[int, Ge(0)] = 0


def check(mitigation: Trained, compare: CompareConfig, data: DataConfig, clipping: str) -> None:
    """Refuse blocks that do not fit together.

    Groups come from a sensitive feature whose labels are declared, and so public.

    Raises:
        ValueError: a feature is not there or declares no labels, or two settings move one bound.
    """
    if data.training_groups is not None:
        raise ValueError("data.training_groups is written by plan: state mitigation.feature")
    if data.decision_groups is not None:
        raise ValueError("data.decision_groups is not stated here: state mitigation.feature")
    if isinstance(mitigation, GlobalAdapt | GroupClipping) and clipping != "flat":
        raise ValueError(
            f"privacy.clipping = {clipping}: mitigation.method = {mitigation.method} moves the "
            "bound, and needs flat"
        )
    thresholds = isinstance(mitigation, GroupThresholds)
    if thresholds and (data.target.kind != "binary" or data.decision is None):
        raise ValueError(
            f"mitigation.method = {mitigation.method} is for a binary target with a decision, not "
            f"for {data.target.kind}"
        )
    _check_counted(mitigation, compare, data)
    stated = {f"compare.alternatives.{a.method}.feature": a for a in compare.alternatives}
    blocks = {"mitigation.feature": mitigation, **stated, "compare.feature": compare}
    features = {s.name: s for s in data.sensitive}
    for where, block in blocks.items():
        name = getattr(block, "feature", None)
        if name is None:
            continue
        if name not in features:
            raise ValueError(f"{where} = {name!r} is not among data.sensitive: {sorted(features)}")
        feature = features[name]
        if not (feature.labels or feature.bins or feature.one_hot):
            raise ValueError(
                f"{where} = {name!r}: its labels must be declared, by labels, bins or one_hot"
            )


def _check_counted(mitigation: Trained, compare: CompareConfig, data: DataConfig) -> None:
    """Numbers that are released once are of the groups that they weigh."""
    once = [b for b in (mitigation, *compare.alternatives) if getattr(b, "counted", "") == "once"]
    counts = data.private_counts
    for block in once:
        name = getattr(block, "feature", None)
        if block is not mitigation:
            raise ValueError("compare.alternatives: counted: once is for mitigation alone")
        if counts is None or counts.feature != name:
            raise ValueError(
                f"mitigation.counted = 'once' needs data.private_counts with feature = {name!r}"
            )


def cut_of(mitigation: Trained, data: DataConfig) -> Cut | None:
    """Return what thresholds by group need of the decision; None where there are none."""
    decision = data.decision
    if not isinstance(mitigation, GroupThresholds) or decision is None:
        return None
    favoured = data.target.classes.index(decision.favourable) == 1
    return Cut(
        event_favoured=favoured,
        threshold=decision.threshold,
        approval_rate=decision.approval_rate,
    )


def threshold_events(mitigation: Trained, privacy: PrivacyConfig) -> tuple[Event, ...]:
    """Return what thresholds by group release about training people: one histogram, or nothing.

    Args:
        mitigation: of the recipe.
        privacy: for the unit.
    """
    if not isinstance(mitigation, GroupThresholds):
        return ()
    histogram = Event(
        released="people by group, outcome and score, for thresholds by group",
        people="training",
        mechanism="gaussian",
        noise_multiplier=mitigation.noise_multiplier,
        unit=privacy.unit,
    )
    return (histogram,)
