"""Checkpoints: whole or not there, one writer, handed over on request."""

import multiprocessing
import os
import time

import pytest
import torch

from tasks import checkpoint as module
from tasks.checkpoint import Checkpoint, checkpoint_key, sole_writer


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _state(step):
    return {"step": torch.tensor(step), "weight/a": torch.full((3,), float(step))}


def test_last_save_is_what_loads():
    with sole_writer("r-train", "k") as point:
        assert point.load() is None
        point.save(_state(1), {"curve": []})
        point.save(_state(2), {"curve": [1]})
        tensors, notes = point.load()
        assert int(tensors["step"]) == notes["step"] == 2
        assert notes["curve"] == [1]
        assert len(list(point.folder.iterdir())) == 2
        point.discard()
        assert point.load() is None


def test_what_was_noted_at_the_start_stays_until_the_run_succeeds():
    with sole_writer("r-train", "k") as point:
        assert point.at_start("bars", {"min_auc": 0.7}) == {"min_auc": 0.7}
        assert point.load() is None
        point.save(_state(1), {})
    with sole_writer("r-train", "k") as point:
        assert point.at_start("bars", {"min_auc": 0.1}) == {"min_auc": 0.7}
        point.discard()
        assert point.at_start("bars", {"min_auc": 0.1}) == {"min_auc": 0.1}
    with sole_writer("r-train", "other") as point:
        assert point.at_start("bars", {"min_auc": 0.5}) == {"min_auc": 0.5}


def test_a_crash_between_state_and_notes_leaves_the_state_before(monkeypatch):
    with sole_writer("r-train", "k") as point:
        point.save(_state(1), {})

        def crash(*_):
            raise OSError("disk full")

        monkeypatch.setattr(module, "write_json", crash)
        with pytest.raises(OSError, match="disk full"):
            point.save(_state(2), {})
        tensors, notes = point.load()
        assert int(tensors["step"]) == notes["step"] == 1


def test_other_settings_or_data_find_no_checkpoint():
    assert checkpoint_key({"a": 1}, "x") != checkpoint_key({"a": 1}, "y")
    assert checkpoint_key({"a": 1, "b": 2}, "x") == checkpoint_key({"b": 2, "a": 1}, "x")
    with sole_writer("r-train", "one") as point:
        point.save(_state(1), {})
    with sole_writer("r-twin", "one") as point:
        point.save(_state(1), {})
    with sole_writer("r-train", "two") as point:
        assert point.load() is None
    with sole_writer("r-train", "one") as point:
        assert point.load() is None, "a state of older settings is dropped"
    with sole_writer("r-twin", "one") as point:
        assert point.load() is not None, "the twin's is another stage's"


def _hold(entered, stopped):
    with sole_writer("r-train", "k") as point:
        entered.set()
        while not point.handover_requested():
            time.sleep(0.02)
        point.save(_state(7), {})
    stopped.set()


def test_second_writer_waits_for_the_first_to_hand_over():
    context = multiprocessing.get_context("spawn")
    entered, stopped = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(entered, stopped))
    holder.start()
    try:
        assert entered.wait(60)
        with sole_writer("r-train", "k") as point:
            tensors, _ = point.load()
            assert int(tensors["step"]) == 7
            assert not point.handover_requested()
        assert stopped.wait(10)
    finally:
        holder.kill()
        holder.join()


def test_request_of_a_dead_process_is_ignored(tmp_path):
    wanted = tmp_path / "wanted"
    point = Checkpoint(tmp_path / "folder", wanted)
    assert not point.handover_requested()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    wanted.write_text(str(child))
    assert not point.handover_requested()
    wanted.write_text(str(os.getppid()))
    assert point.handover_requested()
    wanted.write_text("half-writ")
    assert not point.handover_requested()


def test_a_holder_that_does_not_stop_is_named(monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.0)
    with (
        sole_writer("r-train", "k"),
        pytest.raises(module.UserError, match=r"r-train: another process holds .*r-train\.lock"),
        sole_writer("r-train", "k"),
    ):
        pass
