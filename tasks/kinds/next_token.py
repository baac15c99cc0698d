"""The next token at every step of a text: a language model.

n people asked for, B a batch, T steps, V tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rnn.heads.next_token import inside
from rnn.model import SequenceModel
from tasks.artifacts import Prepared
from tasks.kinds.answers.next_token import START_ID, SUMS, UNKNOWN_ID
from tasks.kinds.answers.next_token import judge as judge_texts
from tasks.kinds.base import Array, Figure, Judged, Kind, Parts, Rows, batches, shares
from tasks.kinds.kneser_ney import KneserNey

FIGURES = (
    Figure("perplexity", "Perplexity a token", "", "lower", 1),
    Figure("bits", "Cross-entropy a token", "bits", "lower", 3),
    Figure("accuracy", "Next token is the likeliest one", "", "higher", 3),
    Figure("unknown", "Tokens outside of the vocabulary", "", "lower", 3),
)


def summary(sums: Mapping[str, Array]) -> dict[str, Array]:
    """Return the figures of a language model from totals of SUMS, any shape.

    A token outside of the vocabulary counts as the one token that stands for all of them:
    perplexities compare only over one vocabulary.

    Example:
        >>> one = np.array([1.0])
        >>> summary({"nll": 4 * np.log(2) * one, "tokens": 4 * one, "right": one, "unknown": one})
        {'perplexity': array([2.]), 'bits': array([1.]), 'accuracy': array([0.25]), \
'unknown': array([0.25])}
    """
    loss = shares(sums["nll"], sums["tokens"])
    return {
        "perplexity": np.exp(loss),
        "bits": loss / np.log(2),
        "accuracy": shares(sums["right"], sums["tokens"]),
        "unknown": shares(sums["unknown"], sums["tokens"]),
    }


@dataclass(frozen=True)
class Unigram:
    """How often each token stands in training texts, whatever stood before it.

    Attributes:
        chances: float64 [V], adding up to 1; no text has padding or the start as a next token.
    """

    chances: Array

    @classmethod
    def fit(cls, prepared: Prepared, seed: int) -> "Unigram":
        """Count, and add one to each count."""
        size = prepared.shape.vocabulary_size
        counts = np.zeros(size)
        for _, batch in batches(prepared.sequences, prepared.rows("train"), 1):
            counts += np.bincount(batch.targets.numpy().ravel(), minlength=size)
        counts += 1
        counts[[0, START_ID]] = 0
        return cls(counts / counts.sum())

    def judge(self, prepared: Prepared, rows: Rows) -> Judged:
        """Return the same sums as of a model."""
        parts, likeliest = Parts(len(rows)), int(self.chances.argmax())
        with np.errstate(divide="ignore"):
            costs = -np.log(self.chances)
        for places, batch in batches(prepared.sequences, rows, 1):
            real = inside(batch.lengths, batch.targets.shape[1]).numpy()
            targets = batch.targets.numpy()
            parts.put(
                places,
                nll=np.where(real, costs[targets], 0.0).sum(1),
                tokens=batch.lengths,
                right=((targets == likeliest) & real).sum(1),
                unknown=((targets == UNKNOWN_ID) & real).sum(1),
            )
        return Judged(shares(parts["nll"], parts["tokens"]), parts.sums(*SUMS))


def judge(model: SequenceModel, prepared: Prepared, rows: Rows) -> Judged:
    """Return each text's sums."""
    return judge_texts(model, prepared.sequences, rows)


NEXT_TOKEN = Kind(FIGURES, {"kneser_ney": KneserNey.fit, "unigram": Unigram.fit}, judge, summary)
