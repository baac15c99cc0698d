"""What an audit looks at: outcomes and decisions of held-out people, and the counts by group.

N held-out people, G groups of all sensitive features together.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks import stats
from tasks.evidence.groups import GRAIN, RATES, Comparison, rate_counts
from tasks.evidence.suppress import Groups, Level
from tasks.params import UserError
from tasks.recipe import AuditConfig, TargetPlan

Array = NDArray[np.float64]

# Which level of suppression decides about a figure.
LEVEL_OF = {
    "base_rate": "outcome",
    "auc": "outcome",
    "selection_rate": "decision",
    "tpr": "cells",
    "fpr": "cells",
    "accuracy": "cells",
    "recall": "cells",
    "mae": "people",
    "bias": "people",
}


@dataclass(frozen=True)
class Audited:
    """What is audited, the same rows everywhere.

    Attributes:
        task: binary, multiclass or regression.
        y: outcome: 1 for favourable; class; or number in the target's units. [N]
        d: decision, class or number predicted. [N]
        score: higher for favourable; None unless binary. [N]
    """

    task: str
    y: NDArray[Any]
    d: NDArray[Any]
    score: Array | None = None


def audited(predictions: pl.DataFrame, plan: TargetPlan, prefix: str = "") -> Audited:
    """Return what is audited from the predictions of one model.

    Args:
        predictions: one row a held-out person.
        plan: target and decision.
        prefix: "" for the model, else twin_ or baseline_.
    """
    y = predictions["y_true"].to_numpy()
    d = predictions[f"{prefix or 'y_'}pred"].to_numpy()
    task = plan.target.kind
    if task != "binary":
        return Audited(task, y, d)
    if plan.decision is None:
        raise UserError("data.decision is not set: a binary target needs it")
    wanted = plan.target.classes.index(plan.decision.favourable)
    score = predictions[f"{prefix or 'y_'}score"].to_numpy().astype(np.float64)
    return Audited(
        task,
        (y == wanted).astype(np.int64),
        (d == wanted).astype(np.int64),
        score if wanted == 1 else 1 - score,
    )


def levels_of(data: Audited, groups: Groups, people: int, events: int) -> list[Level]:
    """Return which counts each level of figures rests on."""
    size = groups.tally(np.zeros(len(data.y), dtype=np.int64), 1)
    levels = [Level("people", "people", size, people)]
    if data.task == "multiclass":
        right = groups.tally((data.y == data.d).astype(np.int64), 2)
        text = "people predicted rightly or wrongly"
        levels.append(Level("cells", text, right, events, ("people",)))
    if data.task == "binary":
        cells = groups.tally(2 * data.y + data.d, 4)
        outcome = np.stack([cells[:, :2].sum(1), cells[:, 2:].sum(1)], 1)
        decision = np.stack([cells[:, ::2].sum(1), cells[:, 1::2].sum(1)], 1)
        levels += [
            Level("outcome", "people with one of the outcomes", outcome, events, ("people",)),
            Level("decision", "people with one of the decisions", decision, events, ("people",)),
            Level(
                "cells",
                "people with one outcome and one decision",
                cells,
                events,
                ("people", "outcome", "decision"),
            ),
        ]
    return levels


def intervals(data: Audited, inside: NDArray[np.bool_], confidence: float) -> dict[str, Any]:
    """Return one group's figures with intervals."""
    y, d = data.y[inside], data.d[inside]
    if data.task == "regression":
        error = np.asarray(d, dtype=np.float64) - y
        return {"mae": stats.mean(np.abs(error), confidence), "bias": stats.mean(error, confidence)}
    if data.task == "multiclass":
        return {"accuracy": stats.wilson(int((y == d).sum()), len(y), confidence)}
    cells = np.bincount(2 * y + d, minlength=4).reshape(2, 2)
    found = {}
    for metric in RATES:
        hits, of = rate_counts(cells, metric)
        found[metric] = stats.wilson(float(hits), float(of), confidence)
    assert data.score is not None
    found["auc"] = stats.auc(y == 1, data.score[inside], confidence)
    return found


def comparison(
    data: Audited,
    groups: Groups,
    feature: str,
    why: dict[str, list[str | None]],
    levels: list[Level],
    reference: str,
) -> Comparison:
    """Return the groups of one feature of a binary target that may be compared."""
    names = {groups.labels[n]: int(n) for n in groups.of(feature)}
    cells = {}
    for label, number in names.items():
        inside = groups.members(number)
        kind = 2 * data.y[inside] + data.d[inside]
        cells[label] = np.bincount(kind, minlength=4).reshape(2, 2)
    by_name = {level.name: level for level in levels}
    decided = by_name["decision"]
    # So many people that one coarse step of their rate is as many as must not be told apart.
    enough = max(by_name["people"].least, math.ceil(decided.least / GRAIN))

    def coarse(label: str, number: int) -> bool:
        small = bool((decided.counts[number] < decided.least).any())
        return not small and int(cells[label].sum()) >= enough

    return Comparison(
        cells,
        tuple(label for label, n in names.items() if why["decision"][n] is None),
        tuple(label for label, n in names.items() if why["cells"][n] is None),
        reference,
        tuple(label for label, n in names.items() if why["decision"][n] and coarse(label, n)),
    )


def reference_of(
    groups: Groups,
    feature: str,
    size: NDArray[np.int64],
    hidden: list[str | None],
    plan: AuditConfig,
) -> str:
    """Return the group to compare with: the recipe's, or else the largest that is shown.

    Raises:
        UserError: the recipe's is not a group of the feature.
    """
    numbers = groups.of(feature)
    labels = [groups.labels[n] for n in numbers]
    wanted = plan.references.get(feature)
    if wanted is None:
        shown = [n for n in numbers if hidden[n] is None]
        return groups.labels[max(shown or list(numbers), key=lambda n: size[n])]
    if wanted not in labels:
        raise UserError(
            f"audit.references.{feature} = {wanted!r} is not among the held-out people's groups "
            f"{labels}"
        )
    return wanted


def favourable_name(plan: TargetPlan) -> str | None:
    """Return what reports call the favourable class; None where nothing is decided."""
    if plan.decision is None:
        return None
    index = plan.target.classes.index(plan.decision.favourable)
    return (plan.target.names or tuple(map(str, plan.target.classes)))[index]
