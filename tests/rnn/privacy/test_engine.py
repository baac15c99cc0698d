"""The private step: sensitivity under neighbours, planted defects, noise, normaliser."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from rnn.config import InputShape, ModelConfig
from rnn.losses import example_losses
from rnn.model import build
from rnn.privacy.engine import (
    ROUNDING,
    PrivateOptimizer,
    accumulate_clipped,
    clip_factors,
    rounding_margin,
)
from rnn.privacy.noise import Keystream, grid_for
from rnn.tape import recording

CLIP = 0.7


def _model(cell="gru", tokens=False, pooling="last"):
    shape = InputShape(
        input_size=0 if tokens else 3,
        vocabulary_size=6 if tokens else 0,
        static_size=2,
        output_size=1,
        task="binary",
    )
    config = ModelConfig(
        cell=cell, hidden_size=4, embedding_size=3, pooling=pooling, bidirectional=True
    )
    return build(config, shape, 0).double()


def _rows(count, tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 7, (count,), generator=generator)
    if tokens:
        inputs = torch.randint(1, 6, (count, 6), generator=generator)
    else:
        # Large values make gradients that must be clipped.
        inputs = 5 * torch.randn(count, 6, 3, generator=generator, dtype=torch.float64)
    static = 5 * torch.randn(count, 2, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 2, (count,), generator=generator)
    return inputs, lengths, static, targets


def _flat_sum(model):
    return torch.cat([p.summed_grad.flatten() for p in model.parameters()])


def _clipped_sum(model, rows, clip=CLIP):
    for p in model.parameters():
        p.summed_grad = None
    inputs, lengths, static, targets = rows

    def losses():
        return example_losses(model(inputs, lengths, static), targets, "binary")

    accumulate_clipped(model, losses, clip)
    return _flat_sum(model)


def _without(rows, i):
    keep = [j for j in range(len(rows[1])) if j != i]
    return tuple(part[keep] for part in rows)


def _largest_move(sums, rows):
    """How far the sum moves when any one row is taken away."""
    whole = sums(rows)
    return max(float((whole - sums(_without(rows, i))).norm()) for i in range(len(rows[1])))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize(
    ("tokens", "pooling"), [(False, "last"), (True, "mean"), (True, "attention")]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_removing_any_row_moves_the_sum_by_at_most_the_bound(cell, tokens, pooling, seed):
    model, rows = _model(cell, tokens, pooling), _rows(8, tokens, seed)
    move = _largest_move(lambda r: _clipped_sum(model, r), rows)
    assert move <= CLIP + 1e-12
    assert move > 0


def _defect_no_clip(model, rows):
    return _clipped_sum(model, rows, clip=1e9)


def _defect_wrong_order(model, rows):
    for p in model.parameters():
        p.summed_grad = None
    inputs, lengths, static, targets = rows
    with recording(model) as tape:
        example_losses(model(inputs, lengths, static), targets, "binary").sum().backward()
    factors = clip_factors(tape.squared_norms().sqrt(), CLIP)
    tape.add_clipped(factors.flip(0))
    return _flat_sum(model)


def _defect_batch_mean(model, rows):
    for p in model.parameters():
        p.summed_grad = None
    inputs, lengths, static, targets = rows

    def losses():
        logits = model(inputs, lengths, static)
        return example_losses(logits - 3 * logits.mean(), targets, "binary")

    accumulate_clipped(model, losses, CLIP)
    return _flat_sum(model)


def _defect_normaliser(model, rows):
    return _clipped_sum(model, rows) * 8 / len(rows[1])


@pytest.mark.parametrize(
    "defect", [_defect_no_clip, _defect_wrong_order, _defect_batch_mean, _defect_normaliser]
)
def test_the_same_check_catches_planted_defects(defect):
    moves = []
    for seed in range(6):
        model, rows = _model(), _rows(8, False, seed)
        moves.append(_largest_move(lambda r, m=model: defect(m, r), rows))
    assert max(moves) > CLIP + 1e-3


def test_two_dimensional_losses_are_refused():
    model = nn.Linear(2, 1)
    with pytest.raises(ValueError, match=r"shape \(3, 1\)"):
        accumulate_clipped(model, lambda: model(torch.ones(3, 2)), 1.0)


def test_a_gradient_that_is_not_finite_counts_as_zero():
    model, rows = _model(), _rows(4, False, 0)
    expected = _clipped_sum(model, _without(rows, 2))
    inputs = rows[0].clone()
    inputs[2] = math.inf
    for p in model.parameters():
        p.summed_grad = None

    def losses():
        return example_losses(model(inputs, *rows[1:3]), rows[3], "binary")

    _, seen = accumulate_clipped(model, losses, CLIP)
    torch.testing.assert_close(_flat_sum(model), expected)
    assert seen.refused == 1


def test_physical_batches_add_up():
    model, rows = _model("lstm", True, "attention"), _rows(9, True, 3)
    whole = _clipped_sum(model, rows)
    for p in model.parameters():
        p.summed_grad = None
    for part in (slice(0, 4), slice(4, 9)):
        inputs, lengths, static, targets = (r[part] for r in rows)

        def losses(i=inputs, n=lengths, s=static, y=targets):
            return example_losses(model(i, n, s), y, "binary")

        accumulate_clipped(model, losses, CLIP)
    torch.testing.assert_close(_flat_sum(model), whole, rtol=1e-12, atol=1e-14)


def _noise_of_a_step(summed, expected_batch_size=4, noise_multiplier=2.0, seed=1):
    layer = nn.Linear(400, 500, bias=False).double()
    before = layer.weight.detach().clone()
    optimizer = PrivateOptimizer(
        torch.optim.SGD(layer.parameters(), lr=1.0),
        noise_multiplier=noise_multiplier,
        max_grad_norm=CLIP,
        expected_batch_size=expected_batch_size,
    )
    optimizer.zero_grad()
    layer.weight.summed_grad = summed
    optimizer.keystream = Keystream.from_seed(seed)
    optimizer.step()
    return (before - layer.weight.detach()).flatten()


def _accepts(values, scale):
    low, high = stats.chi2(len(values)).ppf([5e-5, 1 - 5e-5])
    return bool(low < float((values / scale).square().sum()) < high)


def test_noise_has_the_promised_scale_also_for_an_empty_batch():
    noise = _noise_of_a_step(None)
    scale = 2.0 * CLIP * (1 + rounding_margin(4)) / 4
    assert _accepts(noise, scale)
    assert not _accepts(noise, scale / 0.95)
    assert not _accepts(noise, scale / 1.05)


def test_sum_arrives_divided_by_the_constant_whatever_the_batch_was():
    summed = torch.full((500, 400), 8.0, dtype=torch.float64)
    moved = _noise_of_a_step(summed) - _noise_of_a_step(None)
    torch.testing.assert_close(moved, torch.full_like(moved, 2.0))


def test_noise_is_used_once():
    layer = nn.Linear(2, 1)
    optimizer = PrivateOptimizer(
        torch.optim.SGD(layer.parameters(), lr=1.0),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=1,
    )
    optimizer.keystream = Keystream.from_seed(0)
    optimizer.zero_grad()
    optimizer.step()
    with pytest.raises(RuntimeError, match="no keystream"):
        optimizer.step()


def test_rounding_margin_covers_single_precision():
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for width in (7, 33):
        layer = nn.Linear(width, 5)
        inputs = 10 * torch.randn(2048, width, generator=generator)
        with recording(layer) as tape:
            layer(inputs).square().sum().backward()
        factors = clip_factors(tape.squared_norms().sqrt(), 1.0)
        record = tape.records[0]
        gradient = torch.einsum("bo,bi->boi", record.delta.double(), inputs.double())
        bias = record.delta.double()
        norms = (gradient.square().sum((1, 2)) + bias.square().sum(1)).sqrt() * factors.double()
        worst = max(worst, float(norms.max()))
    assert worst <= 1 + ROUNDING


@pytest.mark.parametrize("count", [256, 2048])
def test_rounding_margin_covers_what_a_row_does_to_the_rounding_of_the_others(count):
    torch.manual_seed(0)
    layer = nn.Linear(33, 5)
    # Nearly equal gradients: the sum, and so its rounding, is as large as it can be.
    inputs = 0.01 * torch.randn(count, 33) + torch.randn(33)

    def total(rows):
        for p in layer.parameters():
            p.summed_grad = None
        accumulate_clipped(layer, lambda: (10 * layer(inputs[rows])).sum(1), 1.0)
        return _flat_sum(layer).double()

    rows = torch.arange(count)
    whole = total(rows)
    moves = [float((whole - total(rows[rows != i])).norm()) for i in range(0, count, count // 8)]
    assert float(whole.norm()) > 0.99 * count
    assert max(moves) <= 1 + rounding_margin(count)


def test_gradient_of_a_step_is_whole_grid_steps_over_the_normaliser():
    layer = nn.Linear(40, 50).double()
    optimizer = PrivateOptimizer(
        torch.optim.SGD(layer.parameters(), lr=1.0),
        noise_multiplier=1.5,
        max_grad_norm=CLIP,
        expected_batch_size=3,
    )
    optimizer.zero_grad()
    accumulate_clipped(layer, lambda: layer(torch.randn(8, 40).double()).square().sum(1), CLIP)
    optimizer.keystream = Keystream.from_seed(1)
    optimizer.add_noise()
    grid = grid_for(CLIP, 40 * 50 + 50)
    for p in layer.parameters():
        assert torch.equal((p.grad / grid).round() * grid, p.grad)


@pytest.mark.parametrize(("steps", "size"), [(2, 64), (8, 200), (16, 4), (64, 24)])
@pytest.mark.parametrize("height", [1e1, 1e2, 1e3, 1e4, 1e6])
def test_steps_that_cancel_do_not_break_the_bound_in_single_precision(steps, size, height):
    torch.manual_seed(int(height) + steps)
    for _ in range(3):
        layer = nn.Linear(size, size)
        inputs = torch.randn(1, 1, size).repeat(4, steps, 1)
        deltas = torch.randn(4, 1, size).repeat(1, steps, 1) * height
        deltas[:, steps // 2 :] *= -1
        deltas += 0.3 * torch.randn(4, steps, size)
        with recording(layer) as tape:
            (layer(inputs) * deltas).sum().backward()
        factors = clip_factors(tape.squared_norms().sqrt(), 1.0)
        record = tape.records[0]
        true = torch.einsum("bto,bti->boi", record.delta.double(), inputs.double())
        squares = true.square().sum((1, 2)) + record.delta.double().sum(1).square().sum(1)
        assert float((squares.sqrt() * factors.double()).max()) <= 1 + ROUNDING
        for row in range(4):
            for p in layer.parameters():
                p.summed_grad = None
            alone = torch.zeros(4)
            alone[row] = factors[row]
            tape.add_clipped(alone)
            assert float(_flat_sum(layer).norm()) <= 1 + ROUNDING
