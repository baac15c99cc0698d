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

from rnn.batch import PreparedSequences
from tasks.artifacts import read_json, read_model
from tasks.evidence.scoring import model_logits, scores_of
from tasks.params import validate
from tasks.recipe import DataConfig
from tasks.table.encode import Encoded, encode, unscale


def to_polars(rows: pd.DataFrame) -> pl.DataFrame:
    """Return a pandas table in polars, mixed columns as text, missing cells as null."""
    columns = {}
    for name in rows.columns:
        values = rows[name]
        if values.dtype == object:
            values = pd.Series([None if pd.isna(v) else str(v) for v in values], dtype="str")
        columns[str(name)] = pl.from_pandas(values.reset_index(drop=True), nan_to_null=True)
    return pl.DataFrame(columns)


def sequences_of(encoded: Encoded, data: DataConfig) -> PreparedSequences:
    """Return encoded people as the model's batches are made of."""
    return PreparedSequences(
        sequences=encoded.sequences,
        missing=encoded.missing,
        offsets=encoded.offsets,
        static=encoded.static,
        targets=np.zeros(len(encoded), dtype=np.int64),
        missing_indicators=data.missing_indicators and encoded.missing is not None,
    )


def answer(
    persons: list[str], logits: np.ndarray[Any, Any], data: DataConfig, threshold: float | None
) -> pd.DataFrame:
    """Return what a user reads.

    Args:
        persons: ids [N].
        logits: float64 [N, C].
        data: target and its names.
        threshold: of a binary decision, on P(event).

    Returns:
        person_id; score and decision (binary), score_0.. and decision (multiclass), or score in
        the target's unit (regression).
    """
    target = data.target
    scores = scores_of(logits, target.kind)
    columns: dict[str, Any] = {"person_id": persons}
    if target.kind == "regression":
        assert target.bounds is not None
        columns["score"] = unscale(scores, target.bounds)
        return pd.DataFrame(columns)
    names = np.array(target.names or tuple(map(str, target.classes)), dtype=object)
    if target.kind == "binary":
        columns["score"] = scores
        chosen = (scores >= (0.5 if threshold is None else threshold)).astype(int)
    else:
        for index in range(scores.shape[1]):
            columns[f"score_{index}"] = scores[:, index]
        chosen = scores.argmax(1)
    columns["decision"] = names[chosen].tolist()
    return pd.DataFrame(columns)


class Served(PythonModel):
    """Weights, settings and the public description of the data, read once."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the files that were logged with the model; MLflow calls this by name."""
        root = Path(context.artifacts["weights"]).parent
        self.model = read_model(root)
        serving = read_json(Path(context.artifacts["serving"]))
        self.data = validate(DataConfig, serving["data"], "serving.json: data")
        self.threshold = serving["threshold"]

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
        encoded = encode(to_polars(model_input), self.data)
        people = sequences_of(encoded, self.data)
        logits = model_logits(self.model, people, np.arange(len(encoded)))
        return answer(encoded.person_ids.to_list(), logits, self.data, self.threshold)


mlflow.models.set_model(Served())
