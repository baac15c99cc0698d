"""Thresholds, figures and files of the predict stage."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import log_loss, r2_score, roc_auc_score

from rnn.model import probabilities
from tasks import artifacts, population, predict
from tasks.evidence import metrics
from tasks.evidence.prediction_interval import setting_aside
from tasks.evidence.scoring import losses_of_scores, model_logits
from tasks.evidence.threshold import exact_threshold
from tasks.params import UserError
from tasks.recipe import Decision, PopulationPlan, PredictConfig
from tests.heldout import RECIPE, RELEASE, TARGETS, write_tree

PLAN = PredictConfig(bootstraps=200)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a data folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("favourable", "approved"), [("no", [1, 1, 0]), ("yes", [0, 0, 1])])
def test_favourable_may_be_either_class(favourable: str, approved: list[int]) -> None:
    target, decision = TARGETS["binary"], Decision(favourable=favourable, threshold=0.5)
    made = predict.decide("binary", np.array([0.1, 0.4, 0.5]), np.zeros(3), target, decision)
    assert made.predicted.tolist() == [0, 0, 1]
    figures = predict.decision_figures(made, target, decision, 0.95)
    assert figures is not None
    assert figures["favourable"] == favourable
    assert figures["approval_rate"]["value"] == pytest.approx(np.mean(approved))


def test_losses_equal_sklearn() -> None:
    rng = np.random.default_rng(1)
    score, truth = rng.random(50), rng.integers(0, 2, 50)
    assert losses_of_scores(score, truth, "binary").mean() == pytest.approx(log_loss(truth, score))
    many, classes = rng.dirichlet(np.ones(3), 50), rng.integers(0, 3, 50)
    expected = log_loss(classes, many, labels=[0, 1, 2])
    assert losses_of_scores(many, classes, "multiclass").mean() == pytest.approx(expected)
    assert np.isfinite(losses_of_scores(np.array([0.0]), np.array([1]), "binary")).all()


def test_regression_figures_equal_sklearn() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(1000, 5, 400)
    made = metrics.Predictions(truth + rng.normal(0, 2, 400), truth, np.zeros(400), None)
    found = metrics.measure(truth, made, PLAN)
    assert found["r2"]["value"] == pytest.approx(r2_score(truth, made.scores))
    assert found["r2"]["low"] < found["r2"]["value"] < found["r2"]["high"] < 1
    error = made.scores - truth
    assert found["rmse"]["value"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert found["mae"]["value"] == pytest.approx(np.abs(error).mean())


def test_units_come_back() -> None:
    units = predict.in_units(np.array([-1.0, 0.0, 1.0]), TARGETS["regression"])
    assert units.tolist() == [0, 20, 40]


def test_one_class_gives_null_not_a_number() -> None:
    made = metrics.Predictions(np.array([0.2, 0.4]), np.array([0, 0]), np.zeros(2), 0.5)
    found = metrics.measure(np.array([0, 0]), made, PLAN)
    assert found["auc"] == {"value": None, "low": None, "high": None}
    assert found["accuracy"]["value"] == 1.0
    json.dumps(found, allow_nan=False)


def _run(task: str, **options: Any) -> tuple[pl.DataFrame, dict[str, Any], dict[str, Any]]:
    """Write a tree, run the stage, and return what it wrote."""
    write_tree(task, **options)
    predict.main([RECIPE])
    root = artifacts.folder(RECIPE, "predictions")
    published = artifacts.read_json(root / "published" / "metrics.json")
    return (
        artifacts.read_predictions(RECIPE),
        published,
        artifacts.read_json(root / "internal" / "metrics.json"),
    )


def test_binary_stage() -> None:
    table, published, internal = _run("binary")
    truth = table["y_true"].to_numpy()
    model = internal["model"]
    assert model["auc"]["value"] == pytest.approx(roc_auc_score(truth, table["y_score"]))
    assert model["loss"]["value"] == pytest.approx(log_loss(truth, table["y_score"]))
    assert internal["paired"]["auc_minus_baseline"]["value"] == pytest.approx(
        model["auc"]["value"] - internal["baseline"]["auc"]["value"]
    )
    # Each model decides at the same approval rate, with a threshold of its own.
    for prefix in ("y_", "twin_", "baseline_"):
        assert 1 - table[f"{prefix}pred"].mean() == pytest.approx(0.7, abs=0.05)
    assert internal["twin"]["decision"]["threshold"] != published["decision"]["threshold"]
    assert published["decision"]["favourable"] == "no"
    assert sum(row["n"] for row in internal["calibration"]) == internal["n"] == len(table)
    rows = artifacts.read_prepared(RECIPE).rows("test")
    assert table["row"].to_list() == rows.tolist()
    assert table["person_id"].to_list() == [f"p{row}" for row in rows]


def test_published_metrics_hold_nothing_exact_of_held_out_people() -> None:
    _, published, internal = _run("binary")
    assert set(published) == {"task", "confidence", "decision", "interval", "threshold_draw"}
    assert set(published["decision"]) - {"by_group"} == {"threshold", "event", "favourable"}
    assert published["interval"] is None
    # The threshold is chosen privately; all else comes from the recipe.
    assert (published["decision"]["event"], published["decision"]["favourable"]) == ("yes", "no")
    artifacts.write_section(RECIPE, "release", replace(RELEASE, mode="suppressed"))
    predict.main([RECIPE])
    root = artifacts.folder(RECIPE, "predictions", "published")
    exact = artifacts.read_json(root / "metrics.json")
    assert set(exact) == {*published, "n", "model", "calibration"}
    # What is not of decisions is the same exact figure that the noised mode keeps inside.
    assert exact["model"]["auc"] == internal["model"]["auc"]
    assert exact["n"] == internal["n"]
    assert "twin" not in json.dumps(exact)


def test_multiclass_stage() -> None:
    table, published, internal = _run("multiclass", tokens=True)
    scores = table.select("score_0", "score_1", "score_2").to_numpy()
    assert scores.sum(1) == pytest.approx(1)
    assert table["y_pred"].to_list() == scores.argmax(1).tolist()
    assert "y_score" not in table.columns
    assert {"twin_score_2", "baseline_score_0", "baseline_loss"} <= set(table.columns)
    loss, perplexity = (published["model"][name]["value"] for name in ("loss", "perplexity"))
    assert perplexity == pytest.approx(np.exp(loss))
    assert published["decision"] is None
    assert "twin_accuracy_minus_baseline" in internal["paired"]


def test_regression_stage_speaks_in_units() -> None:
    table, published, internal = _run("regression")
    assert 0 <= table["y_true"].min() < 5  # type: ignore[operator]
    assert 35 < table["y_true"].max() <= 40  # type: ignore[operator]
    held = artifacts.read_prepared(RECIPE)
    aside = setting_aside(held.people["person_id"].gather(held.rows("test")))
    assert 0 < len(table) == (~aside).sum() < len(aside)
    assert not setting_aside(table["person_id"]).any()
    inside = (table["y_low"] <= table["y_true"]) & (table["y_true"] <= table["y_high"])
    assert published["model"]["interval_coverage"]["value"] == pytest.approx(inside.mean())
    assert internal["twin"]["interval_coverage"]["value"] == pytest.approx(
        ((table["twin_low"] <= table["y_true"]) & (table["y_true"] <= table["twin_high"])).mean()
    )
    width = (table["y_high"] - table["y_low"]).to_numpy()
    assert published["model"]["interval_width"]["value"] == pytest.approx(width.mean())
    half_width = published["interval"]["half_width"]
    for end, side in (("y_low", -half_width), ("y_high", half_width)):
        assert table[end].to_numpy() == pytest.approx(np.clip(table["y_score"] + side, 0, 40))
    assert published["interval"]["level"] == 0.9
    assert published["interval"]["account"]["epsilon"] == RELEASE.epsilon
    error = (table["y_score"] - table["y_true"]).to_numpy()
    assert published["model"]["mae"]["value"] == pytest.approx(np.abs(error).mean())
    assert internal["baseline"]["mae"]["value"] < published["model"]["mae"]["value"]
    assert set(internal["paired"]) >= {"mae_minus_twin", "loss_minus_baseline"}


def test_without_intervals_nobody_is_set_aside() -> None:
    write_tree("regression", people=200)
    plan = PredictConfig(bootstraps=100, baseline="none", interval=None)
    artifacts.write_section(RECIPE, "predict", plan)
    predict.main([RECIPE])
    table = artifacts.read_predictions(RECIPE)
    assert len(table) == len(artifacts.read_prepared(RECIPE).rows("test"))
    assert "y_low" not in table.columns


def test_every_draw_is_charged_before_it_is_drawn() -> None:
    write_tree("binary", people=300)
    artifacts.write_section(RECIPE, "release", replace(RELEASE, insecure_seed=None))
    artifacts.write_section(RECIPE, "population", PopulationPlan(population="p", split="s"))
    predict.main([RECIPE])
    predict.main([RECIPE])
    entries = population.read("p")
    assert [(e.event.epsilon, e.event.people, e.split) for e in entries] == [
        (2.0, "held-out", "s")
    ] * 2
    # Two thresholds cost 4, the tables to come nearly 8 with one of them: refused as a whole.
    cap = PopulationPlan(population="p", split="s", max_epsilon=9.0)
    artifacts.write_section(RECIPE, "population", cap)
    before = artifacts.digest_folder(artifacts.folder(RECIPE, "predictions"))
    with pytest.raises(UserError, match=r"ledger\.max_epsilon = 9 would be passed: p has spent 4"):
        predict.main([RECIPE])
    assert artifacts.digest_folder(artifacts.folder(RECIPE, "predictions")) == before
    assert len(population.read("p")) == 2


def test_the_width_of_intervals_is_charged() -> None:
    write_tree("regression", people=200)
    unseeded = replace(RELEASE, mode="suppressed", epsilon=3.0, insecure_seed=None)
    artifacts.write_section(RECIPE, "release", unseeded)
    artifacts.write_section(RECIPE, "population", PopulationPlan(population="p"))
    predict.main([RECIPE])
    (entry,) = population.read("p")
    assert (entry.event.epsilon, entry.event.people) == (3.0, "held-out")
    artifacts.write_section(RECIPE, "predict", PredictConfig(baseline="none", interval=None))
    predict.main([RECIPE])
    assert len(population.read("p")) == 1


def test_scores_are_the_model_s_in_any_order() -> None:
    write_tree("binary")
    prepared = artifacts.read_prepared(RECIPE)
    model = artifacts.read_model(artifacts.folder(RECIPE, "model"))
    rows = prepared.rows("test")
    scored = model_logits(model, prepared.sequences, rows)
    for index in (0, 7):
        batch = prepared.sequences.batch(rows[[index]])
        with torch.no_grad():
            alone = model(batch.inputs, batch.lengths, batch.static)
        assert scored[index] == pytest.approx(alone.numpy()[0], abs=1e-6)
        assert 0 < probabilities(alone, "binary").item() < 1
    backwards = model_logits(model, prepared.sequences, rows[::-1].copy())
    assert backwards[::-1] == pytest.approx(scored, abs=1e-6)


def test_twice_the_same_bytes() -> None:
    _run("binary")
    root = artifacts.folder(RECIPE, "predictions")
    first = artifacts.digest_folder(root)
    predict.main([RECIPE])
    assert artifacts.digest_folder(root) == first


def _thresholds(**changes: Any) -> tuple[float, float]:
    """The published threshold and the twin's of the tree that is here, under another release."""
    artifacts.write_section(RECIPE, "release", replace(RELEASE, **changes))
    predict.main([RECIPE])
    root = artifacts.folder(RECIPE, "predictions")
    published = artifacts.read_json(root / "published" / "metrics.json")
    internal = artifacts.read_json(root / "internal" / "metrics.json")
    return published["decision"]["threshold"], internal["twin"]["decision"]["threshold"]


def test_only_the_published_threshold_is_chosen_privately() -> None:
    table, _, _ = _run("binary")
    exact = exact_threshold(table["y_score"].to_numpy(), 0.7, favourable_event=False)
    seeds = [_thresholds(insecure_seed=seed, threshold_epsilon=0.2) for seed in range(4)]
    assert len({model for model, _ in seeds}) > 1
    assert len({twin for _, twin in seeds}) == 1
    assert _thresholds(mode="suppressed")[0] == exact
    again = [_thresholds(insecure_seed=None, threshold_epsilon=0.2)[0] for _ in range(4)]
    assert len(set(again)) > 1


def test_nobody_held_out_is_one_line() -> None:
    write_tree("binary")
    path = artifacts.folder(RECIPE, "prepared", "arrays", "people.parquet")
    people = pl.read_parquet(path).with_columns(split=pl.lit("train"))
    people.write_parquet(path)
    with pytest.raises(UserError, match="nobody is held out"):
        predict.main([RECIPE])
    with pytest.raises(UserError, match="usage"):
        predict.main([])
