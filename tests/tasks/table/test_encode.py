"""Raw rows to arrays, against values that were worked out by hand."""

import math

import numpy as np
import polars as pl
import pytest

from tasks.params import UserError, validate
from tasks.recipe import DataConfig
from tasks.table.cells import ROW, canonical, canonical_scalar
from tasks.table.encode import (
    encode,
    encode_sensitive,
    encode_targets,
    input_shape,
    scale,
    schema,
    unscale,
)

SOURCE = {"kind": "path", "path": "table.csv", "null_values": ["", "NA", "-999"]}


def wide(**changes: object) -> DataConfig:
    """Two steps of a number and a category."""
    block = {
        "source": SOURCE,
        "person": "id",
        "sequence": {
            "layout": "wide",
            "steps": ["may", "june"],
            "features": [
                {"name": "bill", "bounds": [0, 10], "columns": ["b1", "b2"], "unit": "EUR"},
                {"name": "state", "values": [0, "late"], "columns": ["s1", "s2"]},
            ],
        },
        "static": [{"name": "limit", "column": "limit", "bounds": [0, 100]}],
        "target": {"column": "y", "kind": "binary", "classes": [0, 1]},
        "sensitive": [
            {"name": "sex", "column": "sex", "labels": {0: "male", 1: "female"}},
            {"name": "age", "column": "age", "bins": [18, 30, 31]},
            {"name": "school", "one_hot": {"e1": "low", "e2": "high"}},
        ],
        "split": {"salt": "s"},
    }
    return validate(DataConfig, {**block, **changes}, "test")


def wide_rows() -> pl.DataFrame:
    """As a CSV gives them: text."""
    return pl.DataFrame(
        {
            "id": ["7", "8", "9"],
            "b1": ["0", "5.0", "NA"],
            "b2": ["10", "2.5", "99"],
            "s1": ["0", "0.0", "late"],
            "s2": ["late", None, "other"],
            "limit": ["100", "-999", "50"],
            "y": ["0", "1.0", "1"],
            "sex": ["0", "1", "2"],
            "age": ["18", "30.0", "NA"],
            "e1": ["1", "0", "0"],
            "e2": ["0", "1", "0"],
        }
    )


