"""Bad params and bad files, through the real stages: one line, exit status 1, nothing lost."""

import copy
import re
import sys

import pytest
import yaml

from tasks import fetch, plan, prepare
from tasks.artifacts import digest_folder
from tasks.params import command
from tests.tiny import RECIPE, raw_rows


def _at(tree, path):
    for key in path[:-1]:
        tree = tree[key]
    return tree, path[-1]


def _set(*path, value):
    def change(recipe, lines):
        tree, key = _at(recipe, path)
        tree[key] = value

    return change


def _drop(*path):
    def change(recipe, lines):
        tree, key = _at(recipe, path)
        del tree[key]

    return change


def _cell(row, column, value):
    """Change one cell; row 1 is the first of data."""

    def change(recipe, lines):
        cells = lines[row].split(",")
        cells[lines[0].split(",").index(column)] = value
        lines[row] = ",".join(cells)

    return change


def _all(column, value):
    def change(recipe, lines):
        for row in range(1, len(lines)):
            _cell(row, column, value)(recipe, lines)

    return change


def _then(*changes):
    def change(recipe, lines):
        for one in changes:
            one(recipe, lines)

    return change


FEATURE = ("data", "sequence", "features", 0)
CASES = {
    "unknown key": (
        _set("train", "learning_rte", value=0.1),
        r"recipes\.tiny\.train\.learning_rte = 0\.1: unknown key \(did you mean learning_rate\?\)",
    ),
    "unknown block": (_set("trane", value={}), r"recipes\.tiny\.trane: unknown key .*train"),
    "missing steps": (_drop("train", "steps"), r"recipes\.tiny\.train\.steps: is required"),
    "rate below zero": (
        _set("train", "learning_rate", value=-1),
        r"train\.learning_rate = -1: input should be greater than 0",
    ),
    "text for a number": (
        _set("train", "steps", value="many"),
        r"train\.steps = 'many': input should be a valid integer",
    ),
    "unknown cell": (
        _set("model", "cell", value="transformer"),
        r"model\.cell = 'transformer': input should be 'rnn', 'lstm' or 'gru'",
    ),
    "unknown layout": (
        _set("data", "sequence", "layout", value="tall"),
        r"data\.sequence: 'layout' must be one of 'wide', 'long', 'text'",
    ),
    "unknown source": (
        _set("data", "source", "kind", value="ftp"),
        r"data\.source: 'kind' must be one of 'path', 'url', 'pypi'",
    ),
    "endless bound": (
        _set(*FEATURE, "bounds", value=[0, float("inf")]),
        r"features\.0: feature 'debt': bounds = \[0\.0, inf\] must be finite",
    ),
    "bounds upside down": (
        _set(*FEATURE, "bounds", value=[4, -4]),
        r"feature 'debt': bounds = \[4, -4\] must rise from low to high",
    ),
    "columns and steps differ": (
        _set(*FEATURE, "columns", value=["d1", "d2"]),
        r"feature 'debt': columns has 2 entries, steps has 3",
    ),
    "no decision": (
        _drop("data", "decision"),
        r"recipes\.tiny: data\.decision is not set: a binary target needs the favourable class",
    ),
    "favourable is no class": (
        _set("data", "decision", "favourable", value=7),
        r"data\.decision\.favourable = 7 is not one of data\.target\.classes = \[0, 1\]",
    ),
    "large delta": (
        _set("privacy", "delta", value=0.01),
        r"privacy: delta = 0\.01 is above 1 / \(10 population\) = 0\.000278",
    ),
    "two promises": (
        _set("privacy", "target_epsilon", value=1),
        r"privacy: state exactly one of target_epsilon and noise_multiplier",
    ),
    "batch above population": (
        _set("train", "expected_batch_size", value=360),
        r"train\.expected_batch_size = 360 must be below privacy\.population = 360",
    ),
    "reference of no feature": (
        _set("audit", "references", value={"age": "old"}),
        r"audit\.references names 'age', which is not among data\.sensitive: \['sex'\]",
    ),
    "control of no feature": (
        _set("audit", "control", value=["age"]),
        r"audit\.control names 'age', which is not among data\.sensitive: \['sex'\]",
    ),
    "no such file": (
        _set("data", "source", "path", value="nobody-*.csv"),
        r"source.*nobody-\*\.csv",
    ),
    "missing column": (_set(*FEATURE, "columns", value=["d1", "d2", "d9"]), r"d9"),
    "missing person column": (_set("data", "person", value="ident"), r"person.*ident"),
    "repeated person": (_cell(9, "id", "0"), r"person.*id = 0.*rows 1 and 9"),
    "text in a number column": (_cell(5, "d2", "lots"), r"debt.*d2.*row 5.*'lots'"),
    "undeclared class": (_cell(4, "y", "2"), r"target.*y.*row 4.*'2'"),
    "one class only": (_all("y", "1"), r"target.*y"),
    "unparsable date": (
        _then(
            _set("data", "split", "as_of", value={"column": "sex", "date": "2020-01-01"}),
        ),
        r"as_of.*sex.*row",
    ),
    "everybody in training": (
        _then(
            _set("data", "split", "column", value="sex"),
            _all("sex", "train"),
            _set("data", "sensitive", value=[]),
        ),
        r"split",
    ),
}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(root, recipe, lines):
    params = {"run": ["tiny"], "recipes": {"tiny": recipe}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "people.csv").write_text("\n".join(lines) + "\n")


def _stages(monkeypatch):
    """Plan, fetch, prepare, as DVC would run them."""
    for stage in (plan, fetch, prepare):
        monkeypatch.setattr(sys, "argv", [stage.__name__, "tiny"])
        command(stage.main)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_loses_nothing(name, checkout, monkeypatch):
    change, expected = CASES[name]
    lines = raw_rows(80).write_csv().splitlines()
    recipe = copy.deepcopy(RECIPE)
    _write(checkout, recipe, lines)
    _stages(monkeypatch)
    kept = ("raw", "prepared")
    before = [digest_folder(checkout / "data/tiny" / stage) for stage in kept]
    change(recipe, lines)
    _write(checkout, recipe, lines)
    with pytest.raises(SystemExit) as caught:
        _stages(monkeypatch)
    text = caught.value.code
    assert isinstance(text, str), "exit status 1, with a text"
    assert text.startswith("error: ")
    assert "\n" not in text
    assert "tiny" in text or "data." in text
    assert re.search(expected, text), text
    after = [digest_folder(checkout / "data/tiny" / stage) for stage in kept]
    assert after[1] == before[1], "the prepared data of before are still there"
    assert (checkout / "data/tiny/plan/train.json").exists()
    leftovers = [p for p in (checkout / "data/tiny").iterdir() if p.name.startswith(".")]
    assert not leftovers


def test_at_least_twenty_cases():
    assert len(CASES) >= 20


def test_params_that_are_not_yaml(checkout, monkeypatch):
    for text, expected in (
        ("recipes: [", "is not YAML"),
        ("- 1", "holds no mapping"),
        ("recipes: {}", "recipes.tiny is not there; known: "),
        ("recipes: {Tiny Recipe: {}}", "known: Tiny Recipe"),
        ("a: 1\na: 2", "key 'a' stands in line 1 and again in line 2"),
    ):
        (checkout / "params.yaml").write_text(text)
        with pytest.raises(SystemExit) as caught:
            _stages(monkeypatch)
        assert expected in caught.value.code
        assert "\n" not in caught.value.code
