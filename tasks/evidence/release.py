"""What leaves the house about held-out people: two noised tables at once, and their account.

The same people are counted by group, outcome and score bin, and by group, outcome and decision.
G groups of F features together, K score bins; every person who counts is in one group of each
feature. A person's contribution is bounded in each table, and both get Gaussian noise of their
own: together they are one Gaussian release at noise multiplier (1/a^2 + 1/b^2)^(-1/2). All that
is made of the released counts is post-processing and costs nothing more.
"""

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn.privacy.histogram import Histogram
from rnn.privacy.ledger import Event, single_epsilon, single_noise_for
from rnn.privacy.noise import Keystream
from tasks.evidence.counted import Counted
from tasks.evidence.intersections import CROSS
from tasks.evidence.score_table import ScoreTable, collapse
from tasks.evidence.suppress import UNKNOWN, Groups
from tasks.evidence.threshold import grid
from tasks.recipe import ReleasePlan

Array = NDArray[np.float64]

EVERYONE = "everyone"
# A count says something where the noise in it is at most this share of it.
NOISE_SHARE = 0.2


def public_groups(plan: ReleasePlan, sensitive: dict[str, list[str]]) -> Groups:
    """Return the groups that a release counts: those that the recipe declares, empty or not.

    Which labels occur is a fact about people, so that it decides nothing here. Without any
    declared feature everyone is one group.

    Args:
        plan: declared labels and the crossings to publish.
        sensitive: label of each of N people by feature.
    """
    features: list[str] = []
    labels: list[str] = []
    columns: list[NDArray[np.int64]] = []
    people = len(next(iter(sensitive.values()), []))
    tables = [(name,) for name in plan.groups] + list(plan.intersections)
    for parts in [t for t in tables if set(t) <= set(plan.groups)]:
        code = np.zeros(people, dtype=np.int64)
        for name in parts:
            known = plan.groups[name]
            number = {label: index for index, label in enumerate(known)}
            other = number[UNKNOWN]
            own = np.array([number.get(label, other) for label in sensitive[name]], dtype=np.int64)
            code = code * len(known) + own
        columns.append(code + len(labels))
        cells = [", ".join(cell) for cell in product(*(plan.groups[name] for name in parts))]
        features += [CROSS.join(parts)] * len(cells)
        labels += cells
    if not columns:
        return Groups((EVERYONE,), (EVERYONE,), np.zeros((people, 1), dtype=np.int64))
    return Groups(tuple(features), tuple(labels), np.stack(columns, axis=1))


def publish(
    counted: Counted, plan: ReleasePlan, stream: Keystream
) -> tuple[Counted, dict[str, Any]]:
    """Return tables that may be published, as they were drawn, and the account of what they cost.

    Args:
        counted: exact counts of the rows that are `kept`, in the groups of `public_groups`; the
            threshold is public or chosen privately.
        plan: epsilon and delta of a held-out person, the threshold's part included.
        stream: where the noise comes from, used for nothing else.

    Raises:
        ValueError: a table has noise already.
    """
    scores, decisions = mechanisms_for(plan, len(counted.scores.tables))
    drawn = replace(
        counted,
        scores=noised(counted.scores, scores, stream),
        decisions=noised(counted.decisions, decisions, stream),
    )
    return drawn, account((scores, decisions), plan, counted, stream)


def mechanisms_for(plan: ReleasePlan, tables: int) -> tuple[Histogram, Histogram]:
    """Return the mechanisms of scores and decisions, which together meet epsilon and delta.

    Gaussian releases add up in 1 / noise multiplier^2: of that sum, `decision_share` is spent
    on decisions.

    Args:
        plan: with the part of the threshold.
        tables: F.
    """
    epsilon, delta = plan.promise
    together = single_noise_for(
        target_epsilon=epsilon, delta=delta, pure_epsilon=plan.threshold_epsilon
    )
    shares = (1 - plan.decision_share, plan.decision_share)
    scores, decisions = (
        Histogram(tables, together / math.sqrt(share), plan.max_rows) for share in shares
    )
    return scores, decisions


def noised(table: ScoreTable, mechanism: Histogram, stream: Keystream) -> ScoreTable:
    """Return a table with noise.

    Args:
        table: exact.
        mechanism: for as many tables as there are features.
        stream: where the noise comes from.

    Raises:
        ValueError: the table has noise already, or the mechanism is for other tables.
    """
    if table.noise or len(table.tables) != mechanism.tables:
        raise ValueError(
            f"{len(table.tables)} tables with noise {table.noise:g}: the mechanism is for "
            f"{mechanism.tables} exact ones"
        )
    counts = mechanism.release(table.counts, stream)
    return replace(table, counts=counts, noise=mechanism.standard_deviation)


