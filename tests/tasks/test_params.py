"""Reading params.yaml; the docs know every field."""

import dataclasses
import json
import typing
from pathlib import Path

import pytest
import yaml

from tasks import recipe as module
from tasks.params import UserError, as_json, command, load_recipe, validate
from tasks.recipe import ExplainConfig, PathSource, Recipe
from tests import generated

ROOT = Path(__file__).resolve().parents[2]


def _fields(kind, seen):
    if not dataclasses.is_dataclass(kind) or kind in seen:
        return
    seen.add(kind)
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        yield field.name
        waiting = [hints[field.name]]
        while waiting:
            hint = waiting.pop()
            yield from _fields(hint, seen)
            waiting += typing.get_args(hint)


def test_every_field_is_in_the_docs():
    text = (ROOT / "docs" / "params.md").read_text()
    fields = set(_fields(Recipe, set()))
    assert len(fields) > 60
    assert not sorted(f for f in fields if f not in text)


@pytest.mark.parametrize("name", ["credit", "names", "health"])
def test_shipped_recipes_are_valid_and_survive_json(name):
    recipe = load_recipe(ROOT / "params.yaml", name)
    assert validate(Recipe, json.loads(json.dumps(as_json(recipe))), "again") == recipe


def test_configs_are_frozen_and_forbid_extra_keys():
    kinds = [
        kind
        for kind in vars(module).values()
        if dataclasses.is_dataclass(kind)
        and kind.__module__.startswith(("tasks", "rnn"))
        and not kind.__name__.startswith("_")
    ]
    assert len(kinds) > 20
    for kind in kinds:
        assert kind.__dataclass_params__.frozen, kind
        assert kind.__pydantic_config__["extra"] == "forbid", kind


def test_missing_field_of_a_union_is_named():
    with pytest.raises(UserError, match=r"^x\.path: is required$"):
        validate(PathSource, {"kind": "path"}, "x")


def test_command_ends_with_status_1_and_one_line(monkeypatch):
    def fails(argv):
        raise UserError("data.person is not set")

    monkeypatch.setattr("sys.argv", ["stage"])
    with pytest.raises(SystemExit) as caught:
        command(fails)
    assert caught.value.code == "error: data.person is not set"


def test_interrupt_is_not_a_traceback(monkeypatch):
    def stopped(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["stage"])
    with pytest.raises(SystemExit) as caught:
        command(stopped)
    assert caught.value.code == 130


def test_defaults_of_explain_hang_on_the_kind_and_give_way_to_what_is_stated(tmp_path):
    blocks, _ = generated.RECIPES["ring"]
    recipe = {**generated.SHARED, **blocks, "explain": {"orders": 10}}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"recipes": {"ring": recipe}}))
    found = load_recipe(path, "ring").explain
    assert (found.people, found.orders, found.compare) == (150, 10, ("occlusion",))
    assert load_recipe(ROOT / "params.yaml", "credit").explain.people == ExplainConfig().people
    path.write_text(yaml.safe_dump({"recipes": {"ring": {**recipe, "explain": 3}}}))
    with pytest.raises(UserError, match=r"recipes\.ring\.explain"):
        load_recipe(path, "ring")
