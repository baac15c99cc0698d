"""Decoding: the likeliest target that a seq2seq finds, token by token.

B sequences, N = B x W hypotheses (W a sequence, next to each other), T input steps, U target
steps so far, H encoded width, K decoder width, V target tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rnn.batch import SequenceBatch
from rnn.heads.seq2seq import Decoder
from rnn.model import SequenceModel

START_ID, END_ID = 2, 3
# Padding, what the vocabulary lacks, and the start of a target are never said.
SILENT = (0, 1, START_ID)


@dataclass(frozen=True)
class Decoded:
    """What was said of B sequences.

    Attributes:
        tokens: of each, without start and end.
        log_probabilities: float [B], nats, of the tokens and the end.
    """

    tokens: list[list[int]]
    log_probabilities: Tensor


class Stepper:
    """A decoder that is asked for one token at a time: its states are here, not in it."""

    def __init__(self, decoder: Decoder, states: Tensor, lengths: Tensor, static: Tensor):
        """Start every sequence.

        Args:
            decoder: in evaluation mode.
            states: float [B, T, H] of the encoder.
            lengths: int64 [B].
            static: float [B, S].
        """
        self.decoder, self.states, self.lengths = decoder, states, lengths
        self.keys = decoder.attention.keys(states, lengths)
        first = decoder.start(states, lengths, static)
        # One row a layer, hidden states first, then an LSTM's cells.
        self.memory = torch.cat([first, torch.zeros_like(first)]) if self._has_cell else first

    @property
    def _has_cell(self) -> bool:
        return self.decoder.cell == "lstm"

    def keep(self, rows: Tensor) -> None:
        """Go on with some rows, in this order; a row may come twice."""
        self.states, self.lengths = self.states[rows], self.lengths[rows]
        self.keys = self.keys[rows]
        self.follow(rows)

    def follow(self, rows: Tensor) -> None:
        """Go on from other hypotheses of the same sequences."""
        self.memory = self.memory[:, rows]

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return log-probabilities [N, V] of what comes after tokens [N]."""
        decoder = self.decoder
        outputs = decoder.embedding(tokens)
        layers = decoder.layers
        after = self.memory.clone()
        for layer in range(layers):
            outputs = self._cell(outputs, layer, after)
        self.memory = after
        asked = outputs[:, None]
        contexts, _ = decoder.attention.attend(asked, self.states, self.keys, self.lengths)
        mixed = torch.tanh(decoder.mix(torch.cat([asked, contexts], 2)))
        return decoder.output(mixed)[:, 0].log_softmax(1)

    def _cell(self, inputs: Tensor, layer: int, after: Tensor) -> Tensor:
        """One step of one layer, whose state in `after` it replaces."""
        stack, hidden = self.decoder.recurrent, self.memory[layer]
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(stack, f"{name}_l{layer}") for name in names]
        if self.decoder.cell == "lstm":
            below = self.decoder.layers + layer
            after[layer], after[below] = torch.lstm_cell(
                inputs, (hidden, self.memory[below]), *weights
            )
        elif self.decoder.cell == "gru":
            after[layer] = torch.gru_cell(inputs, hidden, *weights)
        else:
            after[layer] = torch.rnn_tanh_cell(inputs, hidden, *weights)
        return after[layer]


def stepper_of(model: SequenceModel, batch: SequenceBatch) -> Stepper:
    """Return a model's decoder at the start of every sequence of a batch.

    Raises:
        ValueError: the model is no seq2seq.
    """
    if not isinstance(model.head, Decoder):
        raise ValueError(f"task = {model.shape.task!r} cannot be decoded; seq2seq can")
    states = model.states(model.embed(batch.inputs), batch.lengths)
    return Stepper(model.head, states, batch.lengths, batch.static)


def length_penalty(length: int, alpha: float) -> float:
    """Return what a log-probability is divided by; 1 where alpha is 0.

    Args:
        length: tokens of the target, the end included.
        alpha: 0 prefers short targets, 1 nearly compares means.

    Source: Wu et al. (2016), "Google's neural machine translation system", equation 14.
    """
    return float(((5 + length) / 6) ** alpha)


