"""What a model of a series answers: the numbers to come, by quantiles.

n windows asked for, H steps to come, Q quantiles.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rnn.batch import PreparedSequences
from rnn.heads.forecast import quantiles_of
from rnn.model import SequenceModel
from tasks.kinds.base import Array, Parts, Rows, batches


def usual_of(sequences: PreparedSequences, rows: Rows, schema: Mapping[str, Any]) -> Array:
    """Return what is usual at the steps to come, float64 [n, H]; 0 where no recipe asks for it."""
    horizon = int(schema["target"]["horizon"])
    if not schema["series"]["usual"]:
        return np.zeros((len(rows), horizon))
    return np.asarray(sequences.static[rows][:, -horizon:], dtype=np.float64)


@torch.no_grad()
def forecasts_of(
    model: SequenceModel, sequences: PreparedSequences, rows: Rows, schema: Mapping[str, Any]
) -> Array:
    """Return a model's quantiles of the steps to come, float64 [n, H, Q] in -1..1."""
    parts = Parts(len(rows))
    for places, batch in batches(sequences, rows, model.shape.output_size):
        parts.put(places, quantiles=quantiles_of(model.outputs(batch).double(), model.shape))
    levels = len(model.shape.quantiles)
    size = (len(rows), model.shape.output_size // levels, levels)
    made = parts["quantiles"].reshape(size) if len(rows) else np.zeros(size)
    return made + usual_of(sequences, rows, schema)[..., None]


def answers(
    model: SequenceModel, sequences: PreparedSequences, rows: Rows, schema: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Return a column a quantile: a list of H numbers in the target's unit for each series."""
    low, high = schema["target"]["bounds"]
    made = np.clip(forecasts_of(model, sequences, rows, schema), -1.0, 1.0)
    units = low + (made + 1) / 2 * (high - low)
    levels = schema["target"]["quantiles"]
    return {f"quantile_{level:g}": units[..., q].tolist() for q, level in enumerate(levels)}
