"""Settings of private preparation: what is refused, in one line that names field and value."""

from typing import Any

import pytest

from tasks.params import UserError, validate
from tasks.recipe import DataConfig, Recipe
from tests.tiny import RECIPE

BOUNDS: dict[str, Any] = {"epsilon": 0.1, "range": [0, 100]}
WARDS: dict[str, Any] = {"epsilon": 0.1}


def _data(feature: dict[str, Any], **changes: Any) -> DataConfig:
    """A long recipe with one feature."""
    block = {
        "source": {"kind": "path", "path": "-"},
        "person": "id",
        "sequence": {
            "layout": "long",
            "time": "t",
            "features": [{"name": "v", "column": "v", **feature}],
        },
        "target": {"column": "y", "kind": "binary", "classes": [0, 1]},
        "split": {"salt": "s"},
    }
    return validate(DataConfig, {**block, **changes}, "data")


def _text(**changes: Any) -> dict[str, Any]:
    """A text layout."""
    return {"sequence": {"layout": "text", "columns": ["t"], **changes}}


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {}, "feature 'v': state exactly one of bounds and values"),
    ({"bounds": [0, 1], "private_bounds": BOUNDS}, {}, "state exactly one of bounds and values"),
    ({"values": ["a"], "private_values": WARDS}, {}, "state exactly one of bounds and values"),
    (
        {"private_bounds": {"range": [0, 1]}}, {},
        "features.0.private_bounds.epsilon: is required",
    ),
    (
        {"private_bounds": BOUNDS | {"epsilon": 0}}, {},
        "private_bounds.epsilon = 0: input should be greater than 0",
    ),
    (
        {"private_bounds": BOUNDS | {"range": [1, 1]}}, {},
        "private_bounds.range = [1, 1] must be finite and rise",
    ),
    (
        {"private_bounds": BOUNDS | {"low_quantile": 0.99}}, {},
        "private_bounds.low_quantile = 0.99 must be below high_quantile = 0.99",
    ),
    (
        {"private_bounds": BOUNDS | {"low": 1, "high": 2}}, {},
        "low and high are both public: state bounds instead",
    ),
    (
        {"private_bounds": BOUNDS | {"low": 100}}, {},
        "private_bounds.low = 100 must be from 0 to below 100, the range",
    ),
    (
        {"private_bounds": BOUNDS | {"high": 0}}, {},
        "private_bounds.high = 0 must be above 0 and at most 100, the range",
    ),
    (
        {"private_bounds": BOUNDS | {"range": [-1, 1]}, "transform": "log"}, {},
        "private_bounds.range begins at -1: it must not be negative with transform log",
    ),
    (
        {"private_bounds": BOUNDS | {"gird": "log"}}, {},
        "private_bounds.gird = 'log': unknown key (did you mean grid?)",
    ),
    (
        {"private_values": WARDS | {"candidates": ["a"], "delta": 1e-9}}, {},
        "candidates need no delta: state one of them",
    ),
    ({"private_values": WARDS | {"candidates": ["a", "a"]}}, {}, "candidates must be distinct"),
    (
        {"private_values": WARDS, "missing": 1.0}, {},
        "feature 'v': missing and private_missing are for numbers",
    ),
    (
        {"bounds": [0, 1], "missing": 0.5, "private_missing": {"epsilon": 1}}, {},
        "feature 'v': state one of missing and private_missing, not both",
    ),
    ({"bounds": [0, 1], "missing": float("inf")}, {}, "missing = inf must be finite"),
    (
        {"bounds": [0, 1]}, {"private_counts": {"feature": "sex", "epsilon": 1.0}},
        "private_counts.feature = 'sex' must be among data.sensitive with labels, bins or one_hot",
    ),
    ({}, _text(), "sequence.alphabet = '': state exactly one of alphabet and private_alphabet"),
    (
        {}, _text(alphabet="ab", private_alphabet=WARDS),
        "sequence.alphabet = 'ab': state exactly one of alphabet and private_alphabet",
    ),
    (
        {}, _text(private_alphabet=WARDS | {"candidates": ["ab"]}),
        "private_alphabet.candidates: 'ab' must be one character",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("feature", "changes", "message"), REFUSED)
def test_refused_in_one_line(
    feature: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        _data(feature, **changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_weights_counted_once_need_counts_of_the_same_groups() -> None:
    once = {"method": "reweight", "feature": "sex", "counted": "once"}
    counts = {"feature": "sex", "epsilon": 0.1}
    recipe = {**RECIPE, "mitigation": once}
    with pytest.raises(UserError, match=r"'once' needs data\.private_counts with feature = 'sex'"):
        validate(Recipe, recipe, "recipe")
    counted = {**RECIPE["data"], "private_counts": counts}
    assert validate(Recipe, {**recipe, "data": counted}, "recipe").data.private_counts is not None
    other = {**RECIPE, "data": counted, "compare": {"alternatives": [once]}}
    with pytest.raises(UserError, match="counted: once is for mitigation alone"):
        validate(Recipe, other, "recipe")


def test_accepted() -> None:
    data = _data({"private_bounds": BOUNDS | {"low": 0}, "private_missing": {"epsilon": 0.1}})
    (feature,) = data.sequence.features  # type: ignore[union-attr]
    assert feature.is_number and feature.bounds is None and feature.private_bounds is not None
