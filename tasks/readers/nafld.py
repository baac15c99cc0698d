"""Laboratory values and diagnoses before an index date, and what followed; docs/recipes/health.md.

Three tables of one study: people, dated laboratory values, dated diagnoses. Days count from the
person's index date: the day of the first diagnosis of fatty liver, or for a matched person of the
comparison group the same day as their case's. Whatever is dated after it is the future, and serves
the label alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from annotated_types import Ge, Le

from rnn.config import FORBID_EXTRA
from tasks.params import UserError, validate
from tasks.readers.frames import read_frame

DAYS_A_YEAR = 365.25
# `chol` repeats `hdl` in every row of this release, and `dbp` repeats `sbp`: they are left out.
TESTS = ("hdl", "sbp", "fib4", "smoke")
# What no living person has was mistyped, and counts as not measured.
PLAUSIBLE = {"hdl": (5.0, 300.0), "sbp": (40.0, 300.0)}
_PEOPLE: dict[str, Any] = {
    "id": pl.Int64, "age": pl.Int64, "male": pl.Int64, "bmi": pl.Float64, "futime": pl.Int64,
    "status": pl.Int64,
}  # fmt: skip
_TESTS: dict[str, Any] = {"id": pl.Int64, "days": pl.Int64, "test": pl.String, "value": pl.Float64}
_EVENTS: dict[str, Any] = {"id": pl.Int64, "days": pl.Int64, "event": pl.String}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which label, and how far ahead."""

    __pydantic_config__ = FORBID_EXTRA

    label: Literal["death", "diabetes"] = "death"
    years: Annotated[int, Ge(1), Le(15)] = 5


def read(files: list[Path], options: dict[str, Any]) -> pl.DataFrame:
    """Return one row a date before the index, and one for the index date itself.

    Args:
        files: the tables of people, of laboratory values and of diagnoses.
        options: of `Options`.

    Returns:
        `person`, `days` (at most 0), `before` (-days), `gap` (days since the person's row before;
        null in the first), a column a test (null: not measured then), `condition` (a diagnosis of
        that day), and the same in all rows of a person: `age`, `sex`, `bmi`, `label` (0 or 1).

    Raises:
        UserError: an option or a file is wrong.
    """
    chosen = validate(Options, options, "options")
    if len(files) != len((_PEOPLE, _TESTS, _EVENTS)):
        raise UserError(f"{len(files)} files: people, laboratory values and diagnoses are needed")
    people, tests, events = (
        _columns(file, schema)
        for file, schema in zip(files, (_PEOPLE, _TESTS, _EVENTS), strict=True)
    )
    known = label(people, events, chosen)
    rows = pl.concat(
        [_diagnoses(events), _measured(tests), _index_rows(known)], how="diagonal"
    ).filter(pl.col("days") <= 0)
    rows = rows.join(known, on="id", how="semi").sort("id", "days", "order", "condition")
    gap = pl.col("days") - pl.col("days").shift(1).over("id")
    rows = rows.with_columns(gap=gap, before=-pl.col("days"))
    told = known.select(
        "id",
        "age",
        "bmi",
        "label",
        sex=pl.when(pl.col("male") == 1).then(pl.lit("male")).otherwise(pl.lit("female")),
    )
    return rows.join(told, on="id", how="left", maintain_order="left").select(
        pl.col("id").alias("person"), "days", "before", "gap", *TESTS, "condition", "age", "sex",
        "bmi", "label",
    )  # fmt: skip


def _columns(file: Path, schema: dict[str, Any]) -> pl.DataFrame:
    """The columns of a table that are read."""
    table = read_frame(file)
    found = {name: table.schema.get(name) for name in schema}
    if found != schema:
        raise UserError(f"{file.name} has columns {dict(table.schema)}, needed are {schema}")
    return table.select(list(schema))


def label(people: pl.DataFrame, events: pl.DataFrame, options: Options) -> pl.DataFrame:
    """Return the people whose label is known, with `label`.

    Death: they died within the years, or were followed that long. Diabetes: they had none at the
    index date; it was found within the years, or they were followed that long or died without it.
    """
    days = int(options.years * DAYS_A_YEAR)
    died, followed = pl.col("status") == 1, pl.col("futime") >= days
    if options.label == "death":
        happened = died & (pl.col("futime") <= days)
        return people.filter(happened | followed).with_columns(label=happened.cast(pl.Int64))
    first = events.filter(pl.col("event") == "diabetes").group_by("id").agg(pl.col("days").min())
    found = people.join(first.rename({"days": "found"}), on="id", how="left", maintain_order="left")
    found = found.filter(pl.col("found").is_null() | (pl.col("found") > 0))
    happened = (pl.col("found") <= days).fill_null(False)
    return found.filter(happened | followed | died).with_columns(label=happened.cast(pl.Int64))


def _measured(tests: pl.DataFrame) -> pl.DataFrame:
    """One row a person and day, one column a test; the mean of several on one day."""
    kept = tests.filter(pl.col("test").is_in(TESTS) & pl.col("value").is_not_null())
    for name, (low, high) in PLAUSIBLE.items():
        kept = kept.filter((pl.col("test") != name) | pl.col("value").is_between(low, high))
    means = [pl.col("value").filter(pl.col("test") == name).mean().alias(name) for name in TESTS]
    days = kept.sort("id", "days", "test", "value").group_by("id", "days", maintain_order=True)
    return days.agg(means).with_columns(order=pl.lit(1))


def _diagnoses(events: pl.DataFrame) -> pl.DataFrame:
    """One row a diagnosis."""
    found = events.rename({"event": "condition"}).unique(maintain_order=True)
    return found.with_columns(order=pl.lit(0))


def _index_rows(people: pl.DataFrame) -> pl.DataFrame:
    """The index date of each person: how long ago the last entry was, and somebody to predict."""
    return people.select("id", days=pl.lit(0, dtype=pl.Int64), order=pl.lit(2))
