"""Training killed at any moment, alone or under DVC: it goes on, and the accounts are true."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.tiny import LONG, prepared, run, variables

pytestmark = pytest.mark.pipeline


@pytest.fixture
def checkout(tmp_path, tmp_path_factory):
    return prepared(tmp_path_factory, tmp_path / "a check out")


def _start(root, *arguments, output=subprocess.DEVNULL):
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=root,
        env=variables(),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )


def _wait_for_checkpoint(root):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for notes in (root / ".sordino" / "checkpoints").glob("tiny-train-*/notes.json"):
            step = json.loads(notes.read_text())["step"]
            assert step < LONG, "training ended before it could be killed"
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


def _finished(root, code, told):
    assert code == 0, told
    assert "going on from step" in told
    spent = json.loads((root / "data/tiny/model/privacy_spent.json").read_text())
    assert spent["steps"] == LONG
    assert not list((root / ".sordino" / "checkpoints").glob("tiny-train-*"))
    status = run(root, "dvc", "status", "train@tiny")
    assert "data/tiny" not in status.stdout, status.stdout


def test_killed_training_goes_on(checkout):
    process = _start(checkout, "tasks.train", "tiny")
    _wait_for_checkpoint(checkout)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (checkout / "data/tiny/model").exists()
    done = run(checkout, "dvc", "repro", "train@tiny")
    _finished(checkout, done.returncode, done.stdout)


def test_killed_parent_leaves_one_writer(checkout):
    parent = _start(checkout, "dvc", "repro", "train@tiny")
    _wait_for_checkpoint(checkout)
    orphans = _trainers(checkout)
    # It waits for the next one to ask, however fast this machine is.
    for orphan in orphans:
        orphan.suspend()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    orphans = [p for p in orphans if p.is_running()]
    assert orphans, "the training process should have outlived its parent"
    told = checkout / "told"
    with told.open("w") as output:
        second = _start(checkout, "dvc", "repro", "train@tiny", output=output)
    deadline = time.monotonic() + 120
    try:
        while "asking it to hand over" not in told.read_text():
            assert time.monotonic() < deadline and second.poll() is None, told.read_text()
            time.sleep(0.1)
    finally:
        for orphan in orphans:
            orphan.resume()
    second.wait(240)
    _finished(checkout, second.returncode, told.read_text())
    assert not [p for p in orphans if psutil.pid_exists(p.pid) and os.getpid() != p.pid]
