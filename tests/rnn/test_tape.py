"""Norms and clipped sums against one backward pass an example, which is their definition."""

import itertools

import pytest
import torch
from torch import nn

from rnn.config import InputShape, ModelConfig
from rnn.losses import example_losses
from rnn.model import build
from rnn.tape import CHUNK_ELEMENTS, LinearRecord, recording

CLIP = 0.3
CASES = list(
    itertools.product(
        ["rnn", "lstm", "gru"], [False, True], [1, 2], ["last", "mean", "attention"], [False, True]
    )
)


def _problem(cell, bidirectional, layers, pooling, tokens, dtype=torch.float64):
    config = ModelConfig(
        cell=cell,
        bidirectional=bidirectional,
        num_layers=layers,
        pooling=pooling,
        hidden_size=5,
        embedding_size=4,
        head_sizes=(6,),
    )
    shape = InputShape(
        input_size=0 if tokens else 3,
        vocabulary_size=7 if tokens else 0,
        static_size=2,
        output_size=1,
        task="binary",
    )
    model = build(config, shape, seed=1).to(dtype)
    generator = torch.Generator().manual_seed(5)
    lengths = torch.tensor([7, 1, 4, 2, 7, 3])
    if tokens:
        inputs = torch.randint(1, 7, (6, 7), generator=generator)
        inputs = inputs * (torch.arange(7) < lengths[:, None])
    else:
        inputs = torch.randn(6, 7, 3, generator=generator, dtype=dtype)
    static = torch.randn(6, 2, generator=generator, dtype=dtype)
    targets = torch.tensor([0, 1, 1, 0, 1, 0])
    return model, inputs, lengths, static, targets


def _reference(model, inputs, lengths, static, targets):
    norms, sums = [], {n: torch.zeros_like(p) for n, p in model.named_parameters()}
    for i in range(len(lengths)):
        model.zero_grad()
        one = slice(i, i + 1)
        logits = model(inputs[one, : lengths[i]], lengths[one], static[one])
        example_losses(logits, targets[one], "binary").sum().backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        norms.append(norm)
        for name, p in model.named_parameters():
            sums[name] += p.grad * min(1.0, CLIP / float(norm))
    model.zero_grad()
    return torch.stack(norms), sums


def _ours(model, inputs, lengths, static, targets):
    for p in model.parameters():
        p.summed_grad = None
    with recording(model) as tape:
        example_losses(model(inputs, lengths, static), targets, "binary").sum().backward()
    norms = tape.squared_norms().sqrt()
    tape.add_clipped((CLIP / norms).clamp(max=1))
    return norms, {n: p.summed_grad for n, p in model.named_parameters()}


@pytest.mark.parametrize(("cell", "bidirectional", "layers", "pooling", "tokens"), CASES)
def test_equals_one_backward_an_example(cell, bidirectional, layers, pooling, tokens):
    problem = _problem(cell, bidirectional, layers, pooling, tokens)
    norms, sums = _ours(*problem)
    expected_norms, expected = _reference(*problem)
    torch.testing.assert_close(norms, expected_norms, rtol=1e-10, atol=0)
    for name, value in expected.items():
        scale = float(value.abs().max()) + 1e-30
        assert float((sums[name] - value).abs().max()) / scale < 1e-10, name


def test_single_precision_within_1e_5():
    problem = _problem("lstm", True, 2, "attention", True, torch.float32)
    _, sums = _ours(*problem)
    wide = _problem("lstm", True, 2, "attention", True)
    wide[0].load_state_dict({k: v.double() for k, v in problem[0].state_dict().items()})
    _, expected = _reference(wide[0], wide[1], wide[2], problem[3].double(), wide[4])
    scales: dict[str, float] = {}
    for name, value in expected.items():
        # A layer's bias may be far smaller than its weight: cancellation leaves little of it.
        layer = name.rpartition(".")[0]
        scales[layer] = max(scales.get(layer, 0.0), float(value.abs().max()))
    for name, value in expected.items():
        scale = scales[name.rpartition(".")[0]]
        assert float((sums[name] - value).abs().max()) / scale < 1e-5, name


def test_gram_and_outer_products_agree():
    torch.manual_seed(0)
    layer = nn.Linear(4, 3).double()
    for steps in (2, 40):
        record = LinearRecord(
            layer.weight, layer.bias, torch.randn(5, steps, 4, dtype=torch.float64)
        )
        record.delta = torch.randn(5, steps, 3, dtype=torch.float64)
        outer = torch.einsum("bto,bti->boi", record.delta, record.activation)
        expected = outer.square().sum((1, 2)) + record.delta.sum(1).square().sum(1)
        torch.testing.assert_close(record.squared_norms(), expected, rtol=1e-10, atol=0)


def test_chunks_cover_all_rows():
    outputs = inputs = 1 << 10
    rows = CHUNK_ELEMENTS // (outputs * inputs) * 2 + 1
    weight = nn.Parameter(torch.zeros(outputs, inputs))
    steps = 600
    record = LinearRecord(weight, None, torch.ones(rows, steps, 1).expand(-1, -1, inputs))
    scale = torch.arange(1.0, rows + 1)
    record.delta = scale[:, None, None].expand(-1, steps, outputs)
    # Each of the O x I entries of row r's gradient is steps x (r + 1).
    expected = (steps * scale).square() * outputs * inputs
    torch.testing.assert_close(record.squared_norms(), expected, rtol=1e-4, atol=0)


def test_layer_without_a_rule_is_refused_by_name():
    model = nn.Sequential(nn.Linear(2, 2), nn.PReLU())
    with pytest.raises(TypeError, match=r"1\.weight"), recording(model):
        pass
    assert all(p.requires_grad for p in model.parameters())


def test_frozen_layers_need_no_rule():
    model = nn.Sequential(nn.PReLU().requires_grad_(False), nn.Linear(2, 2))
    with recording(model) as tape:
        model(torch.ones(3, 2)).sum().backward()
    assert tape.squared_norms().shape == (3,)


def test_ordinary_gradients_are_not_computed_meanwhile():
    model, inputs, lengths, static, targets = _problem("gru", False, 1, "last", False)
    _ours(model, inputs, lengths, static, targets)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_one_token_a_row_has_the_norm_of_its_row(shape):
    torch.manual_seed(0)
    table, tokens = nn.Embedding(4, 3), torch.tensor([0, 1, 1, 3, 2, 0]).view(shape)
    weights = torch.randn(6, 3)

    def losses():
        return (table(tokens).view(6, 3) * weights).sum(1)

    with recording(table) as tape:
        losses().sum().backward()
    squares = weights.square().sum(1)
    torch.testing.assert_close(tape.squared_norms(), squares)
    units = torch.tensor([0, 0, 1, 1, 2, 2])
    # No unit has a token twice, so that its squares add up.
    sums = torch.stack([squares[:2].sum(), squares[2:4].sum(), squares[4:].sum()])
    torch.testing.assert_close(tape.squared_norms(units), sums)
    tape.add_clipped(torch.ones(6))
    expected = torch.zeros(4, 3).index_add(0, tokens.flatten(), weights)
    torch.testing.assert_close(table.weight.summed_grad, expected)
