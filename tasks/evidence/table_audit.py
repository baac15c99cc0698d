"""The audit of a binary decision, all of it computed from tables of people.

Tables are exact, which is internal unless small groups are withheld, or have noise, which may
be published. One table holds scores and decisions where those follow from the score, else, and
with noise, there are two. G groups of all features together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.evidence import simultaneous
from tasks.evidence.audited import listed, pick_reference
from tasks.evidence.compared import (
    COUNTED,
    LEVEL_OF,
    SCORED,
    Evidence,
    Reasons,
    adjust,
    to_highest,
    to_reference,
)
from tasks.evidence.curves import curves, sweep
from tasks.evidence.score_table import ScoreTable
from tasks.evidence.simultaneous import Judged
from tasks.evidence.table_intervals import Figures, figures
from tasks.recipe import AuditConfig

Array = NDArray[np.float64]
Table = dict[str, Any]
Parents = dict[str, tuple[str, ...]]

TOO_FEW = "too few people for a verdict"
NAMES = ("n", "positives", *COUNTED, *SCORED)
# Levels of what is no figure of a decision.
OTHERS = ("curves", "classes", "covered")


def nothing_withheld(labels: Sequence[str]) -> Reasons:
    """Return that every figure of every group is shown."""
    return {level: [None] * len(labels) for level in (*LEVEL_OF.values(), *OTHERS)}


def as_scored(why: Reasons) -> Reasons:
    """Return why figures are withheld where outcomes and cells decide about those of scores."""
    return {**why, "scores": why["outcome"], "curves": why["cells"]}


def row_of(evidence: Evidence, group: int) -> Table:
    """Return one group's row: its figures, or why they are withheld."""
    table, why = evidence.table, evidence.why
    reason = {name: why[LEVEL_OF[name]][group] for name in NAMES}
    people = max(0, round(float(table.counts[group].sum())))
    hidden = why["people"][group]
    return {
        "label": table.labels[group],
        "n": None if hidden else people,
        "people": "withheld" if hidden else str(people),
        "suppressed": hidden,
        "metrics": {
            name: None if reason[name] else evidence.found[name].at(group).as_dict()
            for name in NAMES
        },
        "withheld": {name: text for name, text in reason.items() if text},
    }


def _parts_of(table: ScoreTable, parents: Parents) -> dict[int, tuple[int, ...]]:
    """The single groups that each group of a crossing is in, by its number; itself if single."""
    found: dict[int, tuple[int, ...]] = {}
    for feature, parts in parents.items():
        numbers = table.of(feature)
        shape = [len(table.of(part)) for part in parts]
        if len(parts) == 1:
            found |= {int(n): (int(n),) for n in numbers}
            continue
        places = np.unravel_index(np.arange(len(numbers)), shape)
        for index, number in enumerate(numbers.tolist()):
            pairs = zip(parts, places, strict=True)
            found[number] = tuple(int(table.of(part)[place[index]]) for part, place in pairs)
    return found


def within(evidence: Evidence, parents: Parents, references: dict[str, int]) -> list[Table]:
    """Return comparisons of each feature's groups within each level of each control feature.

    Args:
        evidence: figures of all groups.
        parents: which single features each feature crosses.
        references: number of the reference group of each single feature.
    """
    found, parts, table = [], _parts_of(evidence.table, parents), evidence.table
    for feature, of in parents.items():
        controls = [place for place, name in enumerate(of) if name in evidence.plan.control]
        if len(of) != 2 or len(controls) != 1:
            continue
        (control,) = controls
        inner = 1 - control
        for level in table.of(of[control]).tolist():
            inside = [n for n in _listed(evidence, feature).tolist() if parts[n][control] == level]
            bases = [n for n in inside if parts[n][inner] == references[of[inner]]]
            rows = (
                to_reference(evidence, np.array(inside, dtype=np.int64), bases[0]) if bases else []
            )
            where = {"feature": of[inner], "control": of[control], "level": table.labels[level]}
            found.append({**where, "rows": rows})
    return found


def nothing_audited() -> Table:
    """Return the audit of a recipe without sensitive features."""
    empty: Table = {name: [] for name in ("features", "control", "curves", "not_judged")}
    return {**empty, "sweep": {"points": []}, "exploratory": adjust([]), "gate": None}


