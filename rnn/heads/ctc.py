"""Symbols without their times: connectionist temporal classification.

B sequences, T steps, H encoded width, C classes; 0 is the blank, class k is k + 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnn.config import InputShape, ModelConfig


def ctc_losses(
    logits: Tensor, targets: Tensor, lengths: Tensor | None, shape: InputShape
) -> Tensor:
    """Return minus the log-probability of the symbols a symbol, nats, float [B].

    Args:
        logits: float [B, T, 2 + C]: log-probabilities are made of all but the last channel, which
            says which steps are real.
        targets: int64 [B, U], classes + 1, padded with 0.
        lengths: int64 [B], symbols, each in 1..U.
        shape: unused.

    Source: Graves, Fernandez, Gomez, Schmidhuber (2006). A sequence too short for its symbols
    costs nothing and teaches nothing.
    """
    assert lengths is not None
    steps = (logits[..., -1] > 0).sum(1)
    chances = logits[..., :-1].log_softmax(2).transpose(0, 1)
    whole = functional.ctc_loss(
        chances, targets, steps, lengths, blank=0, reduction="none", zero_infinity=True
    )
    return whole / lengths


class Transcriber(nn.Module):
    """States to logits over blank and classes at every step."""

    def __init__(
        self, config: ModelConfig, shape: InputShape, width: int, embedding: nn.Embedding | None
    ):
        """One linear layer; `shape.output_size` is C + 1."""
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width + shape.static_size, shape.output_size)

    def forward(
        self, states: Tensor, lengths: Tensor, static: Tensor, targets: Tensor | None = None
    ) -> Tensor:
        """Return logits [B, T, C + 1] and, behind them, a channel that is 1 at real steps."""
        beside = static.to(states.dtype)[:, None].expand(-1, states.shape[1], -1)
        logits = self.output(self.dropout(torch.cat([states, beside], 2)))
        real = torch.arange(states.shape[1], device=lengths.device) < lengths[:, None]
        return torch.cat([logits, real[..., None].to(logits.dtype)], 2)
