"""A guarded command ends with its owner, with all that it started."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.machine import guard

# Starts a grandchild that writes its process number and waits; then waits itself.
FAMILY = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""
OWNER = """
import subprocess, sys, time
from tasks.machine import guard
command = [sys.executable, "-c", sys.argv[1], sys.argv[2]]
subprocess.Popen(guard.command_line(command), stdin=subprocess.PIPE)
time.sleep(60)
"""


def _alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _until(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


@pytest.mark.parametrize("code", [0, 3])
def test_status_is_the_commands(code: int) -> None:
    command = guard.command_line([sys.executable, "-c", f"raise SystemExit({code})"])
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.wait(20) == code
    assert process.stdin is not None
    process.stdin.close()


def test_a_killed_owner_takes_the_whole_family_along(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, FAMILY, str(note)])
    assert _until(lambda: note.exists() and note.read_text())
    grandchild = int(note.read_text())
    assert _alive(grandchild)
    owner.kill()
    owner.wait()
    assert _until(lambda: not _alive(grandchild))


def test_closing_the_pipe_stops_the_family(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    command = guard.command_line([sys.executable, "-c", FAMILY, str(note)])
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert _until(lambda: note.exists() and note.read_text())
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 128 + 15
    assert _until(lambda: not _alive(int(note.read_text())))
