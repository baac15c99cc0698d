"""Small people, models and predictions of the kinds whose target is a sequence, for tests."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from rnn.batch import PreparedSequences
from rnn.config import InputShape, ModelConfig, PrivacyConfig, PrivacySpent, TrainConfig
from rnn.losses import batch_losses
from rnn.model import SequenceModel, build
from tasks import artifacts
from tasks.artifacts import Prepared
from tasks.evidence.subject import Subject
from tasks.params import validate
from tasks.recipe import (
    AttackConfig,
    AttackRunConfig,
    AuditConfig,
    DataConfig,
    ExplainConfig,
    SecretsConfig,
    TargetPlan,
    TrainPlan,
)

KINDS = ("forecast", "next_token", "ctc", "seq2seq")
WORDS = ["<padding>", "<unknown>", "<start>", "<end>", "the", "cat", "sat", "on", "mat"]
SAID = [*WORDS[:4], "le", "chat", "dort"]
SYMBOLS = ["one", "two", "three", "four"]
TARGETS: dict[str, dict[str, Any]] = {
    "forecast": {"column": "load", "kind": "forecast", "horizon": 2, "bounds": [0, 10]},
    "next_token": {"kind": "next_token"},
    "ctc": {"column": "y", "kind": "ctc", "classes": SYMBOLS},
    "seq2seq": {
        "column": "y",
        "kind": "seq2seq",
        "text": {"tokens": "words", "vocabulary": {"values": SAID[4:]}},
    },
}


def is_text(task: str) -> bool:
    """Whether inputs are tokens."""
    return task in ("next_token", "seq2seq")


def shape_of(task: str, static: int = 1) -> InputShape:
    """Three channels or nine tokens, and a static one."""
    return InputShape(
        input_size=0 if is_text(task) else 3,
        vocabulary_size=len(WORDS) if is_text(task) else 0,
        static_size=static,
        output_size={"next_token": len(WORDS), "ctc": 5, "seq2seq": len(SAID), "forecast": 6}[task],
        task=task,  # type: ignore[arg-type]
        quantiles=(0.1, 0.5, 0.9) if task == "forecast" else (),
    )


def model_of(task: str, seed: int = 0, **config: Any) -> SequenceModel:
    """An untrained model, its weights doubled so that inputs matter."""
    made = build(ModelConfig(hidden_size=8, embedding_size=5, **config), shape_of(task), seed)
    for parameter in made.parameters():
        parameter.data *= 2
    if task == "seq2seq":
        # An untrained translation would hardly end.
        made.head.output.bias.data[3] += 2.0  # type: ignore[union-attr]
    return made.eval()


def _marked(rng: np.random.Generator, sizes: Any, tokens: int) -> np.ndarray:
    """Texts end to end, each between a start and an end."""
    parts = [[2, *rng.integers(4, tokens, size - 2), 3] for size in sizes]
    return np.concatenate(parts).astype(np.int32)


def sequences_of(task: str, people: int, seed: int = 0) -> PreparedSequences:
    """Ragged inputs of 4 to 9 steps, ragged targets."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 10, people)
    total = int(lengths.sum())
    sizes = rng.integers(3, 6, people)
    targets: Any = np.zeros(people, dtype=np.int64)
    if task == "forecast":
        targets = rng.uniform(-1, 1, (people, 2)).astype(np.float32)
    elif task == "ctc":
        sizes = sizes - 2
        targets = rng.integers(1, 5, int(sizes.sum())).astype(np.int32)
    elif task == "seq2seq":
        targets = _marked(rng, sizes, len(SAID))
    values: Any = rng.uniform(-1, 1, (total, 3)).astype(np.float32)
    if is_text(task):
        values = _marked(rng, lengths, len(WORDS))
    ragged = task in ("ctc", "seq2seq")
    return PreparedSequences(
        sequences=values,
        missing=None if is_text(task) else np.zeros((total, 3), dtype=np.uint8),
        offsets=np.r_[0, np.cumsum(lengths)].astype(np.int64),
        static=rng.uniform(-1, 1, (people, 1)).astype(np.float32),
        targets=targets,
        target_offsets=np.r_[0, np.cumsum(sizes)].astype(np.int64) if ragged else None,
        next_token=task == "next_token",
    )


def data_of(task: str) -> DataConfig:
    """The recipe's own words about such data."""
    layout: dict[str, Any] = {
        "layout": "long", "time": "when", "features": [
            {"name": name, "column": name, "bounds": [0, 10]} for name in ("load", "heat", "wind")
        ],
    }  # fmt: skip
    if task == "forecast":
        layout |= {"layout": "series", "every": "1h", "window": 9, "seasons": [3]}
    if is_text(task):
        layout = {"layout": "text", "columns": ["t"], "tokens": "words",
                  "vocabulary": {"values": WORDS[4:]}}  # fmt: skip
    values = {
        "source": {"kind": "path", "path": "x.csv"},
        "person": "id",
        "sequence": layout,
        "static": [{"name": "size", "column": "size", "bounds": [0, 10]}],
        "target": TARGETS[task],
        "split": {"salt": "s"},
    }
    return validate(DataConfig, values, "data")


