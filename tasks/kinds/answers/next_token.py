"""What a language model answers: how usual it finds a text, and how it would go on.

n people asked for, B a batch, T steps, V tokens.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rnn.batch import PreparedSequences
from rnn.heads.next_token import inside, token_losses
from rnn.model import SequenceModel
from tasks.kinds.base import Judged, Parts, Rows, batches, shares

UNKNOWN_ID, START_ID = 1, 2
SUMS = ("nll", "tokens", "right", "unknown")


@torch.no_grad()
def judge(model: SequenceModel, sequences: PreparedSequences, rows: Rows) -> Judged:
    """Return each text's cross-entropy, tokens, and hits of a model."""
    parts = Parts(len(rows))
    for places, batch in batches(sequences, rows, model.shape.output_size):
        logits = model.outputs(batch).double()
        real = inside(batch.lengths, batch.targets.shape[1])
        nll = (token_losses(logits, batch.targets) * real).sum(1)
        right = ((logits.argmax(2) == batch.targets) & real).sum(1)
        unknown = ((batch.targets == UNKNOWN_ID) & real).sum(1)
        parts.put(places, nll=nll, tokens=batch.lengths, right=right, unknown=unknown)
    return Judged(shares(parts["nll"], parts["tokens"]), parts.sums(*SUMS))


@torch.no_grad()
def answers(
    model: SequenceModel, sequences: PreparedSequences, rows: Rows, schema: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Return each text's tokens, its perplexity, and the likeliest token to go on with."""
    names = schema["input"]["vocabulary"]
    found = judge(model, sequences, rows)
    follows = [""] * len(rows)
    for places, batch in batches(sequences, rows, model.shape.output_size):
        # The last step that is read stands before the end of the text.
        last = model.outputs(batch)[torch.arange(len(batch)), batch.lengths - 1]
        last[:, [0, UNKNOWN_ID, START_ID]] = float("-inf")
        for place, token in zip(places.tolist(), last.argmax(1).tolist(), strict=True):
            follows[place] = names[token]
    return {
        "tokens": found.sums["tokens"].astype(int).tolist(),
        "perplexity": np.exp(found.losses).tolist(),
        "next_token": follows,
    }
