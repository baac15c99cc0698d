"""A search for settings for Prefect: what `python -m tasks.sweep RECIPE` does, part by part."""

import contextlib

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.pipeline import ROOT
from tasks.hunt import Hunt
from tasks.sweep import costs, finish, searching


@task(task_run_name="{name}", cache_policy=NO_CACHE)
def trial(hunt: Hunt, number: int, name: str) -> None:
    """Do one trial, or all of those that nobody may see or count."""
    hunt.take(number)


@flow(name="sweep")
def sweep(recipe: str = "credit") -> None:
    """Search a recipe's settings, and say in the log which have won.

    Args:
        recipe: one of params.yaml, with a sweep block, its data prepared.
    """
    with contextlib.chdir(ROOT), searching(recipe) as hunt:
        get_run_logger().info(costs(hunt))
        for number, name in enumerate(hunt.parts()):
            trial(hunt, number, name)
        get_run_logger().info("\n".join(finish(hunt)))
