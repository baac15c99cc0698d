"""Whose rows they are: one row a person, and what may not differ between a person's rows."""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.recipe import DataConfig, LongLayout, SensitiveFeature, SeriesLayout, TextLayout
from tasks.table.cells import ROW, Column, ValueShown, canonical, column, identifiers, row_numbers

# A name that never comes from a user's table.
PERSON = "__person__"
_INDEX, _CODE = "__index__", "__code__"


def columns(data: DataConfig, *, training: bool = True) -> dict[str, str]:
    """Return each column that a recipe names, and the field that names it first.

    Args:
        data: the recipe's data block.
        training: also target, split and every sensitive feature; else what the model reads.
    """
    pairs = [(data.person, "data.person")]
    layout = data.sequence
    if isinstance(layout, TextLayout):
        pairs += [(name, "data.sequence.columns") for name in layout.columns]
    elif isinstance(layout, LongLayout | SeriesLayout):
        pairs += [(layout.time, "data.sequence.time")]
        pairs += [(f.column, f"data.sequence.features.{f.name}") for f in layout.features]
    else:
        pairs += [
            (c, f"data.sequence.features.{f.name}") for f in layout.features for c in f.columns
        ]
    pairs += [(f.column, f"data.static.{f.name}") for f in data.static]
    if training:
        pairs += [(data.target.column or None, "data.target.column")]
    for feature in data.sensitive:
        if training or feature.feed or feature.name == data.decision_groups:
            pairs += [(c, f"data.sensitive.{feature.name}") for c in sensitive_columns(feature)]
    if training:
        pairs += [(data.split.column, "data.split.column")]
        pairs += [
            (data.split.as_of.column if data.split.as_of else None, "data.split.as_of.column")
        ]
    found: dict[str, str] = {}
    for name, field in pairs:
        if name is not None:
            found.setdefault(name, field)
    return found


def sensitive_columns(feature: SensitiveFeature) -> list[str]:
    """Columns of one sensitive feature."""
    return [feature.column] if feature.column is not None else list(feature.one_hot)


def cells_of(frame: pl.DataFrame, data: DataConfig, name: str, field: str) -> Column:
    """A column with the source's null values applied."""
    return column(frame, name, field, data.source.null_values)


@dataclass(frozen=True)
class Grouping:
    """Which rows are whose.

    Attributes:
        table: one row a person in the order of `encode`, with columns PERSON and ROW.
        codes: int64 [n], the person of each of n events, as a row of `table`; None where every
            row is a person or a record of its own.
    """

    table: pl.DataFrame
    codes: NDArray[np.int64] | None = None


def group(frame: pl.DataFrame, data: DataConfig) -> Grouping:
    """Return one row a person.

    Wide and text tables keep their rows. Of a long table or of series the person's first row
    stays, after making sure that what describes the person is the same in every row of theirs.

    Args:
        frame: raw rows; columns of the target and of sensitive features may be absent.
        data: the recipe's data block.

    Raises:
        UserError: an id is missing, or one person has two values where one is needed.
    """
    if PERSON in frame.columns:
        return Grouping(frame)
    rows = row_numbers(frame).cast(pl.Int64).alias(ROW)
    if not isinstance(data.sequence, LongLayout | SeriesLayout):
        return Grouping(frame.with_columns(_record_ids(frame, data).alias(PERSON), rows))
    keys = pl.DataFrame([event_persons(frame, data)]).with_row_index(_INDEX)
    firsts = keys.group_by(PERSON).agg(pl.col(_INDEX).min()).sort(PERSON)
    ranked = firsts.select(PERSON, pl.int_range(pl.len()).alias(_CODE))
    codes = keys.join(ranked, on=PERSON, how="left", maintain_order="left")[_CODE]
    fields = _person_fields(data, frame)
    for name, field in fields.items():
        first = frame[name].gather(firsts[_INDEX].gather(codes))
        _refuse_two_values(frame.with_columns(keys[PERSON], rows), name, field, first)
    table = frame.with_columns(rows).select(ROW, *(n for n in fields if n != ROW))
    table = table.select(pl.all().gather(firsts[_INDEX])).with_columns(firsts[PERSON])
    return Grouping(table, codes.to_numpy())


