"""A reader of tasks/readers in a process of its own, with a limit on its time and its memory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.params import UserError, as_json
from tasks.recipe import ReaderSource

_CHECKOUT = Path(__file__).resolve().parents[2]
# One thread gives the same bytes on every machine.
_THREADS = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_MEMORY = ("MemoryError", "memory allocation of", "Cannot allocate memory", "bad_alloc")


def run(source: ReaderSource, files: Sequence[Path], table: Path) -> None:
    """Write the table that a reader makes of some files.

    The process does not share this one's memory, and files that others wrote may be hostile: it
    opens no connection, starts no process and ends at its limits.

    Args:
        source: the recipe's source block.
        files: in the order of `source.files`.
        table: where the Parquet goes; nothing is left there on failure.

    Raises:
        UserError: an option or a file is wrong, or the reader needs more than it may have.
    """
    job = {
        "files": [str(file.absolute()) for file in files],
        "options": as_json(source)["options"],
        "table": str(table.absolute()),
        "seconds": source.seconds,
        "gigabytes": source.gigabytes,
    }
    try:
        status, said = _finished(source, json.dumps(job))
        if status:
            raise _complaint(source, status, said)
    except BaseException:
        table.unlink(missing_ok=True)
        raise


def _finished(source: ReaderSource, job: str) -> tuple[int, str]:
    """The process's status and what it said."""
    with subprocess.Popen(
        [sys.executable, "-m", "tasks.readers", source.reader],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=_CHECKOUT,
        env=os.environ | dict.fromkeys(_THREADS, "1"),
        start_new_session=True,
    ) as process:
        try:
            _, said = process.communicate(job, timeout=source.seconds)
        except subprocess.TimeoutExpired:
            raise _too_slow(source) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


def _too_slow(source: ReaderSource) -> UserError:
    """The time is over."""
    return UserError(
        f"data.source.seconds = {source.seconds}: reader {source.reader} needed longer"
    )


def _complaint(source: ReaderSource, status: int, said: str) -> UserError:
    """What a reader that failed said, as one line with the field's name."""
    if status == -signal.SIGXCPU:
        return _too_slow(source)
    if any(word in said for word in _MEMORY):
        return UserError(
            f"data.source.gigabytes = {source.gigabytes:g}: reader {source.reader} needed more"
        )
    lines = said.strip().splitlines() or [f"ended with status {status}"]
    reason = lines[-1].removeprefix("error: ")
    if reason.startswith("options."):
        return UserError(f"data.source.{reason}")
    return UserError(f"data.source.reader = {source.reader!r}: {reason}")
