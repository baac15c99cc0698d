"""A registered model at work: raw rows to answers.

ONNX Runtime scores; torch alone answers where the answer is a sequence itself.

N people, T steps, C logits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
from numpy.typing import NDArray
from pydantic_core import to_json

from rnn.batch import PreparedSequences
from rnn.model import SequenceModel
from tasks.artifacts import read_json, read_model
from tasks.example import example_rows
from tasks.params import UserError, validate
from tasks.recipe import DataConfig, ReasonConfig
from tasks.serving.answers import answered, sequences_of, threshold_of, unfavourable
from tasks.serving.features import Features, features_of
from tasks.serving.graph import onnx_model
from tasks.serving.reasons import MOST_STEPS, Reasoner
from tasks.serving.sequences import answered_sequences
from tasks.table.encode import columns, encode

# Sequences in memory at once, of like length.
BATCH = 1024


def session_of(folder: Path, threads: int) -> Any:
    """Return an ONNX Runtime session of a model's weights.

    Args:
        folder: with config.json and weights.safetensors.
        threads: CPU threads.
    """
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.log_severity_level = 3
    graph = onnx_model(read_model(folder)).SerializeToString()
    return onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Scorer:
    """One version of a model.

    Attributes:
        session: of ONNX Runtime; None where the answer is a sequence.
        model: of torch, where the answer is a sequence; else None.
        data: what raw rows look like.
        threshold: of a binary decision.
        by_group: threshold by label of the feature that a decision reads; None where none is.
        half_width: of a regression's intervals.
        identity: name, version and alias, as answers state them.
        features: what reasons may be about; None where there are none.
    """

    session: Any
    model: SequenceModel | None
    data: DataConfig
    threshold: float | None
    by_group: Mapping[str, float] | None
    half_width: float | None
    identity: Mapping[str, str]
    features: Features | None = None

    @classmethod
    def read(cls, folder: Path, identity: Mapping[str, str], threads: int = 1) -> "Scorer":
        """Return the model of a folder as it was registered.

        Args:
            folder: with config.json, weights.safetensors and serving.json.
            identity: as in the attribute.
            threads: CPU threads for the network.
        """
        path = folder / "serving.json"
        serving = read_json(path)
        data = validate(DataConfig, serving["data"], f"{path}: data")
        scored = data.target.is_scored
        return cls(
            session_of(folder, threads) if scored else None,
            None if scored else read_model(folder),
            data,
            serving["threshold"],
            serving.get("by_group"),
            serving.get("half_width"),
            dict(identity),
            _features(data, serving, path) if data.has_reasons else None,
        )

    @property
    def described(self) -> dict[str, str]:
        """Column that is read -> what it is, for people."""
        return columns(self.data, training=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read."""
        return tuple(self.described)

    @property
    def quick(self) -> bool:
        """A few rows keep nobody waiting."""
        return self.model is None

    def usual_reasons(self, of_decisions: int) -> int:
        """Return how many reasons who does not say gets: none where nothing is decided."""
        return of_decisions if self.features and self.data.decision is not None else 0

    @property
    def example(self) -> list[dict[str, Any]]:
        """Invented rows, as a client would send them."""
        rows: list[dict[str, Any]] = example_rows(self.data).to_dict("records")
        return rows

    def logits(self, people: PreparedSequences) -> NDArray[np.float64]:
        """Return float64 [N, C]; people of like length are scored together."""
        lengths = np.diff(people.offsets)
        order = np.argsort(lengths, kind="stable")
        parts = []
        for start in range(0, len(order), BATCH):
            batch = people.batch(order[start : start + BATCH])
            given = {"inputs": batch.inputs.numpy(), "lengths": batch.lengths.numpy()}
            if batch.static.shape[1]:
                given["static"] = batch.static.numpy()
            parts.append(self.session.run(["logits"], given)[0])
        found = np.concatenate(parts).astype(np.float64)
        logits = np.empty_like(found)
        logits[order] = found
        return logits

    def score(
        self, rows: pl.DataFrame, reasons: int = 0, most_steps: int | None = None
    ) -> dict[str, Any]:
        """Return the columns of an answer for raw rows.

        Args:
            rows: in the user's layout.
            reasons: of one person at most; with 0 there is no such column.
            most_steps: of the network, for reasons; None: any number.

        Raises:
            UserError: a row cannot be read, or reasons are asked for that there are not.
        """
        if reasons and self.features is None:
            raise UserError(
                f"reasons: a model of kind {self.data.target.kind} gives none; allowed is 0"
            )
        if self.model is not None:
            return answered_sequences(self.model, rows, self.data)
        encoded = encode(rows, self.data)
        people = sequences_of(encoded, self.data)
        logits = self.logits(people)
        threshold = threshold_of(rows, self.data, self.threshold, self.by_group)
        persons = encoded.person_ids.to_list()
        found = answered(persons, logits, self.data, threshold, self.half_width)
        if reasons and self.features is not None:
            asked = unfavourable(found, self.data)
            reasoner = Reasoner(self.features, self.data, self.logits)
            found["reasons"] = reasoner.reasons(people, logits, asked, reasons, most_steps)
        return found

    def answer(self, rows: pl.DataFrame, reasons: int = 0) -> bytes:
        """Return the JSON of an answer: who answered, and one object a person."""
        found = {
            name: values.tolist() if isinstance(values, np.ndarray) else values
            for name, values in self.score(rows, reasons, MOST_STEPS).items()
        }
        people = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
        return to_json({"model": self.identity, "people": people}, inf_nan_mode="null")


def _features(data: DataConfig, serving: Mapping[str, Any], path: Path) -> Features:
    """What reasons may be about; an older version carries no words of its own for them."""
    told = serving.get("reasons") or {}
    codes = {name: validate(ReasonConfig, told[name], f"{path}: reasons.{name}") for name in told}
    return features_of(data, codes)
