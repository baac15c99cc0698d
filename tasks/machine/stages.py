"""The DAG as DVC knows it, and one stage of it run."""

import contextlib
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.machine import guard
from tasks.params import UserError, read_yaml

LAST_LINES = 20
_running: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()
_closed = threading.Event()


class StageFailed(Exception):
    """A stage ended badly; the text holds the last lines that it wrote."""


@dataclass(frozen=True)
class Stage:
    """One stage of one recipe.

    Attributes:
        name: as DVC calls it, `train@credit`.
        after: names of the stages whose outputs it reads.
    """

    name: str
    after: tuple[str, ...]


def read_stages(root: Path, recipe: str, targets: list[str]) -> list[Stage]:
    """Return a recipe's stages in an order in which they can run.

    Args:
        root: the checkout.
        recipe: one of `run` in params.yaml.
        targets: stages to build, with what they need; all when empty.

    Raises:
        UserError: the recipe is not in `run`, or a target is no stage.
    """
    listed = read_yaml(root / "params.yaml").get("run") or []
    if recipe not in listed:
        known = ", ".join(map(str, listed))
        raise UserError(f"recipe {recipe!r} is not in run of params.yaml, which lists: {known}")
    after = _graph(root, recipe)
    wanted = [f"{target.partition('@')[0]}@{recipe}" for target in targets]
    for name in wanted:
        if name not in after:
            known = ", ".join(sorted(name.partition("@")[0] for name in after))
            raise UserError(f"targets: {name.partition('@')[0]!r} is no stage; known: {known}")
    ordered: dict[str, Stage] = {}

    def add(name: str) -> None:
        for earlier in after[name]:
            add(earlier)
        ordered.setdefault(name, Stage(name, after[name]))

    for name in wanted or sorted(after):
        add(name)
    return list(ordered.values())


def _graph(root: Path, recipe: str) -> dict[str, tuple[str, ...]]:
    """Name of each stage of a recipe to the names of those that it reads from."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        graph = repo.index.graph
        # Nodes without a command are imports.
        named = {node: str(node.name) for node in graph if getattr(node, "cmd", None)}
        return {
            name: tuple(sorted(named[n] for n in graph.successors(node) if n in named))
            for node, name in named.items()
            if name.endswith(f"@{recipe}")
        }


def run_stage(name: str, root: Path, say: Callable[[str], None]) -> bool:
    """Run one stage through DVC, or see that nothing changed.

    Args:
        name: as DVC calls it.
        root: the checkout.
        say: takes each line that DVC and the stage write.

    Returns:
        True where the stage ran, false where DVC had its outputs already.

    Raises:
        StageFailed: DVC ended with an error.
    """
    dvc = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", name]
    folder = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}",
        "DVC_NO_ANALYTICS": "1",
    }
    process = _start(guard.command_line(dvc), root, environment)
    cached, last = False, deque[str](maxlen=LAST_LINES)
    try:
        assert process.stdout is not None
        with process.stdout as written:
            for line in filter(None, map(_clean, written)):
                say(line)
                last.append(line)
                cached = cached or is_cached(line, name)
        status = process.wait()
    finally:
        _stop(process)
    if status:
        raise StageFailed("\n".join([f"{name} failed with exit status {status}", *last]))
    return not cached


def _start(command: list[str], root: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a stage, unless all stages are being stopped."""
    with _lock:
        if _closed.is_set():
            raise StageFailed("stopped before it started")
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        _running.add(process)
        return process


def _clean(line: bytes) -> str:
    """A progress bar rewrites its line: keep what stands there at the end."""
    return line.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2].rstrip()


def is_cached(line: str, name: str) -> bool:
    """Say whether a line of DVC's tells that a stage did not need to run.

    Example:
        >>> is_cached("Stage 'train@credit' didn't change, skipping", "train@credit")
        True
    """
    return f"'{name}'" in line and (
        "didn't change, skipping" in line or "is cached - skipping run" in line
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a stage with all its children; nothing happens to one that has ended."""
    with _lock:
        _running.discard(process)
    with contextlib.suppress(BrokenPipeError):
        if process.stdin is not None:
            process.stdin.close()
    process.wait()


@contextlib.contextmanager
def nothing_left_running() -> Iterator[None]:
    """Stop the stages that still run when the block ends, however it ends; start none after."""
    _closed.clear()
    try:
        yield
    finally:
        with _lock:
            _closed.set()
            left = list(_running)
        for process in left:
            _stop(process)
