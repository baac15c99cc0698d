"""Kinds of targets: what stands on the recurrent stack, and the loss of one example.

A new kind is one file here and one line in HEADS or POOLED. B sequences, T steps, H encoded
width, U target steps.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

from rnn.config import InputShape, ModelConfig
from rnn.heads.ctc import Transcriber, ctc_losses
from rnn.heads.forecast import forecast_losses
from rnn.heads.next_token import NextToken, next_token_losses
from rnn.heads.scores import binary_losses, multiclass_losses, regression_losses
from rnn.heads.seq2seq import Decoder, seq2seq_losses

Losses = Callable[[Tensor, Tensor, Tensor | None, InputShape], Tensor]


class StepHead(Protocol):
    """Reads every step's state; a head that reads one pooled state is in POOLED instead."""

    def __call__(
        self, states: Tensor, lengths: Tensor, static: Tensor, targets: Tensor | None
    ) -> Tensor:
        """Return outputs whose first axis is B.

        Args:
            states: float [B, T, H] of the recurrent stack.
            lengths: int64 [B], each in 1..T.
            static: float [B, S].
            targets: as in `SequenceBatch`, for heads that are taught by them; else unused.
        """


HeadFactory = Callable[[ModelConfig, InputShape, int, nn.Embedding | None], nn.Module]

# Kinds whose head is the pooled state and feed-forward layers.
POOLED: dict[str, Losses] = {
    "binary": binary_losses,
    "multiclass": multiclass_losses,
    "regression": regression_losses,
    "forecast": forecast_losses,
}
# Kinds whose head reads every step.
HEADS: dict[str, tuple[HeadFactory, Losses]] = {
    "next_token": (NextToken, next_token_losses),
    "ctc": (Transcriber, ctc_losses),
    "seq2seq": (Decoder, seq2seq_losses),
}


def losses_for(task: str) -> Losses:
    """Return the loss of a kind.

    Raises:
        ValueError: unknown task.
    """
    if task in POOLED:
        return POOLED[task]
    if task in HEADS:
        return HEADS[task][1]
    raise ValueError(f"task = {task!r} must be one of {', '.join([*POOLED, *HEADS])}")
