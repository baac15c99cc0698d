"""Attributions: complete, blind to padding, suppressed where people are few."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from rnn.batch import PreparedSequences, SequenceBatch
from rnn.config import InputShape, ModelConfig
from rnn.model import SequenceModel, build
from tasks import explain as stage
from tasks.artifacts import Prepared
from tasks.evidence.attributions import (
    Attributions,
    by_features,
    mean_interval,
    step_labels,
    summarise,
)
from tasks.evidence.local import choose
from tasks.evidence.subject import Subject
from tasks.explaining.methods import METHODS, CellShares
from tasks.explaining.question import Groups, Question
from tasks.params import UserError, validate
from tasks.recipe import DataConfig, ExplainConfig, Target, TargetPlan

CONFIG = ExplainConfig(people=200, local_people=6, orders=4)
PATH_OF_TWO = ExplainConfig(
    method="integrated_gradients", compare=(), n_steps=2, max_steps=2, people=200
)


def shape(task: str = "binary", *, tokens: bool = False, static: int = 2) -> InputShape:
    """A small shape: three channels or eight tokens."""
    return InputShape(
        input_size=0 if tokens else 3,
        vocabulary_size=8 if tokens else 0,
        static_size=static,
        output_size=4 if task == "multiclass" else 1,
        task=task,
    )


def model(task: str = "binary", **options: Any) -> SequenceModel:
    """A seeded small model in evaluation mode."""
    config = ModelConfig(cell=options.pop("cell", "gru"), hidden_size=6, embedding_size=5,
                         pooling=options.pop("pooling", "last"))  # fmt: skip
    return build(config, shape(task, **options), 0).eval()


def sequences(people: int, *, tokens: bool = False, static: int = 2) -> PreparedSequences:
    """Ragged random people of one to six steps."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 7, people)
    total = int(lengths.sum())
    values: Any = rng.uniform(-1, 1, (total, 3)).astype(np.float32)
    if tokens:
        values = rng.integers(1, 8, total).astype(np.int32)
    return PreparedSequences(
        sequences=values,
        missing=None if tokens else np.zeros((total, 3), dtype=np.uint8),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        static=rng.uniform(-1, 1, (people, static)).astype(np.float32),
        targets=rng.integers(0, 2, people),
    )


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("static", [0, 2])
@pytest.mark.parametrize("method", ["integrated_gradients", "shapley_sampling"])
def test_attributions_add_up_and_padding_gets_nothing(
    task: str, tokens: bool, static: int, method: str
) -> None:
    rows = np.arange(40)
    data = sequences(40, tokens=tokens, static=static)
    made = model(task, tokens=tokens, static=static)
    found = stage.attribute_rows(made, data, rows, CONFIG, method=method)
    total = found.inputs.reshape(40, -1).sum(1) + found.static.sum(1)
    np.testing.assert_allclose(total, found.outputs - found.baseline_outputs, atol=2e-5)
    for row, length in enumerate(np.diff(data.offsets)):
        assert (found.inputs[row, length:] == 0).all()
    assert np.abs(found.inputs).sum() > 0


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
def test_every_cell_is_complete_to_a_thousandth(cell: str, pooling: str) -> None:
    made = model(cell=cell, pooling=pooling)
    for method in ("integrated_gradients", "shapley_sampling", "kernel_shap"):
        found = stage.attribute_rows(made, sequences(60), np.arange(60), CONFIG, method=method)
        assert np.quantile(found.completeness_errors(), 0.95) <= 0.001


