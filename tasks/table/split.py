"""Train or test, for each person alone: removing one person changes nobody else's side."""

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.params import UserError
from tasks.recipe import DataConfig, Split
from tasks.table.cells import ROW, column, date_scalar, texts, times
from tasks.table.people import PERSON

SIDES = ("train", "test")
STATED = "__stated__"
LATE = "__late__"
# Of windows of series, which are cut to their sides.
SIDE = "__side__"

_SLICE = 100_000


def shares(person_ids: pl.Series, salt: str) -> NDArray[np.float64]:
    """Return one number in 0..1 a person, uniform, from a keyed hash of the id.

    Args:
        person_ids: str [N].
        salt: the key; another salt is another split.

    Returns:
        float64 [N].

    Source: BLAKE2b (RFC 7693), 64 bits.
    """
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    pieces = []
    for start in range(0, len(person_ids), _SLICE):
        digests = b"".join(
            hashlib.blake2b(person.encode(), digest_size=8, key=key).digest()
            for person in person_ids.slice(start, _SLICE).to_list()
        )
        pieces.append(np.frombuffer(digests, dtype=">u8") >> np.uint64(11))
    whole = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.uint64)
    return whole.astype(np.float64) / 2.0**53


def marks(frame: pl.DataFrame, data: DataConfig) -> list[pl.Series]:
    """Return what rows say of their side: the stated one, and whether they are late.

    Args:
        frame: raw rows.
        data: the recipe's data block.

    Returns:
        None, one or both of STATED (str) and LATE (bool), one value a row.

    Raises:
        UserError: a side is neither train nor test, or a date cannot be read.
    """
    found = []
    nulls = data.source.null_values
    if data.split.column is not None:
        cells = column(frame, data.split.column, "data.split.column", nulls).present()
        side = texts(cells)
        cells.refuse(~side.is_in(SIDES), "{} is neither 'train' nor 'test'")
        found.append(side.alias(STATED))
    if data.split.as_of is not None:
        as_of = data.split.as_of
        cells = column(frame, as_of.column, "data.split.as_of.column", nulls)
        found.append((times(cells, as_of.format) >= cutoff(data.split)).alias(LATE))
    return found


def of_people(events: pl.DataFrame) -> list[pl.Series]:
    """Return marks of events as marks of people, sorted by id; late once is late.

    Args:
        events: PERSON, ROW and what `marks` gave.

    Raises:
        UserError: one person is stated to be in both.
    """
    wanted = []
    if STATED in events.columns:
        _refuse_both(events)
        wanted.append(pl.col(STATED).first())
    if LATE in events.columns:
        wanted.append(pl.col(LATE).any())
    return events.group_by(PERSON).agg(wanted).sort(PERSON).get_columns()[1:] if wanted else []


def cutoff(split: Split) -> int | float:
    """Return the as-of date as a number; 0 without one.

    Raises:
        UserError: it is not a date.
    """
    if split.as_of is None:
        return 0
    return date_scalar(split.as_of.date, split.as_of.format, "data.split.as_of.date")


def sides(people: pl.DataFrame, split: Split) -> pl.Series:
    """Return "train" or "test" for each row of a table of people.

    Args:
        people: PERSON, ROW and what `marks` gave; a person may have several rows.
        split: the recipe's split block.

    Raises:
        UserError: one person is stated to be in both.
    """
    if SIDE in people.columns:
        return people[SIDE]
    if STATED in people.columns:
        _refuse_both(people)
        return people[STATED]
    train = pl.Series(shares(people[PERSON], split.salt) < split.train)
    if LATE in people.columns:
        train &= ~people.select(pl.col(LATE).any().over(PERSON)).to_series()
    return (
        pl.DataFrame({"train": train})
        .select(pl.when("train").then(pl.lit("train")).otherwise(pl.lit("test")))
        .to_series()
    )


def _refuse_both(people: pl.DataFrame) -> None:
    """Raise for the first person with two sides."""
    differs = people.select(pl.col(STATED) != pl.col(STATED).first().over(PERSON)).to_series()
    if not differs.any():
        return
    at = int(differs.arg_true()[0])
    person, side, row = people[PERSON][at], people[STATED][at], people[ROW][at]
    before = people.filter(pl.col(PERSON) == person).row(0, named=True)
    raise UserError(
        f"data.split.column: person {person} is in two splits: "
        f"{before[STATED]} in row {before[ROW]}, {side} in row {row}"
    )


def refuse_useless(targets: NDArray[np.generic], side: pl.Series, data: DataConfig) -> None:
    """Make sure that both sides have people, and more than one class each.

    Args:
        targets: as prepare writes them; looked at where they are one class a person.
        side: str [N].
        data: the recipe's data block.

    Raises:
        UserError: a side is empty, or has one class only.
    """
    for name in SIDES:
        here = (side == name).to_numpy()
        if not here.any():
            raise UserError(
                f"data.split: nobody of {len(side)} people is in {name} "
                f"(train = {data.split.train:g})"
            )
        if data.target.kind not in ("binary", "multiclass"):
            continue
        mine = targets[here]
        if (mine == mine[0]).all():
            only = data.target.classes[int(mine[0])]
            raise UserError(
                f"data.target: column {data.target.column}: {name} has one class only, {only!r} "
                f"({len(mine)} people); at least two are needed"
            )
