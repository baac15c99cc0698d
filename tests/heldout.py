"""A small data/RECIPE/ tree in the current folder, for tests of what scores held-out people."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from rnn.config import InputShape, ModelConfig, PrivacyConfig, PrivacySpent, TrainConfig
from rnn.model import build
from tasks import artifacts
from tasks.recipe import (
    AttackConfig,
    AttackRunConfig,
    AuditConfig,
    Decision,
    GateConfig,
    OverridePlan,
    PopulationPlan,
    PredictConfig,
    ReleasePlan,
    Target,
    TargetPlan,
    TrainPlan,
)

RECIPE = "small"
GATE = GateConfig(max_epsilon=3, min_auc=0.5)
SPENT = PrivacySpent(
    epsilon=2.0,
    delta=1e-4,
    unit="person",
    adjacency="zero-out",
    sampling="Poisson",
    population=300,
    sample_rate=0.1,
    steps=10,
    noise_multiplier=1.0,
    max_grad_norm=1.0,
    accountant="PRV",
    accountant_version="none",
    noise_source="operating system",
)
RELEASE = ReleasePlan(
    mode="noised",
    epsilon=8.0,
    delta=1e-4,
    threshold_epsilon=2.0,
    unit="person",
    max_rows=1,
    score_bins=10,
    groups={"sex": ("f", "m", "unknown")},
    insecure_seed=0,
)
TWIN = TrainPlan(
    model=ModelConfig(hidden_size=4, embedding_size=3),
    train=TrainConfig(steps=4, expected_batch_size=32),
    sample_rate=0.1,
)
TRAIN = TrainPlan(
    model=TWIN.model,
    train=TrainConfig(steps=10, expected_batch_size=30, threads=1),
    privacy=PrivacyConfig(population=300, delta=1e-4, noise_multiplier=1.0),
    sample_rate=0.1,
    noise_multiplier=1.0,
    epsilon=2.0,
)
ATTACK = AttackConfig(
    references=2,
    reference_steps=4,
    shuffles=99,
    run=AttackRunConfig(canaries=60, bystanders=20, simulations=3),
)
TARGETS = {
    "binary": Target(column="y", kind="binary", classes=("no", "yes")),
    "multiclass": Target(column="y", kind="multiclass", classes=("a", "b", "c")),
    "regression": Target(column="y", kind="regression", bounds=(0.0, 40.0)),
}


def write_tree(task: str, people: int = 500, seed: int = 0, tokens: bool = False) -> None:
    """Write plan, prepared, model and twin; the target hangs on the last step."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 6, people)
    offsets = np.r_[0, np.cumsum(lengths)].astype(np.int64)
    values = rng.uniform(-1, 1, (int(lengths.sum()), 2)).astype(np.float32)
    signal = values[offsets[1:] - 1, 0] + 0.3 * rng.normal(size=people)
    targets: Any = {
        "binary": (signal > 0).astype(np.int64),
        "multiclass": np.digitize(signal, [-0.4, 0.4]).astype(np.int64),
        "regression": np.clip(signal, -1, 1).astype(np.float32),
    }[task]
    root = artifacts.folder(RECIPE, "prepared", "arrays")
    root.mkdir(parents=True)
    sequences = (2 + (values[:, 0] > 0)).astype(np.int32) if tokens else values
    if not tokens:
        np.save(root / "missing.npy", np.zeros(values.shape, dtype=np.uint8))
    for name, array in {
        "sequences": sequences,
        "offsets": offsets,
        "static": rng.uniform(-1, 1, (people, 1)).astype(np.float32),
        "targets": targets,
    }.items():
        np.save(root / f"{name}.npy", array)
    split = np.where(np.arange(people) % 5 < 3, "train", "test")
    ids = [f"p{i}" for i in range(people)]
    pl.DataFrame({"person_id": ids, "split": split, "length": lengths}).write_parquet(
        root / "people.parquet"
    )
    target = TARGETS[task]
    schema = {
        "task": task,
        "input": {"kind": "tokens", "vocabulary": ["", "?", "-", "+"]}
        if tokens
        else {"kind": "numbers"},
        "missing_indicators": False,
        "target": {"kind": task, "classes": list(target.classes), "names": []},
    }
    artifacts.write_json(root / "schema.json", schema)
    sexes = rng.choice(["f", "m"], people, p=[0.4, 0.6])
    pl.DataFrame({"sex": sexes}).write_parquet(root.parent / "sensitive_features.parquet")
    shape = InputShape(
        input_size=0 if tokens else 2,
        vocabulary_size=4 if tokens else 0,
        static_size=1,
        output_size=3 if task == "multiclass" else 1,
        task=task,  # type: ignore[arg-type]
    )
    for number, name in enumerate(("model", "twin")):
        model = build(TWIN.model, shape, seed=number)
        with artifacts.replacing(artifacts.folder(RECIPE, name)) as draft:
            artifacts.write_model(draft, model, model.state_dict())
            artifacts.write_json(draft / "privacy_spent.json", vars(SPENT))
            artifacts.write_json(draft / "bars.json", vars(GATE))
            artifacts.write_json(draft / "null_block.json", {"verdict": "consistent"})
    decision = Decision(favourable="no", approval_rate=0.7) if task == "binary" else None
    for section, config in {
        "target": TargetPlan(target=target, decision=decision),
        "predict": PredictConfig(bootstraps=100, baseline="ngrams" if tokens else "boosting"),
        "audit": AuditConfig(bootstraps=100, swaps=(), profiles=()),
        "release": RELEASE if task == "binary" else replace(RELEASE, mode="suppressed"),
        "attack": ATTACK,
        "train": TRAIN,
        "twin": TWIN,
        "gate": GATE,
        "population": PopulationPlan(population="people"),
        "override": OverridePlan(),
    }.items():
        artifacts.write_section(RECIPE, section, config)
