"""Sections of a plan, frozen: what each stage after plan reads."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from rnn.config import (
    FORBID_EXTRA,
    Count,
    ModelConfig,
    Positive,
    PrivacyConfig,
    Probability,
    TrainConfig,
)
from rnn.fairness.config import NoMitigation
from rnn.privacy.event import Event
from tasks.settings.data import Decision, Name, PackageFile, Source, Target
from tasks.settings.mitigation import Cut, Trained
from tasks.settings.no_privacy import NoPrivacy
from tasks.settings.serve import ReasonConfig
from tasks.settings.start import Facts, PackageWeights, RegisteredWeights, StartConfig

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
class StartPlan:
    """Weights that fetch brings, and what it holds against them.

    `population` and `split` are of the recipe's own people, `names` what its source is known by;
    `promised`: these people are promised privacy, by `unit`. `facts` are what is known before.
    """

    __pydantic_config__ = FORBID_EXTRA

    package: PackageWeights | None = None
    registered: RegisteredWeights | None = None
    population: Name
    split: str
    names: tuple[str, ...] = ()
    promised: bool
    unit: Literal["record", "person"] | None = None
    facts: Facts | None = None


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """plan/source.json, for fetch. `files` is empty where the file is still to be downloaded.

    `lists` are public files that vocabularies are read from; `start` is where weights come from
    that others trained.
    """

    __pydantic_config__ = FORBID_EXTRA

    source: Source
    files: tuple[SourceFile, ...] = ()
    lists: tuple[PackageFile, ...] = ()
    start: StartPlan | None = None


@dataclass(frozen=True, kw_only=True)
class TargetPlan:
    """plan/target.json, for every stage that names classes or decides."""

    __pydantic_config__ = FORBID_EXTRA

    target: Target
    decision: Decision | None = None


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """plan/train.json and plan/twin.json; the twin has no privacy.

    Where the recipe promises none, `no_privacy` says so in both, and `privacy` is None in both.
    `sample_rate`, `noise_multiplier` and `epsilon` are what the plan solved for. `prepared` is
    what prepare releases about training people, `after` what train does after its last step:
    epsilon covers both. `winner` names a run of a search that is taken over; `selected` is then
    what the search released, in place of the steps. `cut` says how thresholds by group are made.
    `start` says which layers begin with others' weights, and which stay.
    """

    __pydantic_config__ = FORBID_EXTRA

    model: ModelConfig
    train: TrainConfig
    privacy: PrivacyConfig | None = None
    no_privacy: NoPrivacy | None = None
    mitigation: Trained = field(default_factory=NoMitigation)
    sample_rate: Probability
    noise_multiplier: float = 0.0
    epsilon: float | None = None
    prepared: tuple[Event, ...] = ()
    after: tuple[Event, ...] = ()
    selected: tuple[Event, ...] = ()
    winner: str | None = None
    cut: Cut | None = None
    start: StartConfig | None = None

    @property
    def frozen(self) -> dict[str, int | None]:
        """Layers that stay as they are, and until which step."""
        return self.start.frozen if self.start is not None else {}

    @property
    def beside(self) -> tuple[Event, ...]:
        """All that is released about training people beside the steps."""
        return (*self.prepared, *self.after)


@dataclass(frozen=True, kw_only=True)
class ReleasePlan:
    """plan/release.json: what may be published about held-out people, everything filled in.

    `threshold_epsilon` is part of `epsilon`; 0 where the recipe states the threshold. `groups`
    are the labels that the recipe declares for each sensitive feature; a feature whose cells are
    its labels is in `undeclared`: which labels there are is then a fact about people. Without an
    epsilon nothing is promised, and nothing is drawn with noise.
    """

    __pydantic_config__ = FORBID_EXTRA

    mode: Literal["noised", "suppressed"]
    epsilon: Positive | None
    delta: Positive | None
    threshold_epsilon: Annotated[float, Ge(0)]
    unit: Literal["record", "person"]
    max_rows: Count
    decision_share: Annotated[float, Gt(0), Lt(1)] = 0.6
    score_bins: Count
    groups: dict[str, tuple[str, ...]]
    undeclared: tuple[str, ...] = ()
    intersections: tuple[tuple[str, ...], ...] = ()
    insecure_seed: Annotated[int, Ge(0)] | None = None

    @property
    def promise(self) -> tuple[float, float]:
        """Epsilon and delta.

        Raises:
            ValueError: nothing is promised, so that nothing may be drawn with noise.
        """
        if self.epsilon is None or self.delta is None:
            raise ValueError("a release without privacy has no epsilon")
        return self.epsilon, self.delta


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
    """plan/register.json. `reasons` are of live answers, by feature."""

    __pydantic_config__ = FORBID_EXTRA

    model_name: str
    experiment: str
    title: str
    insecure: bool
    reasons: dict[Name, ReasonConfig] = field(default_factory=dict)
