"""How far a stage has come, as lines in a file that anybody may follow: nothing waits for it.

.sordino/live/RECIPE-STAGE.jsonl: a first line about the run, one a second at most while it goes
and a hundred of the steps whatever the time, a last one about its end. Internal: it holds losses
of people, as checkpoints do. Those hundred alone carry what is public: which steps a clock picks
follows from how long they took, and that from how many people were in them. A disk that is full
or a folder that cannot be written costs the lines, never the stage.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

LIVE = Path(".sordino", "live")
# Two points are at least this far apart, but for so many of the steps.
SECONDS = 1.0
POINTS = 100


class Feed:
    """The writing end."""

    def __init__(self, path: Path, head: Mapping[str, Any], seconds: float = SECONDS) -> None:
        """Begin a new file in place of the last run's.

        Args:
            path: of the file.
            head: of its first line.
            seconds: between two points.
        """
        self.path, self.seconds, self.last = path, seconds, -seconds
        self.every = max(1, int(head.get("steps", 0)) // POINTS)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Another file, not another content: who follows the old one is not confused.
            path.unlink(missing_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self._write({**head, "id": os.urandom(8).hex(), "at": time.time()})

    def _write(self, line: Mapping[str, Any]) -> None:
        """Add a line; a new file is never made here."""
        with contextlib.suppress(OSError), self.path.open("r+", encoding="utf-8") as file:
            file.seek(0, os.SEEK_END)
            file.write(json.dumps(line) + "\n")

    def add(
        self,
        step: int,
        public: Mapping[str, float | None],
        internal: Mapping[str, float | None],
        always: bool = False,
    ) -> None:
        """Add a point, unless the last one was just now; what is public at settled steps alone.

        Args:
            step: so far.
            public: what hangs on settings alone.
            internal: what hangs on people.
            always: it is settled, by settings alone, that this step is told.
        """
        now, settled = time.monotonic(), always or step % self.every == 0
        if settled or now - self.last >= self.seconds:
            self.last = now
            told = {"public": _known(public if settled else {}), "internal": _known(internal)}
            self._write({"at": time.time(), "step": step, **told})

    def end(self, how: str) -> None:
        """Say that the run is over: done or stopped."""
        self._write({"at": time.time(), "end": how})


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    """Figures that there are."""
    return {name: value for name, value in values.items() if value is not None}


@contextlib.contextmanager
def feed(recipe: str, stage: str, steps: int, folder: Path = LIVE) -> Iterator[Feed]:
    """Give a feed, which says at the end of the block how it ended.

    Args:
        recipe: name under data/.
        stage: that runs.
        steps: to come.
        folder: of all feeds.
    """
    path = folder / f"{recipe}-{stage}.jsonl"
    found = Feed(path, {"recipe": recipe, "stage": stage, "steps": steps})
    how = "stopped"
    try:
        yield found
        how = "done"
    finally:
        found.end(how)


def lines_after(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Return whole lines of a feed from a byte on, and where the next ones will begin.

    Args:
        path: of the file; it may be gone.
        offset: in bytes.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            # A line that is being written has no end yet.
            whole = file.read().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()], offset + len(whole) + bool(whole)
    except (OSError, ValueError):
        return [], offset
