"""A model's scores and losses for chosen people, in float64 and in a fixed order.

n people asked for, C logits.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from rnn.batch import PreparedSequences
from rnn.losses import batch_losses, example_losses
from rnn.model import SequenceModel, probabilities
from tasks.kinds.base import batches

BATCH = 2048
FLOOR = 1e-12


@torch.no_grad()
def model_logits(
    model: SequenceModel, sequences: PreparedSequences, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return logits float64 [n, C] of some people, in the order of `rows`.

    Sequences of like length are scored together, so that little padding is computed.
    """
    lengths = sequences.offsets[rows + 1] - sequences.offsets[rows]
    order = np.argsort(lengths, kind="stable")
    logits = np.zeros((len(rows), model.shape.output_size))
    for start in range(0, len(rows), BATCH):
        chosen = order[start : start + BATCH]
        batch = sequences.batch(rows[chosen])
        logits[chosen] = model(batch.inputs, batch.lengths, batch.static).double().numpy()
    return logits


def scores_of(logits: NDArray[np.float64], task: str) -> NDArray[np.float64]:
    """Return what `rnn.model.probabilities` makes of logits: [n], or [n, C] for multiclass."""
    return probabilities(torch.from_numpy(logits), task).numpy()


def losses_of(
    logits: NDArray[np.float64], targets: NDArray[np.generic], task: str
) -> NDArray[np.float64]:
    """Return each person's loss, float64 [n], as training counts it."""
    wanted = np.ascontiguousarray(targets, dtype=np.float64 if task == "regression" else np.int64)
    return example_losses(torch.from_numpy(logits), torch.from_numpy(wanted), task).numpy()


@torch.no_grad()
def row_losses(
    model: SequenceModel, sequences: PreparedSequences, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return each sequence's loss as training counts it, of a model of any kind, float64 [n].

    Args:
        model: in evaluation mode.
        sequences: prepared data.
        rows: int64 [n].
    """
    found = np.zeros(len(rows))
    for places, batch in batches(sequences, rows, model.shape.output_size):
        outputs = model.outputs(batch).double()
        found[places] = batch_losses(outputs, batch, model.shape).numpy()
    return found


def losses_of_scores(
    scores: NDArray[np.float64], targets: NDArray[np.generic], task: str
) -> NDArray[np.float64]:
    """Return the same losses from probabilities, or from predictions in scaled units.

    A probability of zero is read as 1e-12: a baseline that is sure and wrong has no logit.
    """
    if task == "regression":
        return 0.5 * np.square(scores - np.asarray(targets, dtype=np.float64))
    truth = np.asarray(targets, dtype=np.int64)
    if task == "multiclass":
        return -np.log(np.clip(scores[np.arange(len(truth)), truth], FLOOR, 1.0))
    given = np.where(truth == 1, scores, 1 - scores)
    return -np.log(np.clip(given, FLOOR, 1.0))
