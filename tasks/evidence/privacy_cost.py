"""Who loses under privacy: the private model minus its twin, on the same people, by group.

Internal: the twin is trained without privacy. N rows, G groups of single features, C classes,
Q blocks of people, B resamples, S sums of each group.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks import stats
from tasks.evidence.audited import Audited, pick_reference
from tasks.evidence.calibration import poisson_weights
from tasks.evidence.suppress import Groups
from tasks.evidence.table_intervals import percentiles
from tasks.evidence.table_metrics import ratio
from tasks.recipe import AuditConfig

Array = NDArray[np.float64]
Table = dict[str, Any]

# People are resampled in so many random blocks at most: the price is the same for millions.
BLOCKS = 2000


def privacy_cost(model: Audited, twin: Audited, groups: Groups, plan: AuditConfig) -> list[Table]:
    """Return loss, skill and accuracy of each group, private minus twin, by paired bootstrap.

    Both models are resampled together, persons with all their rows. `disparity` is a group's
    difference minus that of the reference group: signed, and 0 where privacy costs both alike.
    `disagreement` is the share decided otherwise by the twin.

    Args:
        model: private.
        twin: the same rows.
        groups: of single features.
        plan: references, resamples and confidence.
    """
    if model.loss is None or twin.loss is None or not groups.labels:
        return []
    columns = _columns(model, twin)
    found = block_sums(columns, groups, model.persons, plan.seed)
    value = _figures(found.sum(0)[None], model.task)
    draws = _resampled(found, model.task, plan)
    tables = []
    for feature in dict.fromkeys(groups.features):
        numbers = groups.of(feature)
        size = found.sum(0)[numbers, 0]
        labels = [groups.labels[n] for n in numbers]
        base = pick_reference(feature, labels, size, [None] * len(labels), plan)
        rows = []
        for place, number in enumerate(numbers.tolist()):
            if size[place] <= 0:
                continue
            row: Table = {"label": labels[place], "n": int(size[place])}
            for name in value:
                row[name] = _interval(value[name][0, number], draws[name][:, number], plan)
                other = int(numbers[base])
                apart = value[name][0, number] - value[name][0, other]
                moved = draws[name][:, number] - draws[name][:, other]
                if place != base and name != "disagreement":
                    row[f"{name}_disparity"] = _interval(apart, moved, plan)
            if "disagreement" in row and not model.repeated:
                differ = found.sum(0)[number, 5]
                row["disagreement"] = stats.wilson(differ, row["n"], plan.confidence).as_dict()
            rows.append(row)
        tables.append({"name": feature, "reference": labels[base], "groups": rows})
    return tables


def _interval(value: float, draws: Array, plan: AuditConfig) -> Table:
    """A figure between the percentiles of its resampled values."""
    low, high = percentiles(draws[:, None], plan.confidence)
    if low[0] == high[0]:
        # Nobody differs: that few people are alike says nothing of others.
        return stats.Interval(float(value), np.nan, np.nan).as_dict()
    return stats.Interval(float(value), float(low[0]), float(high[0])).as_dict()


def _columns(model: Audited, twin: Audited) -> Array:
    """What each row adds to the sums: itself, losses, hits, disagreement, classes: [N, S]."""
    assert model.loss is not None and twin.loss is not None
    one = np.ones(len(model.y))
    if model.task == "regression":
        hits = [np.abs(m.d.astype(np.float64) - m.y) for m in (model, twin)]
        classes = np.zeros((len(one), 0))
    else:
        hits = [(m.d == m.y).astype(np.float64) for m in (model, twin)]
        classes = np.eye(int(model.y.max(initial=0)) + 1)[model.y]
    differ = (model.d != twin.d).astype(np.float64)
    return np.column_stack([one, model.loss, twin.loss, *hits, differ, classes])


def block_sums(columns: Array, groups: Groups, persons: NDArray[np.int64], seed: int) -> Array:
    """Return sums of each block of people and group, float64 [Q, G, S]; a person is in one block.

    Args:
        columns: float64 [N, S], what each row adds.
        groups: of N rows.
        persons: int64 [N], number of each row's person.
        seed: of who shares a block where there are more people than blocks.
    """
    people = int(persons.max(initial=-1)) + 1
    blocks = max(1, min(BLOCKS, people))
    block = np.random.default_rng(seed).permutation(people)[persons] % blocks
    size = len(groups.labels)
    found = np.zeros((columns.shape[1], blocks * size))
    for codes in groups.codes.T:
        place = block * size + codes
        for index, column in enumerate(columns.T):
            found[index] += np.bincount(place, column, blocks * size)
    return np.moveaxis(found.reshape(len(found), blocks, size), 0, 2)


def _resampled(found: Array, task: str, plan: AuditConfig) -> dict[str, Array]:
    """Figures of resampled blocks, [B, G] each."""
    blocks, size, sums = found.shape
    flat = found.reshape(blocks, size * sums)
    drawn = [
        _figures((weights @ flat).reshape(-1, size, sums), task)
        for weights in poisson_weights(blocks, plan.bootstraps, plan.seed)
    ]
    return {name: np.concatenate([d[name] for d in drawn]) for name in drawn[0]}


def _figures(sums: Array, task: str) -> dict[str, Array]:
    """Differences, private minus twin, from sums [B, G, S]."""
    size, ours, other, hit, twin_hit, differ = np.moveaxis(sums[..., :6], -1, 0)
    found = {"loss": ratio(ours - other, size)}
    if task == "regression":
        return {**found, "mae": ratio(hit - twin_hit, size)}
    share = ratio(sums[..., 6:], size[..., None])
    own = special.entr(np.where(np.isfinite(share), share, 0.0)).sum(-1)
    return {
        **found,
        # Both models are measured against the same predictor: the group's own base rates.
        "skill": -ratio(found["loss"], own),
        "accuracy": ratio(hit - twin_hit, size),
        "disagreement": ratio(differ, size),
    }
