"""Training killed at any moment, alone or under DVC: it goes on, and the accounts are true."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from tests.tiny import copy_checkout, run, variables

STEPS = 5000
pytestmark = pytest.mark.pipeline


@pytest.fixture
def checkout(tmp_path):
    root = copy_checkout(tmp_path / "a check out")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["recipes"]["tiny"]["train"] |= {"steps": STEPS, "checkpoint_seconds": 0.2, "threads": 1}
    params["recipes"]["tiny"]["privacy"]["noise_multiplier"] = 20.0
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    done = run(root, "dvc", "repro", "prepare@tiny")
    assert done.returncode == 0, done.stdout
    return root


def _start(root, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=root,
        env=variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_for_checkpoint(root):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for notes in (root / ".sordino" / "checkpoints").glob("tiny-train-*/notes.json"):
            step = json.loads(notes.read_text())["step"]
            assert step < STEPS, "training ended before it could be killed"
            if step > 0:
                return step
        time.sleep(0.02)
    raise AssertionError("no checkpoint appeared")


def _trainers(root):
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line = process.info["cmdline"] or []
        if "tasks.train" in line and process.info["cwd"] == str(root):
            found.append(process)
    return found


def _finished(root, result):
    assert result.returncode == 0, result.stdout
    assert "going on from step" in result.stdout
    spent = json.loads((root / "data/tiny/model/privacy_spent.json").read_text())
    assert spent["steps"] == STEPS
    assert not list((root / ".sordino" / "checkpoints").glob("tiny-train-*"))
    status = run(root, "dvc", "status", "train@tiny")
    assert "data/tiny" not in status.stdout, status.stdout


def test_killed_training_goes_on(checkout):
    process = _start(checkout, "tasks.train", "tiny")
    _wait_for_checkpoint(checkout)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (checkout / "data/tiny/model").exists()
    _finished(checkout, run(checkout, "dvc", "repro", "train@tiny"))


def test_killed_parent_leaves_one_writer(checkout):
    parent = _start(checkout, "dvc", "repro", "train@tiny")
    _wait_for_checkpoint(checkout)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    orphans = _trainers(checkout)
    assert orphans, "the training process should have outlived its parent"
    result = run(checkout, "dvc", "repro", "train@tiny")
    assert "asking it to hand over" in result.stdout, result.stdout
    _finished(checkout, result)
    assert not [p for p in orphans if psutil.pid_exists(p.pid) and os.getpid() != p.pid]