def test_wide_by_hand() -> None:
    got = encode(wide_rows(), wide())
    assert got.person_ids.to_list() == ["7", "8", "9"]
    expected = [[-1, 1, 0], [1, 0, 1], [0, 1, 0], [-0.5, 0, 0], [0, 0, 1], [1, 0, 0]]
    np.testing.assert_array_equal(got.sequences, np.array(expected, dtype=np.float32))
    assert got.missing is not None and got.missing.dtype == np.uint8
    gone = [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert got.missing.tolist() == gone
    assert got.offsets.tolist() == [0, 2, 4, 6]
    assert got.static.tolist() == [[1.0], [0.0], [0.0]]
    assert got.sequences.dtype == got.static.dtype == np.float32


def test_targets_and_sensitive_by_hand() -> None:
    rows, data = wide_rows(), wide()
    assert encode_targets(rows, data).tolist() == [0, 1, 1]
    found = encode_sensitive(rows, data)
    assert found["sex"].to_list() == ["male", "female", "unknown"]
    assert found["age"].to_list() == ["18-29", "30", "unknown"]
    assert found["school"].to_list() == ["low", "high", "unknown"]


def test_text_and_typed_rows_give_the_same_arrays() -> None:
    data, text = wide(), wide_rows()
    typed = text.with_columns(
        pl.Series("b1", [0.0, 5.0, math.nan]),
        pl.Series("b2", [10.0, 2.5, 99.0]),
        pl.Series("limit", [100, -999, 50]),
        pl.Series("y", [0, 1, 1]),
        pl.Series("id", [7, 8, 9]),
        pl.Series("sex", [0.0, 1.0, 2.0]),
        pl.Series("age", [18, 30, None]),
        pl.Series("e1", [True, False, False]),
    )
    one, other = encode(text, data), encode(typed, data)
    for name in ("sequences", "missing", "offsets", "static"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    assert one.person_ids.to_list() == other.person_ids.to_list()
    assert encode_targets(text, data).tolist() == encode_targets(typed, data).tolist()
    assert encode_sensitive(text, data).equals(encode_sensitive(typed, data))


def test_serving_needs_neither_target_nor_sensitive_columns() -> None:
    rows = wide_rows()
    bare = rows.drop("y", "sex", "age", "e1", "e2")
    assert encode(bare, wide()).sequences.tobytes() == encode(rows, wide()).sequences.tobytes()


@pytest.mark.parametrize(
    ("transform", "bounds", "value", "expected"),
    [
        ("linear", (-2, 8), 3, 0.0),
        ("log", (0, math.e - 1), math.sqrt(math.e) - 1, 0.0),
        ("signed_log", (-(math.e - 1), math.e**3 - 1), math.e - 1, 0.0),
        ("linear", (0, 1), 99, 1.0),
    ],
)
def test_scale_by_hand(transform: str, bounds: tuple, value: float, expected: float) -> None:
    got = scale(np.array([value]), bounds, transform)
    np.testing.assert_allclose(got, [expected], atol=1e-12)


@pytest.mark.parametrize("transform", ["linear", "log", "signed_log"])
def test_unscale_is_the_inverse(transform: str) -> None:
    bounds = (0.0, 50.0) if transform == "log" else (-20.0, 50.0)
    values = np.linspace(*bounds, 17)
    back = unscale(scale(values, bounds, transform), bounds, transform)
    np.testing.assert_allclose(back, values, atol=1e-9)


def test_canonical_text() -> None:
    text = pl.Series(["1", "1.0", "1.50", "007", "True", "FALSE", "-2.", "1e3", "a.0", None])
    assert canonical(text).to_list() == [
        "1", "1", "1.5", "007", "true", "false", "-2", "1e3", "a.0", None,
    ]  # fmt: skip
    assert canonical(pl.Series([True, False])).to_list() == ["true", "false"]
    assert canonical_scalar(2.0) == canonical_scalar(2) == canonical_scalar("2") == "2"


def long(**changes: object) -> DataConfig:
    """Events with one number."""
    block = {
        "source": SOURCE,
        "person": "who",
        "sequence": {
            "layout": "long",
            "time": "when",
            "max_length": 2,
            "features": [{"name": "x", "column": "x", "bounds": [0, 4]}],
        },
        "static": [{"name": "a", "column": "a", "bounds": [0, 2]}],
        "target": {"column": "y", "kind": "regression", "bounds": [0, 10]},
        "split": {"salt": "s"},
    }
    return validate(DataConfig, {**block, **changes}, "test")


def test_long_sorts_by_time_keeps_the_latest_and_the_order_of_ties() -> None:
    rows = pl.DataFrame(
        {
            "who": ["b", "a", "b", "a", "b", "a"],
            "when": ["3", "5", "1", "5", "2", "4"],
            "x": ["0", "1", "2", "3", "4", "NA"],
            "a": ["2", "0", "2", "0", "2", "0"],
            "y": ["10", "0", "10", "0", "10", "0"],
        }
    )
    got = encode(rows, long())
    assert got.person_ids.to_list() == ["a", "b"]
    assert got.offsets.tolist() == [0, 2, 4]
    assert got.sequences.ravel().tolist() == [-0.5, 0.5, 1.0, -1.0]
    assert got.static.tolist() == [[-1.0], [1.0]]
    assert encode_targets(rows, long()).tolist() == [-1.0, 1.0]


def test_dates_sort_however_they_are_written() -> None:
    rows = pl.DataFrame({"who": ["a"] * 3, "x": [1, 2, 3], "a": [0] * 3, "y": [0] * 3})
    iso = rows.with_columns(pl.Series("when", ["2020-02-01", "2020-01-31", "2020-01-01T05:00:00"]))
    german = rows.with_columns(pl.Series("when", ["01.02.2020", "31.01.2020", "01.01.2020"]))
    typed = iso.with_columns(
        pl.Series("when", ["2020-02-01", "2020-01-31", "2020-01-01"]).str.to_date()
    )
    layout = {**long().sequence.__dict__, "time_format": "%d.%m.%Y", "max_length": 3}
    layout["features"] = [{"name": "x", "column": "x", "bounds": [0, 4]}]
    formatted = long(sequence=layout)
    for frame, data in [(iso, long()), (typed, long()), (german, formatted)]:
        assert encode(frame, data).sequences.ravel().tolist()[-2:] == [0.0, -0.5]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("when", ["1", "soon"], "data.sequence.time: column when, row 2: 'soon' is not a number"),
        ("when", ["soon", "1"], "column when, row 1: 'soon' is neither a number nor an ISO date"),
        ("when", ["1", None], "data.sequence.time: column when, row 2: the value is missing"),
        ("who", ["a", ""], "data.person: column who, row 2: the value is missing"),
        ("x", ["1", "abc"], "data.sequence.features.x: column x, row 2: 'abc' is not a number"),
        (
            "x",
            ["inf", "1"],
            "features.x: column x, row 1: 'inf' is not a finite number",
        ),
        (
            "y",
            ["1", "NA"],
            "data.target.column: column y: person a has '1' in row 1 and 'NA'",
        ),
        (
            "a",
            ["1", "2"],
            "static.a: column a: person a has '1' in row 1 and '2' in row 2: one",
        ),
    ],
)
def test_long_errors_name_field_column_row_and_value(
    column: str, values: list, message: str
) -> None:
    rows = pl.DataFrame(
        {"who": ["a", "a"], "when": ["1", "2"], "x": ["1", "2"], "a": ["1", "1"], "y": ["1", "1"]}
    ).with_columns(pl.Series(column, values))
    with pytest.raises(UserError) as caught:
        encode(rows, long())
        encode_targets(rows, long())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def text(**changes: object) -> DataConfig:
    """Two columns of text."""
    block = {
        "source": SOURCE,
        "sequence": {
            "layout": "text",
            "columns": ["first", "last"],
            "alphabet": "abc ",
            "max_length": 5,
        },
        "target": {"column": "y", "kind": "multiclass", "classes": ["u", "v", "w"]},
        "split": {"salt": "s"},
    }
    return validate(DataConfig, {**block, **changes}, "test")


