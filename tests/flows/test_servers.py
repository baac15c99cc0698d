"""The real servers, started as a person starts them, and a whole recipe through them."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.pages.comparison import BEGIN, END
from tests import tiny

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]
PATIENCE = 240


@dataclass(frozen=True)
class Servers:
    """A running supervisor and its addresses."""

    root: Path
    prefect: str
    mlflow: str
    process: subprocess.Popen[bytes]

    def ask(self, path: str, question: dict[str, Any]) -> Any:
        """Post a question to Prefect's API."""
        request = urllib.request.Request(
            f"{self.prefect}/api/{path}",
            json.dumps(question).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def deploy_and_watch(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Run the deployment as the README says."""
        arguments = ("deployment", "run", "pipeline/tiny", "--watch", *more)
        return tiny.run(
            self.root, "prefect", *arguments, timeout=600, PREFECT_API_URL=f"{self.prefect}/api"
        )

    def last_run(self) -> dict[str, Any]:
        """Return the latest flow run."""
        (run,) = self.ask("flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 1})
        return dict(run)

    def last_states(self) -> dict[str, str]:
        """Return the state of each task of the latest flow run."""
        tasks = self.ask(
            "task_runs/filter", {"flow_runs": {"id": {"any_": [self.last_run()["id"]]}}}
        )
        return {task["name"]: task["state"]["name"] for task in tasks}


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes_of(root: Path) -> list[str]:
    """Return the command lines of processes whose state is in a checkout."""
    wanted = f"PREFECT_HOME={root}/.sordino/prefect".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Start `python -m tasks.machine.up` in a copy of the checkout, in a path with spaces."""
    root = tiny.copy_checkout(tmp_path_factory.mktemp("servers") / "a check out")
    prefect, mlflow = free_port(), free_port()
    ports = {"PREFECT_PORT": str(prefect), "MLFLOW_PORT": str(mlflow)}
    log = root / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tasks.machine.up"],
            cwd=root,
            env=tiny.variables(**ports),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    end = time.monotonic() + PATIENCE
    while "Ctrl-C stops them all" not in log.read_text():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.5)
    yield Servers(root, f"http://127.0.0.1:{prefect}", f"http://127.0.0.1:{mlflow}", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, log.read_text()
    assert processes_of(root) == []


def test_a_deployment_builds_registers_and_is_then_cached(servers: Servers) -> None:
    for build in range(tiny.BUILDS):
        done = servers.deploy_and_watch()
        logs = "".join(p.read_text()[-3000:] for p in servers.root.glob(".sordino/logs/*.log"))
        assert done.returncode == 0, done.stdout[-3000:] + logs
        states = servers.last_states()
        assert set(states.values()) == {"Completed"}, states
        assert "register@tiny" in states and len(states) == 12
        told = json.loads((servers.root / ".sordino" / "registered" / "tiny.json").read_text())
        assert told["version"] == str(build + 1)
        if not tiny.false_alarm(servers.root):
            break
        # Nothing of it is left to be taken for done; the registry keeps the version.
        (servers.root / "dvc.lock").unlink()
        for folder in ("data", ".dvc/cache", ".sordino/audits"):
            shutil.rmtree(servers.root / folder)

    # What was not asked for is not looked at; what did not change is cached.
    again = servers.deploy_and_watch("-p", 'targets=["gate"]')
    assert again.returncode == 0, again.stdout[-3000:]
    states = servers.last_states()
    assert states.pop("plan@tiny") == "Completed"
    assert set(states.values()) == {"Cached"} and "gate@tiny" in states
    assert not {"report@tiny", "register@tiny", "explain@tiny"} & set(states)


def test_a_recipe_that_is_not_built_is_refused_clearly(servers: Servers) -> None:
    done = servers.deploy_and_watch("-p", "recipe=other")
    assert done.returncode != 0
    message = servers.last_run()["state"]["message"]
    assert "recipe 'other' is not in run of params.yaml, which lists: tiny" in message


def test_the_registry_page_shows_the_report(servers: Servers) -> None:
    told = json.loads((servers.root / ".sordino" / "registered" / "tiny.json").read_text())
    query = urllib.parse.urlencode({"path": "published/report.html", "run_uuid": told["run"]})
    with urllib.request.urlopen(f"{servers.mlflow}/get-artifact?{query}", timeout=30) as answer:
        page = answer.read().decode()
    assert re.search(r"<html", page)
    own = (servers.root / "data/tiny/report/published/report.html").read_text()
    # The registry's copy says there what the champion was, which no stage can know.
    place = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)
    assert len(place.findall(own)) == 1 and place.findall(page) != place.findall(own)
    assert place.sub("", page) == place.sub("", own)


def test_the_registered_model_answers_as_predict_did(servers: Servers) -> None:
    """Raw rows in, through the command line of MLflow and its server: the same to 1e-6."""
    done = tiny.run(
        servers.root,
        *("mlflow", "models", "predict", "-m", "models:/tiny@champion"),
        *("--env-manager", "local", "-t", "csv", "-i", "people.csv", "-o", "answer.json"),
        MLFLOW_TRACKING_URI=servers.mlflow,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    answer = json.loads((servers.root / "answer.json").read_text())["predictions"]
    scores = {row["person_id"]: row["score"] for row in answer}
    decided = {row["person_id"]: row["decision"] for row in answer}
    wanted = pl.read_parquet(servers.root / "data/tiny/predictions/internal/test.parquet")
    assert len(wanted) > 100
    people = wanted["person_id"].to_list()
    difference = np.abs(np.array([scores[p] for p in people]) - wanted["y_score"].to_numpy())
    assert difference.max() < 1e-6
    names = ["no", "yes"]
    assert [decided[p] for p in people] == [names[y] for y in wanted["y_pred"].to_list()]


def test_a_failed_stage_says_in_the_page_what_was_wrong(servers: Servers) -> None:
    file = servers.root / "params.yaml"
    good = file.read_text()
    file.write_text(good.replace("steps: 20", "steps: -3"))
    try:
        done = servers.deploy_and_watch("-p", 'targets=["fetch"]')
    finally:
        file.write_text(good)
    assert done.returncode != 0
    message = servers.last_run()["state"]["message"]
    assert "plan@tiny failed" in message and "recipes.tiny.train.steps = -3" in message


def test_cancelling_stops_the_stage_that_runs(servers: Servers) -> None:
    file = servers.root / "params.yaml"
    good = file.read_text()
    long = good.replace("steps: 20", "steps: 20000")
    file.write_text(long.replace("noise_multiplier: 2.0", "noise_multiplier: 60.0"))
    api = {"PREFECT_API_URL": f"{servers.prefect}/api"}
    started = ("deployment", "run", "pipeline/tiny", "-p", 'targets=["train"]')
    assert tiny.run(servers.root, "prefect", *started, **api).returncode == 0
    end = time.monotonic() + PATIENCE

    def training() -> list[str]:
        return [line for line in processes_of(servers.root) if "tasks.train" in line]

    while not training():
        state = servers.last_run()["state"]
        assert time.monotonic() < end and state["type"] != "FAILED", state
        time.sleep(0.5)
    run = servers.last_run()["id"]
    servers.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    while training():
        assert time.monotonic() < end
        time.sleep(0.5)
    while servers.last_run()["state"]["type"] != "CANCELLED":
        assert time.monotonic() < end, servers.last_run()["state"]
        time.sleep(0.5)
    file.write_text(good)


def test_a_child_that_dies_stops_them_all_and_says_which(tmp_path: Path) -> None:
    root = tiny.copy_checkout(tmp_path / "check out")
    (root / "mlflow" / "server.env").write_text("MLFLOW_WORKERS=none\n")
    ports = {"PREFECT_PORT": str(free_port()), "MLFLOW_PORT": str(free_port())}
    done = tiny.run(root, "tasks.machine.up", timeout=PATIENCE, **ports)
    assert done.returncode == 1
    assert "error: mlflow ended with exit status" in done.stdout, done.stdout
    assert processes_of(root) == []


def test_a_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    root = tiny.copy_checkout(tmp_path / "check out")
    ports = {"PREFECT_PORT": str(free_port()), "MLFLOW_PORT": str(free_port())}
    process = subprocess.Popen(
        [sys.executable, "-m", "tasks.machine.up"],
        cwd=root,
        env=tiny.variables(**ports),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    end = time.monotonic() + PATIENCE
    while len(processes_of(root)) < 2:
        assert time.monotonic() < end
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while processes_of(root):
        assert time.monotonic() < end, processes_of(root)
        time.sleep(0.2)
