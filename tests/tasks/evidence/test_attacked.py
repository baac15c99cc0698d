"""What the attack run of a recipe is told of its inputs, and when there is none."""

from dataclasses import replace

import pytest

from rnn.config import InputShape
from tasks.evidence.attacked import ideal_bounds, input_bounds, study
from tasks.params import validate
from tasks.recipe import AttackConfig, AttackRunConfig, DataConfig
from tasks.table.encode import input_shape, schema
from tests.fake import LAYOUTS
from tests.heldout import ATTACK, SPENT, TRAIN

SHAPE = InputShape(input_size=2, vocabulary_size=0, static_size=1, output_size=1, task="binary")


def _bounds(layout, longest=8):
    data = validate(DataConfig, LAYOUTS[layout], layout)
    return input_bounds(schema(data), input_shape(data), longest)


def test_a_table_of_fixed_steps_has_as_many_and_one_value_of_each_category():
    found = _bounds("wide")
    assert (found.shortest, found.longest) == (3, 3)
    assert [list(c) for c in found.choices] == [[1, 2, 3]] and found.static_choices == []
    assert found.missing_indicators and found.shape.input_size == 8


@pytest.mark.parametrize("layout", ["long", "text"])
def test_other_sequences_are_short_and_of_many_lengths(layout):
    found = _bounds(layout)
    assert (found.shortest, found.longest) == (4, 8)
    assert not found.missing_indicators and not found.choices


def test_steps_beyond_the_longest_are_cut():
    assert _bounds("wide", 2).longest == 2


def test_why_there_is_no_run():
    none = replace(ATTACK, run=AttackRunConfig(canaries=0))
    assert study(TRAIN, SPENT, {}, SHAPE, (), none) == (None, "attack.run.canaries is 0")
    public = replace(TRAIN, privacy=None)
    assert study(public, SPENT, {}, SHAPE, (), ATTACK)[1] == "the recipe trains without privacy"
    large = replace(TRAIN, model=replace(TRAIN.model, hidden_size=900))
    run, reason = study(large, SPENT, {}, SHAPE, (), ATTACK)
    assert run is None and reason is not None and "parameters" in reason


def test_an_ideal_attack_is_the_same_again_and_grows_with_the_privacy_loss():
    weak, strong = (ideal_bounds(100, 20, 0.5, noise, 1e-5, 3) for noise in (4.0, 1.0))
    assert weak == ideal_bounds(100, 20, 0.5, 4.0, 1e-5, 3)
    assert min(b.epsilon for b in strong) > max(b.epsilon for b in weak)


def test_the_settings_refuse_what_is_no_number_of_people():
    with pytest.raises(Exception, match="canaries"):
        validate(AttackConfig, {"run": {"canaries": -1}}, "attack")
