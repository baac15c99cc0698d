"""The next token at every step. B sequences, T steps, H encoded width, E embedded, V tokens."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnn.config import InputShape, ModelConfig


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return cross-entropy in nats of each token, float [B, U], from logits [B, U, V]."""
    flat = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return flat.view(targets.shape)


def inside(lengths: Tensor, steps: int) -> Tensor:
    """Return bool [B, steps], true before each length."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def next_token_losses(
    logits: Tensor, targets: Tensor, lengths: Tensor | None, shape: InputShape
) -> Tensor:
    """Return the mean cross-entropy of a sequence's own tokens, nats, float [B]."""
    assert lengths is not None
    losses = token_losses(logits, targets)
    real = inside(lengths, targets.shape[1])
    return torch.where(real, losses, 0.0).sum(1) / lengths


class NextToken(nn.Module):
    """States to logits over the tokens that the model reads."""

    def __init__(
        self, config: ModelConfig, shape: InputShape, width: int, embedding: nn.Embedding | None
    ):
        """Tie the output to the embedding where the settings say so.

        Raises:
            ValueError: the inputs are no tokens, or both directions are read.

        Source: Press and Wolf (2017), "Using the output embedding to improve language models".
        """
        super().__init__()
        if embedding is None:
            raise ValueError("next_token needs tokens as input")
        if config.bidirectional:
            raise ValueError("model.bidirectional = true sees the token that next_token is to say")
        size = width + shape.static_size
        self.dropout = nn.Dropout(config.dropout)
        self.project: nn.Module
        if config.tie_weights:
            self.project = nn.Linear(size, config.embedding_size)
            self.output = nn.Linear(config.embedding_size, shape.vocabulary_size)
            self.output.weight = embedding.weight
        else:
            self.project = nn.Identity()
            self.output = nn.Linear(size, shape.vocabulary_size)

    def forward(
        self, states: Tensor, lengths: Tensor, static: Tensor, targets: Tensor | None = None
    ) -> Tensor:
        """Return logits [B, T, V]."""
        beside = static.to(states.dtype)[:, None].expand(-1, states.shape[1], -1)
        return self.output(self.project(self.dropout(torch.cat([states, beside], 2))))
