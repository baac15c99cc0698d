"""Gradients by step: known for a linear network, vanishing and exploding where they must."""

import numpy as np
import torch

from rnn.config import InputShape, ModelConfig
from rnn.model import build
from tasks.evidence.gradient_flow import STEPS, gradient_flow, norms, over_and_over
from tests.subject import TEXT, subject


def test_sequences_end_at_their_own_last_step() -> None:
    values = torch.tensor([[[1.0], [2.0], [0.0]], [[3.0], [4.0], [5.0]]])
    found = over_and_over(values, torch.tensor([2, 3]), 4)[..., 0]
    assert found.tolist() == [[1, 2, 1, 2], [5, 3, 4, 5]]
    assert over_and_over(values, torch.tensor([2, 3]), 2)[..., 0].tolist() == [[1, 2], [4, 5]]


def test_a_linear_recurrence_shrinks_by_its_weight_at_each_step() -> None:
    """Near zero tanh is the identity: each step back is worth half."""
    shape = InputShape(input_size=1, vocabulary_size=0, static_size=0, output_size=1, task="binary")
    model = build(ModelConfig(cell="rnn", hidden_size=1), shape, 0).eval()
    with torch.no_grad():
        for name, parameter in model.recurrent.named_parameters():
            parameter.fill_(0.5 if name.startswith("weight_hh") else 1e-4)
    found = norms(model, torch.full((3, 6, 1), 1e-4), torch.zeros(3, 0))
    np.testing.assert_allclose(found[:-1] / found[1:], 0.5, rtol=1e-4)


def test_vanishing_and_exploding_are_seen() -> None:
    made = subject(50)
    found = gradient_flow(made.model, made.prepared.sequences, np.arange(50), 0)
    assert found["steps"] == list(range(-STEPS + 1, 1))
    assert found["longest"] == 2
    assert len(found["cells"]) == 4
    for series in (found["cells"] | found["gains"]).values():
        assert len(series) == STEPS
        assert series[-1] == 0
    small, large = (
        found["gains"]["recurrent weights × 0.5"],
        found["gains"]["recurrent weights × 3"],
    )
    assert small[0] < -8
    assert large[0] > small[0] + 8
    again = gradient_flow(made.model, made.prepared.sequences, np.arange(50), 0)
    assert found == again


def test_texts_have_gradients_too() -> None:
    made = subject(40, TEXT)
    found = gradient_flow(made.model, made.prepared.sequences, np.arange(40), 0)
    assert all(np.isfinite(s).all() for s in found["cells"].values())
