"""Rows before the index date, and labels from after it; worked out by hand."""

from pathlib import Path

import polars as pl
import pytest

from tasks.params import UserError
from tasks.readers import nafld

PEOPLE = pl.DataFrame(
    {
        "rownames": [1, 2, 3, 4, 5, 6],
        "id": [1, 2, 3, 4, 5, 6],
        "age": [50, 60, 70, 40, 80, 30],
        "male": [0, 1, 1, 0, 0, 1],
        "bmi": [22.5, None, 30.0, 25.0, 27.0, 24.0],
        # Followed ten years; died in year two; lost in year one; died in year six; to the day.
        "futime": [3650, 700, 300, 2000, 1826, 1825],
        "status": [0, 1, 0, 1, 1, 0],
    }
)
TESTS = pl.DataFrame(
    [
        (1, -400, "hdl", 50.0),
        (1, -400, "hdl", 60.0),
        (1, -400, "chol", 55.0),
        (1, -400, "sbp", 120.0),
        (1, -100, "sbp", 13682.0),
        (1, -30, "smoke", 1.0),
        (1, 1, "hdl", 99.0),
        (2, 0, "fib4", 2.7),
        (3, -5, "hdl", 40.0),
    ],
    schema={"id": pl.Int64, "days": pl.Int64, "test": pl.String, "value": pl.Float64},
    orient="row",
)
EVENTS = pl.DataFrame(
    [
        (1, -400, "htn"),
        (1, -400, "htn"),
        (1, 0, "nafld"),
        (1, 900, "diabetes"),
        (2, -50, "diabetes"),
        (2, 20, "diabetes"),
        (4, 1900, "diabetes"),
        (5, 30, "stroke"),
    ],
    schema={"id": pl.Int64, "days": pl.Int64, "event": pl.String},
    orient="row",
)
FILES = [Path("people"), Path("tests"), Path("events")]
TABLES = {"people": PEOPLE, "tests": TESTS, "events": EVENTS}


@pytest.fixture(autouse=True)
def _tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The three tables as they are once decoded."""
    monkeypatch.setattr(nafld, "read_frame", lambda path: TABLES[path.name])


def rows(person: int, **options: object) -> list[tuple[object, ...]]:
    """A person's rows: days, gap, hdl, sbp, fib4, smoke, condition."""
    table = nafld.read(FILES, options).filter(pl.col("person") == person)
    return table.select("days", "gap", "hdl", "sbp", "fib4", "smoke", "condition").rows()


def labels(**options: object) -> dict[int, int]:
    """Each person's label."""
    table = nafld.read(FILES, options).unique("person")
    return dict(zip(table["person"], table["label"], strict=True))


def test_a_row_a_day_a_row_a_diagnosis_and_the_index_date() -> None:
    assert rows(1) == [
        (-400, None, None, None, None, None, "htn"),
        (-400, 0, 55.0, 120.0, None, None, None),
        (-30, 370, None, None, None, 1.0, None),
        (0, 30, None, None, None, None, "nafld"),
        (0, 0, None, None, None, None, None),
    ]
    assert rows(2) == [
        (-50, None, None, None, None, None, "diabetes"),
        (0, 50, None, None, 2.7, None, None),
        (0, 0, None, None, None, None, None),
    ]
    assert rows(5) == [(0, None, None, None, None, None, None)]


def test_what_is_of_the_person_is_the_same_in_all_rows() -> None:
    table = nafld.read(FILES, {}).select("person", "age", "sex", "bmi", "label").unique()
    assert sorted(table.rows()) == [
        (1, 50, "female", 22.5, 0),
        (2, 60, "male", None, 1),
        (4, 40, "female", 25.0, 0),
        (5, 80, "female", 27.0, 1),
    ]


def test_whose_label_is_known() -> None:
    # Five years are 1826 days: person 5 died on the last of them, 6 was lost a day before.
    assert labels() == {1: 0, 2: 1, 4: 0, 5: 1}
    assert labels(years=6) == {1: 0, 2: 1, 4: 1, 5: 1}
    assert labels(years=1) == {1: 0, 2: 0, 4: 0, 5: 0, 6: 0}
    # Person 2 had diabetes before; 5 died without it; 3 and 6 were lost.
    assert labels(label="diabetes") == {1: 1, 4: 0, 5: 0}
    assert labels(label="diabetes", years=6) == {1: 1, 4: 1, 5: 0}


def test_nothing_from_after_the_index_date_is_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another future, the same rows: only the label may tell."""
    before = nafld.read(FILES, {})
    later = [(1, 5, "htn"), (4, 1, "MI"), (2, 3, "stroke")]
    more = pl.concat([EVENTS, pl.DataFrame(later, schema=EVENTS.schema, orient="row")])
    tests = TESTS.with_columns(
        value=pl.col("value") * pl.when(pl.col("days") > 0).then(2).otherwise(1)
    )
    other = TABLES | {"events": more, "tests": tests}
    monkeypatch.setattr(nafld, "read_frame", lambda path: other[path.name])
    assert nafld.read(FILES, {}).equals(before)
    assert before["days"].max() == 0
    assert (before["before"] == -before["days"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "stroke"}, r"^options.label = 'stroke': "),
        ({"years": 0}, r"^options.years = 0: "),
        ({"tests": 1}, r"^options.tests = 1: unknown key"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        nafld.read(FILES, options)


def test_wrong_files_are_one_line() -> None:
    with pytest.raises(UserError, match=r"^2 files: people, laboratory values and diagnoses"):
        nafld.read(FILES[:2], {})
    with pytest.raises(UserError, match=r"^tests has columns .*, needed are .*'age'"):
        nafld.read([FILES[1], FILES[1], FILES[2]], {})
