"""The one number of each kind of target that is explained, and what it is called.

A new kind is one entry in SCORES. B people, T steps, E embedded width, S static channels, U
symbols that are said, V tokens, C classes, d places of an index.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rnn.batch import SequenceBatch
from rnn.beam import END_ID, START_ID, greedy
from rnn.ctc_decoding import collapsed
from rnn.heads.forecast import quantiles_of
from rnn.heads.seq2seq import seq2seq_losses
from rnn.model import SequenceModel
from tasks.recipe import TargetPlan

Forward = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Index = Callable[[SequenceModel, SequenceBatch], Tensor]

# Tokens of an own translation that are asked about at most.
MOST_SAID = 40
# Numbers of one pass, beside which a caller may ask for fewer rows.
_ROOM = 1 << 24


@dataclass(frozen=True)
class Score:
    """What is explained of one kind.

    Attributes:
        unit: of the number.
        words: what attributions add up to, of a target.
        index: model, batch of B -> int64 [B, d], which output of each person is meant.
        forward: model -> embedded [n, T, E], lengths [n], static [n, S], index [n, d] -> [n].
        said: of an index [d], the symbols that it asks about; empty where there are none.
    """

    unit: str
    words: Callable[[TargetPlan], str]
    index: Index
    forward: Callable[[SequenceModel], Forward]
    said: Callable[[Tensor], list[int]] = lambda index: []


def at_index(outputs_of: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Forward:
    """Return the number at each person's place of a network's outputs.

    Args:
        outputs_of: embedded, lengths, static -> outputs [n, ...]; an index then has a place for
            each of their dimensions after the first, and ValueError is raised where it has not.
    """

    def forward(embedded: Tensor, lengths: Tensor, static: Tensor, index: Tensor) -> Tensor:
        outputs = outputs_of(embedded, lengths, static)
        if index.shape[1] != outputs.ndim - 1:
            raise ValueError(f"index has {index.shape[1]} places: {outputs.ndim - 1} needed")
        return outputs[(torch.arange(len(index), device=index.device), *index.unbind(1))]

    return forward


def _largest_logit(model: SequenceModel, batch: SequenceBatch) -> Tensor:
    """The only logit, or that of the predicted class, [B, 1]."""
    embedded = model.embed(batch.inputs)
    logits = model.forward_embedded(embedded, batch.lengths, batch.static)
    return logits.argmax(1, keepdim=True)


def _of_logit(words: Callable[[TargetPlan], str], unit: str) -> Score:
    """A logit as it is."""
    return Score(unit, words, _largest_logit, lambda model: at_index(model.forward_embedded))


def _mean_forecast(model: SequenceModel) -> Forward:
    """The median forecast, meaned over the horizon."""
    median = model.shape.quantiles.index(0.5)

    def forward(embedded: Tensor, lengths: Tensor, static: Tensor, index: Tensor) -> Tensor:
        outputs = model.forward_embedded(embedded, lengths, static)
        return quantiles_of(outputs, model.shape)[..., median].mean(1)

    return forward


def _last_token(model: SequenceModel, batch: SequenceBatch) -> Tensor:
    """The step before each sequence's last token, and that token, [B, 2]; an end is no token.

    Where nothing stands before the end, it is the end.
    """
    rows = torch.arange(len(batch), device=batch.lengths.device)
    step = batch.lengths - 1
    before = (step - 1).clamp(min=0)
    step = torch.where(batch.targets[rows, step] == END_ID, before, step)
    return torch.stack([step, batch.targets[rows, step]], 1)


def _log_next(model: SequenceModel) -> Forward:
    """The log-probability of one token after those before it; other steps' are not computed."""

    def forward(embedded: Tensor, lengths: Tensor, static: Tensor, index: Tensor) -> Tensor:
        rows = torch.arange(len(index), device=index.device)
        states = model.states(embedded, lengths)[rows, index[:, 0]][:, None]
        logits = model.head(states, torch.ones_like(lengths), static, None)[:, 0]
        return logits.log_softmax(1)[rows, index[:, 1]]

    return forward


