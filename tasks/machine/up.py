"""Start Prefect, MLflow and a worker; stop them together.

    python -m tasks.machine.up

Every child runs under a guard, which stops it when this process ends, however it ends.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tasks.machine import guard
from tasks.params import UserError, command

HOST = "127.0.0.1"
PATIENCE_SECONDS = 180.0
TAIL_LINES = 15


class Stopped(BaseException):
    """Somebody asked for an end."""


@dataclass(frozen=True)
class Child:
    """One process that should not end by itself."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def tail(self) -> str:
        """Return the last lines that it wrote."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])


def port(variable: str, default: int) -> int:
    """Return a port that nothing listens on.

    Args:
        variable: name of the environment variable, and of the make variable.
        default: where it is not set.

    Raises:
        UserError: no port, or a busy one.
    """
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise UserError(f"{variable} = {text!r} must be a port, 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(text)))
        except OSError as error:
            reason = error.strerror or "not available"
            raise UserError(
                f"port {text} cannot be used ({reason.lower()}): stop what listens there, or "
                f"choose another, make up {variable}={int(text) % 65535 + 1}"
            ) from None
    return int(text)


def server_settings(path: Path) -> dict[str, str]:
    """Return the variables of an env file."""
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return {key: value for key, _, value in pairs if value and not key.startswith("#")}


def environment(root: Path, prefect_port: int, mlflow_port: int) -> dict[str, str]:
    """Return what every child sees: all state in the checkout, nothing sent anywhere."""
    folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        **server_settings(root / "mlflow" / "server.env"),
        "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}",
        "PREFECT_HOME": str(root / ".sordino" / "prefect"),
        "PREFECT_API_URL": f"http://{HOST}:{prefect_port}/api",
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(prefect_port),
        "PREFECT_UI_API_URL": f"http://{HOST}:{prefect_port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "MLFLOW_PORT": str(mlflow_port),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{root}/mlflow/mlflow.db",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(root / "mlflow" / "artifacts"),
        "DO_NOT_TRACK": "true",
        "DVC_NO_ANALYTICS": "1",
        "PYTHONUNBUFFERED": "1",
    }


class Supervisor:
    """The children, in the order in which they started."""

    def __init__(self, root: Path, variables: dict[str, str]) -> None:
        """Nothing starts yet."""
        self.root, self.variables = root, variables
        self.children: list[Child] = []
        self.logs = root / ".sordino" / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", *arguments]

    def start(self, name: str, *arguments: str) -> None:
        """Start `python -m arguments`, its words in .sordino/logs/NAME.log."""
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                guard.command_line(self._command(arguments)),
                cwd=self.root,
                env=self.variables,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches this process alone, which stops the others in order.
                start_new_session=True,
            )
        self.children.append(Child(name, log, process))

    def finish(self, name: str, *arguments: str) -> None:
        """Run `python -m arguments` to its end."""
        self.start(name, *arguments)
        child = self.children[-1]
        while child.process.poll() is None:
            time.sleep(0.1)
        self.children.remove(child)
        if child.process.returncode:
            raise UserError(f"{name} failed; {child.log} ends with:\n{child.tail()}")

    def check(self) -> None:
        """Raise UserError when a child has ended."""
        for child in self.children:
            if child.process.poll() is not None:
                raise UserError(
                    f"{child.name} ended with exit status {child.process.returncode}; "
                    f"{child.log} ends with:\n{child.tail()}"
                )

    def wait_for(self, what: str, ready: Callable[[], bool]) -> None:
        """Wait until something answers, while all children live."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            self.check()
            if time.monotonic() > end:
                raise UserError(f"{what} did not answer in {PATIENCE_SECONDS:g} s: see {self.logs}")
            time.sleep(0.25)

    def stop(self) -> None:
        """Stop the children, the last one first, each with all that it started."""
        for child in reversed(self.children):
            if child.process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    child.process.stdin.close()
            child.process.wait()
        self.children.clear()


def answers(address: str) -> bool:
    """Say whether an address gives a good answer."""
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn Ctrl-C and a polite kill into Stopped."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        # A second Ctrl-C must not break the stopping.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    with contextlib.suppress(Stopped):
        yield


def start_all(supervisor: Supervisor, prefect: str, mlflow: str) -> None:
    """Start the servers side by side, then the worker, then apply the deployments."""
    supervisor.start("prefect", "prefect", "server", "start")
    # Two processes on a fresh database would spoil it.
    supervisor.finish("mlflow-database", "tasks.registry")
    supervisor.start("mlflow", "mlflow", "server")
    supervisor.wait_for("Prefect", lambda: answers(f"{prefect}/api/health"))
    pool = ("--pool", "local", "--type", "process", "--limit", "20", "--name", "local")
    supervisor.start("worker", "prefect", "worker", "start", *pool)
    supervisor.wait_for("the worker", lambda: answers(f"{prefect}/api/work_pools/local"))
    # What waits for a person stands in another queue, and holds nobody up.
    limit = ("set-concurrency-limit", "default", "1", "--pool", "local")
    supervisor.finish("queue", "prefect", "work-queue", *limit)
    supervisor.finish("deploy", "prefect", "--no-prompt", "deploy", "--all")
    supervisor.wait_for("MLflow", lambda: answers(f"{mlflow}/health"))
    # Curves of stages that run, in the experiments RECIPE-live.
    supervisor.start("live", "tasks.live")


def main(_arguments: list[str]) -> None:
    """Start everything, say where it is, wait for Ctrl-C."""
    root = Path.cwd()
    prefect_port, mlflow_port = port("PREFECT_PORT", 4200), port("MLFLOW_PORT", 5000)
    if prefect_port == mlflow_port:
        raise UserError(f"PREFECT_PORT and MLFLOW_PORT are both {prefect_port}")
    prefect, mlflow = f"http://{HOST}:{prefect_port}", f"http://{HOST}:{mlflow_port}"
    supervisor = Supervisor(root, environment(root, prefect_port, mlflow_port))
    with ended_by_signals():
        try:
            print("starting; Ctrl-C stops", flush=True)
            start_all(supervisor, prefect, mlflow)
            address = "" if prefect_port == 4200 else f"PREFECT_API_URL={prefect}/api "
            print(
                f"Prefect  {prefect}\nMLflow   {mlflow}/#/models\n"
                f"run      {address}.venv/bin/python -m prefect deployment run "
                f"pipeline/credit --watch\nlogs     {supervisor.logs}\nCtrl-C stops them all",
                flush=True,
            )
            while True:
                supervisor.check()
                time.sleep(0.5)
        finally:
            print("stopping", flush=True)
            supervisor.stop()


if __name__ == "__main__":
    command(main)
