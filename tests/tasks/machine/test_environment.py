"""The environment is built once, again after a failure, and repaired after a move."""

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.machine import environment

PYPROJECT = """
[project]
dependencies = ["torch==2.13.0", "numpy>=2"]
[project.optional-dependencies]
dev = ["pytest>=9"]
[tool.ruff]
line-length = 100
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with spaces in its path."""
    folder = tmp_path / "a check out"
    (folder / ".dvc").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "constraints.txt").write_text("numpy==2.4.6\n")
    return folder


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Record the steps of a build instead of installing."""
    done: list[list[str]] = []

    def run(command: list[str]) -> None:
        done.append(command)
        if command[1:3] == ["-m", "venv"]:
            python = Path(command[3]) / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            if not python.exists():
                python.symlink_to(sys.executable)

    monkeypatch.setattr(environment, "run", run)
    return done


def test_built_once_torch_first(root: Path, steps: list[list[str]]) -> None:
    environment.ensure(root, root / ".venv", exactly=False)
    installs = [command for command in steps if "install" in command]
    assert [c[-1] for c in installs] == ["torch==2.13.0", "pytest>=9"]
    assert all(str(root / "constraints.txt") in c for c in installs)
    count = len(steps)
    environment.ensure(root, root / ".venv", exactly=True)
    assert len(steps) == count


def test_settings_of_tools_install_nothing_but_a_dependency_does(
    root: Path, steps: list[list[str]]
) -> None:
    environment.ensure(root, root / ".venv", exactly=False)
    count = len(steps)
    (root / "pyproject.toml").write_text(PYPROJECT.replace("100", "80"))
    environment.ensure(root, root / ".venv", exactly=False)
    assert len(steps) == count
    (root / ".venv" / "kept").touch()
    (root / "constraints.txt").write_text("numpy==2.4.7\n")
    environment.ensure(root, root / ".venv", exactly=False)
    assert len(steps) > count and (root / ".venv" / "kept").exists()


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_failed_build_is_built_anew(
    root: Path, steps: list[list[str]], monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    good = environment.run

    def run(command: list[str]) -> None:
        if len(steps) == fails_at:
            raise environment.Unbuilt("no network")
        good(command)

    with monkeypatch.context() as patch:
        patch.setattr(environment, "run", run)
        with pytest.raises(environment.Unbuilt):
            environment.ensure(root, root / ".venv", exactly=False)
    rubbish = root / ".venv" / "half"
    rubbish.parent.mkdir(exist_ok=True)
    rubbish.touch()
    steps.clear()
    environment.ensure(root, root / ".venv", exactly=False)
    assert len(steps) == 3 and not rubbish.exists()


def test_another_python_is_asked_for(root: Path, steps: list[list[str]]) -> None:
    environment.ensure(root, root / ".venv", exactly=False)
    stamp = root / ".venv" / environment.STAMP
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "python": "3.99"}))
    count = len(steps)
    environment.ensure(root, root / ".venv", exactly=False)
    assert len(steps) == count
    environment.ensure(root, root / ".venv", exactly=True)
    assert len(steps) == count + 3


@pytest.mark.parametrize(
    "head",
    [
        lambda old: f"#!{old}/bin/python3\n",
        lambda old: f"#!/bin/sh\n'''exec' \"{old}/bin/python\" \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_scripts_of_a_moved_environment_run(
    root: Path, steps: list[list[str]], tmp_path: Path, head: Callable[[str], str]
) -> None:
    environment.ensure(root, root / ".venv", exactly=False)
    script = root / ".venv" / "bin" / "tool"
    script.write_text(head(str(root / ".venv")) + "print('works')\n")
    script.chmod(0o755)
    activate = root / ".venv" / "bin" / "activate"
    activate.write_text(f'VIRTUAL_ENV="{root}/.venv"\n')
    new = tmp_path / "an other" / "home"
    new.parent.mkdir()
    shutil.move(root, new)
    count = len(steps)
    environment.ensure(new, new / ".venv", exactly=False)
    assert len(steps) == count
    tool = new / ".venv" / "bin" / "tool"
    assert tool.stat().st_mode & stat.S_IXUSR
    done = subprocess.run([str(tool)], capture_output=True, text=True, check=True)
    assert done.stdout == "works\n"
    assert (new / ".venv/bin/activate").read_text() == f'VIRTUAL_ENV="{new}/.venv"\n'


def test_dvc_is_told_where_there_is_no_git(root: Path) -> None:
    local = root / ".dvc" / "config.local"
    environment.tell_dvc_about_git(root)
    assert "no_scm = true" in local.read_text()
    (root / ".git").mkdir()
    environment.tell_dvc_about_git(root)
    assert not local.exists()
    local.write_text("[core]\n    remote = mine\n")
    environment.tell_dvc_about_git(root)
    assert "mine" in local.read_text()
