"""People with known numbers by group, and their audits, for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tasks import audit as stage
from tasks.evidence.audited import Audited
from tasks.evidence.intersections import cross
from tasks.evidence.published import suppressed_audit
from tasks.evidence.suppress import find_groups
from tasks.recipe import AuditConfig

PLAN = AuditConfig(bootstraps=100)


def people_with(cells: dict[str, list[list[int]]], seed: int = 0) -> tuple[Audited, list[str]]:
    """People with the given numbers by group, outcome and decision; decided at a score of 0.5."""
    y, d, labels = [], [], []
    for label, table in cells.items():
        for outcome in (0, 1):
            for decision in (0, 1):
                size = table[outcome][decision]
                y += [outcome] * size
                d += [decision] * size
                labels += [label] * size
    score = np.asarray(d) / 2 + np.random.default_rng(seed).uniform(0, 0.5, len(d))
    return Audited("binary", np.array(y), np.array(d), score), labels


def exact_audit(
    data: Audited, columns: dict[str, list[str]], plan: AuditConfig = PLAN, order: int = 1
) -> dict[str, Any]:
    """The internal audit."""
    threshold = 0.5 if data.task == "binary" else None
    crossed = cross(find_groups(columns), order, plan.control)
    return stage.exact_audit(data, crossed, plan, threshold)


def shown_audit(
    root: Path,
    data: Audited,
    columns: dict[str, list[str]],
    plan: AuditConfig = PLAN,
    order: int = 1,
) -> dict[str, Any]:
    """The published audit of exact figures with small groups withheld."""
    contents = dict.fromkeys(("people", "outcome", "decision", "cells", "classes"), "")
    threshold = 0.5 if data.task == "binary" else None
    people = pl.Series([f"p{n}" for n in range(len(data.y))])
    crossed = cross(find_groups(columns), order)
    return suppressed_audit(data, crossed, people, plan, contents, threshold, root)


def metrics_of(found: dict[str, Any], label: str, feature: int = 0) -> dict[str, Any]:
    """Metrics of a group."""
    groups = found["features"][feature]["groups"]
    return next(row for row in groups if row["label"] == label)["metrics"]


BIG = {"f": [[40, 60], [20, 180]], "m": [[30, 20], [50, 100]]}


def many_people(people: int) -> tuple[Audited, dict[str, list[str]]]:
    """People with two features that matter."""
    rng = np.random.default_rng(1)
    group = rng.choice(["a", "b", "c"], people, p=[0.1, 0.3, 0.6])
    other = rng.choice(["x", "y"], people)
    score = np.clip(rng.beta(2, 2, people) + 0.05 * (group == "a"), 0, 0.999)
    y = (rng.random(people) < score).astype(np.int64)
    data = Audited("binary", y, (score >= 0.5).astype(np.int64), score)
    return data, {"group": group.tolist(), "other": other.tolist()}
