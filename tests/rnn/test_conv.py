"""Convolutions in front of a recurrence: by hand, without padded steps, private in one pass."""

import pytest
import torch

from rnn.config import ConvLayer, InputShape, ModelConfig
from rnn.conv import Convolutions
from rnn.losses import example_losses
from rnn.model import build
from tests.rnn import reference

NUMBERS = InputShape(input_size=3, vocabulary_size=0, static_size=1, output_size=1, task="binary")
TOKENS = InputShape(
    input_size=0, vocabulary_size=9, static_size=0, output_size=4, task="multiclass"
)
TWO = (ConvLayer(channels=5, kernel=4), ConvLayer(channels=2, kernel=3))


def silu(x: float) -> float:
    """x times its logistic function."""
    return x * torch.tensor(x).sigmoid().item()


@pytest.mark.parametrize(
    ("causal", "kernel", "sums"),
    [
        # Steps 1, 10, 100 and 1000, which is padding; the window's weights are 1, 2, 3, 4.
        (False, 3, [2 + 30, 1 + 20 + 300, 10 + 200]),
        (False, 2, [1 + 20, 10 + 200, 100]),
        (False, 4, [2 + 30 + 400, 1 + 20 + 300, 10 + 200]),
        (True, 3, [3, 2 + 30, 1 + 20 + 300]),
        (True, 2, [2, 1 + 20, 10 + 200]),
    ],
)
def test_windows_by_hand(causal: bool, kernel: int, sums: list[float]) -> None:
    conv = Convolutions(1, (ConvLayer(channels=1, kernel=kernel),), causal)
    with torch.no_grad():
        conv.layers[0].weight[:] = torch.arange(1.0, kernel + 1)
        conv.layers[0].bias[:] = 0
        steps = torch.tensor([1.0, 10.0, 100.0, 1000.0]).view(1, 4, 1)
        got = conv(steps, torch.tensor([3]))[0, :3, 0]
    torch.testing.assert_close(got, torch.tensor([silu(x) for x in sums]))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_and_neighbours_change_nothing(
    cell: str, pooling: str, bidirectional: bool
) -> None:
    config = ModelConfig(
        cell=cell, pooling=pooling, bidirectional=bidirectional, hidden_size=4, conv=TWO
    )
    model = build(config, NUMBERS, 0).double().eval()
    inputs = torch.randn(2, 5, 3, dtype=torch.float64)
    lengths, static = torch.tensor([5, 2]), torch.zeros(2, 1, dtype=torch.float64)
    alone = [
        model(inputs[i : i + 1, :n], lengths[i : i + 1], static[:1]) for i, n in ((0, 5), (1, 2))
    ]
    padded = torch.full((2, 9, 3), 9.0, dtype=torch.float64)
    padded[0, :5], padded[1, :2] = inputs[0], inputs[1, :2]
    padded[1, 3] = float("nan")
    torch.testing.assert_close(model(padded, lengths, static), torch.cat(alone), rtol=0, atol=1e-12)


def test_a_language_model_does_not_see_the_next_token() -> None:
    shape = InputShape(
        input_size=0, vocabulary_size=9, static_size=0, output_size=9, task="next_token"
    )
    model = build(ModelConfig(hidden_size=4, embedding_size=5, conv=TWO), shape, 0).eval()
    tokens, length = torch.tensor([[2, 4, 5, 6, 7]]), torch.tensor([5])
    other = torch.tensor([[2, 4, 5, 8, 3]])
    static = torch.zeros(1, 0)
    one, two = model(tokens, length, static), model(other, length, static)
    torch.testing.assert_close(one[:, :3], two[:, :3], rtol=0, atol=0)
    assert not torch.allclose(one[:, 3:], two[:, 3:])


@pytest.mark.parametrize("shape", [NUMBERS, TOKENS], ids=["numbers", "tokens"])
def test_private_gradients_are_those_of_one_example_at_a_time(shape: InputShape) -> None:
    torch.manual_seed(3)
    config = ModelConfig(hidden_size=6, embedding_size=5, conv=TWO, pooling="attention")
    model = build(config, shape, 1).double()
    lengths = torch.tensor([7, 1, 4, 6, 2])
    if shape is TOKENS:
        inputs = torch.randint(2, 9, (5, 7)) * (torch.arange(7) < lengths[:, None])
        targets = torch.tensor([0, 1, 2, 3, 0])
    else:
        inputs = torch.randn(5, 7, 3, dtype=torch.float64)
        targets = torch.tensor([0, 1, 1, 0, 1])
    static = torch.randn(5, shape.static_size, dtype=torch.float64)

    def losses(rows: torch.Tensor) -> torch.Tensor:
        logits = model(inputs[rows], lengths[rows], static[rows])
        return 30 * example_losses(logits, targets[rows], shape.task)

    reference.check(model, losses, 5)
    reference.check(model, losses, 5, units=torch.tensor([0, 1, 0, 2, 1]))


def test_the_weights_are_seeded_and_learnt() -> None:
    one, other = (build(ModelConfig(conv=TWO), NUMBERS, 7).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one["conv.layers.0.weight"].shape == (5, 3, 4)
    assert one["recurrent.weight_ih_l0"].shape[1] == 2
    with pytest.raises(ValueError, match="kernel"):
        from pydantic import TypeAdapter

        TypeAdapter(ModelConfig).validate_python({"conv": [{"channels": 3, "kernel": 0}]})