def audit_table(
    table: ScoreTable,
    plan: AuditConfig,
    parents: Parents,
    why: Reasons,
    coarse: dict[str, tuple[int, ...]] | None = None,
    found: dict[str, Figures] | None = None,
    scores: ScoreTable | None = None,
) -> Table:
    """Return tables, comparisons, sweep, curves and the gate's figure.

    Args:
        table: of the people, by decision.
        plan: references, confidence and resampling.
        parents: feature -> the single features that it crosses.
        why: by level and group, why it is withheld; None where it is shown.
        coarse: by feature, groups that the gate judges in coarse steps.
        found: figures with intervals, if not those of `figures`.
        scores: the same people by score; None where `table` has the scores.
    """
    if not parents:
        return nothing_audited()
    scores = scores or table
    found = found or all_figures(table, scores, plan)
    evidence = Evidence(table, found, why, plan)
    drawn = simultaneous.resampled(evidence)
    references = {feature: _reference(table, feature, why, plan) for feature in parents}
    features = [_feature(evidence, name, parents, references[name], drawn) for name in parents]
    controlled = within(evidence, parents, references)
    rows = [r for f in features for r in f["comparisons"]["to_reference"]]
    rows += [r for part in controlled for r in part["rows"]]
    single = [n for n, of in parents.items() if len(of) == 1 and n not in plan.control]
    judged = [_judged(evidence, name, (coarse or {}).get(name, ())) for name in single]
    return {
        "features": features,
        "control": controlled,
        "exploratory": adjust(rows),
        "sweep": {"points": sweep(scores, single, plan, why)},
        "curves": curves(scores, single, plan, why),
        "gate": simultaneous.smallest_ratio(evidence, judged, drawn),
        "not_judged": [
            {"feature": one.feature, "group": table.labels[n], "reason": TOO_FEW}
            for one in judged
            for n in _listed(evidence, one.feature).tolist()
            if n not in (*one.shown, *one.coarse)
        ],
    }  # fmt: skip


def all_figures(table: ScoreTable, scores: ScoreTable, plan: AuditConfig) -> dict[str, Figures]:
    """Return every figure with its interval: of decisions from one table, of scores from the other.

    Args:
        table: of the people, by decision.
        scores: the same people by score; may be the same table.
        plan: confidence and resampling.
    """
    settings = (plan.confidence, plan.bootstraps, plan.seed)
    if scores is table:
        return figures(table, NAMES, *settings)
    return {
        **figures(table, ("n", "positives", *COUNTED), *settings),
        **figures(scores, SCORED, *settings),
    }


def _reference(table: ScoreTable, feature: str, why: Reasons, plan: AuditConfig) -> int:
    """Number of the group to compare with."""
    numbers = table.of(feature).tolist()
    labels, size = [table.labels[n] for n in numbers], table.counts[numbers].sum((1, 2))
    hidden = [why["people"][n] for n in numbers]
    return int(numbers[pick_reference(feature, labels, size, hidden, plan)])


def _listed(evidence: Evidence, feature: str) -> NDArray[np.int64]:
    """Groups of a feature; without those that are known to be empty."""
    table, numbers = evidence.table, evidence.table.of(feature)
    if table.noise:
        return numbers
    size = table.counts.sum((1, 2))
    return np.array(listed(numbers.tolist(), size, evidence.why["people"]), dtype=np.int64)


def _feature(
    evidence: Evidence, name: str, parents: Parents, reference: int, drawn: Array
) -> Table:
    """Tables and comparisons of one feature."""
    numbers = _listed(evidence, name)
    compare = name not in evidence.plan.control
    return {
        "name": name,
        "crosses": list(parents[name]) if len(parents[name]) > 1 else [],
        "control": not compare,
        "reference": evidence.table.labels[reference],
        "groups": [row_of(evidence, n) for n in numbers.tolist()],
        "comparisons": {
            "to_reference": to_reference(evidence, numbers, reference) if compare else [],
            "to_highest": to_highest(evidence, numbers) if compare else [],
            "summary": simultaneous.extremes(evidence, numbers, drawn) if compare else {},
        },
    }


def _judged(evidence: Evidence, feature: str, coarse: tuple[int, ...]) -> Judged:
    """Groups of a feature that the gate looks at."""
    numbers = evidence.table.of(feature).tolist()
    return Judged(feature, tuple(n for n in numbers if evidence.shown("selection_rate", n)), coarse)
