"""A recurrence's record against its two linear maps taken apart, and against autograd."""

import pytest
import torch

from rnn import kernels, recurrent_record
from rnn.recurrent import CELLS
from rnn.tape import recording

ROWS, STEPS, INPUTS, HIDDEN = 5, 6, 8, 12


def _record(cell, monkeypatch, piece_steps, steps=STEPS):
    torch.manual_seed(0)
    layer = CELLS[cell](INPUTS, HIDDEN).double()
    monkeypatch.setattr(kernels, "PIECE_BYTES", piece_steps * ROWS * 4 * HIDDEN * 8)
    inputs = torch.randn(ROWS, steps, INPUTS, dtype=torch.float64)
    with recording(layer) as tape:
        layer(inputs).square().sum().backward()
    (record,) = tape.records
    return layer, inputs, record


def _each(layer, inputs):
    out = []
    for row in range(ROWS):
        loss = layer(inputs[row : row + 1]).square().sum()
        out.append(torch.autograd.grad(loss, list(layer.parameters())))
    return out


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("piece_steps", [1, 4, 100])
@pytest.mark.parametrize(("steps", "gram"), [(STEPS, True), (5 * STEPS, False)])
def test_norms_and_sums_equal_autograd(cell, piece_steps, steps, gram, monkeypatch):
    layer, inputs, record = _record(cell, monkeypatch, piece_steps, steps)
    outputs, width = layer.weight_hh_l0.shape[0], INPUTS + HIDDEN
    assert gram == (steps * (outputs + width) <= outputs * width), "both ways are to be met"
    each = _each(layer, inputs)
    norms = torch.stack([sum(g.square().sum() for g in grads) for grads in each])
    torch.testing.assert_close(record.squared_norms(), norms, rtol=1e-10, atol=0)
    torch.testing.assert_close(record.pair().squared_norms(), norms, rtol=1e-10, atol=0)
    factors = torch.rand(ROWS, dtype=torch.float64)
    record.add_clipped(factors)
    for place, parameter in enumerate(layer.parameters()):
        expected = sum(f * grads[place] for f, grads in zip(factors, each, strict=True))
        torch.testing.assert_close(parameter.summed_grad, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_refused_examples_leave_no_trace(cell, monkeypatch):
    layer, inputs, record = _record(cell, monkeypatch, 2)
    for piece in record.trace.delta:
        piece[:, 1] = torch.nan
    factors = torch.ones(ROWS, dtype=torch.float64)
    factors[1] = 0
    record.add_clipped(factors)
    each = _each(layer, inputs)
    for place, parameter in enumerate(layer.parameters()):
        expected = sum(each[row][place] for row in range(ROWS) if row != 1)
        torch.testing.assert_close(parameter.summed_grad, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_outputs_written_over_are_noticed(cell):
    layer = CELLS[cell](2, 3)
    with recording(layer):
        outputs = layer(torch.ones(2, 4, 2))
        loss = (outputs * 1).sum()
        with torch.no_grad():
            outputs.mul_(2)
        with pytest.raises(RuntimeError, match="in place"):
            loss.backward()


@pytest.mark.parametrize("cell", CELLS)
def test_a_second_walk_back_is_refused(cell):
    layer = CELLS[cell](2, 3)
    with recording(layer):
        loss = layer(torch.ones(2, 4, 2)).sum()
        loss.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="once"):
            loss.backward()


def test_frozen_weights_get_no_sum_and_no_norm(monkeypatch):
    torch.manual_seed(0)
    layer = CELLS["gru"](INPUTS, HIDDEN).double()
    layer.weight_hh_l0.requires_grad_(False)
    inputs = torch.randn(ROWS, STEPS, INPUTS, dtype=torch.float64)
    with recording(layer) as tape:
        layer(inputs).square().sum().backward()
    (record,) = tape.records
    trained = [p for p in layer.parameters() if p.requires_grad]
    for row, norm in enumerate(record.squared_norms()):
        loss = layer(inputs[row : row + 1]).square().sum()
        expected = sum(g.square().sum() for g in torch.autograd.grad(loss, trained))
        torch.testing.assert_close(norm, expected, rtol=1e-10, atol=0)
    record.add_clipped(torch.ones(ROWS, dtype=torch.float64))
    assert getattr(layer.weight_hh_l0, "summed_grad", None) is None


def test_an_output_that_misses_the_loss_counts_as_zero():
    layer = CELLS["lstm"](2, 3)
    with recording(layer) as tape:
        layer(torch.ones(2, 4, 2))
    assert isinstance(tape.records[0], recurrent_record.RecurrentRecord)
    assert tape.squared_norms().tolist() == [0.0, 0.0]
    tape.add_clipped(torch.ones(2))
    assert not layer.weight_ih_l0.summed_grad.any()
