"""How sequences stand in a table: features, steps, events or text."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import Discriminator

from rnn.config import FORBID_EXTRA, Count
from tasks.settings.private import PrivateBounds, PrivateMean, PrivateVocabulary

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
class TextLayout:
    """One row a record, read character by character over a public alphabet, or a drawn one."""

    __pydantic_config__ = FORBID_EXTRA

    layout: Literal["text"]
    columns: Annotated[tuple[Name, ...], MinLen(1)]
    alphabet: str = ""
    private_alphabet: PrivateVocabulary | None = None
    separator: str = " "
    lowercase: bool = True
    max_length: Count = 128

    def __post_init__(self) -> None:
        """An alphabet is stated or drawn."""
        if bool(self.alphabet) == (self.private_alphabet is not None):
            raise ValueError(
                f"sequence.alphabet = {self.alphabet!r}: state exactly one of alphabet and "
                "private_alphabet, which is drawn from training people"
            )
        for value in self.private_alphabet.candidates if self.private_alphabet else ():
            if len(value) != 1:
                raise ValueError(
                    f"sequence.private_alphabet.candidates: {value!r} must be one character"
                )


Layout = Annotated[WideLayout | LongLayout | TextLayout, Discriminator("layout")]
