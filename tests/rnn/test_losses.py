"""Per-example losses: values by hand, and no example hears another."""

import math

import pytest
import torch

from rnn.losses import example_losses


def test_values_by_hand():
    binary = example_losses(torch.tensor([[0.0], [2.0]]), torch.tensor([1, 0]), "binary")
    torch.testing.assert_close(binary, torch.tensor([math.log(2), math.log1p(math.exp(2))]))
    classes = example_losses(torch.zeros(1, 4), torch.tensor([3]), "multiclass")
    torch.testing.assert_close(classes, torch.tensor([math.log(4)]))
    squared = example_losses(torch.tensor([[3.0]]), torch.tensor([1.0]), "regression")
    assert squared.tolist() == [2.0]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_changing_one_row_moves_no_other(task):
    width = 3 if task == "multiclass" else 1
    logits = torch.randn(5, width, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 1, 0, 1])
    before = example_losses(logits.clone().requires_grad_(), targets, task)
    for row in range(5):
        changed = logits.clone()
        changed[row] += 7.0
        other = targets.clone()
        other[row] = 1 - other[row]
        probe = changed.requires_grad_()
        after = example_losses(probe, other, task)
        rest = [i for i in range(5) if i != row]
        assert torch.equal(after[rest], before[rest])
        assert not torch.equal(after[row], before[row])
        (gradient,) = torch.autograd.grad(after[rest].sum(), probe)
        assert torch.count_nonzero(gradient[row]) == 0


def test_unknown_task():
    with pytest.raises(ValueError, match="'ranking' must be"):
        example_losses(torch.zeros(1, 1), torch.zeros(1), "ranking")
