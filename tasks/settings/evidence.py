"""How the evidence about a model is made, and the bars that it must clear."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from rnn.config import FORBID_EXTRA, Count, Positive, Probability


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """The baseline beside the model, and the intervals of all figures."""

    __pydantic_config__ = FORBID_EXTRA

    baseline: Literal["boosting", "ngrams", "none"] = "boosting"
    bootstraps: Annotated[int, Ge(100), Le(100_000)] = 1000
    confidence: Annotated[float, Gt(0.5), Lt(1)] = 0.95
    seed: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """What is compared between groups, and what is too small to show."""

    __pydantic_config__ = FORBID_EXTRA

    min_people: Count = 30
    min_events: Count = 10
    references: dict[str, str] = field(default_factory=dict)
    bootstraps: Annotated[int, Ge(100), Le(100_000)] = 2000
    confidence: Annotated[float, Gt(0.5), Lt(1)] = 0.95
    seed: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """How attributions are made."""

    __pydantic_config__ = FORBID_EXTRA

    method: Literal["integrated_gradients"] = "integrated_gradients"
    n_steps: Annotated[int, Ge(2), Le(1000)] = 20
    internal_batch_size: Count = 4096
    people: Count = 2000
    local_people: Annotated[int, Ge(0), Le(50)] = 6
    seed: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """How hard membership is guessed."""

    __pydantic_config__ = FORBID_EXTRA

    false_positive_rates: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (0.001, 0.01, 0.1)
    confidence: Annotated[float, Gt(0.5), Lt(1)] = 0.95
    seed: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """Bars that were set before training."""

    __pydantic_config__ = FORBID_EXTRA

    max_epsilon: Positive
    min_auc: Probability | None = None
    min_accuracy: Probability | None = None
    min_group_ratio: Probability | None = 0.8
    on_fail: Literal["exit_1", "exit_0"] = "exit_0"
