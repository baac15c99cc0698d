"""A search for settings for Prefect: what `python -m tasks.sweep RECIPE` does, part by part."""

import contextlib

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.pipeline import ROOT
from flows.shown import Bar, show_table, show_text
from tasks.hunt import Hunt
from tasks.machine.told import sweep_rows
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
        parts, bar = hunt.parts(), Bar(f"{recipe} sweep")
        for number, name in enumerate(parts):
            trial(hunt, number, name)
            bar.at(100 * (number + 1) / len(parts))
        told = "\n".join(finish(hunt))
        get_run_logger().info(told)
        show_table(sweep_rows(ROOT, recipe), recipe, "trials", about="What may be shown of them")
        show_text(f"```\n{told}\n```", recipe, "winner", about="What to set in params.yaml")