@pytest.mark.parametrize("method", ["integrated_gradients", "shapley_sampling", "occlusion"])
def test_a_linear_model_is_explained_by_its_weights(method: str) -> None:
    """What w.x owes to each cell is w*x, whatever the method."""

    class Linear(SequenceModel):
        def forward_embedded(
            self, embedded: torch.Tensor, lengths: torch.Tensor, static: torch.Tensor
        ) -> torch.Tensor:
            weights = torch.tensor([2.0, -1.0, 0.5])
            return ((embedded * weights).sum((1, 2)) + 3 * static[:, 0])[:, None] + 7

    batch = SequenceBatch(
        torch.tensor([[[1.0, 2.0, 4.0], [3.0, 0.0, -2.0]]]),
        torch.tensor([2]),
        torch.tensor([[0.5, 9.0]]),
        torch.tensor([1]),
    )
    made = Linear(ModelConfig(hidden_size=2), shape()).eval()
    found = stage.attribute(made, batch, CONFIG, method=method)
    np.testing.assert_allclose(found.inputs[0], [[2, -2, 2], [6, 0, -1]], rtol=1e-5)
    np.testing.assert_allclose(found.static, [[1.5, 0]], rtol=1e-5, atol=1e-5)
    assert found.baseline_outputs == pytest.approx([7])


def test_a_few_points_of_the_path_are_seen_as_too_few() -> None:
    """The error can fail: a steep model is not complete with two points."""
    made = model()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter *= 6
    rows = np.arange(40)
    coarse = stage.attribute_rows(made, sequences(40), rows, PATH_OF_TWO)
    assert np.quantile(coarse.completeness_errors(), 0.95) > 0.01


def test_batches_and_order_change_nothing() -> None:
    made, data = model("multiclass"), sequences(30)
    rows = np.arange(30)
    for method in ("integrated_gradients", "shapley_sampling"):
        whole = stage.attribute_rows(made, data, rows, CONFIG, method=method)
        few = replace(CONFIG, internal_batch_size=60)
        small = stage.attribute_rows(made, data, rows, few, method=method)
        np.testing.assert_allclose(small.inputs, whole.inputs, atol=1e-5)
        back = stage.attribute_rows(made, data, rows[::-1], CONFIG, method=method)
        np.testing.assert_allclose(back.outputs[::-1], whole.outputs, atol=1e-6)
        np.testing.assert_allclose(back.inputs[::-1], whole.inputs, atol=1e-5)
        np.testing.assert_array_equal(back.lengths[::-1], np.diff(data.offsets))


def test_explaining_leaves_the_model_as_it_was() -> None:
    made = model()
    before = {k: v.clone() for k, v in made.state_dict().items()}
    stage.attribute_rows(made, sequences(5), np.arange(5), CONFIG)
    assert all(torch.equal(v, before[k]) for k, v in made.state_dict().items())
    assert all(p.grad is None for p in made.parameters())
    assert not made.training


def test_channels_and_indicators_of_a_feature_are_summed() -> None:
    channels = [{"feature": "a"}, {"feature": "b"}, {"feature": "a"}]
    names, summed = by_features(np.arange(6.0)[None], channels)
    assert names == ["a", "b"]
    assert summed.tolist() == [[0 + 2 + 3 + 5, 1 + 4]]
    assert by_features(np.zeros((4, 0)), [])[1].shape == (4, 0)


def test_means_are_withheld_below_thirty_people() -> None:
    assert mean_interval(np.ones(29)) == {"value": None, "low": None, "high": None}
    found = mean_interval(np.r_[np.zeros(50), np.full(50, 2.0)])
    half = 1.959963984540054 * np.sqrt(100 / 99) / 10
    assert found["value"] == 1
    assert found["low"] == pytest.approx(1 - half)
    assert found["high"] == pytest.approx(1 + half)


def test_positions_that_few_people_reach_are_not_shown() -> None:
    lengths = np.r_[np.full(30, 2), np.full(29, 5)]
    assert step_labels({"layout": "text"}, lengths) == (["1", "2"], "character")
    assert step_labels({"layout": "long"}, lengths)[0] == ["-1", "0"]
    assert step_labels({"layout": "wide", "steps": ["a", "b", "c"]}, lengths[:1])[0] == list("abc")