def schema_of(task: str) -> dict[str, Any]:
    """schema.json of such data."""
    text = is_text(task)
    names = ("load", "heat", "wind")
    return {
        "layout": "text" if text else "long",
        "input": {"kind": "tokens", "size": 0, "vocabulary": WORDS, "tokens": "words"}
        if text
        else {"kind": "numbers", "size": 3},
        "channels": [] if text else [{"feature": n, "value": None, "unit": ""} for n in names],
        "static": [{"feature": "size", "value": None, "unit": ""}],
        "steps": [],
        "missing_indicators": False,
        "target": {
            "kind": task,
            **{
                "forecast": {"horizon": 2, "quantiles": [0.1, 0.5, 0.9], "bounds": [0, 10]},
                "ctc": {"classes": SYMBOLS, "names": SYMBOLS},
                "seq2seq": {"vocabulary": SAID},
            }.get(task, {}),
        },
        "task": task,
    }


def prepared_of(task: str, people: int, split: str | None = "test") -> Prepared:
    """People, all held out unless split is None: then half of them are."""
    arrays = sequences_of(task, people)
    side = [split or ("train", "test")[i % 2] for i in range(people)]
    table = pl.DataFrame(
        {"person_id": [f"id-{i}" for i in range(people)], "split": side,
         "length": np.diff(arrays.offsets)}
    )  # fmt: skip
    return Prepared(arrays, table, schema_of(task))


def predictions_of(model: SequenceModel, prepared: Prepared) -> pl.DataFrame:
    """Held-out predictions as the stage writes them for these kinds."""
    rows = prepared.rows("test")
    batch = prepared.sequences.batch(rows)
    losses = batch_losses(model.outputs(batch), batch, model.shape).detach().double().numpy()
    return pl.DataFrame(
        {"row": rows, "person_id": prepared.people["person_id"].gather(rows),
         "y_true": ["a b"] * len(rows), "y_pred": ["a"] * len(rows), "loss": losses}
    )  # fmt: skip


def subject_of(task: str, people: int = 60, sexes: bool = False, **config: Any) -> Subject:
    """A model and held-out people; no sensitive features unless asked for."""
    model, prepared = model_of(task), prepared_of(task, people)
    data = data_of(task)
    settings = ExplainConfig(**{
        "people": people, "quality_people": 32, "local_people": 3, "orders": 2, "n_steps": 4,
        "max_steps": 64, "compare": ("integrated_gradients",), "permutations": 99,
        "probe_shuffles": 2, "max_players": 6, **config,
    })  # fmt: skip
    labels = ["men" if i % 2 else "women" for i in range(people)]
    sensitive = pl.DataFrame({"sex": labels}) if sexes else pl.DataFrame()
    return Subject(
        model, prepared, predictions_of(model, prepared), sensitive, TargetPlan(target=data.target),
        data, settings, {},
    )  # fmt: skip


RECIPE = "small"
ATTACK = AttackConfig(
    references=2,
    reference_steps=4,
    shuffles=99,
    run=AttackRunConfig(canaries=60, bystanders=20, longest=5, simulations=3),
    secrets=SecretsConfig(count=20, slots=4, candidates=10, bystanders=10),
)
SPENT = PrivacySpent(
    epsilon=2.0, delta=1e-4, unit="record", adjacency="zero-out", sampling="Poisson",
    population=300, sample_rate=0.1, steps=10, noise_multiplier=1.0, max_grad_norm=1.0,
    accountant="PRV", accountant_version="none", noise_source="operating system",
)  # fmt: skip
PLAIN = TrainPlan(
    model=ModelConfig(hidden_size=8, embedding_size=5),
    train=TrainConfig(steps=10, expected_batch_size=30, threads=1),
    sample_rate=0.1,
)


def write_tree(task: str, people: int = 200, sexes: bool = False) -> None:
    """Write everything that explain and attack read under data/, in the current folder."""
    subject, prepared = subject_of(task, people, sexes), prepared_of(task, people, None)
    root = artifacts.folder(RECIPE, "prepared", "arrays")
    root.mkdir(parents=True)
    for name in ("sequences", "missing", "offsets", "static", "targets", "target_offsets"):
        if (array := getattr(prepared.sequences, name)) is not None:
            np.save(root / f"{name}.npy", array)
    prepared.people.write_parquet(root / "people.parquet")
    artifacts.write_json(root / "schema.json", prepared.schema)
    subject.sensitive.write_parquet(root.parent / "sensitive_features.parquet")
    predictions = artifacts.folder(RECIPE, "predictions", "internal")
    predictions.mkdir(parents=True)
    predictions_of(subject.model, prepared).write_parquet(predictions / "test.parquet")
    twin = model_of(task, seed=1)
    for name, model in (("model", subject.model), ("twin", twin)):
        with artifacts.replacing(artifacts.folder(RECIPE, name)) as draft:
            artifacts.write_model(draft, model, dict(model.named_parameters()))
            artifacts.write_json(draft / "privacy_spent.json", vars(SPENT))
    plain = replace(PLAIN, model=twin.config)
    privacy = PrivacyConfig(population=300, delta=1e-4, noise_multiplier=1.0, unit="record")
    for section, config in {
        "target": subject.target,
        "data": subject.data,
        "explain": subject.config,
        "audit": AuditConfig(),
        "attack": ATTACK,
        "train": replace(plain, privacy=privacy, noise_multiplier=1.0, epsilon=2.0),
        "twin": plain,
    }.items():
        artifacts.write_section(RECIPE, section, config)
