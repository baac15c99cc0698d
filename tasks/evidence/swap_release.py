"""Which figures of swapped terms may be shown: none that rests on few texts or gives one away."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.recipe import AuditConfig

Json = dict[str, Any]


def _with_others(small: list[bool], counts: NDArray[np.int64], least: int) -> list[bool]:
    """Also hide the next smallest rows, until what is hidden is large enough together.

    Args:
        small: rows that are too small themselves.
        counts: int64 [rows, k], what must not be small.
        least: smallest count to show.
    """
    hidden = np.array(small, dtype=bool)
    while hidden.any() and not hidden.all():
        together = counts[hidden].sum(0)
        if hidden.sum() > 1 and (together >= least).all():
            break
        shown = np.flatnonzero(~hidden)
        hidden[shown[np.argmin(counts[shown].min(1))]] = True
    return hidden.tolist()


def _suppressed(rows: list[Json], plan: AuditConfig) -> list[Json]:
    """Rows of one table without what rests on few texts, or could be worked out to."""
    if not rows:
        return []
    sizes = np.array([[row["n"]] for row in rows])
    few = _with_others([row["n"] < plan.min_people for row in rows], sizes, plan.min_people)
    flips = np.array([[row["flips"] or 0, row["n"] - (row["flips"] or 0)] for row in rows])
    rare = [
        hidden or bool((c < plan.min_events).any()) for hidden, c in zip(few, flips, strict=True)
    ]
    rare = _with_others(rare, flips, plan.min_events)
    return [_published(r, f, e, plan) for r, f, e in zip(rows, few, rare, strict=True)]


def _published(row: Json, few: bool, rare: bool, plan: AuditConfig) -> Json:
    """One row as it may be shown."""
    # Counts that only reckoning needs stay inside.
    kept = {key: value for key, value in row.items() if key not in ("flips", "with_a_side")}
    if few:
        small = row["n"] < plan.min_people
        why = f"fewer than {plan.min_people} texts" if small else "withheld with a smaller one"
        nothing = dict.fromkeys(("n", "flip_rate", "mean_change", "mean_absolute_change"))
        return {**kept, **nothing, "suppressed": why}
    if rare and row["flips"] is not None:
        kept["flip_rate"] = None
    if row["with_a_side"] < plan.min_people:
        kept["mean_change"] = None
    return kept


def publishable(exact: Json, plan: AuditConfig) -> Json:
    """Return the tables without what rests on fewer than min_people texts or min_events flips."""
    if exact["overall"]["n"] == 0:
        return {**exact, "overall": None, "groups": [], "no_hits": True}
    groups = []
    for group, row in zip(exact["groups"], _suppressed(exact["groups"], plan), strict=True):
        pairs = _suppressed(group["pairs"], plan)
        # A group's pairs add up to it: with the group they are hidden too.
        if row["suppressed"]:
            pairs = [_published(pair, True, True, plan) for pair in group["pairs"]]
        groups.append({**row, "pairs": pairs})
    (overall,) = _suppressed([exact["overall"]], plan)
    return {**exact, "overall": overall, "groups": groups}
