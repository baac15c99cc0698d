"""A flow that waits for a person's word on the challenger, and carries it out."""

from typing import Literal

from prefect import flow, get_run_logger
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput

from flows.pipeline import ROOT
from flows.shown import show_table, show_text
from tasks.approval import Word, decide, name_of, pending
from tasks.approve import links, rows, told
from tasks.params import UserError
from tasks.registry import open_store

DAY = 24 * 60 * 60


class Answer(RunInput):
    """What the form asks. Reports and model card are linked on the run's page."""

    choice: Literal["approve", "reject", "override"]
    approver: str
    reason: str = ""


@flow(name="approve")
def approve(recipe: str = "credit", days: int = 7, poll_seconds: int = 10) -> None:
    """Ask a person about the challenger of a recipe; a wrong answer is asked for again.

    Args:
        recipe: one of params.yaml.
        days: to wait for each answer.
        poll_seconds: between two looks for it.
    """
    store = open_store(ROOT)
    version = pending(store, name_of(ROOT, recipe))
    show_table(rows(store, version), "approve", recipe, about="Challenger and champion")
    show_text(links(store, version), "approve", recipe, "links", about="Read before you answer")
    wrong = ""
    while True:
        asked = f"{version.name} version {version.number}"
        text = f"{wrong}{asked}: {version.tags.get('reasons') or 'passed'}"
        form = Answer.with_initial_data(description=text)
        answer = pause_flow_run(form, timeout=days * DAY, poll_interval=poll_seconds)
        word = Word(answer.choice, answer.approver, answer.reason)
        try:
            done = told(decide(open_store(ROOT), version, word), word.choice, word.approver)
            get_run_logger().info(done)
            show_text(f"{done}\n\n{word.reason}", "approve", recipe, "decision")
            return
        except UserError as error:
            wrong = f"Not carried out: {error}. "
