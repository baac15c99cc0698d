"""How sequences stand in a table: features, steps, events or text."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import Discriminator

from rnn.config import FORBID_EXTRA, Count
from tasks.settings.private import PrivateBounds, PrivateMean, PrivateVocabulary
from tasks.settings.series import Grid
from tasks.settings.tokens import TextTokens

Name = Annotated[str, MinLen(1)]
Scalar = bool | int | float | str
Transform = Literal["linear", "log", "signed_log"]


@dataclass(frozen=True, kw_only=True)
class _Feature:
    """What a number or a category needs to become channels without looking at the data.

    What is not public is drawn from training people instead: see tasks/settings/private.py.
    """

    name: Name
    bounds: tuple[float, float] | None = None
    transform: Transform = "linear"
    values: tuple[Scalar, ...] = ()
    unit: str = ""
    missing: float | None = None
    private_bounds: PrivateBounds | None = None
    private_values: PrivateVocabulary | None = None
    private_missing: PrivateMean | None = None

    @property
    def is_number(self) -> bool:
        """Is it a number, not a category?"""
        return self.bounds is not None or self.private_bounds is not None

    def __post_init__(self) -> None:
        """A feature is a bounded number or a category with declared values."""
        given = [self.bounds, self.private_bounds, self.values or None, self.private_values]
        if sum(value is not None for value in given) != 1:
            raise ValueError(
                f"feature {self.name!r}: state exactly one of bounds and values (or of "
                "private_bounds and private_values, which are drawn from training people)"
            )
        self._check_missing()
        if self.private_bounds is not None and self.transform == "log":
            lowest = self.private_bounds.range[0]
            if lowest < 0:
                raise ValueError(
                    f"feature {self.name!r}: private_bounds.range begins at {lowest:g}: it must "
                    "not be negative with transform log (signed_log allows it)"
                )
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

    def _check_missing(self) -> None:
        """What a missing cell is taken for is a number's."""
        if self.missing is None and self.private_missing is None:
            return
        if self.missing is not None and self.private_missing is not None:
            raise ValueError(
                f"feature {self.name!r}: state one of missing and private_missing, not both"
            )
        if not self.is_number:
            raise ValueError(f"feature {self.name!r}: missing and private_missing are for numbers")
        if self.missing is not None and not math.isfinite(self.missing):
            raise ValueError(f"feature {self.name!r}: missing = {self.missing} must be finite")


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
class TextLayout(TextTokens):
    """One row a record: the text of some columns, joined."""

    __pydantic_config__ = FORBID_EXTRA

    layout: Literal["text"]
    columns: Annotated[tuple[Name, ...], MinLen(1)]
    separator: str = " "


@dataclass(frozen=True, kw_only=True)
class SeriesFeature(ColumnFeature):
    """A feature of a regular step: the mean or the sum of what its rows say.

    Of a category it is the share of the rows that have each value.
    """

    __pydantic_config__ = FORBID_EXTRA

    aggregate: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        """Bounds and values are public."""
        super().__post_init__()
        drawn = [self.private_bounds, self.private_values, self.private_missing]
        if any(asked is not None for asked in drawn):
            raise ValueError(
                f"feature {self.name!r}: layout series takes public bounds and values alone"
            )
        if self.aggregate == "sum" and not self.is_number:
            raise ValueError(f"feature {self.name!r}: aggregate = sum is for numbers")


@dataclass(frozen=True, kw_only=True)
class SeriesLayout(Grid):
    """One row a moment, of one series or of one a person: windows of a regular series."""

    __pydantic_config__ = FORBID_EXTRA

    layout: Literal["series"]
    features: Annotated[tuple[SeriesFeature, ...], MinLen(1)]


Layout = Annotated[WideLayout | LongLayout | TextLayout | SeriesLayout, Discriminator("layout")]
