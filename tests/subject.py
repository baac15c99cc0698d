"""A small model and people of the pipeline's own making, for tests of what is read of them."""

from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from rnn.batch import PreparedSequences
from rnn.config import InputShape, ModelConfig
from rnn.model import SequenceModel, build, probabilities
from tasks.artifacts import Prepared
from tasks.evidence.attributions import Attributions
from tasks.evidence.subject import Subject
from tasks.params import validate
from tasks.recipe import DataConfig, Decision, ExplainConfig, TargetPlan
from tasks.table.encode import encode, schema

CONFIG = ExplainConfig(n_steps=4, people=400, permutations=99, probe_shuffles=2, reason_people=1000)
SENSITIVE = [
    {"name": "sex", "column": "sex", "labels": {"f": "women", "m": "men"}},
    {"name": "town", "column": "town", "labels": {"a": "A", "b": "B", "c": "C"}},
]
WIDE = {
    "source": {"kind": "path", "path": "x.csv"},
    "person": "id",
    "sequence": {
        "layout": "wide",
        "steps": ["May", "June"],
        "features": [
            {"name": "bill", "unit": "EUR", "bounds": [0, 1000], "columns": ["b1", "b2"]},
            {"name": "bill", "unit": "EUR", "bounds": [0, 5000], "transform": "log",
             "columns": ["b1", "b2"]},
            {"name": "status", "values": ["late", "paid"], "columns": ["s1", "s2"]},
        ],
    },
    "static": [{"name": "limit", "unit": "EUR", "column": "limit", "bounds": [0, 200]}],
    "target": {"column": "y", "kind": "binary", "classes": [0, 1], "names": ["pays", "fails"]},
    "sensitive": SENSITIVE,
    "split": {"salt": "s"},
}  # fmt: skip
TEXT = {
    "source": {"kind": "path", "path": "x.csv"},
    "person": "id",
    "sequence": {"layout": "text", "columns": ["t"], "alphabet": "abc<", "max_length": 8},
    "target": {"column": "y", "kind": "binary", "classes": [0, 1], "names": ["pays", "fails"]},
    "sensitive": SENSITIVE,
    "split": {"salt": "s"},
}


def frame(people: int, seed: int = 0) -> pl.DataFrame:
    """Women have higher bills and limits; few live in town C."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], people)
    bill = rng.uniform(0, 800, (people, 2)) + 300 * (sex == "f")[:, None]
    text = ["".join(rng.choice(list("abc<?"), rng.integers(1, 9))) for _ in range(people)]
    status = rng.choice(["late", "paid", "odd"], (people, 2))
    return pl.DataFrame(
        {
            "id": [f"id-{i}" for i in range(people)],
            **{f"b{i + 1}": bill[:, i].round(1).astype(str) for i in range(2)},
            **{f"s{i + 1}": status[:, i] for i in range(2)},
            "limit": rng.uniform(0, 200, people).round(1).astype(str),
            "t": text,
            "sex": sex,
            "town": rng.choice(["a", "b", "c"], people, p=[0.6, 0.36, 0.04]),
            "y": (bill[:, 1] + 200 * rng.normal(size=people) > 500).astype(int).astype(str),
        }
    ).with_columns(b1=pl.when(pl.arange(people) % 7 == 0).then(pl.lit("")).otherwise("b1"))


def made(data: DataConfig, table: pl.DataFrame) -> Prepared:
    """Everybody held out."""
    encoded = encode(table, data)
    arrays = PreparedSequences(
        encoded.sequences, encoded.missing, encoded.offsets, encoded.static,
        table["y"].cast(pl.Int64).to_numpy(),
    )  # fmt: skip
    people = pl.DataFrame(
        {"person_id": encoded.person_ids, "split": "test", "length": np.diff(encoded.offsets)}
    )
    return Prepared(arrays, people, schema(data))


def network(prepared: Prepared, seed: int = 1) -> SequenceModel:
    """An untrained model of these data."""
    words = prepared.schema["input"].get("vocabulary") or []
    shape = InputShape(
        input_size=prepared.sequences.input_size,
        vocabulary_size=len(words),
        static_size=int(prepared.sequences.static.shape[1]),
        output_size=1,
        task="binary",
    )
    return build(ModelConfig(hidden_size=6, embedding_size=4), shape, seed).eval()


def subject(people: int = 400, kind: dict[str, Any] = WIDE, **config: Any) -> Subject:
    """A model that decides for half of the people; class 0 is favourable."""
    data = validate(DataConfig, kind, "data")
    table = frame(people)
    prepared = made(data, table)
    model = network(prepared)
    batch = prepared.sequences.batch(np.arange(people))
    with torch.no_grad():
        logits = model(batch.inputs, batch.lengths, batch.static)
    score = probabilities(logits, "binary").double().numpy()
    sensitive = table.select(
        sex=pl.col("sex").replace({"f": "women", "m": "men"}),
        town=pl.col("town").str.to_uppercase(),
    )
    predictions = pl.DataFrame(
        {"row": np.arange(people), "person_id": prepared.people["person_id"],
         "y_true": table["y"].cast(pl.Int64), "y_pred": (score > np.median(score)).astype(int),
         "y_score": score}
    )  # fmt: skip
    target = TargetPlan(target=data.target, decision=Decision(favourable=0, approval_rate=0.5))
    settings = ExplainConfig(**{**vars(CONFIG), **config})
    return Subject(model, prepared, predictions, sensitive, target, data, settings, {"sex": "men"})


def gradient_times_input(
    model: SequenceModel, sequences: PreparedSequences, rows: NDArray[np.int64]
) -> Attributions:
    """A method that needs no other package: each input times its gradient."""
    batch = sequences.batch(rows)
    embedded = model.embed(batch.inputs).detach().requires_grad_(True)
    static = batch.static.requires_grad_(True)
    logits = model.forward_embedded(embedded, batch.lengths, static)[:, 0]
    shares = torch.autograd.grad(logits.sum(), (embedded, static))
    inputs = (shares[0] * embedded).detach().double().numpy()
    if batch.inputs.ndim == 2:
        inputs = inputs.sum(2)
    fixed = (shares[1] * static).detach().double().numpy()
    outputs = logits.detach().double().numpy()
    return Attributions(inputs, fixed, batch.lengths.numpy(), outputs, np.zeros(len(rows)))


def backwards(
    model: SequenceModel, sequences: PreparedSequences, rows: NDArray[np.int64]
) -> Attributions:
    """A method that says the opposite."""
    found = gradient_times_input(model, sequences, rows)
    return Attributions(
        -found.inputs, -found.static, found.lengths, found.outputs, found.baseline_outputs
    )
