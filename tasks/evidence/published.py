"""The audit as it may be shown: from noised tables, or exact with small groups withheld.

N rows of held-out people.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tasks.evidence import history, release
from tasks.evidence.audited import Audited, coarse_groups, count, levels_of
from tasks.evidence.curves import curve
from tasks.evidence.intersections import CROSS, Crossed
from tasks.evidence.kept import kept
from tasks.evidence.noised import Charge, released
from tasks.evidence.plain_audit import audit_plain
from tasks.evidence.score_table import ScoreTable, coarse_edges, fine_edges
from tasks.evidence.suppress import reasons
from tasks.evidence.table_audit import all_figures, as_scored, audit_table
from tasks.evidence.table_intervals import figures
from tasks.recipe import AuditConfig, ReleasePlan, TargetPlan

Table = dict[str, Any]


def noised_audit(
    data: Audited,
    sensitive: dict[str, list[str]],
    people: pl.Series,
    plan: AuditConfig,
    wanted: ReleasePlan,
    threshold: float,
    root: Path,
    draw: str | None = None,
    charge: Charge | None = None,
) -> Table:
    """Return the audit of a pair of noised tables, for publication.

    Args:
        data: of a binary target.
        sensitive: label of each of N people by feature.
        people: id of each row's person.
        plan: references, confidence, smallest numbers.
        wanted: epsilon, public groups and score bins.
        threshold: of the favourable score.
        root: where the recipe's releases are remembered.
        draw: name of the private choice of the threshold; None where it is public.
        charge: writes down what is about to be drawn, if anything is.
    """
    counted = kept(people, wanted)
    # Without features everyone is one group, which is no table of the report's.
    groups = release.public_groups(wanted, sensitive or {release.EVERYONE: [""] * len(people)})
    some = replace(groups, codes=groups.codes[counted])
    assert data.score is not None
    part = Audited(
        "binary", data.y[counted], data.d[counted], data.score[counted], by_score=data.by_score
    )
    edges = coarse_edges(threshold, wanted.score_bins)
    exact = count(part, some, threshold, edges)
    noisy, account = released(exact, wanted, root, draw, charge)
    scores, decisions = noisy.scores, noisy.decisions
    parents = {
        name: tuple(crossing) for name, crossing in _crossings(scores.features, wanted).items()
    }
    why = release.reasons(noisy, plan.min_people, plan.min_events)
    return {
        **audit_table(decisions, plan, parents, why, scores=scores),
        **_everyone(release.overall(decisions), release.overall(scores), plan),
        "source": {"kind": "noised", "left_out": list(wanted.undeclared), **account},
    }


def _everyone(decisions: ScoreTable, scores: ScoreTable, plan: AuditConfig) -> Table:
    """Figures and calibration of all people together, from both noised tables."""
    more = ("loss", "calibration_intercept")
    found = all_figures(decisions, scores, plan)
    found |= figures(scores, more, plan.confidence, plan.bootstraps, plan.seed)
    return {
        "overall": {name: figure.at(0).as_dict() for name, figure in found.items()},
        "calibration": curve(scores, 0, plan)["calibration"],
    }


def _crossings(features: tuple[str, ...], wanted: ReleasePlan) -> dict[str, tuple[str, ...]]:
    """Which single features each published feature crosses."""
    crossed = {CROSS.join(parts): parts for parts in wanted.intersections}
    names = [name for name in dict.fromkeys(features) if name != release.EVERYONE]
    return {name: crossed.get(name, (name,)) for name in names}


def suppressed_audit(
    data: Audited,
    crossed: Crossed,
    people: pl.Series,
    plan: AuditConfig,
    contents: dict[str, str],
    threshold: float | None,
    root: Path,
    names: tuple[str, ...] = (),
) -> Table:
    """Return the exact audit without what rests on few people, for publication.

    What earlier versions showed of the same people counts as known. Sweep and curves are left
    out: they show counts of single scores.

    Args:
        data: outcomes and predictions.
        crossed: groups of all features and crossings.
        people: id of each row's person.
        plan: smallest numbers to show.
        contents: by level, what is counted.
        threshold: of the favourable score; None unless binary.
        root: where the recipe's publications are remembered.
        names: of classes.
    """
    groups = crossed.groups
    levels = levels_of(data, groups, plan.min_people, plan.min_events)
    now = history.Published(history.names_of(people), groups, tuple(levels), contents)
    told = history.told(history.earlier(root, now.digest()), now)
    size = groups.tally(np.zeros(len(data.y), dtype=np.int64), 1)[:, 0]
    why = reasons(groups, levels, size, told)
    if data.task == "binary":
        assert threshold is not None
        counted = count(data, groups, threshold, fine_edges(threshold))
        coarse = coarse_groups(groups, levels, why)
        shown = as_scored(why)
        whole = audit_table(
            counted.decisions, plan, crossed.parents, shown, coarse, scores=counted.scores
        )
        whole |= {"sweep": {"points": []}, "curves": []}
    else:
        whole = audit_plain(data, crossed, plan, why, names)
    history.remember(root, now, why)
    return {**whole, "overall": None, "source": {"kind": "suppressed"}}


def contents_of(data: Audited, people: tuple[str, ...], wanted: TargetPlan) -> dict[str, str]:
    """Return by level what is counted: two audits that count the same have the same words.

    An outcome is a fact about a person; a decision is one about this model's people.
    """
    outcome = repr(wanted.target)
    decided = hashlib.sha256(repr((outcome, people)).encode())
    decided.update(np.ascontiguousarray(data.d).tobytes())
    model = decided.hexdigest()
    for ends in (data.low, data.high):
        decided.update(b"" if ends is None else np.ascontiguousarray(ends).tobytes())
    return {
        "people": "",
        "outcome": outcome,
        **dict.fromkeys(("decision", "cells", "classes"), model),
        "covered": decided.hexdigest(),
    }