SCHEMA: dict[str, Any] = {
    "layout": "long",
    "input": {"kind": "numbers"},
    "channels": [{"feature": "x", "value": None, "unit": "EUR"}],
    "static": [{"feature": "s", "value": None, "unit": ""}],
    "steps": [],
}


def test_events_are_counted_back_from_the_latest() -> None:
    """Forty people with (5, 1) and thirty with (1) alone: the latest is 1 for all."""
    inputs = np.zeros((70, 2, 1))
    inputs[:40, 0], inputs[:40, 1], inputs[40:, 0] = -5, 1, 1
    lengths = np.r_[np.full(40, 2), np.full(30, 1)]
    ends = inputs.sum((1, 2)) + 2
    found = summarise(
        Attributions(inputs, np.full((70, 1), 2.0), lengths, ends, np.zeros(70)), SCHEMA, CONFIG
    )
    assert [(s["step"], s["value"]) for s in found["by_step"]] == [("-1", 5.0), ("0", 1.0)]
    assert found["by_feature_and_step"] == [[5.0, 1.0]]
    by_feature = {f["feature"]: f["value"] for f in found["by_feature"]}
    assert by_feature == {"x": pytest.approx((40 * 6 + 30) / 70), "s": 2.0}
    assert found["completeness"] == {
        "p50": 0.0, "p95": 0.0, "bar": 0.001, "reached": True, "reason": "",
    }  # fmt: skip


def test_a_small_sample_publishes_nothing() -> None:
    few = Attributions(np.ones((29, 1, 1)), np.ones((29, 1)), np.ones(29, dtype=np.int64),
                       np.full(29, 2.0), np.zeros(29))  # fmt: skip
    found = summarise(few, SCHEMA, CONFIG)
    assert all(f["value"] is None for f in found["by_feature"])
    assert found["by_step"] == []
    assert found["completeness"] == {
        "p50": None, "p95": None, "bar": 0.001, "reached": None, "reason": "fewer than 30 people",
    }  # fmt: skip


def test_people_are_chosen_by_rule_in_turns() -> None:
    table = pl.DataFrame(
        {
            "row": [10, 11, 12, 13],
            "y_true": [1, 0, 1, 0],
            "y_pred": [1, 1, 0, 0],
            "y_score": [0.9, 0.6, 0.1, 0.49],
        }
    )
    found = [(rule, person["row"]) for rule, person in choose(table, "binary", 4)]
    assert found == [
        ("most confident and right", 10),
        ("most confident and wrong", 12),
        ("nearest to the threshold", 11),
        ("most confident and right", 13),
    ]
    assert len(choose(table, "binary", 50)) == 4
    assert choose(table, "binary", 0) == []


DATA = {
    "source": {"kind": "path", "path": "x.csv"},
    "person": "id",
    "sequence": {
        "layout": "wide",
        "steps": ["May", "June"],
        "features": [
            {"name": "bill", "unit": "EUR", "bounds": [0, 1000], "transform": "log",
             "columns": ["b1", "b2"]},
            {"name": "status", "values": ["late", "paid"], "columns": ["s1", "s2"]},
        ],
    },
    "static": [{"name": "limit", "unit": "EUR", "column": "limit", "bounds": [0, 200]}],
    "target": {"column": "y", "kind": "binary", "classes": [0, 1], "names": ["pays", "fails"]},
    "split": {"salt": "s"},
}  # fmt: skip


def wide() -> tuple[Prepared, DataConfig]:
    """Two people in the recipe's layout, encoded by the pipeline's own code."""
    from tasks.table.encode import encode, schema

    data = validate(DataConfig, DATA, "data")
    frame = pl.DataFrame(
        {"id": ["secret-1", "secret-2"], "b1": ["250", ""], "b2": ["1000", "0"],
         "s1": ["late", "odd"], "s2": ["paid", "paid"], "limit": ["50", "150"], "y": ["1", "0"]}
    )  # fmt: skip
    made = encode(frame, data)
    arrays = PreparedSequences(
        made.sequences, made.missing, made.offsets, made.static, np.array([1, 0])
    )
    people = pl.DataFrame({"person_id": made.person_ids, "split": "test", "length": [2, 2]})
    return Prepared(arrays, people, schema(data)), data


