"""Frozen settings of a recipe: one dataclass a block of params.yaml."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Lt, MinLen

from rnn.config import (
    FORBID_EXTRA,
    Count,
    ModelConfig,
    Positive,
    PrivacyConfig,
    Probability,
    TrainConfig,
)
from tasks.settings.data import (
    AsOf,
    ColumnFeature,
    DataConfig,
    Decision,
    Layout,
    LongLayout,
    Name,
    PathSource,
    PypiSource,
    Scalar,
    SensitiveFeature,
    Source,
    Split,
    Target,
    TextLayout,
    Transform,
    UrlSource,
    WideFeature,
    WideLayout,
)
from tasks.settings.evidence import (
    AttackConfig,
    AuditConfig,
    ExplainConfig,
    GateConfig,
    PredictConfig,
)

__all__ = [
    "AsOf",
    "AttackConfig",
    "AuditConfig",
    "ColumnFeature",
    "DataConfig",
    "Decision",
    "ExplainConfig",
    "GateConfig",
    "Layout",
    "LongLayout",
    "Name",
    "PathSource",
    "PredictConfig",
    "PypiSource",
    "Recipe",
    "RegisterConfig",
    "RegisterPlan",
    "ReportConfig",
    "Scalar",
    "SensitiveFeature",
    "Source",
    "SourceFile",
    "SourcePlan",
    "Split",
    "Target",
    "TargetPlan",
    "TextLayout",
    "TrainPlan",
    "Transform",
    "TwinConfig",
    "UrlSource",
    "WideFeature",
    "WideLayout",
]


@dataclass(frozen=True, kw_only=True)
class TwinConfig:
    """Where the non-private twin's training differs; the rest is the model's own."""

    __pydantic_config__ = FORBID_EXTRA

    optimizer: Literal["sgd", "adam"] | None = None
    learning_rate: Positive | None = None
    schedule: Literal["constant", "cosine"] | None = None
    weight_decay: Annotated[float, Ge(0)] | None = None
    steps: Count | None = None
    expected_batch_size: Count | None = None
    averaging: Annotated[float, Ge(0), Lt(1)] | None = None


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """The owner's own words; an empty answer is shown as unanswered."""

    __pydantic_config__ = FORBID_EXTRA

    title: Name
    purpose: str = ""
    intended_use: str = ""
    out_of_scope: str = ""
    people_affected: str = ""
    jobs_changed: str = ""
    data_source: str = ""
    data_dates: str = ""
    data_licence: str = ""
    owner: str = ""


@dataclass(frozen=True, kw_only=True)
class RegisterConfig:
    """Where the model goes in MLflow."""

    __pydantic_config__ = FORBID_EXTRA

    model_name: Annotated[str, MinLen(1)] | None = None
    experiment: Annotated[str, MinLen(1)] | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One whole problem."""

    __pydantic_config__ = FORBID_EXTRA

    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig
    privacy: PrivacyConfig
    twin: TwinConfig = field(default_factory=TwinConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    explain: ExplainConfig = field(default_factory=ExplainConfig)
    attack: AttackConfig = field(default_factory=AttackConfig)
    gate: GateConfig
    report: ReportConfig
    register: RegisterConfig = field(default_factory=RegisterConfig)

    def __post_init__(self) -> None:
        """Blocks that must agree."""
        if self.train.expected_batch_size >= self.privacy.population:
            raise ValueError(
                f"train.expected_batch_size = {self.train.expected_batch_size} must be below "
                f"privacy.population = {self.privacy.population}"
            )
        target, decision = self.data.target, self.data.decision
        if target.kind == "binary" and decision is None:
            raise ValueError(
                "data.decision is not set: a binary target needs the favourable class and a "
                "threshold or an approval_rate"
            )
        if decision is not None and target.kind != "binary":
            raise ValueError(f"data.decision is for a binary target, not for {target.kind}")
        if decision is not None and decision.favourable not in target.classes:
            raise ValueError(
                f"data.decision.favourable = {decision.favourable!r} is not one of "
                f"data.target.classes = {list(target.classes)}"
            )
        known = {s.name for s in self.data.sensitive}
        for name in self.audit.references:
            if name not in known:
                raise ValueError(
                    f"audit.references names {name!r}, which is not among data.sensitive: "
                    f"{sorted(known)}"
                )


# Sections of a plan: what each later stage reads, and nothing more, so that an edit re-runs
# only the stages that it concerns.


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of the source; the digest is internal."""

    __pydantic_config__ = FORBID_EXTRA

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """plan/source.json, for fetch. `files` is empty where the file is still to be downloaded."""

    __pydantic_config__ = FORBID_EXTRA

    source: Source
    files: tuple[SourceFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TargetPlan:
    """plan/target.json, for every stage that names classes or decides."""

    __pydantic_config__ = FORBID_EXTRA

    target: Target
    decision: Decision | None = None


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """plan/train.json and plan/twin.json; the twin has no privacy.

    `sample_rate`, `noise_multiplier` and `epsilon` are what the plan solved for.
    """

    __pydantic_config__ = FORBID_EXTRA

    model: ModelConfig
    train: TrainConfig
    privacy: PrivacyConfig | None = None
    sample_rate: Probability
    noise_multiplier: float = 0.0
    epsilon: float | None = None


@dataclass(frozen=True, kw_only=True)
class RegisterPlan:
    """plan/register.json."""

    __pydantic_config__ = FORBID_EXTRA

    model_name: str
    experiment: str
    title: str
    insecure: bool
