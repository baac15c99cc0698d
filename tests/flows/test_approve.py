"""The form in Prefect: a wrong answer is asked for again, the right one moves the alias."""

import asyncio
import json
import shutil
import threading
import time
from pathlib import Path

import pytest
import yaml

from flows import approve as module
from tasks import register, registry
from tests import fake
from tests.tiny import RECIPE

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.timeout(600),
]
REASON = "The sample of May shows the same, see the minutes."


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / ".sordino").mkdir()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"recipes": {"tiny": RECIPE}}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    fake.write_recipe(verdict="inconclusive")
    assert register.register("tiny", tmp_path)["aliases"] == ["challenger"]
    shutil.rmtree("data")
    return tmp_path


async def _paused(seen: set[str]) -> str:
    """The id of the run that waits, once it waits for an answer that nobody gave yet."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        for _ in range(600):
            for run in await client.read_flow_runs():
                if run.state and run.state.is_paused() and str(run.state.id) not in seen:
                    seen.add(str(run.state.id))
                    return str(run.id)
            await asyncio.sleep(0.1)
    raise AssertionError("no run waits")


def _answer(run: str, **values: str) -> None:
    from prefect.flow_runs import resume_flow_run

    resume_flow_run(run, run_input=values)


def test_a_person_decides_in_a_form(root, page):
    failed: list[BaseException] = []

    def run() -> None:
        try:
            module.approve("tiny", days=1, poll_seconds=1)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    seen: set[str] = set()
    first = asyncio.run(_paused(seen))
    _answer(first, choice="approve", approver="Ada Lovelace", reason="")
    time.sleep(2)
    second = asyncio.run(_paused(seen))
    assert second == first
    store = registry.open_store(root)
    assert store.version("tiny", "1").aliases == ("challenger",)
    _answer(second, choice="approve", approver="Ada Lovelace", reason=REASON)
    thread.join(240)
    assert not thread.is_alive() and not failed, failed
    version = store.version("tiny", "1")
    assert version.aliases == ("champion",) and version.tags["approver"] == "Ada Lovelace"
    shown = page(first)
    (row,) = json.loads(shown["approve-tiny"])
    assert (row["version"], row["status"]) == ("1", "needs_review")
    assert "version 1 in the registry" in shown["approve-tiny-links"]
    assert "approve by Ada Lovelace" in shown["approve-tiny-decision"]