@torch.no_grad()
def greedy(model: SequenceModel, batch: SequenceBatch, steps: int) -> Decoded:
    """Return the target whose every token is the likeliest after those before it.

    Args:
        model: a seq2seq in evaluation mode.
        batch: its targets are not looked at; B may be 0.
        steps: tokens at most, the end not counted.
    """
    stepper = stepper_of(model, batch)
    size = len(batch)
    tokens = torch.full((size,), START_ID)
    total = torch.zeros(size, dtype=stepper.states.dtype)
    open_, said = torch.ones(size, dtype=torch.bool), []
    for step in range(steps + 1):
        scores = _sayable(stepper(tokens), last=step == steps)
        best, tokens = scores.max(1)
        total = torch.where(open_, total + best, total)
        said.append(torch.where(open_, tokens, END_ID))
        open_ &= tokens != END_ID
        if not open_.any():
            break
    rows = torch.stack(said, 1).tolist() if said else []
    return Decoded([row[: row.index(END_ID)] for row in rows], total)


def _sayable(scores: Tensor, last: bool) -> Tensor:
    """Log-probabilities without tokens that are never said; at last, the end alone."""
    allowed = torch.zeros(scores.shape[1], dtype=torch.bool)
    if last:
        allowed[END_ID] = True
    else:
        allowed[:] = True
        allowed[list(SILENT)] = False
    return scores.masked_fill(~allowed, float("-inf"))


class _Best:
    """The best finished target of each sequence."""

    def __init__(self, size: int, alpha: float, like: Tensor):
        self.alpha = alpha
        self.score = like.new_full((size,), float("-inf"))
        self.total = self.score.clone()
        self.tokens: list[list[int]] = [[] for _ in range(size)]

    def offer(self, where: Tensor, totals: Tensor, said: Tensor) -> None:
        """Take those that are better than what is there.

        Args:
            where: int64 [A], numbers of the sequences.
            totals: float [A, W], log-probabilities with the end.
            said: int64 [A, W, U], the tokens before it.
        """
        total, column = totals.max(1)
        score = total / length_penalty(said.shape[2] + 1, self.alpha)
        for i in torch.nonzero(score > self.score[where]).flatten().tolist():
            place = int(where[i])
            self.score[place], self.total[place] = score[i], total[i]
            self.tokens[place] = said[i, column[i]].tolist()


@torch.no_grad()
def beam(
    model: SequenceModel, batch: SequenceBatch, steps: int, *, width: int = 4, alpha: float = 0.6
) -> Decoded:
    """Return the best target that a search of some breadth finds.

    A sequence's search ends when no hypothesis that is left can still become better than the
    best finished one, or at `steps` tokens.

    Args:
        model: a seq2seq in evaluation mode.
        batch: its targets are not looked at; B may be 0.
        steps: tokens at most, the end not counted.
        width: hypotheses a sequence.
        alpha: of `length_penalty`, at least 0.

    Source: Sutskever, Vinyals, Le (2014), section 3.2; Wu et al. (2016), section 7.
    """
    stepper = stepper_of(model, batch)
    size = len(batch)
    best = _Best(size, alpha, stepper.states)
    where = torch.arange(size)
    stepper.keep(where.repeat_interleave(width))
    tokens = torch.full((size * width,), START_ID)
    totals = stepper.states.new_full((size, width), float("-inf"))
    # All hypotheses are the same at the start: one of them goes on.
    totals[:, 0] = 0.0
    said = torch.zeros(size, width, 0, dtype=torch.int64)
    for step in range(steps + 1):
        if not len(where):
            break
        scores = _sayable(stepper(tokens), last=step == steps).view(len(where), width, -1)
        scores = totals[..., None] + scores
        best.offer(where, scores[..., END_ID], said)
        scores[..., END_ID] = float("-inf")
        totals, parents, said = _grown(scores, said)
        reachable = totals[:, 0] / length_penalty(steps + 1, alpha)
        left = torch.nonzero(reachable > best.score[where]).flatten()
        rows = (torch.arange(len(where))[:, None] * width + parents)[left].flatten()
        _follow(stepper, rows, narrower=len(left) < len(where))
        where, totals, said = where[left], totals[left], said[left]
        tokens = said[..., -1].flatten()
    return Decoded(best.tokens, best.total)


def _grown(scores: Tensor, said: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The W best of [A, W, V] continuations: totals [A, W], parents [A, W], tokens [A, W, U + 1].

    Where fewer are possible, the rest has a total of minus infinity.
    """
    count, width, vocabulary = scores.shape
    totals, chosen = scores.view(count, -1).topk(width, 1)
    parents, tokens = chosen // vocabulary, chosen % vocabulary
    before = said.gather(1, parents[..., None].expand(-1, -1, said.shape[2]))
    return totals, parents, torch.cat([before, tokens[..., None]], 2)


def _follow(stepper: Stepper, rows: Tensor, narrower: bool) -> None:
    """Go on from `rows`; what belongs to a sequence is copied only where sequences are done."""
    if narrower:
        stepper.keep(rows)
    else:
        stepper.follow(rows)
