"""People who do not exist keep the declared bounds."""

from dataclasses import replace

import numpy as np
import pytest

from rnn.config import InputShape
from rnn.privacy.invented import InputBounds, invented

SHAPE = InputShape(input_size=5, vocabulary_size=0, static_size=3, output_size=1, task="binary")


def test_numbers_lie_within_their_bounds_and_choices_are_one_of_many():
    bounds = InputBounds(SHAPE, 2, 6, choices=[[1, 2, 3]], static_choices=[[0, 1]])
    people = invented(bounds, 300, seed=1)
    values = people.sequences
    assert np.abs(values).max() == 1 and np.abs(values[:, [0, 4]]).min() < 0.1
    assert set(np.unique(values[:, 1:4])) == {0, 1}
    assert (values[:, 1:4].sum(1) == 1).all() and (people.static[:, :2].sum(1) == 1).all()
    assert set(np.diff(people.offsets)) == {2, 3, 4, 5, 6}
    assert set(people.targets) == {0, 1}


def test_missing_values_are_zero_and_said_to_be_missing():
    bounds = InputBounds(replace(SHAPE, input_size=10), 3, 3, missing_indicators=True)
    people = invented(bounds, 200, seed=1)
    assert people.sequences.shape == (600, 5) and people.input_size == 10
    assert 0.05 < people.missing.mean() < 0.15
    assert (people.sequences[people.missing == 1] == 0).all()
    assert people.batch(np.arange(4)).inputs.shape == (4, 3, 10)


@pytest.mark.parametrize(("task", "outputs"), [("multiclass", 4), ("regression", 1)])
def test_tokens_and_targets(task, outputs):
    shape = replace(SHAPE, input_size=0, vocabulary_size=7, task=task, output_size=outputs)
    people = invented(InputBounds(shape, 1, 3), 200, seed=1, units=np.arange(200) // 2)
    assert people.is_tokens and set(people.sequences) == set(range(1, 7))
    if task == "multiclass":
        assert set(people.targets) == {0, 1, 2, 3}
    else:
        assert np.abs(people.targets).max() <= 1
    assert people.units is not None


def test_another_seed_is_other_people():
    bounds = InputBounds(SHAPE, 2, 2)
    first, again, other = (invented(bounds, 10, seed).sequences for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
