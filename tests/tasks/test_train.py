"""The training stage: outputs, determinism, secrecy of keys, accounts."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from rnn.batch import PreparedSequences
from rnn.privacy.accounting import epsilon_spent
from rnn.privacy.event import Event
from rnn.privacy.ledger import epsilon_of, training_event
from tasks import population
from tasks import train as module
from tasks.artifacts import Prepared, digest_folder, folder, read_model, write_section
from tasks.checkpoint import checkpoint_key, sole_writer
from tasks.params import UserError, as_json, validate
from tasks.recipe import GateConfig, PopulationPlan, TrainPlan
from tasks.train import make_fit, train, write_outputs
from tests.heldout import RECIPE, write_tree

SCHEMA = {
    "input": {"kind": "numbers", "vocabulary": []},
    "target": {"classes": [0, 1]},
    "task": "binary",
}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _prepared(people=120):
    numbers = np.random.default_rng(0)
    sequences = PreparedSequences(
        numbers.standard_normal((people * 3, 2)).astype(np.float32),
        np.zeros((people * 3, 2), dtype=np.uint8),
        np.arange(people + 1) * 3,
        np.zeros((people, 1), dtype=np.float32),
        numbers.integers(0, 2, people),
    )
    split = ["train"] * (people - 20) + ["test"] * 20
    return Prepared(sequences, pl.DataFrame({"split": split}), SCHEMA)


def _plan(private=True, seed=None, **changes):
    settings = {"steps": 10, "expected_batch_size": 20, "threads": 1, **changes}
    values = {"model": {"hidden_size": 4}, "train": settings, "sample_rate": 0.2}
    if private:
        values["noise_multiplier"] = 1.0
        values["privacy"] = {
            "population": 100,
            "delta": 1e-4,
            "noise_multiplier": 1.0,
            "insecure_seed": seed,
        }
    return validate(TrainPlan, values, "plan")


def _run(plan, recipe="r"):
    fit = make_fit(plan, _prepared())
    with sole_writer(f"{recipe}-train", "k") as checkpoint:
        curve = train(fit, plan, checkpoint, recipe)
        write_outputs(recipe, fit, plan, curve)
        checkpoint.discard()
    return fit


def test_private_run_writes_model_account_and_internal_curve(tmp_path):
    plan = _plan()
    _run(plan)
    spent = json.loads((tmp_path / "data/r/model/privacy_spent.json").read_text())
    assert spent["steps"] == 10
    steps = training_event(noise_multiplier=1.0, sample_rate=0.2, steps=10)
    assert spent["epsilon"] == spent["training_epsilon"] == epsilon_of([steps], 1e-4)
    assert spent["noise_source"] == "operating system"
    assert spent["population"] == 100
    assert read_model(tmp_path / "data/r/model").shape.input_size == 2
    curve = json.loads((tmp_path / "data/r/training/curve.json").read_text())
    assert curve["step"][-1] == 10
    assert "loss" not in (tmp_path / "data/r/model/privacy_spent.json").read_text()
    assert sorted(p.name for p in (tmp_path / "data/r/model").iterdir()) == [
        "config.json",
        "ledger.json",
        "null_block.json",
        "privacy_spent.json",
        "weights.safetensors",
    ]


def test_the_ledger_holds_all_that_is_released_and_adds_it_up(tmp_path):
    bounds, table = (
        Event(released=name, people="training", mechanism="laplace", noise_multiplier=noise)
        for name, noise in (("bounds", 20.0), ("a table", 5.0))
    )
    _run(replace(_plan(), prepared=(bounds,), after=(table,)))
    folder_ = tmp_path / "data/r/model"
    ledger = json.loads((folder_ / "ledger.json").read_text())
    spent = json.loads((folder_ / "privacy_spent.json").read_text())
    assert [e["released"] for e in ledger["events"]][::2] == ["bounds", "a table"]
    alone = [e["epsilon_alone"] for e in ledger["events"]]
    assert alone[0] == pytest.approx(0.05, abs=1e-3)
    assert alone[1] == pytest.approx(spent["training_epsilon"])
    assert max(alone) < ledger["epsilon"] == spent["epsilon"] < sum(alone)
    check = ledger["cross_check"]
    assert check["epsilon"] == epsilon_spent(
        noise_multiplier=1.0, sample_rate=0.2, steps=10, delta=1e-4
    )
    assert check["epsilon"] == pytest.approx(check["epsilon_by_the_first"], abs=0.02)


def test_two_private_runs_differ_and_leave_no_key(tmp_path):
    _run(_plan(), "a")
    _run(_plan(), "b")
    weights = [(tmp_path / f"data/{r}/model/weights.safetensors").read_bytes() for r in "ab"]
    assert weights[0] != weights[1]
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"seed" not in written
    assert b"key" not in written


@pytest.mark.parametrize(("private", "seed"), [(False, None), (True, 5)])
def test_seeded_runs_are_the_same_to_the_byte(tmp_path, private, seed):
    for recipe in ("a", "b"):
        _run(_plan(private, seed), recipe)
    name = "model" if private else "twin"
    assert digest_folder(tmp_path / "data/a" / name) == digest_folder(tmp_path / "data/b" / name)


def test_seeded_noise_says_so(tmp_path):
    _run(_plan(seed=5))
    spent = json.loads((tmp_path / "data/r/model/privacy_spent.json").read_text())
    assert spent["noise_source"] == "insecure seed"


def test_weights_that_blow_up_are_named_and_nothing_is_written(tmp_path):
    plan = _plan(private=False, learning_rate=1e30, weight_decay=1.0, optimizer="sgd")
    with pytest.raises(UserError, match=r"weights are not finite .* train\.learning_rate"):
        _run(plan)
    assert not (tmp_path / "data/r/twin").exists()


def test_progress_says_epsilon_but_never_a_loss(capsys):
    _run(_plan())
    shown = capsys.readouterr().err
    assert "step 10 of 10, epsilon so far" in shown
    assert "loss" not in shown


def test_main_reads_its_section_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "read_prepared", lambda recipe: _prepared())
    arrays = tmp_path / "data/r/prepared/arrays"
    arrays.mkdir(parents=True)
    _write_plan(_plan())
    module.main(["r"])
    assert (tmp_path / "data/r/model/weights.safetensors").exists()
    told = (tmp_path / ".sordino/live/r-train.jsonl").read_text()
    assert '"loss"' in told and '"end": "done"' in told
    with pytest.raises(UserError, match=r"plan/twin\.json is missing"):
        module.main(["r", "--twin"])
    with pytest.raises(UserError, match="usage"):
        module.main([])


def test_the_bars_that_stood_when_training_began_go_with_the_model():
    write_tree("binary", people=60)
    plan = _plan()
    write_section(RECIPE, "train", plan)
    began = {"max_epsilon": 3.0, "min_auc": 0.9}
    arrays = folder(RECIPE, "prepared", "arrays")
    key = checkpoint_key(as_json(plan), digest_folder(arrays))
    with sole_writer(f"{RECIPE}-train", key) as checkpoint:
        # A run that was cut short: the bars were lowered before it is taken up.
        checkpoint.at_start("bars", began)
    module.main([RECIPE])
    assert json.loads(folder(RECIPE, "model", "bars.json").read_text()) == began
    module.main([RECIPE])
    kept = json.loads(folder(RECIPE, "model", "bars.json").read_text())
    assert kept == json.loads(folder(RECIPE, "plan", "gate.json").read_text()) != began


def _write_plan(plan, cap=None):
    write_section("r", "train", plan)
    write_section("r", "gate", GateConfig(max_epsilon=3.0))
    write_section("r", "population", PopulationPlan(population="people", max_epsilon=cap))


def test_every_private_run_is_charged_to_its_population(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "read_prepared", lambda recipe: _prepared())
    (tmp_path / "data/r/prepared/arrays").mkdir(parents=True)
    _write_plan(_plan())
    spents = []
    for _ in range(2):
        module.main(["r"])
        spents.append(json.loads((tmp_path / "data/r/model/privacy_spent.json").read_text()))
    first, second = spents
    assert (first["trainings"], second["trainings"]) == (1, 2)
    assert first["epsilon_together"] == pytest.approx(first["epsilon"], abs=0.02)
    assert first["epsilon_together"] < second["epsilon_together"] < 2 * first["epsilon"]
    (entry, again) = population.read("people")
    assert entry.run != again.run
    assert (entry.recipe, entry.event.count) == ("r", _plan().train.steps)


def test_a_run_past_the_cap_is_refused_before_any_noise(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "read_prepared", lambda recipe: _prepared())
    (tmp_path / "data/r/prepared/arrays").mkdir(parents=True)
    _write_plan(_plan(), cap=0.01)
    monkeypatch.setattr(module, "make_fit", lambda *_: pytest.fail("the run began"))
    with pytest.raises(UserError, match=r"max_epsilon = 0\.01 would be passed: people has spent 0"):
        module.main(["r"])
    assert not (tmp_path / "data/r/model").exists()
    assert population.read("people") == ()


def test_a_run_that_was_written_down_before_it_stopped_is_not_charged_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "read_prepared", lambda recipe: _prepared())
    (tmp_path / "data/r/prepared/arrays").mkdir(parents=True)
    _write_plan(_plan())
    whole = module.write_json

    def full(path, value):
        if path.name == "privacy_spent.json":
            raise OSError("no space left on device")
        whole(path, value)

    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(OSError, match="no space"):
        module.main(["r"])
    assert len(population.read("people")) == 1
    assert not (tmp_path / "data/r/model").exists()
    monkeypatch.setattr(module, "write_json", whole)
    module.main(["r"])
    assert len(population.read("people")) == 1


def test_a_seeded_run_and_the_twin_are_not_charged(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "read_prepared", lambda recipe: _prepared())
    (tmp_path / "data/r/prepared/arrays").mkdir(parents=True)
    _write_plan(_plan(seed=3))
    write_section("r", "twin", _plan(private=False))
    module.main(["r"])
    module.main(["r", "--twin"])
    assert population.read("people") == ()
    spent = json.loads((tmp_path / "data/r/model/privacy_spent.json").read_text())
    assert spent["epsilon_together"] is None
