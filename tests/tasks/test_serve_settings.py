"""Words and references of reasons are checked against what the model reads."""

import copy
from pathlib import Path

import pytest

from tasks.params import UserError, load_recipe, validate
from tasks.recipe import DataConfig, ServeConfig
from tasks.settings.serve import check_serve
from tests import fake, kinds

ROOT = Path(__file__).resolve().parents[2]


def check(reasons: dict[str, dict[str, object]], data: DataConfig) -> None:
    check_serve(validate(ServeConfig, {"reasons": reasons}, "serve"), data)


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        ({"dept": {}}, r"serve\.reasons names 'dept'.*\['debt', 'state', 'limit', 'sex'\]"),
        ({"debt": {"reference": 101}}, r"serve\.reasons\.debt\.reference = 101 must be within"),
        ({"debt": {"reference": "1"}}, r"debt\.reference = '1' must be a number"),
        ({"debt": {"reference": True}}, r"debt\.reference = True must be a number"),
        (
            {"state": {"reference": 3}},
            r"state\.reference = 3 must be one of the values \[0, 1, 2\]",
        ),
        ({"sex": {"reference": "women"}}, r"'women': a sensitive feature has none"),
    ],
)
def test_mistakes_are_named(reasons, words):
    values = copy.deepcopy(fake.WIDE)
    values["sensitive"][0]["feed"] = True
    data = validate(DataConfig, values, "data")
    check({"debt": {"reference": 100}, "state": {"reference": 2}, "sex": {"code": "S"}}, data)
    with pytest.raises(ValueError, match=words):
        check(reasons, data)


def test_sequences_have_no_reasons():
    for kind in kinds.KINDS:
        data = kinds.data_of(kind)
        check({}, data)
        with pytest.raises(ValueError, match=rf"one score a person: not for {kind}"):
            check({"size": {}}, data)


def test_a_mistake_in_a_recipe_is_one_line(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(
        text.replace("bill: {reference: 50000", "bil: {reference: 5")
    )
    with pytest.raises(UserError, match=r"\A[^\n]*serve\.reasons names 'bil'[^\n]*\Z"):
        load_recipe(tmp_path / "params.yaml", "credit")
    assert load_recipe(ROOT / "params.yaml", "credit").serve.reasons["bill"].reference == 50000
