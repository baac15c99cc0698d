"""What training writes about its own null block, and what it keeps out of the model."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from rnn.privacy.engine import PrivateOptimizer
from tasks import train as module
from tasks.artifacts import folder
from tasks.checkpoint import HandedOver, sole_writer
from tasks.params import as_json, validate
from tasks.recipe import TrainPlan
from tasks.train import make_fit, train, write_outputs
from tests.tasks.test_train import _plan, _prepared, _run


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _block(recipe="r"):
    return json.loads(folder(recipe, "model", "null_block.json").read_text())


def test_a_sound_run_is_consistent_and_only_the_model_is_saved(tmp_path):
    fit = _run(_plan())
    found = _block()
    assert (found["verdict"], found["rejected"]) == ("consistent", [])
    assert (found["canaries"], found["steps"], found["claimed_steps"]) == (1000, 10, 10)
    assert found["noise_scale"]["value"] == pytest.approx(1.0, rel=0.05)
    assert {"epsilon", "pure", "guesses", "right", "confidence"} == set(found["lower_bound"])
    assert {"false_positive_rate", "true_positive_rate", "low", "high"} == set(found["points"][0])
    saved = load_file(tmp_path / "data/r/model/weights.safetensors")
    assert set(saved) == set(fit.model.state_dict())
    assert not any(len(value.flatten()) >= 1000 for value in saved.values())
    assert "null" not in (tmp_path / "data/r/training/curve.json").read_text()


def test_too_little_noise_in_the_very_run_is_written_down(monkeypatch):
    right = PrivateOptimizer.add_noise

    def less(self):
        self.noise_multiplier = 0.9
        right(self)

    monkeypatch.setattr(PrivateOptimizer, "add_noise", less)
    _run(_plan(seed=5))
    found = _block()
    assert found["verdict"] == "violated"
    assert "noise_scale" in found["rejected"]


def test_no_block_is_null_and_a_run_of_one_step_says_what_it_cannot_see():
    plan = _plan()
    _run(replace(plan, privacy=replace(plan.privacy, null_canaries=0)))
    assert _block() is None
    few = replace(plan.privacy, null_canaries=100)
    _run(replace(_plan(steps=1), privacy=few), "short")
    assert "noise_scale" in _block("short")["blind"]
    assert "too short" in _block("short")["note"]


def test_the_twin_has_none(tmp_path):
    _run(_plan(private=False))
    assert not (tmp_path / "data/r/twin/null_block.json").exists()


def test_an_older_plan_is_read_and_has_a_block():
    values = as_json(_plan())
    del values["privacy"]["null_canaries"]
    assert validate(TrainPlan, values, "plan").privacy.null_canaries == 1000


def test_a_run_that_was_taken_up_ends_with_the_same_figures():
    plan = _plan(seed=5)
    _run(plan, "straight")
    fit = make_fit(plan, _prepared())
    with sole_writer("r-train", "k") as checkpoint:
        for _ in range(4):
            fit.step()
        checkpoint.save(fit.tensors(), {"curve": []})
        saved = checkpoint.load()[0]
        assert not any("key" in name or "seed" in name for name in saved)
        again = make_fit(plan, _prepared())
        curve = train(again, plan, checkpoint, "r")
        write_outputs("r", again, plan, curve)
    assert _block("r") == _block("straight")
    one, other = (load_file(folder(r, "model", "weights.safetensors")) for r in ("r", "straight"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_handed_over_under_another_key_keeps_its_coins(monkeypatch):
    plan = _plan()
    first = make_fit(plan, _prepared())
    with sole_writer("r-train", "k") as checkpoint:
        with monkeypatch.context() as asked, pytest.raises(HandedOver):
            asked.setattr(type(checkpoint), "handover_requested", lambda self: True)
            train(first, plan, checkpoint, "r")
        second = make_fit(plan, _prepared())
        train(second, plan, checkpoint, "r")
    assert second.null.account.steps == 10
    assert (second.null.block.present == first.null.block.present).all()
    assert module.null_block(second, plan)["verdict"] == "consistent"
