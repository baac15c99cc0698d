"""What MLflow is told of a watched model: figures batch by batch, and the page."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.checkout import checkout
from tasks.watching.book import Book

if TYPE_CHECKING:
    from tasks.watch import Watched


def place_of(watched: "Watched") -> tuple[str, str]:
    """Return experiment and run, by their ids, that show what is watched."""
    from tasks.registry import open_store

    assert watched.book is not None
    model = watched.book.model
    store = open_store(checkout())
    run = store.watch_run(f"{watched.recipe}-watch", f"version {model['version']}", model)
    return store.experiment_of(run), run


def show(watched: "Watched") -> str:
    """Bring the watch's run in MLflow up to date; return where it is, in words.

    One run a version, in the experiment RECIPE-watch: figures about new people have a place of
    their own, whose readers need not be those of the evidence.
    """
    from tasks.registry import open_store
    from tasks.watch import report_of

    book = watched.book
    assert book is not None
    store = open_store(checkout())
    experiment = f"{watched.recipe}-watch"
    run = store.watch_run(experiment, f"version {book.model['version']}", book.model)
    store.log_series(run, metrics_of(book))
    store.write_text(run, "internal/watch.html", Path(report_of(watched)).read_text("utf-8"))
    return f"MLflow experiment {experiment}"


def metrics_of(book: Book) -> list[tuple[str, float, int]]:
    """Return name, value and batch of every mean and of the number of alarms."""
    found = []
    raised = 0
    for at, entry in enumerate(book.batches, start=1):
        raised += len(entry["alarms"])
        found.append(("alarms", float(raised), at))
        for key, (_, mean) in entry["means"].items():
            measure, _, group = key.partition("|")
            name = f"{measure}/{group or 'everybody'}"
            found.append((re.sub(r"[^\w./ -]", "_", name), mean, at))
    return found
