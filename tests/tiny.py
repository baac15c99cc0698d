"""A copy of the checkout with one small recipe of its own, for tests that run whole pipelines."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    "flows",
    "rnn",
    "tasks",
    "mlflow/server.env",
    ".dvc/config",
    ".dvcignore",
    "dvc.yaml",
    "prefect.toml",
    "pyproject.toml",
    "constraints.txt",
)
# How often a recipe is built until no false alarm is raised.
BUILDS = 3
# Steps of a training that can be interrupted.
LONG = 1500
RECIPE = {
    "data": {
        "source": {"kind": "path", "path": "people.csv"},
        "person": "id",
        "sequence": {
            "layout": "wide",
            "steps": ["a", "b", "c"],
            "features": [{"name": "debt", "bounds": [-4, 4], "columns": ["d1", "d2", "d3"]}],
        },
        "static": [{"name": "limit", "column": "limit", "bounds": [0, 10]}],
        "target": {"column": "y", "kind": "binary", "classes": [0, 1], "names": ["no", "yes"]},
        "decision": {"favourable": 0, "approval_rate": 0.5},
        "sensitive": [{"name": "sex", "column": "sex", "labels": {"f": "women", "m": "men"}}],
        "split": {"salt": "tiny", "train": 0.6},
    },
    "model": {"cell": "gru", "hidden_size": 4},
    "train": {"learning_rate": 0.05, "steps": 20, "expected_batch_size": 100, "threads": 1},
    "twin": {"steps": 20},
    "privacy": {"population": 360, "delta": 1.0e-4, "noise_multiplier": 2.0},
    "predict": {"bootstraps": 100},
    "audit": {"bootstraps": 100},
    "explain": {"people": 40, "n_steps": 4, "local_people": 1},
    "attack": {"references": 2, "reference_steps": 20, "run": {"canaries": 100, "bystanders": 50}},
    "gate": {"max_epsilon": 8, "min_auc": 0.55, "min_group_ratio": None},
    "report": {"title": "A tiny recipe"},
}


def raw_rows(people: int = 600) -> pl.DataFrame:
    """Return a table whose target hangs on the last step."""
    rng = np.random.default_rng(0)
    debts = rng.normal(size=(people, 3)).round(4)
    event = debts[:, 2] + 0.3 * rng.normal(size=people) > 0
    return pl.DataFrame(
        {
            "id": np.arange(people),
            **{f"d{i + 1}": debts[:, i] for i in range(3)},
            "limit": rng.integers(0, 10, people),
            "sex": rng.choice(["f", "m"], people),
            "y": event.astype(int),
        }
    )


def copy_checkout(target: Path) -> Path:
    """Copy what a run needs, with the recipe `tiny` alone, without Git.

    Args:
        target: made here; may hold spaces.
    """
    ignored = shutil.ignore_patterns("__pycache__")
    for part in PARTS:
        source, place = ROOT / part, target / part
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=ignored)
        else:
            shutil.copy(source, place)
    (target / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    (target / "params.yaml").write_text(
        yaml.safe_dump({"run": ["tiny"], "recipes": {"tiny": RECIPE}})
    )
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    (first, *_) = deployments["deployments"]
    deployments["deployments"] = [
        {**first, "name": "tiny", "parameters": {"recipe": "tiny", "targets": []}}
    ]
    (target / "prefect.yaml").write_text(yaml.safe_dump(deployments))
    raw_rows().write_csv(target / "people.csv")
    return target


def prepared(factory: pytest.TempPathFactory, target: Path) -> Path:
    """Return a copy of a checkout in which DVC prepared the recipe, once for all processes.

    Its training takes long enough to be interrupted.

    Args:
        factory: whose folder the processes share.
        target: made here.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    whole, draft = shared / "prepared" / "check out", shared / "preparing" / "check out"
    with FileLock(shared / "prepared.lock"):
        if not whole.exists():
            copy_checkout(draft)
            params = yaml.safe_load((draft / "params.yaml").read_text())
            params["recipes"]["tiny"]["train"] |= {"steps": LONG, "checkpoint_seconds": 0.05}
            params["recipes"]["tiny"]["privacy"]["noise_multiplier"] = 20.0
            (draft / "params.yaml").write_text(yaml.safe_dump(params))
            done = run(draft, "dvc", "repro", "prepare@tiny")
            assert done.returncode == 0, done.stdout[-2000:]
            draft.parent.rename(whole.parent)
    return Path(shutil.copytree(whole, target))


def false_alarm(root: Path) -> bool:
    """Return whether a right engine was taken for a wrong one, as happens once in 500 runs.

    Who builds again in that case, up to `BUILDS` times in all, is wrong once in 10^8.
    """
    decision = json.loads((root / "data" / "tiny" / "decision" / "decision.json").read_text())
    return any(
        check["verdict"] == "fail"
        for check in decision["checks"]
        if check["name"] in ("attack", "null_block")
    )


def variables(**more: str) -> dict[str, str]:
    """Return the environment of a run, this interpreter first on PATH."""
    dropped = ("DVC_ROOT", "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PYTEST_CURRENT_TEST")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    folder = str(Path(sys.executable).parent)
    return {
        **kept,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **more,
    }


def run(
    root: Path, *arguments: str, timeout: float = 240, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m arguments` in a checkout; what it wrote is in stdout, errors included."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=root,
        env=variables(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
