"""What is read from attributions: by group, with probe, ablation and reasons, inside and outside.

N people, F features, H hidden units, G groups of all sensitive features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rnn.heads import HEADS
from rnn.model import SequenceModel
from tasks.evidence import by_group, proxies, reason_counts
from tasks.evidence.attributions import MIN_PEOPLE, Attributions
from tasks.evidence.contributions import Attribute, Contributions, Rows, contributions, measured
from tasks.evidence.gradient_flow import gradient_flow
from tasks.evidence.reason_table import Words, reason_table
from tasks.evidence.reasons import (
    MOST,
    Decided,
    Stability,
    changed,
    decided,
    number_owners,
    points,
    principal,
    stability,
)
from tasks.evidence.subject import CONFIDENCE, Subject, decisions, one_a_person, withheld
from tasks.evidence.suppress import Groups

Json = dict[str, Any]

# Features whose shares are compared; of a text the commonest tokens.
MOST_FEATURES = 20
SMALL_CHANGES = 3


@dataclass(frozen=True)
class Reading:
    """Figures for the published and the internal file, and one row a person and reason."""

    published: Json
    internal: Json
    reasons: pl.DataFrame | None


def read(
    subject: Subject,
    rows: Rows,
    found: Attributions,
    methods: Mapping[str, Attribute],
    second: SequenceModel | None = None,
) -> Reading:
    """Return all that people read about attributions beyond their means.

    Args:
        subject: model and people.
        rows: int64 [N], held-out rows that were explained.
        found: their attributions by the first method.
        methods: by name; the first is the recipe's, the second is asked too, for stability.
        second: another private run of the same recipe.
    """
    # Matrices are small here: they are done before a second thread wakes up, and the same way.
    with threadpool_limits(1, user_api="blas"):
        return _read(subject, rows, found, methods, second)


def _read(
    subject: Subject,
    rows: Rows,
    found: Attributions,
    methods: Mapping[str, Attribute],
    second: SequenceModel | None,
) -> Reading:
    """The same, on one thread."""
    positions = one_a_person(subject.prepared, rows)
    rows = rows[positions]
    published: Json = {"groups": None, "proxies": None, "reasons": None}
    published["not_applicable"] = _not_applicable(subject)
    internal: Json = dict(published)
    if subject.sensitive.columns:
        groups = subject.groups(rows)
        sample = contributions(found.take(positions), subject.prepared, rows)
        published["groups"], internal["groups"], shares = _by_group(subject, groups, sample)
        if "proxies" not in published["not_applicable"]:
            published["proxies"], internal["proxies"] = proxies.find(subject, rows, groups, shares)
    decision = _reasons(subject, methods, second)
    table = None
    if decision is not None:
        published["reasons"], internal["reasons"], table = decision
    seed = subject.config.seed
    internal["gradient_flow"] = gradient_flow(subject.model, subject.prepared.sequences, rows, seed)
    return Reading(published, internal, table)


def _not_applicable(subject: Subject) -> dict[str, str]:
    """Which readings mean nothing here, and why."""
    found = {}
    if subject.model.shape.task in HEADS:
        found["proxies"] = "a model that answers step by step has no one state of a person to probe"
    if not subject.sensitive.columns:
        found |= dict.fromkeys(("groups", "proxies"), "the recipe names no sensitive features")
    if subject.target.decision is None:
        found["reasons"] = "reasons are those of decisions, and this model decides nothing"
    return found


def _by_group(
    subject: Subject, groups: Groups, sample: Contributions
) -> tuple[Json, Json, "proxies.Shares"]:
    """Shares of attributions by group, outside and inside."""
    shares = sample.shares()
    kept = by_group.largest(shares, MOST_FEATURES)
    names = tuple(sample.names[f] for f in kept)
    found = by_group.group_shares(
        groups, shares[:, kept], subject.config.permutations, subject.config.seed
    )
    both = [
        {
            "features": list(names),
            "people": len(shares),
            "permutations": subject.config.permutations,
            "confidence": CONFIDENCE,
            "sensitive": by_group.as_rows(groups, found, names, CONFIDENCE, hidden),
        }
        for hidden in (withheld(groups), None)
    ]
    keys = tuple((sample.kinds[f], sample.names[f]) for f in kept)
    return both[0], both[1], proxies.Shares(keys, found)


def _reasons(
    subject: Subject, methods: Mapping[str, Attribute], second: SequenceModel | None
) -> tuple[Json, Json, pl.DataFrame] | None:
    """Reasons of unfavourable decisions; None where there are none."""
    made = decisions(subject, every_row=True)
    if made is None or not subject.config.reason_people:
        return None
    config = subject.config
    people = decided(
        made.rows, made.favoured, -made.toward * made.score, made.toward,
        config.reason_people, config.seed,
    )  # fmt: skip
    main, *others = methods.values()
    first, usual = _asked(subject, subject.model, main, people)
    against = points(first.signed, usual, people.toward)
    chosen = principal(against)
    ways = {"change": _after_changes(subject, main, people, usual)}
    for name, model, method in [
        *(("method", subject.model, other) for other in others[:1]),
        *(("run", run, main) for run in (second,) if run is not None),
    ]:
        again, usual_again = _asked(subject, model, method, people)
        ways[name] = [principal(points(again.signed, usual_again, people.toward))]
    stable = stability(chosen, ways, config.reason_stability)
    table = _table(subject, people, first, against, chosen, stable)
    facts = _facts(subject, list(methods))
    groups = subject.groups(people.refused)
    published, internal = (
        {
            **facts,
            **reason_counts.overall(first, chosen, stable, CONFIDENCE, outside),
            "groups": reason_counts.by_group(groups, first, chosen, stable, CONFIDENCE, outside)
            if subject.sensitive.columns
            else None,
        }
        for outside in (True, False)
    )
    internal |= {"explained": len(people.refused), "unfavourable": people.of}
    return published, internal, table


def _facts(subject: Subject, methods: list[str]) -> Json:
    """How reasons were found."""
    return {
        "most": MOST,
        "wanted": subject.config.reason_stability,
        "confidence": CONFIDENCE,
        "min_people": MIN_PEOPLE,
        "other_method": methods[1] if len(methods) > 1 else None,
    }


def _asked(
    subject: Subject, model: SequenceModel, method: Attribute, people: Decided
) -> tuple[Contributions, NDArray[np.float64]]:
    """Contributions of the refused, and the mean ones of those who were nearest to refusal."""
    refused = measured(method, model, subject.prepared, people.refused, toward=people.toward)
    nearest = measured(method, model, subject.prepared, people.nearest, toward=people.toward)
    return refused, nearest.signed.mean(0)


def _after_changes(
    subject: Subject, method: Attribute, people: Decided, usual: NDArray[np.float64]
) -> list[Rows]:
    """Reasons after small changes of the refused people's own data."""
    schema, arrays = subject.prepared.schema, subject.prepared.sequences
    owners = number_owners(schema.get("channels", []))
    static = number_owners(schema["static"])
    out = []
    for turn in range(SMALL_CHANGES):
        moved = changed(arrays, people.refused, owners, static, subject.config.seed + turn)
        found = measured(
            method, subject.model, subject.prepared, np.arange(len(people.refused)),
            toward=people.toward, sequences=moved,
        )  # fmt: skip
        out.append(principal(points(found.signed, usual, people.toward)))
    return out


def _table(
    subject: Subject,
    people: Decided,
    found: Contributions,
    against: NDArray[np.float64],
    chosen: Rows,
    stable: Stability,
) -> pl.DataFrame:
    """One row a person and rank."""
    some = subject.predictions.select("row", "person_id", "y_score")
    scores = {row: (person, score) for row, person, score in some.iter_rows()}
    fed = frozenset(s.name for s in subject.data.sensitive if s.feed)
    words = Words(subject.prepared, subject.data, people.nearest)
    return reason_table(words, people, found, against, chosen, stable, scores, fed)
