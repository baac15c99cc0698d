"""The registered model: raw rows in the user's own layout to scores and decisions.

MLflow runs this file (models from code) with `rnn` and the modules that it imports beside it.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import polars as pl
from mlflow.pyfunc import PythonModel, PythonModelContext

from tasks.artifacts import read_json, read_model
from tasks.evidence.scoring import model_logits
from tasks.params import validate
from tasks.recipe import DataConfig
from tasks.serving.answers import answered, sequences_of, threshold_of
from tasks.serving.sequences import answered_sequences
from tasks.table.encode import encode


def to_polars(rows: pd.DataFrame) -> pl.DataFrame:
    """Return a pandas table in polars, mixed columns as text, missing cells as null."""
    columns = {}
    for name in rows.columns:
        values = rows[name]
        if values.dtype == object:
            values = pd.Series([None if pd.isna(v) else str(v) for v in values], dtype="str")
        columns[str(name)] = pl.from_pandas(values.reset_index(drop=True), nan_to_null=True)
    return pl.DataFrame(columns)


class Served(PythonModel):
    """Weights, settings and the public description of the data, read once."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the files that were logged with the model; MLflow calls this by name."""
        root = Path(context.artifacts["weights"]).parent
        self.model = read_model(root)
        serving = read_json(Path(context.artifacts["serving"]))
        self.data = validate(DataConfig, serving["data"], "serving.json: data")
        self.threshold = serving["threshold"]
        self.by_group = serving.get("by_group")
        self.half_width = serving.get("half_width")

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return one row a person.

        Args:
            context: unused.
            model_input: raw rows as a table: one a person (wide, text) or one an event (long).
            params: unused.
        """
        rows = to_polars(model_input)
        if not self.data.target.is_scored:
            return pd.DataFrame(answered_sequences(self.model, rows, self.data))
        encoded = encode(rows, self.data)
        threshold = threshold_of(rows, self.data, self.threshold, self.by_group)
        people = sequences_of(encoded, self.data)
        logits = model_logits(self.model, people, np.arange(len(encoded)))
        persons = encoded.person_ids.to_list()
        columns = answered(persons, logits, self.data, threshold, self.half_width)
        return pd.DataFrame(columns)


mlflow.models.set_model(Served())
