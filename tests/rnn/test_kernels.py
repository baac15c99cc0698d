"""Products and storage of the recurrences, each against the plain formula."""

import pytest
import torch

from rnn import kernels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [0, 1, 37])
def test_linear_and_its_sum(dtype, rows):
    torch.manual_seed(0)
    wide = torch.randn(rows, 9, dtype=dtype)
    # A window on wider rows, as the recurrences use it.
    x, weight, other = wide[:, 2:], torch.randn(5, 7, dtype=dtype), torch.randn(rows, 5).to(dtype)
    bias = torch.randn(5, dtype=dtype)
    torch.testing.assert_close(kernels.linear(x, weight, bias), x @ weight.T + bias)
    torch.testing.assert_close(kernels.linear_plus(x, weight, other), x @ weight.T + other)
    torch.testing.assert_close(kernels.linear_plus(x, weight, None), x @ weight.T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_onednn_the_numbers_are_the_same(dtype, monkeypatch):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(6, 4), torch.randn(3, 4), torch.randn(3)
    x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
    fast = kernels.linear(x, weight, bias)
    monkeypatch.setattr(kernels, "onednn", lambda: False)
    torch.testing.assert_close(kernels.linear(x, weight, bias), fast)


def test_weight_sum_over_pieces(monkeypatch):
    monkeypatch.setattr(kernels, "PIECE_BYTES", 5 * 3 * 8 * 2)
    monkeypatch.setattr(kernels, "SUM_ROWS", 5)
    torch.manual_seed(0)
    steps, batch = 7, 5
    pieces = kernels.spread(torch.zeros(batch, 1, dtype=torch.float64), steps, 3)
    assert [len(p) for p in pieces] == [2, 2, 2, 1]
    delta = torch.randn(steps, batch, 3, dtype=torch.float64)
    for piece, part in zip(pieces, delta.split(2), strict=True):
        piece.copy_(part)
    went_in, factors = torch.randn(steps, batch, 4).double(), torch.rand(batch).double()
    expected = torch.einsum("tbo,tbi,b->oi", delta, went_in, factors)
    got = kernels.weight_sum(pieces, went_in, factors)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