def event_persons(frame: pl.DataFrame, data: DataConfig) -> pl.Series:
    """Return the person of each event of a long table, or whose series each row is in.

    One series that is nobody's has an empty name.
    """
    if data.person is None:
        return pl.Series(PERSON, [""], dtype=pl.String).new_from_index(0, len(frame))
    cells = cells_of(frame, data, data.person or "", "data.person")
    return identifiers(cells).alias(PERSON)


def person_columns(data: DataConfig) -> list[str]:
    """Return the columns that are read otherwise than as events of a long table."""
    split = data.split
    found = [data.person, data.target.column or None, split.column]
    found += [split.as_of.column if split.as_of else None]
    found += [f.column for f in data.static]
    found += [c for feature in data.sensitive for c in sensitive_columns(feature)]
    return [name for name in found if name is not None]


def _person_fields(data: DataConfig, frame: pl.DataFrame) -> dict[str, str]:
    """Columns of a long table that describe the person, as far as they are there."""
    fields = {f.column: f"data.static.{f.name}" for f in data.static}
    if data.target.column and isinstance(data.sequence, LongLayout):
        fields[data.target.column] = "data.target.column"
    for feature in data.sensitive:
        fields |= dict.fromkeys(sensitive_columns(feature), f"data.sensitive.{feature.name}")
    return {name: field for name, field in fields.items() if name in frame.columns}


def _refuse_two_values(frame: pl.DataFrame, name: str, field: str, first: pl.Series) -> None:
    """Raise for the first row whose value differs from the person's first."""
    differs = frame[name].ne_missing(first).arg_true()
    if not len(differs):
        return
    at = int(differs[0])
    person, value, row = frame[PERSON][at], frame[name][at], frame[ROW][at]
    before = int(frame.filter(pl.col(PERSON) == person)[ROW][0])
    raise ValueShown(
        f"{field}: column {name}: person {person} has {first[at]!r} in row {before} and "
        f"{value!r} in row {row}: one value a person is needed",
        f"{field}: column {name}, row {row}: differs from row {before} of the same person, where "
        "one value a person is needed",
    )


def _record_ids(frame: pl.DataFrame, data: DataConfig) -> pl.Series:
    """Ids of a table with one row a record; without a person column the row is its own name."""
    if data.person is not None and data.person in frame.columns:
        return identifiers(cells_of(frame, data, data.person, "data.person"))
    if data.person is not None:
        return row_numbers(frame).cast(pl.String)
    return number_repeats(content_ids(frame, data))


def content_ids(frame: pl.DataFrame, data: DataConfig) -> pl.Series:
    """Return a hash of the used cells of each row, the same for identical rows.

    A row's name then depends on no other row, but for its identical ones.
    """
    used = [name for name in columns(data) if name in frame.columns]
    cells = [canonical(cells_of(frame, data, name, "data").values).to_list() for name in used]
    digests = (
        hashlib.blake2b(repr(row).encode(), digest_size=16).hexdigest()
        for row in zip(*cells, strict=True)
    )
    return pl.Series(PERSON, digests, dtype=pl.String)


def number_repeats(ids: pl.Series) -> pl.Series:
    """Return ids made distinct: the second of the same becomes ID-2, the third ID-3.

    Example:
        >>> number_repeats(pl.Series(["a", "b", "a"])).to_list()
        ['a', 'b', 'a-2']
    """
    turn = ids.to_frame("id").select(pl.int_range(1, pl.len() + 1).over("id")).to_series()
    return ids.zip_with(turn == 1, ids + "-" + turn.cast(pl.String))