def events_of(mechanisms: tuple[Histogram, Histogram], plan: ReleasePlan) -> list[Event]:
    """Return all that is released about held-out people, for a ledger."""
    about = {"people": "held-out", "unit": plan.unit}
    found = [
        Event(
            released=f"people by group, outcome and {name}",
            mechanism="gaussian",
            noise_multiplier=mechanism.noise_multiplier,
            **about,  # type: ignore[arg-type]
        )
        for name, mechanism in zip(("score", "decision"), mechanisms, strict=True)
    ]
    if plan.threshold_epsilon:
        chosen = Event(
            released="the threshold",
            mechanism="stated",
            epsilon=plan.threshold_epsilon,
            **about,  # type: ignore[arg-type]
        )
        found.insert(0, chosen)
    return found


def account(
    mechanisms: tuple[Histogram, Histogram],
    plan: ReleasePlan,
    counted: Counted,
    stream: Keystream,
) -> dict[str, Any]:
    """Return what the release cost held-out people, as privacy_spent.json says it."""
    scores, decisions = mechanisms
    together = sum(m.noise_multiplier**-2 for m in mechanisms) ** -0.5
    chosen = {
        "epsilon": plan.threshold_epsilon,
        "mechanism": "exponential",
        "candidates": len(grid()),
    }
    return {
        "people": "held-out",
        "epsilon": single_epsilon(
            noise_multiplier=together, delta=plan.promise[1], pure_epsilon=plan.threshold_epsilon
        ),
        "delta": plan.promise[1],
        "unit": plan.unit,
        "adjacency": "zero-out: one unit's contribution is replaced by nothing",
        "mechanism": "two histograms with Gaussian noise, rounded to whole numbers",
        "tables": scores.tables,
        "cells": counted.scores.counts.size + counted.decisions.counts.size,
        "max_rows": scores.max_rows,
        "sensitivity": scores.sensitivity,
        "noise_multiplier": together,
        "noise": scores.standard_deviation,
        "decision_noise": decisions.standard_deviation,
        "decision_share": plan.decision_share,
        "threshold": chosen if plan.threshold_epsilon else None,
        "events": [event.as_dict() for event in events_of(mechanisms, plan)],
        "composition": "parallel with training: max",
        "left_out": list(plan.undeclared),
        "accountant": "privacy loss distributions (dp-accounting)",
        "noise_source": stream.source,
        "insecure": plan.insecure_seed is not None,
    }


def overall(table: ScoreTable) -> ScoreTable:
    """Return the table of everyone together, from all features of a released table.

    Each feature's groups add up to everyone, with noise that grows with their number; the sums
    are averaged by one over it. Groups keep the counts that were released: bringing features
    to the same totals would make the noise of a feature's groups depend on each other, and the
    intervals of their differences too narrow.

    Source: least squares; Hay, Rastogi, Miklau, Suciu (2010), section 4.
    """
    weight = 1 / sum(1 / len(groups) for groups in table.tables)
    sums = [table.counts[groups].sum(0) / len(groups) for groups in table.tables]
    counts = weight * np.sum(sums, axis=0, keepdims=True)
    noise = table.noise * math.sqrt(weight)
    return replace(table, features=(EVERYONE,), labels=(EVERYONE,), counts=counts, noise=noise)


def reasons(counted: Counted, people: int, events: int) -> dict[str, list[str | None]]:
    """Return for each level of figures and each group why it says too little, or None.

    Nothing has to be hidden in a noised table; a figure is left out where its counts are small
    or mostly noise, because its interval would not hold.

    Args:
        counted: noised.
        people: smallest group to speak of.
        events: smallest number with each outcome, and with each decision.
    """
    found = table_reasons(counted.decisions, people, events)
    scores = table_reasons(counted.scores, people, events)
    for level, source in {"scores": "outcome", "curves": "cells"}.items():
        pairs = zip(found["people"], scores[source], strict=True)
        found[level] = [a or b for a, b in pairs]
    return found


def table_reasons(table: ScoreTable, people: int, events: int) -> dict[str, list[str | None]]:
    """Return why each level of one table's figures says too little; arguments as in `reasons`."""
    bins = np.array([table.decided, table.counts.shape[-1] - table.decided])
    cells = collapse(table.counts, table.decided)
    size = cells.sum((-2, -1))[:, None]
    everything = np.array([2 * bins.sum()])
    levels = {
        "people": (size, everything, people, "people"),
        "outcome": (cells.sum(-1), np.full(2, bins.sum()), events, "people with one outcome"),
        "decision": (cells.sum(-2), 2 * bins, events, "people with one decision"),
    }
    found: dict[str, list[str | None]] = {}
    for name, (counts, summed, least, what) in levels.items():
        noise = table.noise * np.sqrt(summed)
        why = [_too_little(row, noise, least, what) for row in counts]
        before = found.get("people", [None] * len(why))
        found[name] = [a or b for a, b in zip(before, why, strict=True)]
    pairs = zip(found["outcome"], found["decision"], strict=True)
    found["cells"] = [a or b for a, b in pairs]
    return found


def _too_little(counts: Array, noise: Array, least: int, what: str) -> str | None:
    """Why some counts of a group say too little."""
    if (counts < least).any():
        return f"fewer than {least} {what}"
    if (noise > NOISE_SHARE * counts).any():
        return f"too few {what} for noise of {noise.max():.0f}"
    return None
