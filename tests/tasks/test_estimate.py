"""A time estimate: from invented rows, of every kind of input."""

import copy

import pytest

from tasks.budget import private_plan, twin_plan
from tasks.estimate import _length, estimate_minutes
from tasks.params import validate
from tasks.recipe import Recipe
from tests.tiny import RECIPE


@pytest.mark.parametrize("kind", ["wide", "text", "regression"])
def test_every_kind_of_input_is_timed(kind):
    values = copy.deepcopy(RECIPE)
    if kind == "text":
        values["data"]["sequence"] = {"layout": "text", "columns": ["d1"], "alphabet": "abc"}
    if kind == "regression":
        values["data"]["target"] = {"column": "y", "kind": "regression", "bounds": [0, 1]}
        values["data"]["decision"] = None
    recipe = validate(Recipe, values, "r")
    for plan in (private_plan(recipe), twin_plan(recipe)):
        few = estimate_minutes(recipe, plan)
        assert 0 < few < 5


def test_texts_are_taken_to_be_half_as_long_as_the_longest():
    """Names of 40 letters at most have 14; an estimate by 32 was twice too long."""
    values = copy.deepcopy(RECIPE)
    text = {"layout": "text", "columns": ["d1"], "alphabet": "abc"}
    lengths = {}
    for longest in (1, 40, 500):
        values["data"]["sequence"] = {**text, "max_length": longest}
        lengths[longest] = _length(validate(Recipe, values, "r").data.sequence)
    assert lengths == {1: 1, 40: 20, 500: 32}
