"""What stands on the pages of flow runs, against Prefect's own test server."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from flows import pipeline, rollback, watch
from tasks.machine.stages import Stage, StageFailed
from tests.tiny import ROOT

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.timeout(600),
]
SERVER = "http://127.0.0.1:5000"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)
    for module in (pipeline, rollback, watch):
        monkeypatch.setattr(module, "ROOT", tmp_path)


def write(path: Path, value: Any) -> None:
    """Write a file that a stage would leave."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def runs(name: str, _root: Path, say: Any) -> bool:
    """A stage that trains, one that is cached, one that breaks."""
    if name == "train@r":
        say("train r: step 1 of 4, 3 s left")
        say("train r: step 3 of 4, 1 s left")
    if name == "gate@r":
        raise StageFailed("gate@r failed")
    return name != "plan@r"


def test_a_pipeline_shows_stages_verdict_links_and_progress_even_where_it_fails(
    tmp_path, monkeypatch, page
):
    stages = [Stage("plan@r", ()), Stage("train@r", ("plan@r",)), Stage("gate@r", ("train@r",))]
    monkeypatch.setattr(pipeline, "read_stages", lambda *_: stages)
    monkeypatch.setattr(pipeline, "run_stage", runs)
    check = {"name": "auc", "verdict": "fail", "reason": "AUC is below its bar"}
    write(tmp_path / "data/r/decision/decision.json", {"verdict": "fail", "checks": [check]})
    told = {"run": "b0", "experiment": "7", "name": "m", "version": "2", "aliases": [],
            "status": "rejected"}  # fmt: skip
    write(tmp_path / ".sordino/registered/r.json", told)
    state = pipeline.pipeline("r", return_state=True)
    assert state.is_failed()
    shown = page(state.state_details.flow_run_id)
    assert set(shown) == {"r-stages", "r-verdict", "r-links", "train-r"}
    assert shown["train-r"] == 75.0
    rows = json.loads(shown["r-stages"])
    assert [(row["stage"], row["how"]) for row in rows] == [
        ("plan@r", "nothing changed"), ("train@r", "built"), ("gate@r", "Failed"),
    ]  # fmt: skip
    assert [isinstance(row["seconds"], float) for row in rows] == [True, True, False]
    assert json.loads(shown["r-verdict"]) == [
        {"what": "gate", "verdict": "fail", "why": ""},
        {"what": "auc", "verdict": "fail", "why": "AUC is below its bar"},
        {"what": "registry", "verdict": "rejected", "why": "m version 2, no alias"},
    ]
    report = f"{SERVER}/#/experiments/7/runs/b0/artifacts/published/report.html"
    assert f"({report}?workflowType=machine_learning)" in shown["r-links"]
    assert f"({SERVER}/#/models/m/versions/2)" in shown["r-links"]


class Claim:
    words, kind = "AUC at least 0.74", "gate"


@pytest.mark.parametrize("files", [["week-1.csv", "week-2.csv"], []])
def test_watch_raises_an_event_for_each_new_alarm_and_shows_a_table(
    monkeypatch, page, files: list[str]
):
    book = SimpleNamespace(batches=["one"], alarms=[Claim, Claim], fresh=lambda: [Claim])
    watched = SimpleNamespace(scorer=SimpleNamespace(identity={"name": "m"}), book=book)
    events: list[tuple[str, Any, Any]] = []
    for name, fake in {
        "open_watch": lambda *_: watched,
        "new_files": lambda _: [Path(f) for f in files],
        "take": lambda *_: book,
        "told": lambda _book, name: [f"{name} was read"],
        "show": lambda _: "MLflow experiment r-watch",
        "place_of": lambda _: ("7", "b0"),
        "emit_event": lambda name, resource, payload: events.append((name, resource, payload)),
    }.items():
        monkeypatch.setattr(watch, name, fake)
    state = watch.watch("r", return_state=True)
    assert state.is_completed(), state.message
    shown = page(state.state_details.flow_run_id)
    rows = [{"file": name, "alarms": 1, "in all": 2} for name in files]
    assert json.loads(shown["watch-r"]) == (rows or [{"file": "none", "alarms": 0, "in all": 2}])
    place = f"{SERVER}/#/experiments/7/runs/b0/artifacts/internal/watch.html"
    assert place in shown["watch-r-page"]
    resource = {"prefect.resource.id": "sordino.model.m", "prefect.resource.name": "r"}
    assert events == [
        ("sordino.watch.alarm", resource, {"claim": Claim.words, "kind": "gate", "file": name})
        for name in files
    ]


def test_the_way_back_is_shown(monkeypatch, page):
    asked: list[Any] = []
    restored = SimpleNamespace(name="m", number="1", aliases=("champion",))
    for name, fake in {
        "open_store": lambda _: "store",
        "name_of": lambda *_: "m",
        "rollback": lambda *words: asked.append(words) or restored,
        "rows": lambda *_: [{"version": "1"}],
        "links": lambda *_: "- [Report](there)",
    }.items():
        monkeypatch.setattr(rollback, name, fake)
    state = rollback.roll_back("r", "Ada Lovelace", "Why it goes back.", return_state=True)
    assert state.is_completed() and asked == [("store", "m", "Ada Lovelace", "Why it goes back.")]
    shown = page(state.state_details.flow_run_id)
    assert json.loads(shown["rollback-r"]) == [{"version": "1"}]
    assert shown["rollback-r-links"] == "- [Report](there)"


def test_deployments_name_every_recipe_and_start_nothing_by_themselves():
    listed = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    recipes = set(yaml.safe_load((ROOT / "params.yaml").read_text())["recipes"])
    flows: dict[str, set[str]] = {}
    for one in listed:
        flows.setdefault(one["entrypoint"], set()).add(one["parameters"]["recipe"])
        assert one["description"] and not any(s["active"] for s in one.get("schedules", []))
    assert flows["flows/pipeline.py:pipeline"] == recipes
    wanted = {"sweep:sweep", "approve:approve", "rollback:roll_back", "watch:watch"}
    assert {f"flows/{name.replace(':', '.py:')}" for name in wanted} < set(flows)
    # Prefect ends a paused run whose deployment has a limit, minutes after it took its place away.
    limits = {one["entrypoint"]: one.get("concurrency_limit") for one in listed}
    assert limits == {entry: None if "approve" in entry else 1 for entry in flows}
    # A run that waits for a person holds no pipeline up.
    queues = {one["entrypoint"]: one["work_pool"].get("work_queue_name") for one in listed}
    assert queues == {entry: "people" if "approve" in entry else None for entry in flows}