def test_text_by_hand() -> None:
    rows = pl.DataFrame(
        {"first": ["Ab", None, "", "aéb"], "last": ["c", "ca", None, "cccc"], "y": list("uvwu")}
    )
    got = encode(rows, text())
    # 2 a, 3 b, 4 c, 5 space; 1 unknown.
    tokens = [2, 3, 5, 4, 4, 2, 1, 2, 1, 3, 5, 4]
    assert got.sequences.tolist() == tokens and got.sequences.dtype == np.int32
    assert got.offsets.tolist() == [0, 4, 6, 7, 12]
    assert got.missing is None and got.static.shape == (4, 0)
    assert encode_targets(rows, text()).tolist() == [0, 1, 2, 0]


def test_a_record_is_named_by_its_own_cells() -> None:
    rows = pl.DataFrame({"first": list("abab"), "last": list("cccc"), "y": list("uvuv")})
    ids = encode(rows, text()).person_ids.to_list()
    assert len(set(ids)) == 4 and ids[2] == f"{ids[0]}-2" and ids[3] == f"{ids[1]}-2"
    assert encode(rows[1:], text()).person_ids.to_list() == [ids[1], ids[0], ids[3]]


def test_an_undeclared_class_names_row_and_classes() -> None:
    rows = wide_rows().with_columns(pl.Series("y", ["0", "1", "2"]), pl.Series(ROW, [11, 12, 13]))
    with pytest.raises(UserError, match=r"target: column y, row 13: '2' is not among .*\[0, 1\]"):
        encode_targets(rows, wide())


def test_a_missing_column_suggests_a_near_one() -> None:
    with pytest.raises(UserError, match=r"column limit is not in the data \(near: limits\)"):
        encode(wide_rows().rename({"limit": "limits"}), wide())


def test_two_columns_of_a_one_hot_are_refused() -> None:
    rows = wide_rows().with_columns(pl.Series("e2", ["1", "1", "0"]))
    with pytest.raises(UserError, match="column e2, row 1: a second column of one_hot is 1"):
        encode_sensitive(rows, wide())


def test_schema_and_shape_count_what_encode_writes() -> None:
    fed = {"name": "sex", "column": "sex", "labels": {0: "male", 1: "female"}, "feed": True}
    data = wide(missing_indicators=True, sensitive=[fed])
    got, known, shape = encode(wide_rows(), data), schema(data), input_shape(data)
    assert known["input"]["size"] == got.sequences.shape[1] == 3
    assert [c["value"] for c in known["channels"]] == [None, "0", "late"]
    assert shape.input_size == 6 and shape.output_size == 1 and shape.vocabulary_size == 0
    assert shape.static_size == len(known["static"]) == got.static.shape[1] == 3
    assert got.static[:, 1:].tolist() == [[1, 0], [0, 1], [0, 0]]
    assert known["target"]["names"] == ["0", "1"] and known["steps"] == ["may", "june"]
    tokens = input_shape(text())
    assert (tokens.vocabulary_size, tokens.output_size, tokens.input_size) == (6, 3, 0)
    assert schema(text())["input"]["vocabulary"] == ["<padding>", "<unknown>", *"abc "]


def test_an_empty_frame_is_nobody() -> None:
    for data, rows in [
        (wide(), wide_rows()),
        (text(), pl.DataFrame(schema=dict.fromkeys(("first", "last", "y"), pl.String))),
    ]:
        got = encode(rows.clear(), data)
        assert len(got) == 0 and got.offsets.tolist() == [0]
