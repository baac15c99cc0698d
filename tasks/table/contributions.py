"""What training people contribute to private preparation: at most K values each, and no more.

Which values of a unit count is a function of that unit's own rows and id, so that one unit more
or less adds or takes away its own values alone.

N rows of the prepared table, U units, K values of a unit that count.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.recipe import DataConfig, TextLayout
from tasks.settings.preparation import Drawn, drawn_of
from tasks.settings.private import PrivateCounts
from tasks.table.cells import numbers, texts
from tasks.table.encode import texts_of
from tasks.table.labels import label_of
from tasks.table.people import PERSON, Grouping, cells_of
from tasks.table.released import resolved
from tasks.table.split import shares
from tasks.table.splitting import NOTHING, cut
from tasks.table.tokens import SPECIAL

_ROW, _VALUE, _SHARE, _UNIT = "__row__", "__value__", "__share__", "__unit__"


def placeholder(data: DataConfig) -> DataConfig:
    """Return the data block with public stand-ins for what is to be drawn.

    Everything but the drawn bounds and values can be checked with it before anything is drawn.
    """
    return resolved(data, [_stand_in(drawn) for drawn in drawn_of(data)])


def _stand_in(drawn: Drawn) -> object:
    """A public value of the right kind."""
    settings = drawn.settings
    if drawn.kind == "bounds":
        return settings.range  # type: ignore[union-attr]
    named = {"values": ["-"], "alphabet": ["-"], "tokens": ["-"], "missing": 0.0, "counts": {}}
    return named[drawn.kind]


@dataclass(frozen=True)
class Contribution:
    """What training units contribute to one release.

    Attributes:
        drawn: the release.
        numbers: float64, at most K of a unit; of bounds and means.
        counts: value -> units that have it, each unit in at most K; of vocabularies and counts.
    """

    drawn: Drawn
    numbers: NDArray[np.float64]
    counts: dict[str, int]


def limited(frame: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return at most so many values of each unit, spread evenly over its own, from its own share.

    Args:
        frame: _UNIT, _VALUE, and _SHARE in 0..1, the same in all rows of a unit; a unit's rows in
            an order that depends on that unit alone.
        most: K.
    """
    size, at = pl.len().over(_UNIT), pl.int_range(pl.len()).over(_UNIT)
    # An interval of length K / size from each place; the place is taken where it holds a whole
    # number. The intervals tile K, so that K places are taken.
    begin = at * most / size - pl.col(_SHARE)
    end = (at + 1) * most / size - pl.col(_SHARE)
    return frame.filter((size <= most) | (begin.ceil() < end))


class Contributions:
    """Collects, frame by frame, what all rows would contribute; then keeps training people's."""

    def __init__(self, data: DataConfig) -> None:
        """Begin with nobody.

        Args:
            data: the recipe's data block, with what is to be drawn.
        """
        self._data, self._drawn = data, drawn_of(data)
        self._rows = 0
        self._found: list[list[pl.DataFrame]] = [[] for _ in self._drawn]

    def add(self, frame: pl.DataFrame, grouping: Grouping) -> None:
        """Take some raw rows in; of `long`, all rows of each of their people.

        Args:
            frame: raw rows.
            grouping: which rows are whose.
        """
        persons = grouping.table[PERSON]
        for drawn, found in zip(self._drawn, self._found, strict=True):
            cells = self._cells(drawn, frame, grouping).drop_nulls(_VALUE)
            own = pl.Series(_SHARE, shares(persons, _salt(drawn)))
            cells = cells.with_columns(own.gather(cells[_UNIT]))
            cells = _distinct(drawn, cells)
            kept = limited(cells, _most(drawn))
            found.append(kept.select(pl.col(_UNIT) + self._rows, _VALUE))
        self._rows += len(persons)

    def _cells(self, drawn: Drawn, frame: pl.DataFrame, grouping: Grouping) -> pl.DataFrame:
        """_UNIT (a row of the grouping's table) and _VALUE of all cells of one release."""
        data, table = self._data, grouping.table
        everyone = np.arange(len(table))
        if isinstance(drawn.settings, PrivateCounts):
            (feature,) = (s for s in data.sensitive if s.name == drawn.settings.feature)
            return _pairs(everyone, label_of(table, data, feature))
        if drawn.kind in ("alphabet", "tokens"):
            assert isinstance(data.sequence, TextLayout)
            pieces = cut(texts_of(frame, data, data.sequence), data.sequence, {})
            pairs = _pairs(everyone, pieces).explode(_VALUE)
            return pairs.filter(~pl.col(_VALUE).is_in([NOTHING, *SPECIAL]))
        source, units = (table, everyone) if drawn.static else (frame, grouping.codes)
        parse = numbers if drawn.kind in ("bounds", "missing") else texts
        columns = [
            _pairs(
                everyone if units is None else units,
                parse(cells_of(source, data, name, drawn.field)),
            )
            for name in drawn.columns
        ]
        return pl.concat(columns)

    def of_training(self, people: pl.DataFrame, unit: str) -> list[Contribution]:
        """Return what training units contribute, each release in turn.

        Args:
            people: person_id and split of all rows, in their order.
            unit: person, whose rows count together, or record.
        """
        train = people["split"] == "train"
        found = []
        for drawn, pieces in zip(self._drawn, self._found, strict=True):
            cells = pl.concat(pieces).filter(train.gather(pl.concat(pieces)[_UNIT]))
            if unit == "person":
                cells = _by_person(drawn, cells, people["person_id"])
            found.append(_contribution(drawn, cells))
        return found


def _salt(drawn: Drawn) -> str:
    """Another draw of values for each release."""
    return f"{drawn.kind} {drawn.columns}"


def _most(drawn: Drawn) -> int:
    """K."""
    return 1 if isinstance(drawn.settings, PrivateCounts) else drawn.settings.max_values


def _pairs(units: NDArray[np.int64], values: pl.Series) -> pl.DataFrame:
    """Units beside their values."""
    return pl.DataFrame([pl.Series(_UNIT, units, dtype=pl.Int64), values.alias(_VALUE)])


def _distinct(drawn: Drawn, cells: pl.DataFrame) -> pl.DataFrame:
    """Of a vocabulary a unit's different values count, in their own order."""
    if drawn.kind in ("bounds", "missing"):
        return cells
    return cells.unique([_UNIT, _VALUE]).sort(_UNIT, _VALUE)


def _by_person(drawn: Drawn, cells: pl.DataFrame, person_ids: pl.Series) -> pl.DataFrame:
    """Cells of a person with several rows, limited together; of others, as they are."""
    if not person_ids.is_duplicated().any():
        return cells
    names = person_ids.unique(maintain_order=True)
    own = pl.Series(_SHARE, shares(names, _salt(drawn)))
    number = person_ids.replace_strict(names, list(range(len(names))), return_dtype=pl.Int64)
    cells = cells.with_columns(number.gather(cells[_UNIT]).alias(_UNIT))
    cells = cells.with_columns(own.gather(cells[_UNIT]))
    return limited(_distinct(drawn, cells), _most(drawn))


def _contribution(drawn: Drawn, cells: pl.DataFrame) -> Contribution:
    """Numbers, or units by value."""
    if drawn.kind in ("bounds", "missing"):
        return Contribution(drawn, cells[_VALUE].to_numpy().astype(np.float64), {})
    counted = cells.group_by(_VALUE).len()
    return Contribution(drawn, np.zeros(0), dict(counted.iter_rows()))
