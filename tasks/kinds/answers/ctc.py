"""What a model of symbols answers: the symbols that it hears.

n people asked for, B a batch.
"""

from collections.abc import Mapping
from typing import Any

import torch

from rnn.batch import PreparedSequences
from rnn.ctc_decoding import prefix_search
from rnn.losses import batch_losses
from rnn.model import SequenceModel
from tasks.kinds.base import Array, Parts, Rows, batches
from tasks.kinds.transcripts import words


@torch.no_grad()
def transcribed(
    model: SequenceModel, sequences: PreparedSequences, rows: Rows, with_losses: bool = True
) -> tuple[list[list[int]], Array]:
    """Return the likeliest symbols to a model, class + 1, and its losses (0 without targets)."""
    said: list[list[int]] = [[]] * len(rows)
    parts = Parts(len(rows))
    for places, batch in batches(sequences, rows, model.shape.output_size):
        outputs = model.outputs(batch).double()
        if with_losses:
            parts.put(places, losses=batch_losses(outputs, batch, model.shape))
        # The channel behind the classes tells real steps.
        chances = outputs[..., :-1].log_softmax(2).numpy()
        for place, steps, length in zip(places, chances, batch.lengths.tolist(), strict=True):
            said[int(place)] = list(prefix_search(steps[:length])[0][0])
    return said, parts["losses"]


def answers(
    model: SequenceModel, sequences: PreparedSequences, rows: Rows, schema: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Return the symbols that the model hears, as text."""
    said, _ = transcribed(model, sequences, rows, with_losses=False)
    return {"symbols": words(said, schema)}