def predictions() -> pl.DataFrame:
    return pl.DataFrame(
        {"row": [0, 1], "person_id": ["secret-1", "secret-2"], "y_true": [1, 0],
         "y_pred": [1, 0], "y_score": [0.8, 0.2]}
    )  # fmt: skip


def explained(
    made: SequenceModel,
    prepared: Prepared,
    table: pl.DataFrame,
    target: TargetPlan,
    data: DataConfig,
    config: ExplainConfig = CONFIG,
) -> Any:
    """The stage's results without sensitive features."""
    return stage.explain(
        Subject(made, prepared, table, pl.DataFrame(), target, data, config, references={})
    )


def test_local_people_have_their_own_values_and_no_name() -> None:
    prepared, data = wide()
    target = TargetPlan(target=data.target)
    published, internal, _ = explained(model(static=1), prepared, predictions(), target, data)
    first = next(p for p in internal["people"] if p["outcome"] == "fails")
    assert first["features"][0]["values"] == ["250", "1,000 or more"]
    assert first["features"][1]["values"] == ["late", "paid"]
    assert first["static"][0]["values"] == ["50"]
    assert first["steps"] == ["May", "June"]
    second = next(p for p in internal["people"] if p["outcome"] == "pays")
    assert second["features"][0]["values"][0] == "missing"
    assert second["features"][1]["values"][0] == "other"
    for text in (json.dumps(published), json.dumps(internal)):
        assert "secret" not in text
    total = sum(a for f in first["features"] + first["static"] for a in f["attributions"])
    assert total == pytest.approx(first["output"] - first["baseline_output"], abs=1e-5)
    assert published["explained"] == "log-odds of fails"


def test_regression_is_explained_in_the_targets_units() -> None:
    prepared, data = wide()
    target = TargetPlan(target=Target(column="y", kind="regression", bounds=(0.0, 40.0)))
    made = model("regression", static=1)
    table = predictions().with_columns(y_score=pl.Series([30.0, 10.0]))
    _, internal, _ = explained(made, prepared, table, target, data)
    groups = stage.groups_of(made, prepared.schema)
    scaled = stage.attribute_rows(made, prepared.sequences, np.array([0]), CONFIG, groups)
    first = next(p for p in internal["people"] if p["predicted"] == "30")
    assert first["output"] == pytest.approx(20 * (float(scaled.outputs[0]) + 1))
    assert first["features"][0]["attributions"][1] == pytest.approx(20 * scaled.inputs[0, 1, 0])


def test_the_same_inputs_give_the_same_values() -> None:
    prepared, data = wide()
    target = TargetPlan(target=data.target)
    made = model(static=1)
    runs = [explained(made, prepared, predictions(), target, data) for _ in range(2)]
    assert json.dumps(runs[0]) == json.dumps(runs[1])


def test_nobody_held_out_is_said_in_one_line() -> None:
    prepared, data = wide()
    nobody = Prepared(
        prepared.sequences, prepared.people.with_columns(split=pl.lit("train")), prepared.schema
    )
    with pytest.raises(UserError, match="held out"):
        explained(model(static=1), nobody, predictions(), TargetPlan(target=data.target), data)


def test_a_missing_model_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    try:
        with pytest.raises(UserError, match=r"config\.json is missing"):
            stage.main(["none"])
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


def many(tokens: bool) -> Prepared:
    """Sixty held-out people in the form that the stage reads."""
    channels = [{"feature": name, "value": None, "unit": ""} for name in ("a", "b", "a")]
    schema = {
        **SCHEMA,
        "layout": "text" if tokens else "long",
        "input": {"kind": "tokens" if tokens else "numbers"},
        "channels": [] if tokens else channels,
        "static": [{"feature": "s", "value": None, "unit": ""}] * 2,
    }
    people = pl.DataFrame({"person_id": [str(i) for i in range(60)], "split": ["test"] * 60})
    return Prepared(sequences(60, tokens=tokens), people, schema)


