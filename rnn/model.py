"""Encoder, pooling and head: a sequence model from its settings.

B sequences, T steps, D channels, E embedded width, H encoded width, S static, C logits.
"""

import torch
from torch import Tensor, nn

from rnn.batch import SequenceBatch
from rnn.config import InputShape, ModelConfig
from rnn.conv import Convolutions
from rnn.heads import HEADS
from rnn.heads.seq2seq import Decoder
from rnn.masks import chosen
from rnn.recurrent import CELLS

PADDING_ID, UNKNOWN_ID = 0, 1


def last_hidden(outputs: Tensor, lengths: Tensor) -> Tensor:
    """Return each sequence's output at its last real step.

    Args:
        outputs: float [B, T, H], batch first; B may be 0.
        lengths: int64 [B], steps, each in 1..T.

    Returns:
        float [B, H].

    Example:
        >>> last_hidden(torch.ones(1, 3, 2), torch.tensor([2])).shape
        torch.Size([1, 2])
    """
    index = (lengths - 1).view(-1, 1, 1).expand(-1, 1, outputs.shape[2])
    return outputs.gather(1, index).squeeze(1)


def real_steps(lengths: Tensor, steps: int) -> Tensor:
    """Return bool [B, T], true where a step is not padding."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


class Pooling(nn.Module):
    """Outputs over time to one vector: the last real step, their mean, or learnt attention."""

    def __init__(self, kind: str, width: int, bidirectional: bool):
        """Attention is additive with one query.

        Source: Bahdanau, Cho, Bengio (2015), equation 6.
        """
        super().__init__()
        self.kind, self.bidirectional = kind, bidirectional
        if kind == "attention":
            self.key = nn.Linear(width, width)
            self.query = nn.Linear(width, 1, bias=False)

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Return float [B, H] from [B, T, H]."""
        if self.kind == "last":
            if not self.bidirectional:
                return last_hidden(outputs, lengths)
            forwards, backwards = outputs.chunk(2, 2)
            # The reverse direction ends at the first step.
            return torch.cat([last_hidden(forwards, lengths), backwards[:, 0]], 1)
        real = real_steps(lengths, outputs.shape[1])
        if self.kind == "mean":
            # Steps after a length hold no meaning: select, do not multiply.
            kept = torch.where(real[..., None], outputs, 0.0)
            return kept.sum(1) / lengths[:, None].to(outputs.dtype)
        kept = torch.where(real[..., None], outputs, 0.0)
        scores = self.query(torch.tanh(self.key(kept))).squeeze(2)
        weights = scores.masked_fill(~real, float("-inf")).softmax(1)
        return (weights[..., None] * kept).sum(1)


