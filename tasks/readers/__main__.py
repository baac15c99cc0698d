"""Run one reader: python -m tasks.readers NAME, with the job as JSON on standard input."""

import contextlib
import json
import resource
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from tasks.params import UserError, command
from tasks.readers import READERS

_ROWS = 100_000
_REFUSED = (
    "socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system",
    "os.exec", "os.posix_spawn", "os.fork", "os.forkpty",
)  # fmt: skip


def limit(seconds: int, gigabytes: float) -> None:
    """Bound what this process may use; a system without such bounds is left as it is."""
    wanted = [
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, int(gigabytes * 2**30)),
        (resource.RLIMIT_CORE, 0),
    ]
    for kind, bound in wanted:
        hard = resource.getrlimit(kind)[1]
        least = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (least, hard))


def refuse(event: str, _arguments: tuple[Any, ...]) -> None:
    """A reader parses files that others wrote: it has no business elsewhere."""
    if event in _REFUSED:
        raise PermissionError(f"a reader may not use {event}")


def read(name: str, files: list[Path], options: dict[str, Any]) -> pl.DataFrame:
    """Return a reader's table.

    Args:
        name: one of READERS.
        files: in the order of the recipe.
        options: of the recipe.

    Raises:
        UserError: there is no such reader, a file or an option is wrong, or no row came out.
    """
    if name not in READERS:
        raise UserError(f"known readers: {', '.join(READERS) or 'none'}")
    table = import_module(f"tasks.readers.{name}").read(files, options)
    if not isinstance(table, pl.DataFrame) or table.is_empty():
        raise UserError("gave no rows")
    return table


def main(argv: list[str]) -> None:
    """Write the job's table."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.readers NAME < JOB")
    job = json.load(sys.stdin)
    limit(job["seconds"], job["gigabytes"])
    sys.addaudithook(refuse)
    table = read(argv[0], [Path(file) for file in job["files"]], job["options"])
    table.write_parquet(job["table"], compression="zstd", compression_level=3, row_group_size=_ROWS)


if __name__ == "__main__":
    command(main)