@pytest.mark.parametrize("tokens", [False, True])
def test_quality_is_published_beside_the_pictures(tokens: bool) -> None:
    data = wide()[1]
    compare = ("integrated_gradients", "gradient_shap", "occlusion", "two_step", "kernel_shap")
    config = replace(CONFIG, local_people=0, n_steps=8, compare=compare)
    published, _, _ = explained(
        model(tokens=tokens), many(tokens), predictions(), TargetPlan(target=data.target), data,
        config,
    )  # fmt: skip
    assert published["completeness"]["reached"]
    quality = published["quality"]
    assert quality["people"] == 60
    assert [m["method"] for m in quality["methods"]] == [config.method, *config.compare]
    for row in quality["methods"]:
        assert row["verdict"] in ("pass", "fail"), row
        assert row["insertion"]["value"] is not None
        assert row["max_sensitivity"]["value"] < 0.5
    first = quality["methods"][0]
    assert first["default"]
    assert first["better_than_random"]
    assert first["infidelity"]["high"] < first["infidelity_random"]["low"]
    assert len(quality["agreement"]) == 15
    names = {row["feature"] for row in published["by_feature"]}
    assert names == ({"characters", "s"} if tokens else {"a", "b", "s"})


def test_a_method_no_better_than_random_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random shares that add up: completeness alone would not notice."""

    def guess(asked: Question, groups: Groups, config: ExplainConfig) -> CellShares:
        cells, static = asked.cells(groups)
        generator = torch.Generator().manual_seed(len(asked))
        found = [torch.rand(x.shape, generator=generator, dtype=torch.float64) for x in
                 (cells, static)]  # fmt: skip
        found[0] = torch.where(cells, found[0], 0.0)
        total = found[0].flatten(1).sum(1) + found[1].sum(1)
        who = torch.arange(len(asked))
        with torch.no_grad():
            change = asked.answer(asked.embedded, asked.static, who) - asked.answer(
                asked.embedded * 0, asked.static * 0, who
            )
        scale = (change.double() / total)[:, None]
        return CellShares(found[0] * scale[..., None], found[1] * scale)

    monkeypatch.setitem(METHODS, "shapley_sampling", guess)
    prepared, config = many(False), replace(CONFIG, compare=("integrated_gradients",))
    groups = stage.groups_of(model(), prepared.schema)
    rows = np.arange(60)
    found = stage.measure_quality(model(), prepared.sequences, rows, groups, config)
    guessed, right = found["methods"]
    assert guessed["completeness"]["p95"] < 1e-6
    assert (guessed["verdict"], guessed["better_than_random"]) == ("fail", False)
    assert "no better than a random order" in guessed["reason"]
    assert (right["verdict"], right["better_than_random"]) == ("pass", True)


def test_indicators_of_missing_values_belong_to_their_features() -> None:
    prepared = many(False)
    whole = replace(prepared.sequences, missing_indicators=True)
    shape = InputShape(input_size=6, vocabulary_size=0, static_size=2, output_size=1, task="binary")
    made = build(ModelConfig(hidden_size=6), shape, 0).eval()
    groups = stage.groups_of(made, prepared.schema)
    assert groups.sequence.tolist() == [0, 1, 0, 0, 1, 0]
    assert groups.static.tolist() == [0, 0]
    assert groups.sizes == (2, 1)
    found = stage.attribute_rows(made, whole, np.arange(9), CONFIG, groups)
    assert found.inputs.shape[2] == 6
    np.testing.assert_allclose(found.inputs[..., 1], found.inputs[..., 4])
    assert stage.groups_of(model(tokens=True), many(True).schema).sequence.tolist() == [0] * 5
