"""Show stages in MLflow while they run: `make up` starts it, any stage may do without it.

    python -m tasks.live

It follows the files of `tasks.feed`. What hangs on settings alone (step, epsilon so far, learning
rate) is shown in the experiment RECIPE-live, what hangs on people (loss, gradient norms, clipped
share, all of the twin) in RECIPE-live-internal. No later stage reads either.

How long a step takes hangs on its sample, which is secret: what is public has times that follow
from the number of the step.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.checkout import checkout
from tasks.feed import LIVE, lines_after
from tasks.params import UserError, command
from tasks.registry import Store, open_store

PAUSE = 1.0
# After a server did not answer.
PATIENCE = 15.0
EXPERIMENTS = {"public": "{}-live", "internal": "{}-live-internal"}
ENDS = {"done": "FINISHED", "stopped": "KILLED"}


@dataclass
class Shown:
    """One run of a stage.

    Attributes:
        head: first line of its feed.
        runs: ids of its runs in MLflow, by part.
        step: of its last public point.
    """

    head: dict[str, Any]
    runs: dict[str, str] = field(default_factory=dict)
    step: int = 0

    def began(self) -> int:
        """Milliseconds of its start, which hangs on nobody."""
        return 1000 * int(self.head["at"])

    def at(self, part: str, line: dict[str, Any]) -> int:
        """Milliseconds of a line: what time it was, or in public one second a step."""
        if part == "internal":
            return int(1000 * line["at"])
        if line.get("public"):
            self.step = line["step"]
        return self.began() + 1000 * self.step


class Mirror:
    """What is shown of the feeds of one folder."""

    def __init__(self, folder: Path, store: Callable[[], Store]) -> None:
        """Nothing is asked of a server before there is something to show.

        Args:
            folder: of all feeds.
            store: opens the registry.
        """
        self.folder, self.opened = folder, store
        self.store: Store | None = None
        self.shown: dict[Path, tuple[Shown, int]] = {}

    def look(self) -> int:
        """Bring MLflow up to date; return the number of lines that were new."""
        new = 0
        for path in sorted(self.folder.glob("*.jsonl")):
            lines, _ = lines_after(path, 0)
            if not lines:
                continue
            head = lines[0]
            known, offset = self.shown.get(path, (Shown({}), 0))
            if known.head.get("id") != head["id"]:
                known, offset = Shown(head), 0
            fresh, end = lines_after(path, offset)
            if fresh:
                self._show(known, fresh)
            self.shown[path] = known, end
            new += len(fresh)
        return new

    def _show(self, shown: Shown, lines: list[dict[str, Any]]) -> None:
        """Send new lines of a run; what was sent before and is sent again changes nothing."""
        self.store = self.store or self.opened()
        for part in EXPERIMENTS:
            points = [
                (name, value, line["step"], shown.at(part, line))
                for line in lines
                for name, value in line.get(part, {}).items()
            ]
            ends = [line for line in lines if "end" in line]
            if points and part not in shown.runs:
                shown.runs[part] = self._run(shown, part)
            if points:
                self.store.log_points(shown.runs[part], points)
            if ends and part in shown.runs:
                how = ENDS[ends[-1]["end"]]
                self.store.end_run(shown.runs[part], how, shown.at(part, ends[-1]))

    def _run(self, shown: Shown, part: str) -> str:
        """The run of MLflow that shows a part, made where there is none."""
        assert self.store is not None
        head = shown.head
        tags = {"live": head["id"], "recipe": head["recipe"], "stage": head["stage"]}
        experiment = EXPERIMENTS[part].format(head["recipe"])
        name = f"{head['stage']} {head['id'][:4]}"
        return self.store.watch_run(experiment, name, tags, shown.began())


def follow(mirror: Mirror, say: Callable[[str], None], rounds: int | None = None) -> None:
    """Look again and again; a server that does not answer is told once and asked again later.

    Args:
        mirror: of the feeds.
        say: takes a line.
        rounds: number of looks; None for no end.
    """
    told, count = "", 0
    while rounds is None or count < rounds:
        count += 1
        pause = PAUSE
        try:
            mirror.look()
            told = ""
        # Whatever MLflow's client or a network raises: nobody waits for a curve.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            if reason != told:
                say(f"not shown: {reason}")
            told, pause = reason, PATIENCE
        if rounds is None or count < rounds:
            time.sleep(pause)


def main(argv: list[str]) -> None:
    """Follow every stage of this checkout until Ctrl-C."""
    if argv:
        raise UserError("usage: python -m tasks.live")
    root = checkout()
    mirror = Mirror(root / LIVE, lambda: open_store(root))
    with contextlib.suppress(KeyboardInterrupt):
        follow(mirror, lambda line: print(line, file=sys.stderr, flush=True))


if __name__ == "__main__":
    command(main)
