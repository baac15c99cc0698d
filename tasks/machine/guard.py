"""Run a command that must not outlive the process that wanted it.

The wish is a pipe on standard input: when it closes, because the owner closed it, ended or was
killed, the command and all its children are stopped.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

GRACE_SECONDS = 10.0


def command_line(command: list[str]) -> list[str]:
    """Return `command` under a guard, to be started with a pipe on standard input."""
    return [sys.executable, "-m", "tasks.machine.guard", *command]


def _signal_group(leader: int, number: signal.Signals) -> None:
    """Signal every process of the command's group; it may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def guard(command: list[str]) -> int:
    """Run a command in a process group of its own until it ends or standard input closes.

    Returns:
        The command's exit status, as a shell gives it.
    """
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)

    def stop(_number: int = 0, _frame: FrameType | None = None) -> None:
        _signal_group(child.pid, signal.SIGTERM)
        threading.Timer(GRACE_SECONDS, _signal_group, (child.pid, signal.SIGKILL)).start()

    def watch() -> None:
        while os.read(0, 1024):
            pass
        stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    # A leader that ends may leave children behind.
    _signal_group(child.pid, signal.SIGKILL)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    # Not sys.exit: a timer may still be waiting to kill a group that is gone.
    code = guard(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
