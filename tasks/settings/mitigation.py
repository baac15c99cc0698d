"""What is done for groups, and which alternatives `python -m tasks.audit compare` tries."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import Discriminator

from rnn.config import FORBID_EXTRA, AdaptiveConfig, Count, Positive
from rnn.fairness.config import (
    BoundedGroupLoss,
    GlobalAdapt,
    GradientReversal,
    GroupClipping,
    NoMitigation,
    Reweight,
)
from tasks.settings.data import DataConfig

Trained = Annotated[
    NoMitigation | Reweight | BoundedGroupLoss | GradientReversal | GroupClipping | GlobalAdapt,
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
class GroupThresholds:
    """The recipe's model, and a threshold a group from one noised histogram of training people.

    Attributes:
        feature: sensitive feature whose groups get thresholds; the decision then reads it.
        goal: what is made equal.
        noise_multiplier: of the histogram: standard deviation of the noise in a count.
        score_bins: of the histogram.
    """

    __pydantic_config__ = FORBID_EXTRA

    method: Literal["group_thresholds"]
    feature: Annotated[str, MinLen(1)]
    goal: Literal["equal_opportunity", "demographic_parity"] = "demographic_parity"
    noise_multiplier: Positive = 10.0
    score_bins: Annotated[int, Ge(2), Le(1000)] = 20


Alternative = Annotated[
    NoMitigation
    | AdaptiveClipping
    | Reweight
    | BoundedGroupLoss
    | GradientReversal
    | GroupClipping
    | GlobalAdapt
    | GroupThresholds,
    Discriminator("method"),
]


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
    if isinstance(mitigation, GlobalAdapt | GroupClipping) and clipping != "flat":
        raise ValueError(
            f"privacy.clipping = {clipping}: mitigation.method = {mitigation.method} moves the "
            "bound, and needs flat"
        )
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
