"""Checkpoints outside DVC's outputs: one writer a stage, taken up by whoever comes next."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.artifacts import alive, replacing_file, write_json
from tasks.params import UserError

ROOT = Path(".sordino", "checkpoints")
_PATIENCE_SECONDS = 300.0


class HandedOver(UserError):
    """Another process asked for the checkpoint and goes on from it."""


def checkpoint_key(*parts: object) -> str:
    """Return a short name for a configuration and the data that it meets."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Checkpoint:
    """The folder of one run; hold it through `sole_writer`.

    Attributes:
        folder: of this configuration's state.
        wanted: file in which another process asks for the run.
    """

    folder: Path
    wanted: Path

    def handover_requested(self) -> bool:
        """Has a living process asked to go on with this run?"""
        try:
            pid = int(self.wanted.read_text())
        except (FileNotFoundError, ValueError):
            return False
        return pid != os.getpid() and alive(pid)

    def save(self, tensors: dict[str, Tensor], notes: dict[str, Any]) -> None:
        """Write state and notes; a crash leaves the checkpoint before."""
        step = int(tensors["step"])
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing_file(self.folder / f"state-{step}.safetensors") as draft:
            save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, draft)
        with replacing_file(self.folder / "notes.json") as draft:
            write_json(draft, {"step": step, **notes})
        for old in self.folder.glob("state-*.safetensors"):
            if old.name != f"state-{step}.safetensors":
                old.unlink()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the last state and its notes, or None."""
        try:
            notes = json.loads((self.folder / "notes.json").read_text())
            return load_file(self.folder / f"state-{notes['step']}.safetensors"), notes
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def at_start(self, name: str, value: Any) -> Any:
        """Return the value that was given under a name when this run began."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            with replacing_file(file) as draft:
                write_json(draft, value)
        return json.loads(file.read_text())

    def discard(self) -> None:
        """Forget the run: it succeeded."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def sole_writer(stage: str, key: str) -> Iterator[Checkpoint]:
    """Hold a stage's checkpoints; another holder is asked to stop after its current step.

    Args:
        stage: such as "credit-train".
        key: from `checkpoint_key`; checkpoints of other keys are dropped.

    Raises:
        UserError: the other process did not stop.
    """
    ROOT.mkdir(parents=True, exist_ok=True)
    wanted = ROOT / f"{stage}.wanted"
    with (ROOT / f"{stage}.lock").open("a+") as lock:
        _acquire(lock.fileno(), wanted, stage)
        wanted.unlink(missing_ok=True)
        for other in ROOT.glob(f"{stage}-*"):
            if other.name != f"{stage}-{key}" and other.is_dir():
                shutil.rmtree(other, ignore_errors=True)
        yield Checkpoint(ROOT / f"{stage}-{key}", wanted)


def _acquire(descriptor: int, wanted: Path, stage: str) -> None:
    """Take the lock, asking its holder for it."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UserError(
                    f"{stage}: another process holds {ROOT}/{stage}.lock and does not stop; "
                    "end it and try again"
                ) from None
        if not told:
            print(f"{stage}: another process is at it; asking it to hand over", file=sys.stderr)
            told = True
        with replacing_file(wanted) as draft:
            draft.write_text(str(os.getpid()))
        time.sleep(0.2)
