"""Thresholds by group, released by training: one noised histogram of training people, once.

n rows of training people, G labels of the feature, K score bins. Nothing of it is seen before
the model's folder stands whole: a run that is killed before that has released nothing, and the
one that takes it up draws once.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rnn.fairness.config import GroupThresholds
from rnn.fairness.groups import Groups
from rnn.privacy.histogram import Histogram
from rnn.privacy.noise import Keystream
from tasks import artifacts
from tasks.evidence import group_thresholds as by_group
from tasks.evidence.kept import kept
from tasks.evidence.score_table import ScoreTable, decided_bin, fine_edges, tabulate
from tasks.evidence.scoring import model_logits, scores_of
from tasks.recipe import Cut, TrainPlan

Array = NDArray[np.float64]

FILE = "thresholds.json"
# Bins of thresholds without noise, as fine as a threshold can be.
EXACT_BINS = 1000
# Number of the stream; steps use those from 0 on, releases of held-out people two others.
STREAM = 2**62 + 2


@dataclass(frozen=True)
class Limit:
    """How many rows of a person count: `kept` reads it.

    Attributes:
        unit: record or person.
        max_rows: of a person.
    """

    unit: str
    max_rows: int


def limit_of(block: GroupThresholds, unit: str) -> Limit:
    """Return the limit of a histogram: a record is one row."""
    return Limit(unit, block.max_rows if unit == "person" else 1)


def table_of(
    block: GroupThresholds,
    cut: Cut,
    event_scores: Array,
    event: NDArray[np.integer],
    groups: Groups,
) -> ScoreTable:
    """Return people counted by label, outcome and score of the favourable outcome, exact.

    Bins are equal; where the recipe states a threshold, the next edge is moved onto it. Nothing
    of them depends on people.

    Args:
        block: feature and bins.
        cut: of the decision.
        event_scores: probability of the event [n].
        event: 1 or 0 [n].
        groups: of the same people.
    """
    favoured = 1 if cut.event_favoured else 0
    scores = event_scores if cut.event_favoured else 1 - event_scores
    stated = cut.threshold
    middle = 0.5 if stated is None else stated if cut.event_favoured else 1 - stated
    edges = fine_edges(middle, block.score_bins)
    decided = decided_bin(edges, middle)
    return tabulate(
        (block.feature,) * len(groups.labels),
        groups.labels,
        groups.codes[:, None],
        (event == favoured).astype(np.int64),
        scores,
        (scores >= edges[decided]).astype(np.int64),
        edges,
        decided,
    )


def released(table: ScoreTable, mechanism: Histogram, stream: Keystream) -> ScoreTable:
    """Return the table with noise: the only thing that depends on training people from here on.

    Args:
        table: exact, of the rows that are `kept`.
        mechanism: of one table.
        stream: where the noise comes from, used for nothing else.
    """
    counts = mechanism.release(table.counts, stream)
    return replace(table, counts=counts, noise=mechanism.standard_deviation)


def thresholds_of(table: ScoreTable, block: GroupThresholds, cut: Cut) -> by_group.GroupThresholds:
    """Return thresholds on the probability of the favourable outcome; costs nothing more."""
    return by_group.group_thresholds(table, block.feature, block.goal, cut.approval_rate)


def release(
    plan: TrainPlan, prepared: artifacts.Prepared, weights: Path, stream: Keystream
) -> dict[str, Any]:
    """Return thresholds.json: thresholds by group, and the noised counts that they are made of.

    Args:
        plan: with privacy and a mitigation of thresholds by group.
        prepared: of all people; those of split "train" are counted.
        weights: folder of the model as it is released.
        stream: of this release alone.

    Raises:
        ValueError: the plan has no thresholds by group, or nobody's group is known.
    """
    block, cut, privacy, groups = plan.mitigation, plan.cut, plan.privacy, prepared.groups
    if not isinstance(block, GroupThresholds) or cut is None or privacy is None or groups is None:
        raise ValueError("no thresholds by group are planned")
    limit = limit_of(block, privacy.unit)
    rows = prepared.rows("train")
    rows = rows[kept(prepared.people["person_id"].gather(rows), limit)]
    logits = model_logits(artifacts.read_model(weights), prepared.sequences, rows)
    event = np.asarray(prepared.sequences.targets[rows]).astype(np.int64)
    own = Groups(np.asarray(groups.codes[rows]), groups.labels)
    exact = table_of(block, cut, scores_of(logits, "binary"), event, own)
    mechanism = Histogram(1, block.noise_multiplier, limit.max_rows)
    noised = released(exact, mechanism, stream)
    found = thresholds_of(noised, block, cut)
    return {
        **by_group.as_published(found, cut.event_favoured),
        "labels": list(groups.labels),
        "histogram": {
            "edges": noised.edges.tolist(),
            "counts": noised.counts.tolist(),
            "noise": noised.noise,
            "noise_multiplier": mechanism.noise_multiplier,
            "sensitivity": mechanism.sensitivity,
            "max_rows": mechanism.max_rows,
            "of": "training people by group, outcome (unfavourable, favourable) and probability "
            "of the favourable outcome, with Gaussian noise",
        },
    }


def write(
    draft: Path, plan: TrainPlan, prepared: artifacts.Prepared | None, stream: Keystream
) -> None:
    """Write thresholds.json beside the weights, where the recipe has thresholds by group.

    Args:
        draft: folder with the model as it is released, not yet in place.
        plan: of the run.
        prepared: of all people.
        stream: of the run; a child of its own is used.
    """
    if isinstance(plan.mitigation, GroupThresholds) and prepared is not None:
        found = release(plan, prepared, draft, stream.child(STREAM))
        artifacts.write_json(draft / FILE, found)


def read(model: Path) -> dict[str, Any] | None:
    """Return a model's thresholds by group; None where one threshold decides about everybody."""
    file = model / FILE
    return dict(artifacts.read_json(file)) if file.exists() else None


def exact(
    released: dict[str, Any],
    cut: Cut,
    event_scores: Array,
    event: NDArray[np.integer],
    groups: Groups,
) -> dict[str, Any]:
    """Return thresholds for the same feature and goal without noise: internal.

    Args:
        released: thresholds of the private model.
        cut: of the decision.
        event_scores: another model's probability of the event [n].
        event: 1 or 0 [n].
        groups: of the same people.
    """
    block = GroupThresholds(
        method="group_thresholds",
        feature=released["feature"],
        goal=released["goal"],
        score_bins=EXACT_BINS,
    )
    table = table_of(block, cut, event_scores, event, groups)
    return by_group.as_published(thresholds_of(table, block, cut), cut.event_favoured)


def labels_of(groups: Groups) -> list[str]:
    """Return the label of each person."""
    return pl.Series(groups.labels).gather(np.asarray(groups.codes)).to_list()
