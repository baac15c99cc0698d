"""An adversary that guesses the group from the pooled state, behind a reversed gradient.

B sequences, H encoded width, G groups.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnn.model import SequenceModel


class _Reversal(torch.autograd.Function):
    """The identity, whose gradient is turned round."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, strength: float) -> Tensor:
        """Values as they are."""
        ctx.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Minus strength times the gradient."""
        return -ctx.strength * grad, None


def reverse(values: Tensor, strength: float) -> Tensor:
    """Return values as they are; their gradient comes back times -strength.

    Source: Ganin et al. (2016), equation 14.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> reverse(x, 0.5).sum().backward()
        >>> x.grad
        tensor([-0.5000, -0.5000])
    """
    return _Reversal.apply(values, strength)


class Adversary(nn.Module):
    """Two layers from the pooled state to the groups."""

    def __init__(self, width: int, hidden_size: int, groups: int, strength: float, seed: int):
        """Seed the initial weights.

        Args:
            width: H.
            hidden_size: units between.
            groups: G, without "unknown".
            strength: of the reversed gradient.
            seed: of the weights.
        """
        super().__init__()
        self.strength = strength
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.hidden = nn.Linear(width, hidden_size)
            self.output = nn.Linear(hidden_size, groups)

    def forward(self, encoded: Tensor) -> Tensor:
        """Return logits float [B, G] from the pooled state float [B, H]."""
        reversed_state = reverse(encoded, self.strength)
        return self.output(functional.silu(self.hidden(reversed_state)))


class Joint(nn.Module):
    """A model and its adversary as one module, so that one gradient an example is clipped."""

    def __init__(self, model: SequenceModel, adversary: Adversary):
        """Hold both; the model's own forward stays what it is."""
        super().__init__()
        self.model, self.adversary = model, adversary

    def forward(self, inputs: Tensor, lengths: Tensor, static: Tensor) -> tuple[Tensor, Tensor]:
        """Return the model's logits [B, C] and the adversary's [B, G]."""
        encoded = self.model.encode(self.model.embed(inputs), lengths)
        logits = self.model.head(torch.cat([encoded, static.to(encoded.dtype)], 1))
        return logits, self.adversary(encoded)


def guess_losses(logits: Tensor, groups: Tensor) -> Tensor:
    """Return the adversary's loss of each example, nats; 0 for a group beyond the last.

    Args:
        logits: float [B, G].
        groups: int64 [B]; G stands for "unknown".
    """
    known = groups < logits.shape[1]
    losses = functional.cross_entropy(logits, torch.where(known, groups, 0), reduction="none")
    return torch.where(known, losses, 0.0)
