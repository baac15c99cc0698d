"""What an audit looks at: outcomes and decisions of held-out people, and the counts by group.

N held-out rows, G groups of all sensitive features together, C classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.evidence.counted import DECISION_EDGES, Counted
from tasks.evidence.score_table import ScoreTable, decided_bin, tabulate
from tasks.evidence.simultaneous import GRAIN
from tasks.evidence.suppress import Groups, Level
from tasks.params import UserError
from tasks.recipe import AuditConfig, TargetPlan

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Audited:
    """What is audited, the same rows everywhere.

    Attributes:
        task: binary, multiclass or regression.
        y: outcome: 1 for favourable; class; or number in the target's units. [N]
        d: decision, class or number predicted. [N]
        score: higher for favourable; None unless binary. [N]
        scores: of each class; None unless multiclass. [N, C]
        loss: as training counts it; None where unknown. [N]
        persons: number of each row's person, 0..P-1. [N]
        by_score: decisions follow from the score and one threshold; not so by thresholds a group.
        low: end of each prediction's interval; None unless regression with intervals. [N]
        high: the other end. [N]
    """

    task: str
    y: NDArray[Any]
    d: NDArray[Any]
    score: Array | None = None
    scores: Array | None = None
    loss: Array | None = None
    persons: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    by_score: bool = True
    low: Array | None = None
    high: Array | None = None

    def __post_init__(self) -> None:
        """Without other word, each row is a person."""
        if len(self.persons) != len(self.y):
            object.__setattr__(self, "persons", np.arange(len(self.y)))

    @property
    def inside(self) -> NDArray[np.bool_] | None:
        """Whether each number lies in the interval of its prediction; None without intervals."""
        if self.low is None or self.high is None:
            return None
        return (self.low <= self.y) & (self.y <= self.high)

    @property
    def repeated(self) -> bool:
        """Whether some person has several rows."""
        return len(np.unique(self.persons)) < len(self.persons)


def audited(
    predictions: pl.DataFrame, plan: TargetPlan, prefix: str = "", by_score: bool = True
) -> Audited:
    """Return what is audited from the predictions of one model.

    Args:
        predictions: one row a held-out person.
        plan: target and decision.
        prefix: "" for the model, else twin_ or baseline_.
        by_score: one threshold decides about everybody.
    """
    y = predictions["y_true"].to_numpy()
    d = predictions[f"{prefix or 'y_'}pred"].to_numpy()
    columns = set(predictions.columns)
    persons = _persons(predictions)
    loss = predictions[f"{prefix}loss"].to_numpy() if f"{prefix}loss" in columns else None
    task = plan.target.kind
    if task == "multiclass":
        names = [f"{prefix}score_{k}" for k in range(len(plan.target.classes))]
        scores = predictions.select(names).to_numpy() if set(names) <= columns else None
        return Audited(task, y, d, scores=scores, loss=loss, persons=persons)
    if task == "regression":
        ends = [f"{prefix or 'y_'}{end}" for end in ("low", "high")]
        low, high = (predictions[e].to_numpy() if e in columns else None for e in ends)
        return Audited(task, y, d, loss=loss, persons=persons, low=low, high=high)
    if plan.decision is None:
        raise UserError("data.decision is not set: a binary target needs it")
    wanted = plan.target.classes.index(plan.decision.favourable)
    score = predictions[f"{prefix or 'y_'}score"].to_numpy().astype(np.float64)
    return Audited(
        task,
        (y == wanted).astype(np.int64),
        (d == wanted).astype(np.int64),
        score if wanted == 1 else 1 - score,
        loss=loss,
        persons=persons,
        by_score=by_score,
    )


def _persons(predictions: pl.DataFrame) -> Counts:
    """Number of each row's person, by id where there is one."""
    if "person_id" not in predictions.columns:
        return np.arange(len(predictions))
    return numbered(predictions["person_id"])


def numbered(people: pl.Series) -> Counts:
    """Return the number of each row's person, int64 [N], by id."""
    return people.rank("dense").cast(pl.Int64).to_numpy() - 1


def table_of(data: Audited, groups: Groups, threshold: float, edges: Array) -> ScoreTable:
    """Return binary outcomes and scores counted by group.

    Args:
        data: of a binary target.
        groups: of all features.
        threshold: of the favourable score, an edge; the overall one where groups have their own.
        edges: float64 [K + 1] of the score bins.
    """
    assert data.score is not None
    decided = decided_bin(edges, threshold)
    return tabulate(
        groups.features,
        groups.labels,
        groups.codes,
        data.y,
        data.score,
        by_threshold(data, threshold),
        edges,
        decided,
    )


def by_threshold(data: Audited, threshold: float) -> NDArray[Any]:
    """Return whom one threshold for everybody would favour, 0 or 1 [N]."""
    assert data.score is not None
    return data.d if data.by_score else (data.score >= threshold).astype(np.int64)


