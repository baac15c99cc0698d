"""A drafted recipe asks before it is valid, and is valid when it is answered."""

import re
from pathlib import Path

import polars as pl
import pytest
import yaml

from tasks.draft import draft, main, read_sample
from tasks.params import UserError, load_recipe, validate
from tasks.recipe import Recipe
from tasks.table.guess import guess


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def visits() -> pl.DataFrame:
    """Several rows a patient."""
    return pl.DataFrame(
        {
            "patient_id": [1, 1, 2, 2] * 10,
            "visit_date": ["2020-01-01", "2020-02-01"] * 20,
            "pulse": [60.5, 71.0] * 20,
            "Gender": ["f", "f", "m", "m"] * 10,
            "age": [30, 30, 50, 50] * 10,
            "ward": ["a", "b"] * 20,
            "readmitted": [0, 0, 1, 1] * 10,
        }
    )


def cards() -> pl.DataFrame:
    """Numbered columns."""
    columns = {f"BILL_{i}": range(30) for i in (1, 2, 10)} | {
        f"PAY{i}": range(30) for i in (3, 1, 2)
    }
    return pl.DataFrame(
        {"ID": range(30), **columns, "LIMIT": range(30), "SEX": [0, 1] * 15, "y": [0, 1, 1] * 10}
    )


def notes() -> pl.DataFrame:
    """Free text."""
    return pl.DataFrame(
        {
            "note: free": [f"a rather long remark number {i}" for i in range(30)],
            "label": ["u", "v", "w"] * 10,
        }
    )


TABLES = {"long": visits(), "wide": cards(), "text": notes()}


def filled(text: str) -> str:
    """The draft with every question answered."""
    answers = [
        (r"bounds: \[FILL, FILL\]", "bounds: [0, 100]"),
        (r"values: \[\]", "values: [a, b]"),
        (r"classes: \[\]  # FILL: two", "classes: [0, 1]  # two"),
        (r"classes: \[\]", "classes: [u, v, w]"),
        (r"favourable: FILL", "favourable: 0"),
        (r"approval_rate: FILL", "approval_rate: 0.8"),
        (r"population: FILL", "population: 10000"),
        (r"delta: FILL", "delta: 1.0e-6"),
    ]
    for pattern, answer in answers:
        text = re.sub(pattern, answer, text)
    return text


@pytest.mark.parametrize("layout", TABLES)
def test_the_draft_validates_when_it_is_filled_and_not_before(layout: str) -> None:
    path = Path(f"{layout}.csv")
    TABLES[layout].write_csv(path)
    text = draft(path, read_sample(path))
    with pytest.raises(UserError) as caught:
        validate(Recipe, yaml.safe_load(text)["recipes"][layout], f"recipes.{layout}")
    assert "\n" not in str(caught.value)
    Path("params.yaml").write_text(filled(text))
    recipe = load_recipe(Path("params.yaml"), layout)
    assert recipe.data.sequence.layout == layout
    assert recipe.data.source.path == f"{layout}.csv"


def test_an_open_bound_is_named() -> None:
    visits().write_csv("long.csv")
    text = draft(Path("long.csv"), visits()).replace("classes: []", "classes: [0, 1]")
    with pytest.raises(UserError, match=r"bounds.0 = 'FILL'"):
        validate(Recipe, yaml.safe_load(text)["recipes"]["long"], "recipes.long")


def test_long_is_recognised() -> None:
    found = guess(visits())
    assert (found.layout, found.person, found.time) == ("long", "patient_id", "visit_date")
    assert found.sensitive == ["Gender", "age"] and found.target == ["readmitted"]
    assert found.rest == {"pulse": True, "ward": False}


def test_families_are_ordered_by_number() -> None:
    found = guess(cards())
    assert found.layout == "wide" and found.target == ["y"] and found.rest == {"LIMIT": True}
    assert found.families == {
        "BILL": ["BILL_1", "BILL_2", "BILL_10"],
        "PAY": ["PAY1", "PAY2", "PAY3"],
    }


def test_no_value_of_the_data_is_in_a_draft() -> None:
    secret = visits().with_columns(pulse=pl.lit(987.625), ward=pl.lit("isolation"))
    text = draft(Path("t.csv"), secret)
    assert "987" not in text and "isolation" not in text and "NOT computed" in text


def test_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    notes().write_csv("n.csv")
    main(["n.csv"])
    assert "layout: text" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"none.csv is not there"):
        main(["none.csv"])
    with pytest.raises(UserError, match=r"usage: python -m tasks.draft"):
        main([])
