"""Targets that are sequences themselves, as settings and as arrays."""

import numpy as np
import polars as pl
import pytest

from rnn.config import InputShape
from tasks.params import UserError, validate
from tasks.recipe import DataConfig, Target
from tasks.settings.target import output_size
from tasks.table.encode import encode, input_shape, schema
from tasks.table.people import PERSON, group
from tasks.table.targets import targets_of
from tests.generated import CTC, NEXT_TOKEN


def _target(**fields: object) -> Target:
    return validate(Target, fields, "data.target")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "next_token", "column": "y"}, "has no column"),
        ({"kind": "ctc", "classes": ["a"]}, "needs a column"),
        ({"kind": "ctc", "column": "y"}, "at least 1"),
        ({"kind": "ctc", "column": "y", "classes": ["a", "a b"]}, "'a b' must be one symbol"),
        ({"kind": "ctc", "column": "y", "classes": ["a"], "horizon": 3}, "is for forecast, not"),
        ({"kind": "forecast", "column": "y", "horizon": 3}, "forecast needs finite bounds"),
        ({"kind": "forecast", "column": "y", "bounds": [0, 1]}, "horizon is not set"),
        (
            {"kind": "forecast", "column": "y", "bounds": [0, 1], "horizon": 3,
             "quantiles": [0.1, 0.9]},
            "with 0.5 among them",
        ),
        (
            {"kind": "forecast", "column": "y", "bounds": [0, 1], "horizon": 3,
             "quantiles": [0.5, 0.1]},
            "must rise",
        ),
        ({"kind": "binary", "column": "y", "classes": [0, 1], "bounds": [0, 1]}, "bounds"),
    ],
)  # fmt: skip
def test_a_kind_states_what_it_needs_and_nothing_else(
    fields: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=r"\A[^\n]*target\.[^\n]*\Z") as caught:
        _target(**fields)
    assert words in str(caught.value)


def test_the_width_of_the_network_follows_from_the_target() -> None:
    assert output_size({"kind": "binary", "classes": [0, 1]}, 0) == 1
    assert output_size({"kind": "multiclass", "classes": [0, 1, 2]}, 0) == 3
    assert output_size({"kind": "ctc", "classes": ["a", "b"]}, 0) == 3
    assert output_size({"kind": "next_token", "classes": []}, 30) == 30
    assert output_size({"kind": "forecast", "horizon": 4, "quantiles": [0.1, 0.5, 0.9]}, 0) == 12
    assert output_size({"kind": "seq2seq", "vocabulary": list("abcdef")}, 9) == 6


def _data(block: dict[str, object]) -> DataConfig:
    return validate(DataConfig, block["data"], "data")


def _events(said: list[str]) -> pl.DataFrame:
    # Person 1 before person 0, two events each.
    rows = [(person, step, text) for person, text in enumerate(said) for step in (0, 1)]
    return pl.DataFrame(
        {
            "id": [str(person) for person, _, _ in reversed(rows)],
            "step": [str(step) for _, step, _ in reversed(rows)],
            "said": [text for _, _, text in reversed(rows)],
            **{f"band{b}": ["0"] * len(rows) for b in range(3)},
        }
    )


def test_symbols_are_numbered_from_one_in_the_order_of_people() -> None:
    data, frame = _data(CTC), _events(["blue  red", "green", "red red"])
    grouping = group(frame, data)
    found = targets_of(frame, data, grouping)
    assert grouping.table[PERSON].to_list() == ["0", "1", "2"]
    assert found.values.tolist() == [3, 1, 2, 1, 1]
    assert found.values.dtype == np.int32
    assert found.lengths is not None and found.lengths.tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("said", "words"), [("red pink", "not among target.classes"), (" ", "the value is missing")]
)
def test_a_symbol_that_is_none_is_refused_with_its_row(said: str, words: str) -> None:
    data, frame = _data(CTC), _events(["red", said])
    with pytest.raises(UserError, match=r"row \d") as caught:
        targets_of(frame, data, group(frame, data))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_text_that_is_its_own_target_begins_and_ends_with_a_mark() -> None:
    data = _data(NEXT_TOKEN)
    frame = pl.DataFrame({"id": ["1", "2"], "text": ["ab!", ""], "tongue": ["a", "b"]})
    found = encode(frame, data)
    # a is 4: padding, unknown, start and end stand before it. An empty text is one unknown.
    assert found.sequences.tolist() == [2, 4, 5, 1, 3, 2, 1, 3]
    assert found.offsets.tolist() == [0, 5, 8]
    names = schema(data)["input"]["vocabulary"]
    assert names == ["<padding>", "<unknown>", "<start>", "<end>", "a", "b", "c", "d"]
    assert input_shape(data) == InputShape(
        input_size=0, vocabulary_size=8, static_size=0, output_size=8, task="next_token"
    )
    assert targets_of(frame, data, group(frame, data)).values.tolist() == [0, 0]


def test_a_language_model_reads_text() -> None:
    block = {**CTC["data"], "target": {"kind": "next_token"}}
    with pytest.raises(UserError, match=r"next_token needs sequence\.layout = text, not long"):
        validate(DataConfig, block, "data")
