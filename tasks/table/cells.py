"""Cells of a user's table as numbers, classes and times; an error names the column and the row.

A table may hold text (CSV) or typed values (Parquet, a data frame in serving): both give the same.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from tasks.params import UserError

# A frame may carry the number of each row in the user's file, for errors.
ROW = "__row__"

_ISO_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
)


class ValueShown(UserError):
    """An error whose text shows a value of the user's table.

    Attributes:
        without_value: the same text for somebody who may not see it.
    """

    def __init__(self, text: str, without_value: str) -> None:
        """Keep both texts."""
        super().__init__(text)
        self.without_value = without_value


class RowError(ValueShown):
    """A cell that cannot be read.

    Attributes:
        where: field and column.
        row: number of the row, from 1.
        reason: what is wrong with it.
    """

    def __init__(self, where: str, row: int, reason: str, value: str = "") -> None:
        """Say it in one line; {} in `reason` stands for the value as it is shown."""
        place = f"{where}, row {row}: "
        self.where, self.row, self.reason = where, row, reason.replace("{}", value)
        super().__init__(place + self.reason, place + reason.replace("{}", "the value"))


@dataclass(frozen=True)
class Column:
    """One column of raw rows.

    Attributes:
        where: field of the recipe and column, for errors.
        values: the cells; missing ones are null.
        rows: number of each row in the user's file; None: they count from 1.
    """

    where: str
    values: pl.Series
    rows: pl.Series | None

    def number(self, at: int) -> int:
        """Return the number of a row."""
        return at + 1 if self.rows is None else int(self.rows[at])

    def refuse(self, bad: pl.Series, reason: str) -> None:
        """Raise for the first row where `bad` is true; {} in `reason` stands for its value."""
        first = bad.fill_null(False).arg_true()
        if len(first):
            at = int(first[0])
            raise RowError(self.where, self.number(at), reason, _shown(self.values[at]))

    def present(self) -> "Column":
        """Return the column, after making sure that no cell is missing."""
        self.refuse(self.values.is_null(), "the value is missing")
        return self


def _shown(value: object) -> str:
    """A value as an error shows it, never longer than a line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def row_numbers(frame: pl.DataFrame) -> pl.Series:
    """Return the number of each row, from 1."""
    if ROW in frame.columns:
        return frame[ROW]
    return pl.int_range(1, len(frame) + 1, eager=True)


def column(frame: pl.DataFrame, name: str, field: str, null_values: Iterable[str] = ()) -> Column:
    """Return one column with its missing cells as null.

    Args:
        frame: raw rows.
        name: column.
        field: place in the recipe that names it.
        null_values: texts that mean missing; an empty cell and NaN always do.

    Raises:
        UserError: the column is not there, or its cells are lists or structures.
    """
    if name not in frame.columns:
        raise UserError(f"{field}: {missing_column(name, frame.columns)}")
    values = frame[name]
    kind = values.dtype
    if kind == pl.Null or isinstance(kind, pl.Categorical | pl.Enum):
        values = values.cast(pl.String)
    elif kind.is_nested() or kind in (pl.Object, pl.Binary):
        raise UserError(f"{field}: column {name} holds {kind}: numbers, text or dates are needed")
    elif isinstance(kind, pl.Decimal):
        values = values.cast(pl.Float64)
    rows = frame.get_column(ROW, default=None)
    return Column(f"{field}: column {name}", _nulled(values, null_values), rows)


def missing_column(name: str, there: Iterable[str]) -> str:
    """Return the sentence for a column that is not in the table."""
    near = difflib.get_close_matches(name, list(there), n=2)
    return f"column {name} is not in the data" + (f" (near: {', '.join(near)})" if near else "")


def _nulled(values: pl.Series, null_values: Iterable[str]) -> pl.Series:
    """Null where a cell says so in its own way."""
    if values.dtype == pl.String:
        stripped = values.str.strip_chars()
        return stripped.set(stripped.is_in(["", *null_values]), None)
    if values.dtype.is_numeric():
        # A quick look first: of one person's row every call into polars counts.
        if values.dtype.is_float() and np.isnan(values.to_numpy()).any():
            values = values.fill_nan(None)
        numbers = _as_numbers(tuple(null_values))
        if numbers:
            return values.set(values.cast(pl.Float64).is_in(numbers), None)
    return values


@lru_cache(maxsize=64)
def _as_numbers(null_values: tuple[str, ...]) -> list[float]:
    """Those of the texts that mean missing which are numbers."""
    return (
        pl.Series([*null_values], dtype=pl.String)
        .cast(pl.Float64, strict=False)
        .drop_nulls()
        .to_list()
    )


