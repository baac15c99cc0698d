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


def test_forecasts_have_a_number_a_step_to_come():
    shape = replace(SHAPE, task="forecast", output_size=12, quantiles=(0.1, 0.5, 0.9))
    people = invented(InputBounds(shape, 2, 4), 50, seed=1)
    assert people.targets.shape == (50, 4) and np.abs(people.targets).max() <= 1
    assert people.batch(np.arange(3)).targets.shape == (3, 4)


def test_texts_begin_and_end_and_have_as_many_steps_as_asked():
    shape = replace(SHAPE, input_size=0, vocabulary_size=9, output_size=9, task="next_token")
    people = invented(InputBounds(shape, 2, 5), 300, seed=1)
    texts = np.split(people.sequences, people.offsets[1:-1])
    assert {len(text) for text in texts} == {3, 4, 5, 6}, "a step less is read"
    assert all(text[0] == 2 and text[-1] == 3 for text in texts)
    inside = np.concatenate([text[1:-1] for text in texts])
    assert set(inside) == {1, 4, 5, 6, 7, 8}
    batch = people.batch(np.arange(300))
    assert batch.inputs.shape[1] == 5 and (batch.targets[:, -1][batch.lengths == 5] == 3).all()


def test_symbols_always_fit_into_the_steps():
    shape = replace(SHAPE, task="ctc", output_size=3)
    people = invented(InputBounds(shape, 4, 6), 300, seed=1)
    sizes = np.diff(people.target_offsets)
    assert set(sizes) == {1, 2} and set(people.targets) == {1, 2}
    short = invented(InputBounds(shape, 1, 1), 20, seed=1)
    assert set(np.diff(short.target_offsets)) == {1}


def test_translations_are_as_long_as_all_inputs():
    shape = replace(
        SHAPE, input_size=0, vocabulary_size=9, task="seq2seq", output_size=7, static_size=0
    )
    people = invented(InputBounds(shape, 2, 5), 40, seed=1)
    assert set(np.diff(people.offsets)) == {5} == set(np.diff(people.target_offsets))
    batch = people.batch(np.arange(40))
    assert (batch.targets[:, 0] == 2).all() and (batch.targets[:, -1] == 3).all()
    assert set(batch.targets[:, 1:-1].flatten().tolist()) <= {1, 4, 5, 6}


def test_another_seed_is_other_people():
    bounds = InputBounds(SHAPE, 2, 2)
    first, again, other = (invented(bounds, 10, seed).sequences for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
