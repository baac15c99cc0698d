"""One sequence to another: a recurrent decoder that attends to the encoder's states.

B sequences, T input steps, U target steps, H encoded width, K decoder width, E embedded width,
V target tokens. Targets begin with a start token and end with an end token.
"""

import torch
from torch import Tensor, nn

from rnn.config import InputShape, ModelConfig
from rnn.heads.next_token import inside, token_losses
from rnn.recurrent import CELLS


class Attention(nn.Module):
    """Each query's weighted mean of the real states, by an additive or a dot score.

    Source: Bahdanau, Cho, Bengio (2015), section 3.1; Luong, Pham, Manning (2015), section 3.1.
    """

    def __init__(self, kind: str, query_size: int, state_size: int):
        """A dot product needs queries as wide as states: they are projected."""
        super().__init__()
        self.kind = kind
        self.query = nn.Linear(query_size, state_size, bias=False)
        if kind == "additive":
            self.key = nn.Linear(state_size, state_size)
            self.score = nn.Linear(state_size, 1, bias=False)

    def forward(self, queries: Tensor, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return contexts [B, U, H] and weights [B, U, T] from queries [B, U, K]."""
        return self.attend(queries, states, self.keys(states, lengths), lengths)

    def keys(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Return what queries are compared with, [B, T, H]: once for all of them."""
        states = torch.where(inside(lengths, states.shape[1])[..., None], states, 0.0)
        return self.key(states) if self.kind == "additive" else states

    def attend(
        self, queries: Tensor, states: Tensor, keys: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return contexts and weights; the rest as in `forward`, `keys` from `keys`."""
        asked = self.query(queries)
        real = inside(lengths, states.shape[1])
        if self.kind == "additive":
            scores = self.score(torch.tanh(asked[:, :, None] + keys[:, None])).squeeze(3)
        else:
            scores = asked @ keys.transpose(1, 2) / keys.shape[2] ** 0.5
        weights = scores.masked_fill(~real[:, None], float("-inf")).softmax(2)
        return weights @ torch.where(real[..., None], states, 0.0), weights


class Decoder(nn.Module):
    """A recurrent language model of targets that attends to the input."""

    def __init__(
        self, config: ModelConfig, shape: InputShape, width: int, embedding: nn.Embedding | None
    ):
        """`shape.output_size` is V; the first state is made from the mean of the encoder's."""
        super().__init__()
        self.cell, self.layers = config.cell, config.num_layers
        size, hidden = config.embedding_size, config.hidden_size
        self.embedding = nn.Embedding(shape.output_size, size, padding_idx=0)
        self.bridge = nn.Linear(width + shape.static_size, hidden * config.num_layers)
        self.recurrent = CELLS[config.cell](size, hidden, config.num_layers)
        self.attention = Attention(config.attention, hidden, width)
        self.dropout = nn.Dropout(config.dropout)
        self.mix = nn.Linear(hidden + width, size)
        self.output = nn.Linear(size, shape.output_size)
        if config.tie_weights:
            self.output.weight = self.embedding.weight

    def start(self, states: Tensor, lengths: Tensor, static: Tensor) -> Tensor:
        """Return the decoder's first states, [layers, B, K]."""
        real = inside(lengths, states.shape[1])[..., None]
        mean = torch.where(real, states, 0.0).sum(1) / lengths[:, None].to(states.dtype)
        made = torch.tanh(self.bridge(torch.cat([mean, static.to(mean.dtype)], 1)))
        wide = (len(made), self.layers, made.shape[1] // self.layers)
        return made.view(wide).transpose(0, 1).contiguous()

    def forward(
        self, states: Tensor, lengths: Tensor, static: Tensor, targets: Tensor | None = None
    ) -> Tensor:
        """Return logits [B, U - 1, V] of every token but the first, taught by those before it.

        Raises:
            ValueError: no targets.
        """
        if targets is None:
            raise ValueError("seq2seq needs targets to be taught by; decode without them")
        states = self.dropout(states)
        first = self.start(states, lengths, static)
        initial = (first, torch.zeros_like(first)) if self.cell == "lstm" else first
        queries = self.recurrent(self.dropout(self.embedding(targets[:, :-1])), None, initial)
        contexts, _ = self.attention(queries, states, lengths)
        mixed = torch.tanh(self.mix(torch.cat([queries, contexts], 2)))
        return self.output(self.dropout(mixed))


def seq2seq_losses(
    logits: Tensor, targets: Tensor, lengths: Tensor | None, shape: InputShape
) -> Tensor:
    """Return the mean cross-entropy of a target's tokens after the first, nats, float [B].

    Args:
        logits: float [B, U - 1, V].
        targets: int64 [B, U].
        lengths: int64 [B], start and end included, each in 2..U.
        shape: unused.
    """
    assert lengths is not None
    losses = token_losses(logits, targets[:, 1:])
    counted = lengths - 1
    return torch.where(inside(counted, losses.shape[1]), losses, 0.0).sum(1) / counted
