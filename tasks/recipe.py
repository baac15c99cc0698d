"""Frozen settings of a recipe: one dataclass a block of params.yaml."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt, MinLen

from rnn.config import (
    FORBID_EXTRA,
    Count,
    ModelConfig,
    Positive,
    PrivacyConfig,
    Probability,
    TrainConfig,
)
from rnn.fairness.config import GroupThresholds, NoMitigation
from rnn.privacy.event import Event
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
    AttackRunConfig,
    AuditConfig,
    ExplainConfig,
    GateConfig,
    OverrideConfig,
    OverridePlan,
    PredictConfig,
    ReleaseConfig,
    SwapGroup,
)
from tasks.settings.mitigation import (
    AdaptiveClipping,
    CompareConfig,
    Cut,
    Trained,
    check,
)
from tasks.settings.sweep import Sweep, check_sweep

__all__ = [
    "AdaptiveClipping",
    "AsOf",
    "AttackConfig",
    "AttackRunConfig",
    "AuditConfig",
    "ColumnFeature",
    "CompareConfig",
    "Cut",
    "DataConfig",
    "Decision",
    "ExplainConfig",
    "GateConfig",
    "GroupThresholds",
    "Layout",
    "LedgerConfig",
    "LongLayout",
    "Name",
    "OverrideConfig",
    "OverridePlan",
    "PathSource",
    "PopulationPlan",
    "PredictConfig",
    "PypiSource",
    "Recipe",
    "RegisterConfig",
    "RegisterPlan",
    "ReleaseConfig",
    "ReleasePlan",
    "ReportConfig",
    "Scalar",
    "SensitiveFeature",
    "Source",
    "SourceFile",
    "SourcePlan",
    "Split",
    "SwapGroup",
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
class LedgerConfig:
    """What all private trainings about one population may cost together, over recipes."""

    __pydantic_config__ = FORBID_EXTRA

    max_epsilon: Positive | None = None


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
    mitigation: Trained = field(default_factory=NoMitigation)
    twin: TwinConfig = field(default_factory=TwinConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    compare: CompareConfig = field(default_factory=CompareConfig)
    sweep: Sweep | None = None
    explain: ExplainConfig = field(default_factory=ExplainConfig)
    attack: AttackConfig = field(default_factory=AttackConfig)
    gate: GateConfig
    override: OverrideConfig | None = None
    report: ReportConfig
    register: RegisterConfig = field(default_factory=RegisterConfig)
    ledger: LedgerConfig = field(default_factory=LedgerConfig)

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
        check(self.mitigation, self.compare, self.data, self.privacy.clipping)
        check_sweep(self.sweep, self.data, self.model, self.train, self.privacy)
        known = {s.name for s in self.data.sensitive}
        for name in self.audit.references:
            if name not in known:
                raise ValueError(
                    f"audit.references names {name!r}, which is not among data.sensitive: "
                    f"{sorted(known)}"
                )
        for name in (n for crossing in self.audit.release.intersections for n in crossing):
            if name not in known:
                raise ValueError(
                    f"audit.release.intersections names {name!r}, which is not among "
                    f"data.sensitive: {sorted(known)}"
                )
        for name in self.audit.control:
            if name not in known:
                raise ValueError(
                    f"audit.control names {name!r}, which is not among data.sensitive: "
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

    `sample_rate`, `noise_multiplier` and `epsilon` are what the plan solved for. `prepared` is
    what prepare releases about training people, `after` what train does after its last step:
    epsilon covers both. `winner` names a run of a search that is taken over; `selected` is then
    what the search released, in place of the steps. `cut` says how thresholds by group are made.
    """

    __pydantic_config__ = FORBID_EXTRA

    model: ModelConfig
    train: TrainConfig
    privacy: PrivacyConfig | None = None
    mitigation: Trained = field(default_factory=NoMitigation)
    sample_rate: Probability
    noise_multiplier: float = 0.0
    epsilon: float | None = None
    prepared: tuple[Event, ...] = ()
    after: tuple[Event, ...] = ()
    selected: tuple[Event, ...] = ()
    winner: str | None = None
    cut: Cut | None = None

    @property
    def beside(self) -> tuple[Event, ...]:
        """All that is released about training people beside the steps."""
        return (*self.prepared, *self.after)


@dataclass(frozen=True, kw_only=True)
class ReleasePlan:
    """plan/release.json: what may be published about held-out people, everything filled in.

    `threshold_epsilon` is part of `epsilon`; 0 where the recipe states the threshold. `groups`
    are the labels that the recipe declares for each sensitive feature; a feature whose cells are
    its labels is in `undeclared`: which labels there are is then a fact about people.
    """

    __pydantic_config__ = FORBID_EXTRA

    mode: Literal["noised", "suppressed"]
    epsilon: Positive
    delta: Positive
    threshold_epsilon: Annotated[float, Ge(0)]
    unit: Literal["record", "person"]
    max_rows: Count
    decision_share: Annotated[float, Gt(0), Lt(1)] = 0.6
    score_bins: Count
    groups: dict[str, tuple[str, ...]]
    undeclared: tuple[str, ...] = ()
    intersections: tuple[tuple[str, ...], ...] = ()
    insecure_seed: Annotated[int, Ge(0)] | None = None


@dataclass(frozen=True, kw_only=True)
class PopulationPlan:
    """plan/population.json, for whoever releases: whose ledger, which split of them, and its cap.

    Another cap must not train again, so that no stage depends on it in dvc.yaml.
    """

    __pydantic_config__ = FORBID_EXTRA

    population: Name
    split: str = ""
    max_epsilon: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class RegisterPlan:
    """plan/register.json."""

    __pydantic_config__ = FORBID_EXTRA

    model_name: str
    experiment: str
    title: str
    insecure: bool
