"""One sequence to another, such as a text to its translation.

n people asked for, B a batch, U target steps, V target tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rnn.batch import PreparedSequences
from rnn.losses import batch_losses
from rnn.model import SequenceModel
from tasks.artifacts import Prepared
from tasks.kinds.answers.seq2seq import decoded, texts_of
from tasks.kinds.base import Array, Figure, Judged, Kind, Parts, Rows, batches, shares
from tasks.kinds.bleu import bleu, bleu_parts, chrf, chrf_parts
from tasks.kinds.memory import Memory

FIGURES = (
    Figure("bleu", "BLEU", "", "higher", 1),
    Figure("chrf", "chrF", "", "higher", 1),
    Figure("perplexity", "Perplexity a token, taught by the truth", "", "lower", 1),
    Figure("exact", "Said word for word", "", "higher", 3),
)
# A token of the truth that the vocabulary lacks: nothing that is said is equal to it.
MISSING = "\u2047"


def tokens_of(sequences: PreparedSequences, rows: Rows) -> list[list[int]]:
    """Return the targets of some people, start and end included."""
    offsets = sequences.target_offsets
    assert offsets is not None
    return [np.asarray(sequences.targets[offsets[r] : offsets[r + 1]]).tolist() for r in rows]


@torch.no_grad()
def losses_of(model: SequenceModel, sequences: PreparedSequences, rows: Rows) -> Array:
    """Return the mean cross-entropy of each target's tokens, nats, float64 [n]."""
    parts = Parts(len(rows))
    # Targets may be longer than what is read.
    for places, batch in batches(sequences, rows, 4 * model.shape.output_size):
        parts.put(places, losses=batch_losses(model.outputs(batch).double(), batch, model.shape))
    return parts["losses"]


def judged(
    wanted: list[list[int]], said: list[list[int]], losses: Array, schema: Mapping[str, Any]
) -> Judged:
    """Return the sums of some translations.

    Args:
        wanted: tokens of each person's target, start and end included.
        said: tokens of a model.
        losses: float64 [n], nats a token.
        schema: with the target's vocabulary.
    """
    truth, ours = texts_of(wanted, schema, MISSING), texts_of(said, schema, "")
    tokens = np.array([len(one) - 1 for one in wanted], dtype=np.float64)
    same = [one == other for one, other in zip(truth, ours, strict=True)]
    sums = {
        "bleu": bleu_parts(ours, truth),
        "chrf": chrf_parts(ours, truth),
        "nll": losses * tokens,
        "tokens": tokens,
        "exact": np.array(same, dtype=np.float64),
        "texts": np.ones(len(wanted)),
    }
    return Judged(losses, sums, truth, ours)


@dataclass(frozen=True)
class Remembered:
    """The translation memory as a baseline; see tasks/kinds/memory.py."""

    memory: Memory

    @classmethod
    def fit(cls, prepared: Prepared, seed: int) -> "Remembered":
        """Keep the training people's sequences and targets."""
        rows = prepared.rows("train")
        targets = tokens_of(prepared.sequences, rows)
        return cls(Memory.fit(prepared, rows, targets))

    def judge(self, prepared: Prepared, rows: Rows) -> Judged:
        """Return the same sums as of a model."""
        wanted = tokens_of(prepared.sequences, rows)
        said = self.memory.nearest(prepared, rows)
        return judged(wanted, said, self.memory.losses(wanted), prepared.schema)


def judge(model: SequenceModel, prepared: Prepared, rows: Rows) -> Judged:
    """Return each text's matches, tokens and loss."""
    schema, sequences = prepared.schema, prepared.sequences
    said, _ = decoded(model, sequences, rows, int(schema["target"]["max_length"]))
    losses = losses_of(model, sequences, rows)
    return judged(tokens_of(sequences, rows), said, losses, schema)


def summary(sums: Mapping[str, Array]) -> dict[str, Array]:
    """Return BLEU, chrF, the perplexity and the share that is right word for word."""
    return {
        "bleu": bleu(sums["bleu"]),
        "chrf": chrf(sums["chrf"]),
        "perplexity": np.exp(shares(sums["nll"], sums["tokens"])),
        "exact": shares(sums["exact"], sums["texts"]),
    }


SEQ2SEQ = Kind(FIGURES, {"memory": Remembered.fit}, judge, summary)
