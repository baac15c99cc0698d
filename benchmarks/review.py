"""From the registry's page to the report: clicks in a real browser against MLflow's real server.

    python -m benchmarks.review [--server ADDRESS --model NAME --words TEXT] [--json FILE]

Without a server that runs, a recipe is made up, registered, and served by one that starts here. The
words are some that stand in the report alone.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.browser import Page, browser
from tasks import register, registry
from tasks.machine.up import HOST, answers, server_settings
from tests import fake

HERE = Path(__file__).resolve().parents[1]
MOST, PATIENCE = 2, 180.0
WORDS = "What a reviewer reads"
# MLflow greets a new browser with a panel and a dialogue; whoever comes again has closed both.
GREETED = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}


@contextlib.contextmanager
def mlflow_server(root: Path) -> Iterator[str]:
    """Give the address of MLflow's server on a checkout's store, as `make up` starts it."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        **server_settings(HERE / "mlflow" / "server.env"),
        "MLFLOW_PORT": str(port),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{registry.database(root)}",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(root / "mlflow" / "artifacts"),
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server"],
            cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            address, end = f"http://{HOST}:{port}", time.monotonic() + PATIENCE
            while not answers(f"{address}/health"):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("MLflow's server did not start")
                time.sleep(0.5)
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def greeted(page: Page, server: str) -> None:
    """Close what MLflow shows to a new browser alone."""
    page.remember(GREETED)
    page.open(f"{server}/#/models")
    with contextlib.suppress(TimeoutError):
        page.wait("!!document.querySelector('[role=dialog] button')", 30.0)
        page.click("[role=dialog] button", "Try it now")


def walks(page: Page, server: str, model: str, words: str) -> dict[str, int]:
    """Walk to the report on every way that a reviewer takes; return the clicks of each.

    Args:
        page: of a fresh browser.
        server: address of MLflow.
        model: name of a registered model.
        words: that stand in its report.
    """
    found = {}
    ways = {
        "models": (f"{server}/#/models", [model]),
        "model": (f"{server}/#/models/{model}", []),
        "version": (f"{server}/#/models/{model}", ["Version 1"]),
    }
    for name, (address, steps) in ways.items():
        page.open(address)
        page.clicks = 0
        for text in (*steps, "Report"):
            page.click("a", text)
        with page.new_tab() as report:
            report.wait_for_text(words)
        found[name] = page.clicks
    return found


def rows_of(clicks: dict[str, int]) -> list[dict[str, object]]:
    """Return rows of docs/benchmarks.md.

    Raises:
        AssertionError: a way is longer than it may be.
    """
    words = {
        "models": "list of models, model, report",
        "model": "model, report",
        "version": "model, version, report",
    }
    assert max(clicks.values()) <= MOST, clicks
    worst = max(clicks.values())
    told = "; ".join(f"{words[name]}: {n}" for name, n in clicks.items())
    return [{"name": "review/clicks", "value": worst, "unit": f"clicks at most ({told})"}]


def made_up(root: Path) -> None:
    """Register a recipe that was made up, in a checkout of its own."""
    (root / "mlflow").mkdir()
    (root / ".sordino").mkdir()
    with contextlib.chdir(root):
        fake.write_recipe("credit", verdict="inconclusive")
        page = Path("data/credit/report/published/report.html")
        page.write_text(f"<h1>{WORDS}</h1>", encoding="utf-8")
        register.register("credit", root)


def main() -> None:
    """Walk, count, print rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", help="one that runs; without it one is started")
    parser.add_argument("--model", default="credit")
    parser.add_argument("--words", default=WORDS)
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        if wanted.server is None:
            made_up(Path(work))
            running: contextlib.AbstractContextManager[str] = mlflow_server(Path(work))
        else:
            running = contextlib.nullcontext(wanted.server)
        with running as server, browser() as page:
            page.view(1440)
            greeted(page, server)
            rows = rows_of(walks(page, server, wanted.model, wanted.words))
    print(json.dumps(rows, indent=2))
    if wanted.json:
        wanted.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
