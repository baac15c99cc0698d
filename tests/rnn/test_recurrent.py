"""The three cells against torch.nn, which is their reference for numbers and parameters."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn.recurrent import CELLS, reverse_padded
from rnn.tape import recording

REFERENCE = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def _pair(cell, layers, bidirectional):
    torch.manual_seed(3)
    ours = CELLS[cell](3, 4, layers, bidirectional=bidirectional).double()
    theirs = REFERENCE[cell](3, 4, layers, bidirectional=bidirectional, batch_first=True).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("taped", [False, True])
def test_outputs_equal_torch_on_ragged_batches(cell, layers, bidirectional, taped):
    ours, theirs = _pair(cell, layers, bidirectional)
    lengths = torch.tensor([5, 1, 7, 3])
    inputs = torch.randn(4, 7, 3, dtype=torch.float64)
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    if taped:
        with recording(ours):
            got = ours(inputs, lengths).detach()
    else:
        got = ours(inputs, lengths)
    real = (torch.arange(7) < lengths[:, None])[..., None]
    torch.testing.assert_close(got * real, expected * real, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_state_dict_goes_both_ways(cell):
    ours, theirs = _pair(cell, 2, True)
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("cell", CELLS)
def test_hand_written_backward_equals_autograd(cell):
    ours, theirs = _pair(cell, 1, False)
    inputs = torch.randn(3, 6, 3, dtype=torch.float64, requires_grad=True)
    ours.tape = None
    weights = dict(ours.named_parameters())
    from rnn.cells import Trace

    outputs = ours._recur(
        inputs, tuple(weights.values()), ours._zeros(inputs), torch.zeros(()), Trace()
    )
    probe = torch.randn_like(outputs)
    got = torch.autograd.grad((outputs * probe).sum(), [inputs, *weights.values()])
    expected = torch.autograd.grad(
        (theirs(inputs)[0] * probe).sum(), [inputs, *theirs.parameters()]
    )
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_relu_rnn_equals_torch():
    torch.manual_seed(0)
    ours = CELLS["rnn"](3, 4, nonlinearity="relu").double()
    theirs = nn.RNN(3, 4, nonlinearity="relu", batch_first=True).double()
    theirs.load_state_dict(ours.state_dict())
    inputs = torch.randn(2, 5, 3, dtype=torch.float64)
    with recording(ours):
        got = ours(inputs, torch.tensor([5, 5])).detach()
    torch.testing.assert_close(got, theirs(inputs)[0], rtol=0, atol=1e-12)


def test_reverse_padded_leaves_padding_in_place():
    values = torch.tensor([[[1.0], [2.0], [9.0]], [[1.0], [2.0], [3.0]]])
    got = reverse_padded(values, torch.tensor([2, 3]))[..., 0]
    assert got.tolist() == [[2.0, 1.0, 9.0], [3.0, 2.0, 1.0]]


@pytest.mark.parametrize("cell", CELLS)
def test_empty_batch(cell):
    layer = CELLS[cell](3, 4, 2, bidirectional=True)
    assert layer(torch.zeros(0, 5, 3), torch.zeros(0, dtype=torch.int64)).shape == (0, 5, 8)
