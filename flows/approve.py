"""A flow that waits for a person's word on the challenger, and carries it out."""

from typing import Literal

from prefect import flow, get_run_logger
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput

from flows.pipeline import ROOT
from tasks.approval import Word, decide, pending
from tasks.approve import told
from tasks.params import UserError, load_recipe
from tasks.registry import open_store

DAY = 24 * 60 * 60


class Answer(RunInput):
    """What the form asks. Reports and model card are in the version's run in MLflow."""

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
    name = load_recipe(ROOT / "params.yaml", recipe).register.model_name or recipe
    version = pending(open_store(ROOT), name)
    wrong = ""
    while True:
        text = f"{wrong}{name} version {version.number}: {version.tags.get('reasons') or 'passed'}"
        form = Answer.with_initial_data(description=text)
        answer = pause_flow_run(form, timeout=days * DAY, poll_interval=poll_seconds)
        word = Word(answer.choice, answer.approver, answer.reason)
        try:
            done = decide(open_store(ROOT), version, word)
            get_run_logger().info(told(done, word.choice, word.approver))
            return
        except UserError as error:
            wrong = f"Not carried out: {error}. "
