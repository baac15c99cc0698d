"""What a user reads about each person where the answer is a sequence itself.

N people.
"""

from typing import Any

import numpy as np
import polars as pl

from rnn.model import SequenceModel
from tasks.kinds.answers.table import ANSWERS
from tasks.recipe import DataConfig
from tasks.serving.answers import sequences_of
from tasks.table.encode import encode, schema

Columns = dict[str, list[Any]]


def answered_sequences(model: SequenceModel, rows: pl.DataFrame, data: DataConfig) -> Columns:
    """Return the columns of an answer, one value a person.

    Args:
        model: in evaluation mode.
        rows: raw, in the user's layout.
        data: the recipe's data block.

    Raises:
        UserError: a row cannot be read.
    """
    encoded = encode(rows, data)
    people, every = sequences_of(encoded, data), np.arange(len(encoded))
    found = ANSWERS[data.target.kind](model, people, every, schema(data))
    return {"person_id": encoded.person_ids.to_list(), **found}


def types_of(columns: Columns) -> dict[str, str]:
    """Return the type of each column of an answer, as MLflow names it.

    Example:
        >>> types_of({"person_id": ["7"], "tokens": [3], "loss": [0.5], "quantile_0.5": [[1.0]]})
        {'person_id': 'string', 'tokens': 'long', 'loss': 'double', 'quantile_0.5': 'any'}
    """
    names = {str: "string", int: "long", float: "double", list: "any"}
    return {name: names[type(values[0])] for name, values in columns.items()}
