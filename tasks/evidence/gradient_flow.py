"""How far back a gradient reaches: its size at each step, in each kind of cell.

B people, T steps, E embedded width. For teaching, and inside only.
"""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnn.batch import PreparedSequences, SequenceBatch
from rnn.config import InputShape
from rnn.heads import HEADS
from rnn.model import SequenceModel, build
from tasks.explaining.scores import SCORES

PEOPLE = 256
STEPS = 60
CELLS = ("rnn", "lstm", "gru")
# What the recurrent weights of a plain network are multiplied by before it is trained.
GAINS = (0.5, 1.0, 1.5, 3.0)
_TINY = 1e-300


def over_and_over(values: Tensor, lengths: Tensor, steps: int) -> Tensor:
    """Return each sequence read again and again, so that it ends at its own last step.

    Args:
        values: [B, T, ...], padded.
        lengths: int64 [B].
        steps: how many to return.

    Returns:
        [B, steps, ...]; of a longer sequence its latest steps.

    Example:
        >>> over_and_over(torch.tensor([[7, 8, 9, 0]]), torch.tensor([3]), 5).tolist()
        [[8, 9, 7, 8, 9]]
    """
    back = torch.arange(steps) - steps
    index = back[None, :] % lengths[:, None]
    people = torch.arange(len(values))[:, None]
    return values[people, index]


def norms(model: SequenceModel, inputs: Tensor, static: Tensor) -> NDArray[np.float64]:
    """Return the median size of the gradient of what is explained, by the step of the input.

    Args:
        model: in evaluation mode.
        inputs: float [B, T, D] or int64 [B, T], no padding.
        static: float [B, S].

    Returns:
        float64 [T].
    """
    # Single precision would round what vanishes to nothing.
    exact = copy.deepcopy(model).double()
    if inputs.is_floating_point():
        inputs = inputs.double()
    embedded = exact.embed(inputs).detach().requires_grad_(True)
    lengths, score = torch.full((len(inputs),), inputs.shape[1]), SCORES[model.shape.task]
    with torch.no_grad():
        # Of a text, the token that is asked for is its last one.
        index = score.index(exact, SequenceBatch(inputs, lengths, static, inputs))
    value = score.forward(exact)(embedded, lengths, static.double(), index)
    (gradient,) = torch.autograd.grad(value.sum(), embedded)
    return np.asarray(gradient.norm(dim=2).median(0).values.numpy())


def _powers(found: NDArray[np.float64]) -> list[float]:
    """Powers of ten, the last step's size as 0."""
    return [round(float(x), 4) for x in np.log10((found + _TINY) / (found[-1] + _TINY))]


def _one_answer(shape: InputShape) -> InputShape:
    """The shape of a network that reads the last state alone."""
    if shape.task not in HEADS:
        return shape
    return replace(shape, task="regression", output_size=1)


def gradient_flow(
    model: SequenceModel, sequences: PreparedSequences, rows: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    """Return gradient sizes by step, as powers of ten relative to the last step.

    Untrained networks of one layer and one direction that read the state of the last step alone:
    there a gradient that vanishes has no way around. The recipe's own model is beside them.

    Args:
        model: trained.
        sequences: prepared data.
        rows: int64, people to look at; the first `PEOPLE` are.
        seed: of the initial weights.
    """
    batch = sequences.batch(rows[:PEOPLE])
    inputs = over_and_over(batch.inputs, batch.lengths, STEPS)
    plain = replace(model.config, num_layers=1, bidirectional=False, pooling="last", dropout=0.0)

    def untrained(cell: Any, gain: float = 1.0) -> list[float]:
        made = build(replace(plain, cell=cell), _one_answer(model.shape), seed).eval()
        with torch.no_grad():
            for name, parameter in made.recurrent.named_parameters():
                if name.startswith("weight_hh"):
                    parameter.mul_(gain)
        return _powers(norms(made, inputs, batch.static))

    own = norms(model, inputs, batch.static)
    return {
        "steps": [t - STEPS + 1 for t in range(STEPS)],
        "people": len(batch),
        "longest": int(batch.lengths.max()),
        "cells": {
            f"this model ({model.config.cell}, trained)": _powers(own),
            **{f"{cell}, untrained": untrained(cell) for cell in CELLS},
        },
        "gains": {f"recurrent weights × {gain:g}": untrained("rnn", gain) for gain in GAINS},
    }
