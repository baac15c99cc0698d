"""What a flow run's page says: tables, links and how far a stage is, from files of the stages."""

import json
import os
import re
from pathlib import Path
from typing import Any

from tasks.machine.up import HOST

Row = dict[str, Any]
STEPS = re.compile(r"step (\d+) of (\d+)")
MODE = "?workflowType=machine_learning"


def mlflow_page() -> str | None:
    """Return the address of MLflow's pages; None where no server is known of."""
    uri, port = os.environ.get("MLFLOW_TRACKING_URI", ""), os.environ.get("MLFLOW_PORT")
    if uri.startswith("http"):
        return uri.rstrip("/")
    return f"http://{HOST}:{port}" if port and not uri else None


def progress_of(line: str) -> float | None:
    """Return how far a stage is, in percent; None where a line says nothing about it.

    Example:
        >>> progress_of("train credit: step 24 of 240, epsilon so far 0.90, 9 s left")
        10.0
        >>> progress_of("predict credit: wrote data/credit/predictions")
    """
    found = STEPS.search(line)
    return None if found is None else 100 * int(found[1]) / int(found[2])


def key_of(*parts: str) -> str:
    """Return the key of an artifact: lower case, digits and dashes alone.

    Example:
        >>> key_of("watch", "My_recipe")
        'watch-my-recipe'
    """
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def _read(path: Path) -> Any:
    """A JSON file's value; None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def registered(root: Path, recipe: str) -> dict[str, Any]:
    """Return what the last register of a recipe said; empty where it never ran."""
    return _read(root / ".sordino" / "registered" / f"{recipe}.json") or {}


def model_rows(root: Path, recipe: str) -> list[Row]:
    """Return what a recipe's build came to: verdict and checks, then the registered version."""
    decision = _read(root / "data" / recipe / "decision" / "decision.json")
    rows = [{"what": "gate", "verdict": decision["verdict"], "why": ""}] if decision else []
    for check in (decision or {}).get("checks", []):
        why = check.get("reason") or ""
        rows.append({"what": check["name"], "verdict": check["verdict"], "why": why})
    told = registered(root, recipe)
    if told.get("version"):
        why = (
            f"{told['name']} version {told['version']}, {', '.join(told['aliases']) or 'no alias'}"
        )
        rows.append({"what": "registry", "verdict": told["status"], "why": why})
    return rows


def model_links(root: Path, recipe: str) -> str:
    """Return links to version and reports, in Markdown; paths where no server is known of."""
    page, told = mlflow_page(), registered(root, recipe)
    if page is None or not told.get("run"):
        report = Path("data", recipe, "report")
        files = (report / "published" / "report.html", report / "internal" / "internal.html")
        return "\n".join(f"- `{file}`" for file in files)
    return run_links(told["experiment"], told["run"], told["name"], told["version"])


def run_links(experiment: str, run: str, name: str, number: str | None) -> str:
    """Return links to a run's reports and to its version, in Markdown.

    Args:
        experiment: id.
        run: id.
        name: of the registered model.
        number: of its version; None where the run was not registered.
    """
    page = mlflow_page() or ""
    place = f"{page}/#/experiments/{experiment}/runs/{run}"
    links = {
        "Report": f"{place}/artifacts/published/report.html{MODE}",
        "Internal report": f"{place}/artifacts/internal/internal.html{MODE}",
        "Model card": f"{place}/artifacts/published/model_card.md{MODE}",
    }
    if number:
        links[f"{name} version {number} in the registry"] = (
            f"{page}/#/models/{name}/versions/{number}"
        )
    return "\n".join(f"- [{label}]({address})" for label, address in links.items())


def artifact_link(label: str, experiment: str, run: str, path: str) -> str:
    """Return a link to one file of a run, in Markdown; words alone where no server is known of."""
    page = mlflow_page()
    address = f"{page}/#/experiments/{experiment}/runs/{run}/artifacts/{path}{MODE}"
    return f"- [{label}]({address})" if page else f"- {label}"


def sweep_rows(root: Path, recipe: str) -> list[Row]:
    """Return the winner of a search, and its trials where they may be seen."""
    found = _read(root / "data" / recipe / "sweep" / "published" / "sweep.json")
    if found is None:
        return []
    rows = [{"trial": "winner", **_flat(found["winner"])}]
    return rows + [{"trial": n, **_flat(t)} for n, t in enumerate(found["trials"] or [], start=1)]


def _flat(trial: dict[str, Any]) -> Row:
    """Settings and score of a trial as one row."""
    return {**trial.get("parameters", {}), "score": trial.get("score")}
