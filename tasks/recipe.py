"""Frozen settings of a recipe: one dataclass a block of params.yaml."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Lt, MinLen

from rnn.config import (
    FORBID_EXTRA,
    Count,
    EarlyStopping,
    ModelConfig,
    Positive,
    PrivacyConfig,
    TrainConfig,
)
from rnn.fairness.config import GroupThresholds, NoMitigation
from tasks.settings.data import (
    AsOf,
    ColumnFeature,
    DataConfig,
    Decision,
    Layout,
    LongLayout,
    Name,
    PackageFile,
    PathSource,
    PypiSource,
    ReaderSource,
    Scalar,
    SensitiveFeature,
    SeriesLayout,
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
    SecretsConfig,
    SwapGroup,
)
from tasks.settings.kinds import check_kinds
from tasks.settings.mitigation import (
    AdaptiveClipping,
    CompareConfig,
    Cut,
    Trained,
    check,
)
from tasks.settings.no_privacy import NoPrivacy, Privacy, check_promise
from tasks.settings.plans import (
    PopulationPlan,
    RegisterPlan,
    ReleasePlan,
    SourceFile,
    SourcePlan,
    TargetPlan,
    TrainPlan,
)
from tasks.settings.report import ReportConfig, check_rows
from tasks.settings.series import check_promised_series
from tasks.settings.serve import ReasonConfig, ServeConfig, check_serve
from tasks.settings.start import StartConfig, check_start
from tasks.settings.sweep import Sweep, check_sweep
from tasks.settings.watch import WatchConfig

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
    "NoPrivacy",
    "OverrideConfig",
    "OverridePlan",
    "PackageFile",
    "PathSource",
    "PopulationPlan",
    "PredictConfig",
    "PypiSource",
    "ReaderSource",
    "ReasonConfig",
    "Recipe",
    "RegisterConfig",
    "RegisterPlan",
    "ReleaseConfig",
    "ReleasePlan",
    "ReportConfig",
    "Scalar",
    "SecretsConfig",
    "SensitiveFeature",
    "SeriesLayout",
    "ServeConfig",
    "Source",
    "SourceFile",
    "SourcePlan",
    "Split",
    "StartConfig",
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
    schedule: Literal["constant", "cosine", "linear", "halving"] | None = None
    gradient_clip: Positive | None = None
    early_stopping: EarlyStopping | None = None
    weight_decay: Annotated[float, Ge(0)] | None = None
    steps: Count | None = None
    expected_batch_size: Count | None = None
    physical_batch_size: Count | None = None
    averaging: Annotated[float, Ge(0), Lt(1)] | None = None


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
    start: StartConfig | None = None
    train: TrainConfig
    privacy: Privacy
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
    serve: ServeConfig = field(default_factory=ServeConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)

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
        check_promise(self)
        check_start(self)
        check_rows(self.report, self.privacy)
        check_kinds(self)
        check_promised_series(self)
        check_serve(self.serve, self.data)
        clipping = "flat"
        if isinstance(self.privacy, PrivacyConfig):
            clipping = self.privacy.clipping
            check_sweep(self.sweep, self.data, self.model, self.train, self.privacy)
        check(self.mitigation, self.compare, self.data, clipping)
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

    @property
    def promise(self) -> PrivacyConfig:
        """The promise of privacy.

        Raises:
            ValueError: the recipe makes none.
        """
        if isinstance(self.privacy, NoPrivacy):
            raise ValueError("privacy.none: this recipe promises nothing")
        return self.privacy
