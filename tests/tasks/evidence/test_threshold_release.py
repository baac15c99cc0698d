"""Thresholds by group from training people: what is released, and who is decided by what."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rnn.config import ModelConfig, PrivacyConfig, TrainConfig
from rnn.fairness.config import GroupThresholds
from rnn.fairness.groups import Groups
from rnn.privacy.histogram import Histogram
from rnn.privacy.noise import Keystream
from tasks import artifacts, audit, predict
from tasks.evidence import threshold_release as stage
from tasks.evidence.kept import kept
from tasks.recipe import Cut, TrainPlan
from tests.heldout import RECIPE, write_tree

BLOCK = GroupThresholds(
    method="group_thresholds", feature="sex", noise_multiplier=1.0, score_bins=10
)
CUT = Cut(event_favoured=False, approval_rate=0.7)
LABELS = ("f", "m", "unknown")
PLAN = TrainPlan(
    model=ModelConfig(hidden_size=4),
    train=TrainConfig(steps=1, expected_batch_size=30),
    privacy=PrivacyConfig(
        unit="person", population=300, delta=1e-5, target_epsilon=3, max_grad_norm=1
    ),
    mitigation=BLOCK,
    sample_rate=0.1,
    noise_multiplier=1.0,
    cut=CUT,
)


def _people(size: int, seed: int) -> tuple[list[str], np.ndarray, np.ndarray, Groups]:
    """Ids (some with several rows), P(event), events and groups."""
    rng = np.random.default_rng(seed)
    ids = [f"p{i}" for i in rng.integers(0, size, size)]
    groups = Groups(rng.integers(0, 3, size), LABELS)
    return ids, rng.random(size), rng.integers(0, 2, size), groups


@pytest.mark.parametrize("cut", [CUT, Cut(event_favoured=True, threshold=0.37)])
@pytest.mark.parametrize("most", [1, 3])
def test_no_person_moves_the_histogram_further_than_the_event_says(most: int, cut: Cut) -> None:
    block = replace(BLOCK, max_rows=most)
    limit, reached = stage.limit_of(block, "person"), 0.0
    for seed in range(3):
        ids, scores, event, groups = _people(40, seed)
        ids[:6] = ["worst"] * 6
        scores[:6], event[:6], groups.codes[:6] = 0.2, 1, 0

        def table(rows: np.ndarray) -> np.ndarray:
            rows = rows[kept(pl.Series([ids[row] for row in rows]), limit)]  # noqa: B023
            own = Groups(groups.codes[rows], LABELS)  # noqa: B023
            return stage.table_of(block, cut, scores[rows], event[rows], own).counts  # noqa: B023

        whole = table(np.arange(40))
        for person in set(ids):
            rest = table(np.flatnonzero(np.array(ids) != person))
            reached = max(reached, float(np.linalg.norm(whole - rest)))
    assert reached == Histogram(1, 1.0, most).sensitivity == most
    assert stage.limit_of(block, "record").max_rows == 1


@pytest.mark.parametrize("factor", [1.0, 0.95])
def test_noise_of_095_would_be_seen(factor: float) -> None:
    """20,000 counts of nobody hold noise alone."""
    labels = tuple(map(str, range(1000)))
    nobody = Groups(np.zeros(0, dtype=np.int64), labels)
    empty = stage.table_of(BLOCK, CUT, np.zeros(0), np.zeros(0, dtype=int), nobody)
    mechanism = Histogram(1, 10.0)
    seen = stage.released(empty, mechanism, Keystream.from_seed(1)).counts.std()
    off = abs(factor * seen / math.hypot(10, 12**-0.5) - 1) * math.sqrt(2 * empty.counts.size)
    assert (off < 4) == (factor == 1)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe whose arrays have groups; women's scores are shifted against them."""
    monkeypatch.chdir(tmp_path)
    write_tree("binary", people=3000)
    root = artifacts.folder(RECIPE, "prepared", "arrays")
    sexes = pl.read_parquet(root.parent / "sensitive_features.parquet")["sex"]
    codes = np.array([LABELS.index(sex) for sex in sexes])
    np.save(root / "groups.npy", codes)
    # Their last steps, which the model reads, look riskier.
    values, ends = np.load(root / "sequences.npy"), np.load(root / "offsets.npy")[1:] - 1
    values[ends[codes == 0]] += 0.8
    np.save(root / "sequences.npy", values)
    schema = artifacts.read_json(root / "schema.json")
    groups = {"feature": "sex", "labels": list(LABELS)}
    artifacts.write_json(root / "schema.json", {**schema, "groups": groups})
    return artifacts.folder(RECIPE, "model")


def _write(model: Path, seed: int = 0, plan: TrainPlan = PLAN) -> dict:
    """Release into a model's folder as train does."""
    stage.write(model, plan, artifacts.read_prepared(RECIPE), Keystream.from_seed(seed))
    return dict(stage.read(model) or {})