def decisions_of(data: Audited, groups: Groups) -> ScoreTable:
    """Return binary outcomes and decisions counted by group."""
    score = data.d.astype(np.float64)
    codes = groups.codes
    return tabulate(groups.features, groups.labels, codes, data.y, score, data.d, DECISION_EDGES, 1)


def count(data: Audited, groups: Groups, threshold: float, edges: Array) -> Counted:
    """Return both tables; arguments as in `table_of`."""
    scores = table_of(data, groups, threshold, edges)
    return Counted(scores, decisions_of(data, groups), data.by_score)


def levels_of(data: Audited, groups: Groups, people: int, events: int) -> list[Level]:
    """Return which counts each level of figures rests on."""
    size = groups.tally(np.zeros(len(data.y), dtype=np.int64), 1)
    levels = [Level("people", "people", size, people)]
    if data.inside is not None:
        covered = groups.tally(data.inside.astype(np.int64), 2)
        text = "people in or out of their interval"
        levels.append(Level("covered", text, covered, events, ("people",)))
    if data.task == "multiclass":
        right = groups.tally((data.y == data.d).astype(np.int64), 2)
        text = "people predicted rightly or wrongly"
        levels.append(Level("cells", text, right, events, ("people",)))
        levels += _of_classes(data, groups, size, events)
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


def _of_classes(data: Audited, groups: Groups, size: Counts, events: int) -> list[Level]:
    """Levels of one class against the rest, all classes together: they add up."""
    classes = 1 + int(max(data.y.max(initial=0), data.d.max(initial=0)))
    outcome, decision = groups.tally(data.y, classes), groups.tally(data.d, classes)
    both = groups.tally(np.where(data.y == data.d, data.y, classes), classes + 1)[:, :classes]
    cells = [both, outcome - both, decision - both, size - outcome - decision + both]
    people = "people of one class"
    return [
        Level("outcome", people, np.hstack([outcome, size - outcome]), events, ("people",)),
        Level("decision", f"{people} by prediction", np.hstack([decision, size - decision]),
              events, ("people",)),
        Level("classes", f"{people} with one prediction", np.hstack(cells), events,
              ("people", "outcome", "decision", "cells")),
    ]  # fmt: skip


def coarse_groups(
    groups: Groups, levels: list[Level], why: dict[str, list[str | None]]
) -> dict[str, tuple[int, ...]]:
    """Return by feature the withheld groups that the gate judges all the same, in coarse steps.

    They are withheld only to protect others, and so large that one coarse step of their rate is
    as many people as must not be told apart, with as many to spare as hide a small group.
    """
    named = {level.name: level for level in levels}
    decided, people = named["decision"], named["people"]
    enough = max(people.least, math.ceil(decided.least / GRAIN)) + people.least
    fit = (decided.counts >= decided.least).all(1) & (people.counts[:, 0] >= enough)
    found: dict[str, tuple[int, ...]] = {}
    for feature in dict.fromkeys(groups.features):
        numbers = groups.of(feature).tolist()
        found[feature] = tuple(n for n in numbers if why["decision"][n] and fit[n])
    return found


def listed(numbers: Sequence[int], size: NDArray[Any], hidden: Sequence[str | None]) -> list[int]:
    """Return the groups of a feature that a table lists: not those that are known to be empty.

    Args:
        numbers: of the feature's groups.
        size: people of each of all groups, [G].
        hidden: why a group is withheld, None where it is shown; G.
    """
    # What the shown groups leave of the total is no secret.
    open_ = all(hidden[n] is None for n in numbers if size[n] > 0)
    return [n for n in numbers if size[n] > 0 or (hidden[n] is not None and not open_)]


def pick_reference(
    feature: str,
    labels: Sequence[str],
    size: NDArray[Any],
    hidden: Sequence[str | None],
    plan: AuditConfig,
) -> int:
    """Return which group of a feature others are compared with: the recipe's, or the largest.

    Args:
        feature: its name.
        labels: of its groups, J.
        size: people of each, [J].
        hidden: why a group is withheld, None where it is shown; J.
        plan: references.

    Returns:
        A number 0..J-1.

    Raises:
        UserError: the recipe's is not a group of the feature.
    """
    wanted = plan.references.get(feature)
    if wanted is None:
        shown = [n for n, reason in enumerate(hidden) if reason is None]
        return max(shown or range(len(labels)), key=lambda n: float(size[n]))
    if wanted not in labels:
        raise UserError(
            f"audit.references.{feature} = {wanted!r} is not among the held-out people's groups "
            f"{list(labels)}"
        )
    return labels.index(wanted)


def favourable_name(plan: TargetPlan) -> str | None:
    """Return what reports call the favourable class; None where nothing is decided."""
    if plan.decision is None:
        return None
    index = plan.target.classes.index(plan.decision.favourable)
    return (plan.target.names or tuple(map(str, plan.target.classes)))[index]
