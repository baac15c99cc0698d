"""Rows with times as regular series: one step every so often, gaps as missing values.

n rows of the table, T steps of one series, D channels a step.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.params import UserError
from tasks.recipe import DataConfig, SeriesLayout
from tasks.settings.features import SeriesFeature
from tasks.table.cells import Column, numbers, times
from tasks.table.channels import Floats, channels
from tasks.table.people import cells_of

# A date that was mistyped may lie centuries away.
MOST_STEPS = 5_000_000


@dataclass(frozen=True)
class Regular:
    """One series.

    Attributes:
        code: which of the people's it is.
        first: its first step, counted from 1970 in steps.
        values: float32 [T, D], 0 or what the recipe declares where missing.
        missing: uint8 [T, D].
        target: float32 [T], -1..1 between target.bounds, NaN where missing.
    """

    code: int
    first: int
    values: Floats
    missing: NDArray[np.uint8]
    target: Floats

    def __len__(self) -> int:
        """Return T."""
        return len(self.target)


def moments(cells: Column, time_format: str | None) -> NDArray[np.int64]:
    """Return microseconds since 1970.

    Raises:
        UserError: a time is missing, is no date, or is a bare number.
    """
    values = cells.present().values
    bare = values.is_not_null() if values.dtype.is_numeric() else values.is_null()
    if values.dtype == pl.String and time_format is None:
        bare = values.cast(pl.Float64, strict=False).is_not_null()
    cells.refuse(bare, "{} is a number: layout series needs dates (ISO 8601, or a time_format)")
    return times(cells, time_format).cast(pl.Int64).to_numpy()


def regular(
    frame: pl.DataFrame, data: DataConfig, codes: NDArray[np.int64], latest: int | None = None
) -> list[Regular]:
    """Return the series of a table, in the order of their codes.

    Args:
        frame: raw rows, all rows of each of their series.
        data: the recipe's data block, with layout series.
        codes: int64 [n], whose each row is.
        latest: steps of each series to return, its last ones; None: all.

    Raises:
        UserError: a cell cannot be read, or a series is too long.
    """
    layout = data.sequence
    assert isinstance(layout, SeriesLayout)
    when = moments(cells_of(frame, data, layout.time, "data.sequence.time"), layout.time_format)
    steps = when // layout.step
    order = np.lexsort((steps, codes))
    codes, steps = codes[order], steps[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (np.diff(codes) != 0) | (np.diff(steps) != 0)
    starts = np.flatnonzero(new)
    columns = {
        at: _put_together(feature, frame, data, order, starts)
        for at, feature in enumerate(layout.features)
    }
    codes, steps = codes[starts], steps[starts]
    found = []
    for code in np.unique(codes):
        mine = np.flatnonzero(codes == code)
        first, last = int(steps[mine[0]]), int(steps[mine[-1]])
        if latest is not None:
            first = max(first, last - latest + 1)
            mine = mine[steps[mine] >= first]
        if last - first >= MOST_STEPS:
            raise UserError(
                f"data.sequence.time: a series has {last - first + 1:,} steps of {layout.every} "
                f"from {label(first, layout)} to {label(last, layout)}; at most {MOST_STEPS:,} "
                "are allowed"
            )
        where = steps[mine] - first
        laid = {at: _laid(column[mine], where, last - first + 1) for at, column in columns.items()}
        found.append(_series(data, layout, int(code), first, laid))
    return found


def _put_together(
    feature: SeriesFeature,
    frame: pl.DataFrame,
    data: DataConfig,
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
) -> NDArray[np.float64]:
    """A feature of every step that has rows, [steps, k]: numbers or shares, NaN where missing."""
    cells = cells_of(frame, data, feature.column, f"data.sequence.features.{feature.name}")
    if feature.is_number:
        parsed = numbers(cells)
        rows = parsed.fill_null(0.0).to_numpy()[:, None]
        known = parsed.is_not_null().to_numpy()
    else:
        shares, gone = channels(feature, cells)
        rows, known = shares.astype(np.float64), ~gone
    rows, known = rows[order], known[order]
    sums = np.add.reduceat(np.where(known[:, None], rows, 0.0), starts, axis=0)
    counts = np.add.reduceat(known.astype(np.float64), starts)
    divisor = np.maximum(counts, 1.0) if feature.aggregate == "mean" else np.ones_like(counts)
    sums = sums / divisor[:, None]
    sums[counts == 0] = np.nan
    return sums


def _laid(
    column: NDArray[np.float64], where: NDArray[np.int64], length: int
) -> NDArray[np.float64]:
    """A feature of every step of one series, NaN in gaps."""
    laid = np.full((length, column.shape[1]), np.nan)
    laid[where] = column
    return laid


def _series(
    data: DataConfig,
    layout: SeriesLayout,
    code: int,
    first: int,
    laid: dict[int, NDArray[np.float64]],
) -> Regular:
    """Channels of one series."""
    values, missing = [], []
    for at, feature in enumerate(layout.features):
        gone = np.isnan(laid[at][:, 0])
        if feature.is_number:
            cells = pl.Series(laid[at][:, 0], nan_to_null=True)
            own = channels(feature, Column(feature.name, cells, None))[0]
        else:
            own = np.nan_to_num(laid[at]).astype(np.float32)
        values.append(own)
        missing.append(np.repeat(gone[:, None], own.shape[1], axis=1).astype(np.uint8))
    everything, gone_anywhere = np.concatenate(values, axis=1), np.concatenate(missing, axis=1)
    channel = target_channel(data)
    target = np.where(gone_anywhere[:, channel] == 1, np.nan, everything[:, channel])
    return Regular(code, first, everything, gone_anywhere, target.astype(np.float32))


def target_channel(data: DataConfig) -> int:
    """Return which channel of a step is the target's own history."""
    layout = data.sequence
    assert isinstance(layout, SeriesLayout)
    at = 0
    for feature in layout.features:
        own = feature.column == data.target.column and feature.transform == "linear"
        if own and feature.bounds == data.target.bounds:
            return at
        at += 1 if feature.is_number else len(feature.values)
    raise ValueError("no feature is the target's history")


def label(step: int, layout: SeriesLayout) -> str:
    """Return a step's beginning as text: 2018-01-31T07:00."""
    moment = np.datetime64(step * layout.step, "us")
    whole = layout.step % 60_000_000 == 0
    return str(np.datetime_as_string(moment, unit="m" if whole else "s"))
