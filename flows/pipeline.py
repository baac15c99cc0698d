"""The pipeline for Prefect: the same DAG that `dvc repro` runs, one task a stage."""

import time
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.shown import Bar, show_table, show_text, stage_rows
from tasks.machine.stages import nothing_left_running, read_stages, run_stage
from tasks.machine.told import model_links, model_rows

ROOT = Path(__file__).resolve().parent.parent


# DVC alone caches: Prefect schedules and shows.
@task(task_run_name="{stage}", cache_policy=NO_CACHE)
def build(stage: str) -> State[None]:
    """Build one stage, or find that nothing changed."""
    log, bar = get_run_logger(), Bar(stage)

    def say(line: str) -> None:
        log.info(line)
        bar.hear(line)

    begun = time.monotonic()
    ran = run_stage(stage, ROOT, say)
    took = f"{time.monotonic() - begun:.1f} s"
    if ran:
        return Completed(message=f"built in {took}")
    return Completed(name="Cached", message=f"unchanged, found out in {took}")


# Two at a time: the model and its twin.
@flow(name="pipeline", task_runner=ThreadPoolTaskRunner(max_workers=2))  # type: ignore[arg-type]
def pipeline(recipe: str = "credit", targets: list[str] | None = None) -> None:
    """Build a recipe as far as `targets`, or wholly; stages that need not wait run side by side.

    Args:
        recipe: one of `run` in params.yaml.
        targets: names of stages, such as audit; all when empty.
    """
    futures: dict[str, PrefectFuture[Any]] = {}
    with nothing_left_running():
        for stage in read_stages(ROOT, recipe, targets or []):
            upstream = [futures[name] for name in stage.after]
            futures[stage.name] = build.submit(stage.name, wait_for=upstream, return_state=False)
        wait(list(futures.values()))
    show_table(stage_rows(futures), recipe, "stages", about="Stages, in the order of their start")
    show_table(model_rows(ROOT, recipe), recipe, "verdict", about="As the files stand now")
    show_text(model_links(ROOT, recipe), recipe, "links", about="Where to read on")
    for future in futures.values():
        # The first in order that failed is the cause of those after it.
        future.result()
