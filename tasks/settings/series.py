"""Regular time series: how rows become steps, and steps windows."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Le, MinLen
from pydantic import AfterValidator

from rnn.config import FORBID_EXTRA, Count, Positive, PrivacyConfig

if TYPE_CHECKING:
    from tasks.recipe import Recipe
    from tasks.settings.data import DataConfig

Calendar = Literal["hour", "weekday", "month"]
DAY = 86_400_000_000
_MICROSECONDS = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": DAY}
_EVERY = re.compile(r"([1-9][0-9]{0,5})([smhd])")


def microseconds(every: str) -> int:
    """Return the length of a step.

    Raises:
        ValueError: it is no whole number of seconds, minutes, hours or days.

    Example:
        >>> microseconds("15m") // 60_000_000
        15
    """
    found = _EVERY.fullmatch(every)
    if not found:
        raise ValueError(
            f"every = {every!r} must be a whole number of seconds, minutes, hours or days: "
            "30s, 15m, 1h, 1d"
        )
    return int(found[1]) * _MICROSECONDS[found[2]]


def _checked(every: str) -> str:
    """The same text, if it is a length."""
    microseconds(every)
    return every


Every = Annotated[str, AfterValidator(_checked)]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How rows become regular steps, and how windows are cut from them.

    Attributes:
        time: column of the time of a row: dates, never bare numbers.
        time_format: of text; ISO 8601 without it.
        every: length of a step; rows of one step are put together.
        window: steps of history that the model reads.
        stride: steps from one training window to the next.
        held_out_stride: the same for held-out windows; None: the horizon, so that no hour is
            forecast twice.
        calendar: parts of the time that the model reads, of history and of what is to come.
        usual: steps back whose values' median is what is usual at a step; the model reads it, and
            learns how far from it the target will be. Empty: it learns the target itself.
        seasons: steps of a season, shortest first; the naive forecasts repeat the last one.
        known: share of the target's steps, of history and of horizon each, that a window has.
        scale: error that MASE counts as 1: a number in the target's unit, or `training`, which is
            the mean error of repeating the first season in training; None: no MASE.
    """

    __pydantic_config__ = FORBID_EXTRA

    time: Annotated[str, MinLen(1)]
    time_format: str | None = None
    every: Every
    window: Count
    stride: Count = 1
    held_out_stride: Count | None = None
    calendar: tuple[Calendar, ...] = ()
    usual: tuple[Count, ...] = ()
    seasons: Annotated[tuple[Count, ...], MinLen(1)]
    known: Annotated[float, Ge(0), Le(1)] = 0.5
    scale: Positive | Literal["training"] | None = None

    def __post_init__(self) -> None:
        """Lists without repeats, and hours only where there are some."""
        for name in ("calendar", "usual", "seasons"):
            given = list(getattr(self, name))
            if len(set(given)) != len(given):
                raise ValueError(f"sequence.{name} = {given} has an entry twice")
        if list(self.seasons) != sorted(self.seasons):
            raise ValueError(f"sequence.seasons = {list(self.seasons)} must rise")
        if "hour" in self.calendar and microseconds(self.every) >= DAY:
            raise ValueError(
                f"sequence.calendar has hour, which is the same in every step of {self.every}"
            )

    @property
    def step(self) -> int:
        """Length of a step in microseconds."""
        return microseconds(self.every)

    @property
    def reach(self) -> int:
        """Steps of history that a whole window needs."""
        return max(self.window, *self.usual, 0)


def check_series(data: "DataConfig") -> None:
    """Refuse a target, a split or a block that a layout of series cannot have.

    Raises:
        ValueError: one line naming the field.
    """
    layout, target = data.sequence, data.target
    if layout.layout != "series":
        if target.kind == "forecast":
            raise ValueError(
                f"target.kind = forecast needs sequence.layout = series, not {layout.layout}"
            )
        return
    if target.kind != "forecast":
        raise ValueError(f"sequence.layout = series is for a forecast, not for {target.kind}")
    horizon = target.horizon or 0
    short = [back for back in layout.usual if back < horizon]
    if short:
        raise ValueError(
            f"sequence.usual has {short[0]}: at least target.horizon = {horizon} is needed, or the "
            "value is not known yet when the forecast is made"
        )
    if layout.seasons[-1] > layout.window:
        raise ValueError(
            f"sequence.seasons has {layout.seasons[-1]}: at most sequence.window = "
            f"{layout.window} is allowed, so that every window has a season to repeat"
        )
    own = [f for f in layout.features if f.column == target.column and f.is_number]
    if not any(f.bounds == target.bounds and f.transform == "linear" for f in own):
        raise ValueError(
            f"target.column = {target.column!r} must also be among sequence.features, with "
            f"bounds {list(target.bounds or ())} as in target.bounds and transform linear"
        )
    _check_split(data)


def _check_split(data: "DataConfig") -> None:
    """Time decides, or the series."""
    layout, split = data.sequence, data.split
    if split.column is not None:
        raise ValueError(
            "split.column is not for sequence.layout = series: windows of one side would show the "
            "other; allowed are split.as_of, and with a person column split.train"
        )
    if split.as_of is not None and split.as_of.column != getattr(layout, "time", ""):
        raise ValueError(
            f"split.as_of.column = {split.as_of.column!r} must be sequence.time = "
            f"{getattr(layout, 'time', '')!r}"
        )
    if split.as_of is None and data.person is None:
        raise ValueError("split.as_of is not set: one series alone is split by time")


def check_promised_series(recipe: "Recipe") -> None:
    """Refuse a promise of privacy that windows of series cannot keep.

    Raises:
        ValueError: one line naming the field.
    """
    data, privacy = recipe.data, recipe.privacy
    layout = data.sequence
    if layout.layout != "series" or not isinstance(privacy, PrivacyConfig):
        return
    if data.person is None:
        raise ValueError(
            "data.person is not set: all windows come from one series, so that nobody in it can "
            "be promised anything; allowed is the column of whose series it is, or privacy.none"
        )
    if privacy.unit != "person":
        raise ValueError(
            f"privacy.unit = {privacy.unit}: a row stands in many windows; a series is promised "
            "privacy by unit: person"
        )
    if data.split.as_of is not None:
        raise ValueError(
            "data.split.as_of with layout series trains and tests on the same series; allowed "
            "with a promise of privacy is split.train, which holds whole series out"
        )
    if layout.scale == "training":
        raise ValueError(
            "data.sequence.scale = training is measured on training rows, which a promise of "
            "privacy forbids; allowed is a public number, or none"
        )
