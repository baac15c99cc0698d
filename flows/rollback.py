"""A flow that gives the champion's place back, by name and with a reason."""

from prefect import flow, get_run_logger

from flows.pipeline import ROOT
from flows.shown import show_table, show_text
from tasks.approval import name_of, rollback
from tasks.approve import links, rows, told
from tasks.registry import open_store


@flow(name="rollback")
def roll_back(recipe: str, approver: str, reason: str) -> None:
    """Make the version champion again whose place the present one took.

    Args:
        recipe: one of params.yaml.
        approver: who decides it: first and last name, or an e-mail address.
        reason: from 20 characters on.
    """
    store = open_store(ROOT)
    restored = rollback(store, name_of(ROOT, recipe), approver, reason)
    get_run_logger().info(told(restored, "champion again, rolled back", approver))
    show_table(rows(store, restored), "rollback", recipe, about="Who is champion now")
    show_text(links(store, restored), "rollback", recipe, "links", about="What it is")
