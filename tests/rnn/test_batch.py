"""Padding and gathering."""

import numpy as np
import pytest
import torch

from rnn.batch import PreparedSequences

OFFSETS = np.array([0, 2, 3, 6])
STATIC = np.zeros((3, 0), dtype=np.float32)
TARGETS = np.array([1, 0, 1])


def _numbers(indicators=False):
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    missing = np.zeros((6, 2), dtype=np.uint8)
    missing[2, 1] = 1
    return PreparedSequences(values, missing, OFFSETS, STATIC, TARGETS, indicators)


def test_rows_come_in_the_order_asked_for_padded_with_zero():
    batch = _numbers().batch(np.array([2, 1]))
    assert batch.lengths.tolist() == [3, 1]
    assert batch.inputs[0].tolist() == [[6, 7], [8, 9], [10, 11]]
    assert batch.inputs[1].tolist() == [[4, 5], [0, 0], [0, 0]]
    assert batch.targets.tolist() == [1, 0]


def test_missing_indicators_are_channels():
    sequences = _numbers(indicators=True)
    assert sequences.input_size == 4
    batch = sequences.batch(np.array([1, 0]))
    assert batch.inputs[0, 0].tolist() == [4, 5, 0, 1]
    assert batch.inputs[0, 1].tolist() == [0, 0, 0, 0]


def test_tokens():
    tokens = PreparedSequences(
        np.array([3, 4, 5, 6, 7, 8], dtype=np.int32), None, OFFSETS, STATIC, TARGETS
    )
    batch = tokens.batch(np.array([1, 2]))
    assert batch.inputs.dtype == torch.int64
    assert batch.inputs.tolist() == [[5, 0, 0], [6, 7, 8]]
    assert tokens.input_size == 0


@pytest.mark.parametrize("indicators", [False, True])
def test_nobody(indicators):
    batch = _numbers(indicators).batch(np.zeros(0, dtype=np.int64))
    assert len(batch) == 0
    assert batch.inputs.shape == (0, 1, 4 if indicators else 2)