def test_what_is_written_has_noise_and_is_drawn_from_the_run(tree: Path) -> None:
    found = _write(tree)
    assert _write(tree) == found
    # A run that starts anew after a kill draws anew: nothing of the first was seen.
    assert _write(tree, seed=1)["histogram"]["counts"] != found["histogram"]["counts"]
    prepared = artifacts.read_prepared(RECIPE)
    rows = prepared.rows("train")
    exact = np.zeros((3, 2))
    event = np.asarray(prepared.sequences.targets[rows])
    np.add.at(exact, (np.asarray(prepared.groups.codes[rows]), 1 - event), 1)  # type: ignore[union-attr]
    told = np.array(found["histogram"]["counts"])
    assert told.shape == (3, 2, 10)
    assert not np.array_equal(told.sum(-1), exact)
    assert told.sum(-1) == pytest.approx(exact, abs=5 * math.sqrt(10))
    assert found["histogram"]["noise"] == Histogram(1, 1.0).standard_deviation
    # Held-out people are no part of it.
    assert told[:2].sum() == pytest.approx(len(rows), abs=5 * math.sqrt(40))
    assert set(found["thresholds"]) == {"f", "m"}
    assert (found["feature"], found["wanted"]) == ("sex", 0.7)
    assert "insecure" not in json.dumps(found)


def test_nothing_is_written_without_thresholds_by_group(tree: Path) -> None:
    plan = TrainPlan(model=PLAN.model, train=PLAN.train, privacy=PLAN.privacy, sample_rate=0.1)
    stage.write(tree, plan, artifacts.read_prepared(RECIPE), Keystream.from_seed(0))
    assert stage.read(tree) is None


def _rates(predictions: pl.DataFrame, column: str) -> list[float]:
    """Share of favourable decisions by sex."""
    sexes = artifacts.read_sensitive_features(RECIPE)["sex"].gather(predictions["row"])
    favourable = predictions[column] == 0
    return [float(favourable.filter(sexes == sex).mean()) for sex in ("f", "m")]  # type: ignore[arg-type]


def test_predict_and_audit_follow_the_groups(tree: Path) -> None:
    predict.main([RECIPE])
    before = _rates(artifacts.read_predictions(RECIPE), "y_pred")
    released = _write(tree)
    predict.main([RECIPE])
    held = artifacts.read_predictions(RECIPE)
    after = _rates(held, "y_pred")
    assert abs(before[0] - before[1]) > 0.04
    assert abs(after[0] - after[1]) < 0.6 * abs(before[0] - before[1])
    # Twin and baseline have exact ones of their own.
    for column in ("twin_pred", "baseline_pred"):
        assert _rates(held, column) == pytest.approx([0.7, 0.7], abs=0.02)
    sexes = artifacts.read_sensitive_features(RECIPE)["sex"].gather(held["row"])
    cuts = np.array([released["thresholds"][sex] for sex in sexes])
    assert np.array_equal(held["y_pred"], held["y_score"].to_numpy() >= cuts)
    metrics = artifacts.read_json(
        artifacts.folder(RECIPE, "predictions", "published", "metrics.json")
    )
    decision = metrics["decision"]
    assert decision["threshold"] == released["overall"]
    assert decision["by_group"]["thresholds"] == released["thresholds"]
    audit.main([RECIPE])
    root = artifacts.folder(RECIPE, "audit")
    internal = artifacts.read_json(root / "internal" / "audit.json")
    rows = internal["model"]["features"][0]["groups"]
    found = {r["label"]: r["metrics"]["selection_rate"]["value"] for r in rows}
    assert [found["f"], found["m"]] == pytest.approx(after)
    assert internal["checked_with_fairlearn"] == 6
    # One threshold for all is what the sweep still moves.
    points = internal["model"]["sweep"]["points"]
    swept = {g["label"]: g["selection_rate"]["value"] for p in points for g in p["groups"]
             if p["approval_rate"] == 0.7}  # fmt: skip
    assert not swept or abs(swept["f"] - swept["m"]) > abs(after[0] - after[1])
    published = artifacts.read_json(root / "published" / "audit.json")
    shown = {r["label"]: r["metrics"]["selection_rate"] for r in published["features"][0]["groups"]}
    for label, rate in zip(("f", "m"), after, strict=True):
        assert shown[label]["low"] < rate < shown[label]["high"]
        assert shown[label]["high"] - shown[label]["low"] < 0.2


def test_groups_that_prepare_did_not_write_are_asked_for(tree: Path) -> None:
    _write(tree)
    root = artifacts.folder(RECIPE, "prepared", "arrays")
    schema = artifacts.read_json(root / "schema.json")
    schema.pop("groups")
    artifacts.write_json(root / "schema.json", schema)
    with pytest.raises(predict.UserError, match="'sex' has thresholds by group, but prepare"):
        predict.main([RECIPE])
