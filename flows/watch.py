"""Look at what is new in a recipe's inbox, and call somebody if the model is no longer itself."""

import contextlib

from prefect import flow, get_run_logger
from prefect.events import emit_event

from flows.pipeline import ROOT
from flows.shown import show_table, show_text
from tasks.machine.told import artifact_link
from tasks.watch import new_files, open_watch, take, told
from tasks.watching.shown import place_of, show


@flow(name="watch")
def watch(recipe: str = "credit", alias: str = "champion") -> None:
    """Read the inbox's new files; each new alarm is an event, sordino.watch.alarm.

    Args:
        recipe: one of params.yaml, with watch.inbox.
        alias: of the model that is watched.
    """
    with contextlib.chdir(ROOT):
        watched = open_watch(recipe, alias)
        model = f"sordino.model.{watched.scorer.identity['name']}"
        rows = []
        for path in new_files(watched):
            book = take(watched, path)
            get_run_logger().info("\n".join(told(book, path.name)))
            fresh = book.fresh() if book.batches else []
            rows.append({"file": path.name, "alarms": len(fresh), "in all": len(book.alarms)})
            for claim in fresh:
                payload = {"claim": claim.words, "kind": claim.kind, "file": path.name}
                resource = {"prefect.resource.id": model, "prefect.resource.name": recipe}
                emit_event("sordino.watch.alarm", resource=resource, payload=payload)
        about = show(watched) if rows else "Nothing new"
        get_run_logger().info(about)
        known = len(watched.book.alarms) if watched.book else 0
        rows = rows or [{"file": "none", "alarms": 0, "in all": known}]
        show_table(rows, "watch", recipe, about=about)
        if watched.book:
            link = artifact_link("Watch page", *place_of(watched), "internal/watch.html")
            show_text(link, "watch", recipe, "page", about="Batch by batch; internal")