def numbers(cells: Column) -> pl.Series:
    """Return the cells as float64, null where missing.

    Raises:
        RowError: a cell is not a finite number.
    """
    values = cells.values
    if not values.dtype.is_numeric() and values.dtype != pl.String:
        cells.refuse(values.is_not_null(), "{} is not a number")
    parsed = values.cast(pl.Float64, strict=False)
    if not parsed.has_nulls() and np.isfinite(parsed.to_numpy()).all():
        return parsed
    cells.refuse(values.is_not_null() & parsed.is_null(), "{} is not a number")
    cells.refuse(~parsed.is_finite(), "{} is not a finite number")
    return parsed


def texts(cells: Column) -> pl.Series:
    """Return the cells as canonical text, null where missing: 1, 1.0 and "1" are the same."""
    return canonical(cells.values)


def canonical(values: pl.Series) -> pl.Series:
    """Return text that does not depend on how a value was typed: 1.0 is 1, True is true."""
    if values.dtype == pl.Null:
        return values.cast(pl.String)
    if values.dtype == pl.Float64 and _whole(values):
        return values.cast(pl.Int64).cast(pl.String)
    text = values if values.dtype == pl.String else values.cast(pl.String)
    if values.dtype.is_integer() or values.dtype == pl.Boolean:
        return text
    if text.str.contains(".", literal=True).any():
        text = text.str.replace(r"^([+-]?\d+)\.0*$", "${1}")
        text = text.str.replace(r"^([+-]?\d+\.\d*[1-9])0+$", "${1}")
    return text.replace({"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"})


def _whole(values: pl.Series) -> bool:
    """Whether all are whole numbers, none missing and none a negative zero."""
    if values.has_nulls():
        return False
    found = values.to_numpy()
    whole = (found == np.floor(found)) & (np.abs(found) < 2**53)
    return bool((whole & ~((found == 0) & np.signbit(found))).all())


@lru_cache(maxsize=4096, typed=True)
def canonical_scalar(value: object) -> str:
    """Return one declared value as canonical text.

    Example:
        >>> canonical_scalar(1.0), canonical_scalar("1.50"), canonical_scalar(True)
        ('1', '1.5', 'true')
    """
    return str(canonical(pl.Series([value]))[0])


def identifiers(cells: Column) -> pl.Series:
    """Return person ids as text: text stays as it is, so that "007" is not "7".

    Raises:
        RowError: an id is missing.
    """
    values = cells.present().values
    return values if values.dtype == pl.String else canonical(values)


def times(cells: Column, time_format: str | None = None) -> pl.Series:
    """Return times that sort: numbers as they are, dates as microseconds since 1970.

    Args:
        cells: numbers, dates, or text of either; zones are brought to UTC.
        time_format: of text, in strftime's codes; without it numbers and ISO 8601 are read.

    Returns:
        int64 or float64, no nulls.

    Raises:
        RowError: a time is missing or cannot be read.
    """
    values = cells.present().values
    if values.dtype == pl.String:
        return _times_of_text(cells, time_format)
    if values.dtype in (pl.Date, pl.Datetime):
        return values.cast(pl.Datetime("us")).cast(pl.Int64)
    if not values.dtype.is_numeric():
        cells.refuse(values.is_not_null(), "{} is not a time")
    return values if values.dtype.is_integer() else numbers(cells)


def _times_of_text(cells: Column, time_format: str | None) -> pl.Series:
    """Text as a time."""
    values = cells.values
    if time_format is not None:
        parsed = _dates(values, time_format)
        cells.refuse(parsed.is_null(), f"{{}} is not a date of format {time_format}")
        return parsed
    whole = values.cast(pl.Int64, strict=False)
    if not whole.has_nulls():
        return whole
    if len(values) and values.head(1).cast(pl.Float64, strict=False).is_not_null()[0]:
        return numbers(cells)
    parsed = pl.Series(values.name, [None], dtype=pl.Int64).new_from_index(0, len(values))
    for known in _ISO_FORMATS:
        parsed = parsed.zip_with(parsed.is_not_null(), _dates(values, known))
        if not parsed.has_nulls():
            return parsed
    cells.refuse(parsed.is_null(), "{} is neither a number nor an ISO date")
    return parsed


def _dates(values: pl.Series, time_format: str) -> pl.Series:
    """Microseconds since 1970, null where the text does not have the format."""
    try:
        parsed = values.str.to_datetime(time_format, strict=False, time_unit="us")
    except pl.exceptions.PolarsError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"format {time_format!r} cannot be used: {reason}") from None
    return parsed.cast(pl.Int64)


def date_scalar(date: str, time_format: str | None, field: str) -> int | float:
    """Return one declared date as `times` would.

    Raises:
        UserError: it cannot be read.
    """
    cells = Column(field, pl.Series([date]), pl.Series([1]))
    try:
        return times(cells, time_format)[0]
    except RowError as error:
        raise UserError(f"{field} = {date!r}: {error.reason}") from None
