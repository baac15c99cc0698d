"""A whole small data/RECIPE/ tree, with a random model, for tests of what comes after it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rnn.config import ModelConfig
from rnn.model import build
from rnn.privacy.ledger import Event, training_event
from tasks import artifacts
from tasks.evidence.scoring import losses_of, model_logits, scores_of
from tasks.params import validate
from tasks.recipe import DataConfig, GateConfig, RegisterPlan, TargetPlan
from tasks.served import sequences_of
from tasks.table.encode import encode, encode_targets, input_shape, schema

COMMON: dict[str, Any] = {
    "source": {"kind": "path", "path": "people.csv"},
    "person": "id",
    "split": {"salt": "s"},
}
WIDE = {
    **COMMON,
    "missing_indicators": True,
    "sequence": {
        "layout": "wide",
        "steps": ["a", "b", "c"],
        "features": [
            {"name": "debt", "bounds": [0, 100], "columns": ["d1", "d2", "d3"]},
            {"name": "state", "values": [0, 1, 2], "columns": ["s1", "s2", "s3"]},
        ],
    },
    "static": [{"name": "limit", "column": "limit", "bounds": [1, 1000], "transform": "log"}],
    "target": {"column": "y", "kind": "binary", "classes": [0, 1], "names": ["no", "yes"]},
    "decision": {"favourable": 0, "threshold": 0.5},
    "sensitive": [{"name": "sex", "column": "sex", "labels": {"f": "women", "m": "men"}}],
}
LONG = {
    **COMMON,
    "sequence": {
        "layout": "long",
        "time": "when",
        "max_length": 5,
        "features": [{"name": "amount", "bounds": [-5, 5], "column": "amount"}],
    },
    "target": {"column": "y", "kind": "regression", "bounds": [0, 40]},
}
TEXT = {
    **{key: value for key, value in COMMON.items() if key != "person"},
    "sequence": {"layout": "text", "columns": ["first", "last"], "alphabet": "abcdefgh -"},
    "target": {"column": "y", "kind": "multiclass", "classes": ["x", "y,z", "w"]},
}
LAYOUTS = {"wide": WIDE, "long": LONG, "text": TEXT}


def measured(claimed: float, value: float) -> dict[str, float]:
    """One figure of a null block."""
    return {"value": value, "low": 0.99 * value, "high": 1.01 * value, "claimed": claimed,
            "p_value": 0.4}  # fmt: skip


def null_block(verdict: str = "consistent") -> dict[str, Any]:
    """Return model/null_block.json."""
    return {
        "verdict": verdict,
        "canaries": 1000,
        "steps": 240,
        "noise_scale": measured(3.2, 3.2067 if verdict == "consistent" else 1.6013),
        "contribution": measured(1.0, 0.9987),
        "sampling": measured(0.1, 0.1003),
        "spread_p_value": 0.31,
        "lower_bound": {
            "epsilon": 0.7342, "pure": 0.5118, "guesses": 250, "right": 141, "confidence": 0.95,
        },
        "refutes_curve": verdict == "violated",
        "note": "Consistent means that nothing in this run contradicts the ledger.",
        "points": [
            {"false_positive_rate": rate, "true_positive_rate": 1.4 * rate, "low": 0.9 * rate,
             "high": 1.9 * rate}
            for rate in (0.02, 0.1, 0.3)
        ],
        "significance": 0.001,
    }  # fmt: skip


def ledger() -> dict[str, Any]:
    """Return model/ledger.json: the steps, and one release beside them."""
    steps = training_event(noise_multiplier=3.2, sample_rate=0.1, steps=240)
    counts = Event(
        released="quantiles of debt", people="training", mechanism="laplace", noise_multiplier=5.0
    )
    alone = (2.3233, 0.2)
    return {
        "events": [
            {**event.as_dict(), "epsilon_alone": epsilon}
            for event, epsilon in zip((steps, counts), alone, strict=True)
        ],
        "delta": 1e-6,
        "epsilon": 2.5,
        "accountant": "PLD, connect the dots (Doroshenko et al. 2022)",
        "accountant_version": "dp-accounting 0.6",
        "cross_check": {
            "accountant": "PRV (Gopi, Lee, Wutschitz 2021)",
            "accountant_version": "opacus 1.6.0",
            "of": "the steps of training alone",
            "epsilon": 2.3335,
            "epsilon_by_the_first": 2.3233,
        },
        "parallel": "Events of training people and of held-out people do not add up.",
    }


def raw_rows(layout: str, people: int = 40, seed: int = 0) -> pl.DataFrame:
    """Return raw rows as a user has them, with a missing cell and a column of no use."""
    rng = np.random.default_rng(seed)
    if layout == "wide":
        states = {f"s{i}": rng.integers(0, 4, people) for i in (1, 2, 3)}
        debts = {f"d{i}": rng.integers(-10, 120, people).astype(float) for i in (1, 2, 3)}
        frame = pl.DataFrame(
            {
                "id": np.arange(100, 100 + people),
                **states,
                **debts,
                "limit": rng.integers(1, 900, people),
                "y": rng.integers(0, 2, people),
                "sex": rng.choice(["f", "m"], people),
                "note": ["of no use"] * people,
            }
        )
        return frame.with_columns(d2=pl.when(pl.col("id") != 103).then(pl.col("d2")))
    if layout == "long":
        lengths = rng.integers(1, 9, people)
        owner = np.repeat(np.arange(people), lengths)
        days = np.concatenate([rng.permutation(n) for n in lengths]) + 1
        return pl.DataFrame(
            {
                "id": [f"p{n:03}" for n in owner],
                "when": [f"2001-02-{day:02}" for day in days],
                "amount": rng.normal(0, 3, len(owner)).round(3),
                "y": np.repeat(rng.integers(0, 40, people), lengths).astype(float),
            }
        ).sample(fraction=1.0, shuffle=True, seed=seed)
    words = ["".join(rng.choice(list("abcdefghz"), n)) for n in rng.integers(1, 7, 2 * people)]
    return pl.DataFrame(
        {
            "first": words[:people],
            "last": words[people:],
            "y": rng.choice(["x", "y,z", "w"], people),
        }
    )


@dataclass(frozen=True)
class Fake:
    """Names and raw rows of a recipe that was made up."""

    recipe: str
    raw: pl.DataFrame
    data: DataConfig


def _figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def write_recipe(
    recipe: str = "tiny",
    layout: str = "wide",
    *,
    verdict: str = "pass",
    attack: str = "consistent",
    insecure: bool = False,
    on_fail: str = "exit_0",
    auc: float = 0.8,
    seed: int = 0,
    override: bool = False,
    block: str | None = "consistent",
) -> Fake:
    """Write data/RECIPE/ under the working directory, as the stages before register do."""
    root = artifacts.folder(recipe)
    data = validate(DataConfig, LAYOUTS[layout], "data")
    raw = raw_rows(layout)
    _write_plan(recipe, data, insecure, on_fail)
    _write_predictions(recipe, data, raw, auc, seed)
    reason = "" if verdict == "pass" else "AUC is below its bar"
    check = {"name": "auc", "verdict": verdict, "reason": reason, "bar": 0.7, **_figure(auc)}
    broken = {"name": "attack", "verdict": "fail" if attack == "violated" else "pass"}
    if block is not None:
        artifacts.write_json(root / "model" / "null_block.json", null_block(block))
    model = artifacts.digest_folder(root / "model")[:12]
    words = {"approver": "Ada Lovelace", "reason": "A second sample settled it.", "model": model}
    artifacts.write_json(
        root / "decision" / "decision.json",
        {
            "verdict": verdict,
            "checks": [check, broken] if override else [check],
            "epsilon": 3.0,
            "delta": 1e-6,
            "insecure": insecure,
            "model": model,
            "override": {**words, "status": "applied"} if override else None,
        },
    )
    gate = {"feature": "sex", "group": "women", "reference": "men"}
    found = {"audit": {"gate": {**gate, "impact_ratio": _figure(0.9)}, "features": []}}
    found |= {"attributions": {"method": "integrated_gradients"}, "attack": {"verdict": attack}}
    for name, value in found.items():
        artifacts.write_json(root / name / "published" / f"{name}.json", value)
        artifacts.write_json(root / name / "internal" / f"{name}.json", {"secret": name})
    for kind, file in (("published", "report.html"), ("internal", "internal.html")):
        (root / "report" / kind).mkdir(parents=True)
        (root / "report" / kind / file).write_text(f"<p>{kind}", encoding="utf-8")
    artifacts.write_json(root / "raw" / "manifest.json", {"files": [{"sha256": "5ec7e7"}]})
    return Fake(recipe, raw, data)


def _write_plan(recipe: str, data: DataConfig, insecure: bool, on_fail: str) -> None:
    """The sections that register reads."""
    register = RegisterPlan(model_name=recipe, experiment=recipe, title="Tiny", insecure=insecure)
    target = TargetPlan(target=data.target, decision=data.decision)
    gate = validate(GateConfig, {"max_epsilon": 3, "on_fail": on_fail}, "gate")
    for name, config in (("register", register), ("data", data), ("target", target)):
        artifacts.write_section(recipe, name, config)
    artifacts.write_section(recipe, "gate", gate)
    plan = artifacts.folder(recipe, "plan")
    artifacts.write_json(plan / "train.json", {"train": {"steps": 5}, "noise_multiplier": 1.5})
    artifacts.write_json(plan / "summary.json", {"epsilon": 3.0, "delta": 1e-6, "unit": "person"})


def _write_predictions(
    recipe: str, data: DataConfig, raw: pl.DataFrame, auc: float, seed: int
) -> None:
    """A random model, and what it says of everyone, by the functions that predict uses."""
    root = artifacts.folder(recipe)
    model = build(ModelConfig(hidden_size=5), input_shape(data), seed).eval()
    (root / "model").mkdir(parents=True)
    artifacts.write_model(root / "model", model, dict(model.state_dict()))
    artifacts.write_json(root / "model" / "privacy_spent.json", {"epsilon": 3.0})
    artifacts.write_json(root / "model" / "ledger.json", ledger())
    artifacts.write_json(root / "prepared" / "arrays" / "schema.json", schema(data))
    encoded = encode(raw, data)
    rows = np.arange(len(encoded))
    logits = model_logits(model, sequences_of(encoded, data), rows)
    scores = scores_of(logits, data.target.kind)
    truth = np.array(encode_targets(raw, data))
    columns: dict[str, Any] = {"row": rows, "person_id": encoded.person_ids, "y_true": truth}
    if data.target.kind == "regression":
        low, high = data.target.bounds or (-1.0, 1.0)
        columns["y_score"] = low + (scores + 1) / 2 * (high - low)
    elif data.target.kind == "binary":
        columns |= {"y_score": scores, "y_pred": (scores >= 0.5).astype(np.int64)}
    else:
        columns |= {f"score_{k}": scores[:, k] for k in range(scores.shape[1])}
        columns["y_pred"] = scores.argmax(1)
    columns["loss"] = losses_of(logits, truth, data.target.kind)
    (root / "predictions" / "internal").mkdir(parents=True)
    pl.DataFrame(columns).write_parquet(root / "predictions" / "internal" / "test.parquet")
    names = {"binary": ("auc", "accuracy"), "multiclass": ("auc", "accuracy")}
    model_figures = {n: _figure(auc) for n in names.get(data.target.kind, ("mae",))}
    artifacts.write_json(
        root / "predictions" / "published" / "metrics.json",
        {
            "task": data.target.kind,
            "n": len(encoded),
            "model": model_figures,
            "decision": {"threshold": 0.5, "approval_rate": _figure(0.6)}
            if data.target.kind == "binary"
            else None,
        },
    )
