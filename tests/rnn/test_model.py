"""What a sequence model must do whatever its settings."""

import itertools

import pytest
import torch

from rnn.config import InputShape, ModelConfig
from rnn.losses import example_losses
from rnn.model import SequenceModel, build, last_hidden, probabilities

NUMBERS = InputShape(input_size=3, vocabulary_size=0, static_size=1, output_size=1, task="binary")
TOKENS = InputShape(
    input_size=0, vocabulary_size=9, static_size=0, output_size=4, task="multiclass"
)


@pytest.mark.parametrize(
    ("cell", "pooling", "bidirectional"),
    list(itertools.product(["rnn", "lstm", "gru"], ["last", "mean", "attention"], [False, True])),
)
def test_padding_changes_nothing(cell, pooling, bidirectional):
    config = ModelConfig(
        cell=cell, pooling=pooling, bidirectional=bidirectional, num_layers=2, hidden_size=4
    )
    model = build(config, NUMBERS, 0).double().eval()
    inputs = torch.randn(2, 5, 3, dtype=torch.float64)
    lengths, static = torch.tensor([5, 2]), torch.zeros(2, 1, dtype=torch.float64)
    short = model(inputs, lengths, static)
    padded = torch.cat([inputs, torch.full((2, 4, 3), 9.0, dtype=torch.float64)], 1)
    padded[1, 2:] = -9.0
    torch.testing.assert_close(model(padded, lengths, static), short, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [NUMBERS, TOKENS])
def test_empty_batch(shape):
    model = build(ModelConfig(hidden_size=4), shape, 0)
    inputs = torch.zeros(0, 1, dtype=torch.int64) if shape is TOKENS else torch.zeros(0, 1, 3)
    out = model(inputs, torch.zeros(0, dtype=torch.int64), torch.zeros(0, shape.static_size))
    assert out.shape == (0, shape.output_size)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_overfits_ten_rows(cell):
    torch.manual_seed(0)
    model = build(ModelConfig(cell=cell, hidden_size=16), TOKENS, 0)
    tokens = torch.randint(1, 9, (10, 6))
    lengths, static = torch.full((10,), 6), torch.zeros(10, 0)
    targets = torch.randint(0, 4, (10,))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        example_losses(model(tokens, lengths, static), targets, "multiclass").sum().backward()
        optimizer.step()
    assert torch.equal(model(tokens, lengths, static).argmax(1), targets)


def test_forget_bias_and_orthogonal_recurrence():
    model = build(ModelConfig(cell="lstm", hidden_size=4), NUMBERS, 0)
    bias = model.recurrent.bias_ih_l0 + model.recurrent.bias_hh_l0
    assert bias[4:8].tolist() == [1.0] * 4
    assert bias[:4].tolist() + bias[8:].tolist() == [0.0] * 12
    for gate in model.recurrent.weight_hh_l0.split(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(4), rtol=0, atol=1e-5)


def test_build_is_seeded_and_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one, other = (build(ModelConfig(), NUMBERS, 7).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert not torch.equal(
        build(ModelConfig(), NUMBERS, 8).state_dict()["head.1.weight"], one["head.1.weight"]
    )


def test_last_hidden_by_hand():
    outputs = torch.arange(12.0).view(2, 3, 2)
    assert last_hidden(outputs, torch.tensor([1, 3])).tolist() == [[0.0, 1.0], [10.0, 11.0]]


def test_probabilities_sum_or_stay():
    assert probabilities(torch.zeros(2, 1), "binary").tolist() == [0.5, 0.5]
    assert probabilities(torch.zeros(1, 4), "multiclass").sum() == 1
    assert probabilities(torch.tensor([[3.0]]), "regression").tolist() == [3.0]


def test_initial_weights_are_as_the_settings_say():
    shape = InputShape(input_size=3, vocabulary_size=0, static_size=0, output_size=1, task="binary")
    drawn = build(ModelConfig(hidden_size=16, initialisation="uniform"), shape, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = SequenceModel(ModelConfig(hidden_size=16), shape)
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(drawn.state_dict()[name], weight, rtol=0, atol=0)
    gates = build(ModelConfig(hidden_size=16), shape, 0).recurrent.weight_hh_l0.split(16)
    for gate in gates:
        torch.testing.assert_close(gate @ gate.T, torch.eye(16), rtol=0, atol=1e-5)
