"""The library's walk against the walk by hand: same outputs, norms, sums and gradients."""

import pytest
import torch

from rnn import library, recurrent
from rnn.recurrent import CELLS, RNN
from rnn.tape import recording

ROWS, STEPS, INPUTS, HIDDEN = 5, 9, 3, 4
KINDS = {name: (cell, {}) for name, cell in CELLS.items()}
KINDS["relu"] = (RNN, {"nonlinearity": "relu"})


def passed(layer, lengths=None, states=None):
    """One recorded pass: outputs, squared norms, clipped sums, gradient of the inputs."""
    torch.manual_seed(1)
    inputs = torch.randn(ROWS, STEPS, INPUTS, dtype=layer.weight_hh_l0.dtype, requires_grad=True)
    with recording(layer) as tape:
        outputs = layer(inputs, lengths, states)
        (outputs * torch.randn_like(outputs)).sum().backward()
    factors = torch.rand(ROWS, dtype=inputs.dtype)
    for p in layer.parameters():
        p.summed_grad = None
    norms = tape.squared_norms()
    tape.add_clipped(factors)
    sums = [p.summed_grad.clone() for p in layer.parameters()]
    return [outputs.detach(), norms, inputs.grad, *sums]


@pytest.fixture
def both(monkeypatch):
    """Return what a layer gives by either walk."""

    def compare(layer, *rest):
        by_hand = passed(layer, *rest)
        monkeypatch.setattr(recurrent, "preferred", lambda inputs: True)
        by_library = passed(layer, *rest)
        monkeypatch.undo()
        return by_hand, by_library

    return compare


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_both_walks_give_the_same(kind, options, dtype, near, both):
    cell, own = KINDS[kind]
    torch.manual_seed(0)
    layer = cell(INPUTS, HIDDEN, **options, **own).to(dtype)
    lengths = torch.tensor([9, 1, 4, 7, 9])
    for hand, fused in zip(*both(layer, lengths), strict=True):
        torch.testing.assert_close(fused, hand, rtol=near, atol=near)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_initial_states_get_the_same_gradient(kind, monkeypatch):
    torch.manual_seed(0)
    layer = CELLS[kind](INPUTS, HIDDEN).double()
    grads = []
    for fused in (False, True):
        monkeypatch.setattr(recurrent, "preferred", lambda inputs, fused=fused: fused)
        torch.manual_seed(2)
        states = [
            torch.randn(1, ROWS, HIDDEN, dtype=torch.float64, requires_grad=True)
            for _ in range(2 if kind == "lstm" else 1)
        ]
        inputs = torch.randn(ROWS, STEPS, INPUTS, dtype=torch.float64)
        with recording(layer):
            outputs = layer(inputs, None, tuple(states) if kind == "lstm" else states[0])
            outputs.square().sum().backward()
        grads.append([s.grad for s in states])
    for hand, library_ in zip(*grads, strict=True):
        torch.testing.assert_close(library_, hand, rtol=1e-11, atol=1e-11)


def test_an_output_that_no_loss_sees_counts_as_zero(monkeypatch):
    monkeypatch.setattr(recurrent, "preferred", lambda inputs: True)
    layer = CELLS["gru"](INPUTS, HIDDEN)
    head = torch.nn.Linear(INPUTS, 1)
    model = torch.nn.ModuleList([layer, head])
    inputs = torch.randn(ROWS, STEPS, INPUTS)
    with recording(model) as tape:
        layer(inputs)
        head(inputs[:, 0]).sum().backward()
    assert len(tape.squared_norms()) == ROWS
    tape.add_clipped(torch.ones(ROWS))
    assert all(not p.summed_grad.any() for p in layer.parameters())


def test_a_second_walk_back_is_refused(monkeypatch):
    monkeypatch.setattr(recurrent, "preferred", lambda inputs: True)
    layer = CELLS["lstm"](INPUTS, HIDDEN)
    with recording(layer):
        loss = layer(torch.randn(ROWS, STEPS, INPUTS)).sum()
        loss.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="once only"):
            loss.backward()


def test_a_cpu_walks_by_hand():
    assert not library.preferred(torch.zeros(2, 3, 4))