def _padded(symbols: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Counts and symbols, int64 [B, 1 + U]; at least one place for a symbol."""
    width = max(1, *map(len, symbols))
    rows = [[len(row), *row, *[0] * (width - len(row))] for row in symbols]
    return torch.tensor(rows, dtype=torch.int64, device=device)


def _best_path(model: SequenceModel, batch: SequenceBatch) -> Tensor:
    """The symbols of the likeliest path, repeats merged and blanks left out, [B, 1 + U]."""
    paths = model(batch.inputs, batch.lengths, batch.static)[..., :-1].argmax(2).tolist()
    lengths = batch.lengths.tolist()
    found = [collapsed(path[:n]) for path, n in zip(paths, lengths, strict=True)]
    return _padded(found, batch.lengths.device)


def _log_symbols(model: SequenceModel) -> Forward:
    """The log-probability of the symbols, over all their alignments."""

    def forward(embedded: Tensor, lengths: Tensor, static: Tensor, index: Tensor) -> Tensor:
        outputs = model.forward_embedded(embedded, lengths, static)
        chances = outputs[..., :-1].log_softmax(2).transpose(0, 1)
        return -functional.ctc_loss(
            chances, index[:, 1:], lengths, index[:, 0], blank=0, reduction="none"
        )

    return forward


def _own_translation(model: SequenceModel, batch: SequenceBatch) -> Tensor:
    """The model's own translation, token by token the likeliest, [B, 1 + U]."""
    found = greedy(model, batch, MOST_SAID).tokens
    return _padded([(START_ID, *row, END_ID) for row in found], batch.lengths.device)


def _log_translation(model: SequenceModel) -> Forward:
    """The mean log-probability of a translation's tokens after the first."""

    def forward(embedded: Tensor, lengths: Tensor, static: Tensor, index: Tensor) -> Tensor:
        count, said = index[:, 0], index[:, 1:]
        logits = model.forward_embedded(embedded, lengths, static, said)
        return -seq2seq_losses(logits, said, count, model.shape)

    return forward


def _event(target: TargetPlan) -> str:
    """A binary target's words."""
    names = target.target.names or tuple(str(c) for c in target.target.classes)
    return f"log-odds of {names[1]}"


def _symbols(index: Tensor) -> list[int]:
    """What stands behind a count."""
    return [int(x) for x in index[1 : 1 + int(index[0])]]


SCORES: dict[str, Score] = {
    "binary": _of_logit(_event, "log-odds"),
    "multiclass": _of_logit(lambda target: "logit of the predicted class", "logit"),
    "regression": _of_logit(
        lambda target: f"prediction of {target.target.column}, in its units", "target's units"
    ),
    "forecast": Score(
        "target's units",
        lambda target: (
            f"median forecast of {target.target.column}, in its units, as the mean over the horizon"
        ),
        lambda model, batch: batch.lengths.new_zeros(len(batch), 0),
        _mean_forecast,
    ),
    "next_token": Score(
        "nats",
        lambda target: "log-probability of the last token, given those before it",
        _last_token,
        _log_next,
        lambda index: [int(index[1])],
    ),
    "ctc": Score(
        "nats",
        lambda target: "log-probability of the symbols that the model itself reads",
        _best_path,
        _log_symbols,
        _symbols,
    ),
    "seq2seq": Score(
        "nats",
        lambda target: (
            "log-probability of the model's own translation, as the mean over its tokens"
        ),
        _own_translation,
        _log_translation,
        lambda index: [x for x in _symbols(index) if x not in (START_ID, END_ID)],
    ),
}


def rows_at_once(model: SequenceModel, steps: int, wanted: int) -> int:
    """Return how many rows one pass may have, so that a large vocabulary fits into memory.

    Args:
        model: of any kind.
        steps: T of the longest sequence.
        wanted: rows at most.
    """
    shape = model.shape
    numbers = {
        "next_token": shape.output_size,
        "ctc": shape.output_size * steps,
        "seq2seq": shape.output_size * MOST_SAID,
    }.get(shape.task)
    if numbers is None:
        return wanted
    return max(1, min(wanted, _ROOM // (numbers + steps * model.config.hidden_size)))
