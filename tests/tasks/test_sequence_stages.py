"""Every stage, one after the other, of small recipes whose targets are sequences themselves."""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tasks.kinds.table import KINDS
from tasks.params import UserError
from tasks.serving.scorer import Scorer
from tests import generated

STAGES = (
    "plan", "fetch", "prepare", "train", "train --twin", "predict", "audit", "explain", "attack",
    "gate", "report",
)  # fmt: skip


def _run(name: str, *stages: str) -> None:
    for stage in stages:
        module, *more = stage.split()
        importlib.import_module(f"tasks.{module}").main([name, *more])


@pytest.fixture(scope="module", params=sorted(generated.RECIPES))
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A checkout of one recipe in which every stage ran, as the working folder."""
    root, before = tmp_path_factory.mktemp(request.param), Path.cwd()
    threads = torch.get_num_threads()
    generated.write(root, request.param)
    os.chdir(root)
    _run(request.param, *STAGES)
    yield request.param
    os.chdir(before)
    torch.set_num_threads(threads)


def _json(*parts: str) -> Any:
    return json.loads(Path("data", *parts).read_text())


def test_the_model_does_better_than_what_hears_or_reads_nothing(built: str) -> None:
    found = _json(built, "predictions", "internal", "metrics.json")
    first = found["figures"][0]
    sign = 1 if first["better"] == "higher" else -1
    for name in (f"{first['name']}_minus_baseline", f"twin_{first['name']}_minus_baseline"):
        ends = sorted(sign * found["paired"][name][end] for end in ("low", "high"))
        if name.startswith("twin") or built == "ring":
            assert ends[0] > 0, name


def test_figures_are_made_of_the_sums_in_the_table(built: str) -> None:
    table = pl.read_parquet(Path("data", built, "predictions", "internal", "test.parquet"))
    people = pl.read_parquet(Path("data", built, "prepared", "arrays", "people.parquet"))
    assert table["row"].to_list() == np.flatnonzero(people["split"] == "test").tolist()
    shown = _json(built, "predictions", "published", "metrics.json")
    kind = KINDS[shown["task"]]
    totals = {
        name.removeprefix("sum_"): np.array([table[name].sum()])
        for name in table.columns
        if name.startswith("sum_")
    }
    for name, value in kind.summary(totals).items():
        assert shown["model"][name]["value"] == pytest.approx(float(value[0]), nan_ok=True)
    assert shown["model"]["loss"]["value"] == pytest.approx(table["loss"].mean())
    assert not any("twin" in name or "baseline" in name for name in json.dumps(shown).split('"'))
    if built == "tones":
        same = (table["y_true"] == table["y_pred"]).mean()
        assert shown["model"]["exact"]["value"] == pytest.approx(same)


def test_groups_have_the_figures_of_their_own_people(built: str) -> None:
    table = pl.read_parquet(Path("data", built, "predictions", "internal", "test.parquet"))
    (feature,) = _json(built, "audit", "published", "audit.json")["features"]
    assert [group["label"] for group in feature["groups"]] == ["first", "second"]
    for group in feature["groups"]:
        labels = pl.read_parquet(Path("data", built, "prepared", "sensitive_features.parquet"))
        mine = table.filter(labels["tongue"].gather(table["row"]) == group["label"])
        assert group["n"] == len(mine)
        assert group["metrics"]["loss"]["value"] == pytest.approx(mine["loss"].mean())
        found = group["metrics"]["loss"]
        assert found["low"] < found["value"] < found["high"]
    (apart,) = feature["comparisons"]["to_reference"]
    ends = [group["metrics"]["loss"]["value"] for group in feature["groups"]]
    sign = 1 if feature["reference"] == "first" else -1
    assert apart["loss_difference"]["value"] == pytest.approx(sign * (ends[1] - ends[0]))


def test_bars_of_figures_are_judged(built: str) -> None:
    checks = {c["name"]: c for c in _json(built, "decision", "decision.json")["checks"]}
    if built == "ring":
        assert checks["perplexity"]["verdict"] == "pass"
        # No model knows where the ring is left.
        assert checks["accuracy"]["verdict"] == "fail"
        return
    found = _json(built, "predictions", "published", "metrics.json")["model"]["error_rate"]
    assert checks["error_rate"]["bar"] == 0.2
    assert (checks["error_rate"]["low"], checks["error_rate"]["high"]) == (
        found["low"], found["high"]
    )  # fmt: skip


def test_pages_call_figures_by_their_titles(built: str) -> None:
    page = Path("data", built, "report", "published", "report.html").read_text()
    inside = Path("data", built, "report", "internal", "internal.html").read_text()
    for figure in KINDS[_json(built, "plan", "target.json")["target"]["kind"]].figures:
        assert figure.title in page
        assert f"{figure.title}" in inside
    assert "model − baseline" in inside and "<svg" in inside
    assert "baseline" not in page.split('id="performance"')[1].split("</section>")[0]


def test_small_groups_are_withheld(built: str) -> None:
    plan = Path("data", built, "plan", "audit.json")
    text = plan.read_text()
    plan.write_text(json.dumps({**json.loads(text), "min_people": 100_000}))
    try:
        _run(built, "audit")
        (feature,) = _json(built, "audit", "published", "audit.json")["features"]
        shown = [value for group in feature["groups"] for value in group["metrics"].values()]
        assert shown and not any(shown)
        (exact,) = _json(built, "audit", "internal", "audit.json")["model"]["features"]
        assert all(group["n"] for group in exact["groups"])
    finally:
        plan.write_text(text)


def test_predict_gives_the_same_bytes_again(built: str) -> None:
    root = Path("data", built, "predictions")
    files = [root / "published" / "metrics.json", root / "internal" / "test.parquet"]
    before = [file.read_bytes() for file in files]
    _run(built, "predict")
    assert [file.read_bytes() for file in files] == before


def test_the_front_door_and_a_file_say_what_the_model_says(built: str, tmp_path: Path) -> None:
    from tasks.score import score
    from tasks.serving.sequences import answered_sequences

    folder = Path("data", built, "model")
    data = _json(built, "plan", "data.json")
    (folder / "serving.json").write_text(json.dumps({"data": data, "threshold": None}))
    scorer = Scorer.read(folder, {"name": built})
    (folder / "serving.json").unlink()
    raw = pl.read_csv("rows.csv", infer_schema=False).select(scorer.columns)
    assert scorer.model is not None
    wanted = answered_sequences(scorer.model, raw, scorer.data)
    told = json.loads(scorer.answer(raw))["people"]
    assert told == [
        dict(zip(wanted, row, strict=True)) for row in zip(*wanted.values(), strict=True)
    ]
    raw.write_csv(tmp_path / "rows.csv")
    (tmp_path / "work").mkdir()
    score(scorer, tmp_path / "rows.csv", tmp_path / "out.parquet", tmp_path / "work")
    found = pl.read_parquet(tmp_path / "out.parquet").sort("person_id")
    assert found["person_id"].to_list() == sorted(wanted["person_id"])
    name = found.columns[-1]
    same = pl.DataFrame(wanted).sort("person_id")[name].to_list()
    assert found[name].to_list() == (same if name != "perplexity" else pytest.approx(same))
    assert scorer.usual_reasons(4) == 0
    with pytest.raises(UserError, match=rf"^reasons: a model of kind {scorer.data.target.kind} gi"):
        scorer.score(raw, 1)


def test_an_answer_says_what_predict_wrote(built: str) -> None:
    from tasks.artifacts import read_model
    from tasks.params import validate
    from tasks.recipe import DataConfig
    from tasks.serving.sequences import answered_sequences, types_of

    data = validate(DataConfig, _json(built, "plan", "data.json"), "data")
    raw = pl.read_csv("rows.csv", infer_schema=False)
    table = pl.read_parquet(Path("data", built, "predictions", "internal", "test.parquet"))
    found = answered_sequences(read_model(Path("data", built, "model")), raw, data)
    place = {person: index for index, person in enumerate(found["person_id"])}
    for row in table.iter_rows(named=True):
        at = place[row["person_id"]]
        if built == "tones":
            assert found["symbols"][at] == row["y_pred"]
        else:
            assert found["perplexity"][at] == pytest.approx(np.exp(row["loss"]), rel=1e-4)
    assert types_of(found)["person_id"] == "string"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"predict": {"baseline": "boosting"}}, "predict.baseline = 'boosting': ctc has"),
        (
            {"gate": {"max_epsilon": 9, "figures": {"auc": {"at_least": 0.5}}}},
            "gate.figures names 'auc'",
        ),
        (
            {"gate": {"max_epsilon": 9, "min_auc": 0.5}},
            "gate.min_auc is for targets with one answer, not for ctc; state gate.figures",
        ),
        (
            {"mitigation": {"method": "reweight", "feature": "tongue"}},
            "mitigation.method is for targets with one answer, not for ctc",
        ),
    ],
)
def test_what_a_kind_does_not_have_is_refused_before_anything_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    generated.write(tmp_path, "tones", **changed)
    with pytest.raises(UserError, match=r"\A[^\n]*\Z") as caught:
        _run("tones", "plan")
    assert words in str(caught.value)
    assert not Path("data").exists()
