"""Single people: one of each group beside the rules, and values that say where they are cut."""

import numpy as np
import polars as pl
import pytest

from tasks.evidence.local import MOST_GROUPS, choose, value_of
from tasks.params import validate
from tasks.recipe import DataConfig
from tests.subject import WIDE

TABLE = pl.DataFrame(
    {
        "row": range(10),
        "y_true": [1, 0] * 5,
        "y_pred": [0] * 5 + [1] * 5,
        "y_score": np.linspace(0.05, 0.95, 10),
    }
)


def test_one_of_each_group_is_the_middle_one() -> None:
    sexes = ["f", "m"] * 5
    found = choose(TABLE, "binary", 3, {"sex": sexes, "town": ["a"] * 9 + ["b"]})
    rules = [rule for rule, _ in found]
    assert rules[3:] == [
        "middle score of sex f",
        "middle score of sex m",
        "middle score of town a",
        "middle score of town b",
    ]
    rows = [person["row"] for _, person in found]
    assert len(set(rows)) == 7
    by_rules = set(rows[:3])
    left = [r for r in (4, 2, 6, 0, 8) if r not in by_rules]
    assert rows[3] == left[0], "the middle woman, or the next to her who is not there yet"
    assert rows[6] == 9


def test_nobody_is_chosen_where_nobody_is_wanted() -> None:
    assert choose(TABLE, "binary", 0, {"sex": ["f"] * 10}) == []


def test_there_are_at_most_so_many_groups() -> None:
    many = pl.concat([TABLE.select("y_true", "y_pred", "y_score")] * 12).with_row_index("row")
    labels = [f"g{i % 60:03}" for i in range(120)]
    assert len(choose(many, "binary", 2, {"g": labels})) == 2 + MOST_GROUPS


def test_several_classes_and_numbers_have_a_middle_too() -> None:
    classes = TABLE.with_columns(
        score_0=1 - pl.col("y_score"), score_1=pl.col("y_score"), score_2=pl.lit(0.0)
    )
    for kind, table in (("multiclass", classes), ("regression", TABLE)):
        found = choose(table, kind, 1, {"sex": ["f"] * 5 + ["m"] * 5})
        assert [rule for rule, _ in found][1:] == ["middle score of sex f", "middle score of sex m"]


DATA = validate(DataConfig, WIDE, "data")
BILL = [{"feature": "bill", "value": None}] * 2


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        # Inside both readings the first speaks; above the first the second; above both neither.
        ([0.0, 0.5], "500"),
        ([1.0, 0.9], "3,266"),
        ([1.0, 1.0], "1,000 or more"),
        ([-1.0, -1.0], "0"),
    ],
)
def test_a_number_says_where_it_is_cut_off(numbers: list[float], said: str) -> None:
    assert value_of(DATA, "sequence", "bill", BILL, np.array(numbers)) == said


def test_categories_and_numbers_of_one_name_give_the_number() -> None:
    mixed = [{"feature": "bill", "value": "late"}, *BILL]
    assert value_of(DATA, "sequence", "bill", mixed, np.array([1.0, 0.0, 0.5])) == "500"
    status = [{"feature": "status", "value": v} for v in ("late", "paid")]
    assert value_of(DATA, "sequence", "status", status, np.array([0.0, 1.0])) == "paid"
    assert value_of(DATA, "sequence", "status", status, np.array([0.0, 0.0])) == "other"
