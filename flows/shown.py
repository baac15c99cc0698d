"""Artifacts of a flow run's page: tables, links, progress. None that fails stops a flow."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.futures import PrefectFuture

from tasks.machine.told import Row, key_of, progress_of

HOW = {"Completed": "built", "Cached": "nothing changed"}
SECONDS = re.compile(r"([0-9.]+) s$")


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """Log what went wrong with a page and go on."""
    try:
        yield
    except Exception as error:
        get_run_logger().warning(f"not shown on this page: {error}")


def show_table(rows: list[Row], *key: str, about: str = "") -> None:
    """Put a table on the run's page."""
    with harmless():
        create_table_artifact(rows, key=key_of(*key), description=about)


def show_text(text: str, *key: str, about: str = "") -> None:
    """Put links or words on the run's page, in Markdown."""
    with harmless():
        create_markdown_artifact(text, key=key_of(*key), description=about)


class Bar:
    """Progress of one stage on its run's page, there as soon as it has something to say."""

    def __init__(self, name: str) -> None:
        """Show nothing yet."""
        self.name = name
        self.id: UUID | None = None

    def hear(self, line: str) -> None:
        """Take a line of the stage."""
        part = progress_of(line)
        if part is not None:
            self.at(part, line)

    def at(self, part: float, about: str = "") -> None:
        """Show a part of the way, in percent."""
        with harmless():
            if self.id is None:
                made = create_progress_artifact(part, key_of(self.name), about or self.name)
                self.id = made if isinstance(made, UUID) else None
            else:
                update_progress_artifact(self.id, part, about or self.name)


def stage_rows(futures: dict[str, PrefectFuture[Any]]) -> list[Row]:
    """Return stage, seconds and how it ended, from the states of tasks that have ended."""
    rows: list[Row] = []
    for name, future in futures.items():
        future.wait()
        state = future.state
        how, seconds = state.name or "unknown", SECONDS.search(state.message or "")
        row = {"stage": name, "seconds": seconds and float(seconds[1]), "how": HOW.get(how, how)}
        rows.append(row)
    return rows