class SequenceModel(nn.Module):
    """Embedding or numbers, convolutions, recurrent stack, pooling, feed-forward head."""

    def __init__(self, config: ModelConfig, shape: InputShape):
        """Build with torch's default initial values; see `build` for seeded, better ones."""
        super().__init__()
        self.config, self.shape = config, shape
        width = shape.input_size
        if shape.vocabulary_size:
            width = config.embedding_size
            self.embedding = nn.Embedding(shape.vocabulary_size, width, padding_idx=0)
        if config.conv:
            # A language model must not see the token that it is asked for.
            self.conv = Convolutions(width, config.conv, causal=shape.task == "next_token")
            width = self.conv.size
        dropout = config.dropout if config.num_layers > 1 else 0.0
        self.recurrent = CELLS[config.cell](
            width,
            config.hidden_size,
            config.num_layers,
            bidirectional=config.bidirectional,
            dropout=dropout,
        )
        encoded = config.hidden_size * (2 if config.bidirectional else 1)
        self.head: nn.Module
        if shape.task in HEADS:
            tokens = self.embedding if shape.vocabulary_size else None
            self.head = HEADS[shape.task][0](config, shape, encoded, tokens)
            return
        self.pooling = Pooling(config.pooling, encoded, config.bidirectional)
        layers: list[nn.Module] = []
        size = encoded + shape.static_size
        for hidden in config.head_sizes:
            layers += [nn.Dropout(config.dropout), nn.Linear(size, hidden), nn.SiLU()]
            size = hidden
        self.head = nn.Sequential(
            *layers, nn.Dropout(config.dropout), nn.Linear(size, shape.output_size)
        )

    def embed(self, inputs: Tensor) -> Tensor:
        """Return float [B, T, E]: looked-up tokens, or numbers as they are."""
        if not self.shape.vocabulary_size:
            return inputs
        if self.training and self.config.token_dropout:
            dropped = chosen(inputs, self.config.token_dropout)
            inputs = torch.where(dropped & (inputs != PADDING_ID), UNKNOWN_ID, inputs)
        return self.embedding(inputs)

    def states(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Return float [B, T, H], the recurrence's outputs; steps after a length mean nothing."""
        if self.config.conv:
            embedded = self.conv(embedded, lengths)
        return self.recurrent(embedded, lengths)

    def encode(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Return float [B, H], the pooled state."""
        return self.pooling(self.states(embedded, lengths), lengths)

    def forward_embedded(
        self, embedded: Tensor, lengths: Tensor, static: Tensor, targets: Tensor | None = None
    ) -> Tensor:
        """Return outputs from `embed`'s output; the rest as in `forward`."""
        if self.shape.task in HEADS:
            return self.head(self.states(embedded, lengths), lengths, static, targets)
        encoded = self.encode(embedded, lengths)
        return self.head(torch.cat([encoded, static.to(encoded.dtype)], 1))

    def forward(
        self, inputs: Tensor, lengths: Tensor, static: Tensor, targets: Tensor | None = None
    ) -> Tensor:
        """Return logits.

        Args:
            inputs: float [B, T, D] or int64 [B, T]; B may be 0.
            lengths: int64 [B], each in 1..T.
            static: float [B, S]; S may be 0.
            targets: as in `SequenceBatch`; read by a seq2seq alone, which is taught by them.

        Returns:
            float [B, C] where a sequence has one answer, [B, H x Q] to forecast, [B, T, .] for
            next_token and ctc, [B, U - 1, V] for seq2seq: see rnn/heads.
        """
        return self.forward_embedded(self.embed(inputs), lengths, static, targets)

    def outputs(self, batch: SequenceBatch) -> Tensor:
        """Return `forward` of a batch."""
        return self(batch.inputs, batch.lengths, batch.static, batch.targets)


def _initialise(stack: nn.Module, config: ModelConfig) -> None:
    """Draw a recurrent stack's weights, gate by gate; torch has drawn uniform ones already."""
    if config.initialisation == "uniform":
        return
    for name, parameter in stack.named_parameters():
        if name.startswith("weight_hh"):
            for gate in parameter.data.split(config.hidden_size):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            for gate in parameter.data.split(config.hidden_size):
                nn.init.xavier_uniform_(gate)
        else:
            nn.init.zeros_(parameter)
            if config.cell == "lstm" and name.startswith("bias_ih"):
                parameter.data[config.hidden_size : 2 * config.hidden_size] = 1.0


def build(config: ModelConfig, shape: InputShape, seed: int) -> SequenceModel:
    """Return a model with seeded initial weights.

    Recurrent weights are orthogonal a gate, and an LSTM's forget bias is 1, unless the settings
    say otherwise.

    Source: Saxe, McClelland, Ganguli (2014); Jozefowicz, Zaremba, Sutskever (2015), section 4.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SequenceModel(config, shape)
        _initialise(model.recurrent, config)
        if isinstance(model.head, Decoder):
            _initialise(model.head.recurrent, config)
    return model


def load_weights(model: SequenceModel, weights: dict[str, Tensor]) -> None:
    """Load weights that stand there once even where two layers share them.

    Args:
        model: changed in place.
        weights: by the names of `model.named_parameters()`; not changed.
    """
    first = {id(one): name for name, one in model.named_parameters()}
    shared = model.named_parameters(remove_duplicate=False)
    again = {name: weights[first[id(one)]] for name, one in shared if name not in weights}
    model.load_state_dict({**weights, **again})


def probabilities(logits: Tensor, task: str) -> Tensor:
    """Return what a reader understands from logits.

    Args:
        logits: float [B, C].
        task: binary, multiclass or regression.

    Returns:
        binary: P(event) [B]; multiclass: [B, C]; regression: the prediction [B], in the
        target's scaled units.
    """
    if task == "multiclass":
        return logits.softmax(1)
    return logits.squeeze(1).sigmoid() if task == "binary" else logits.squeeze(1)
