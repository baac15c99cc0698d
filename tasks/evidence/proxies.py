"""Which features tell the model who somebody is, and what happens without them.

N people, F features, G groups of all sensitive features, H hidden units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import stats
from tasks.evidence.ablation import (
    NOTHING,
    Change,
    Key,
    Parts,
    as_many,
    impact_changes,
    parts_of,
    run_without,
    together,
    top,
)
from tasks.evidence.by_group import GroupShares
from tasks.evidence.contributions import Rows
from tasks.evidence.probe import Probe, fit_probe, shuffled_aucs
from tasks.evidence.proxies_told import publishable
from tasks.evidence.subject import CONFIDENCE, Decisions, Subject, decisions, withheld
from tasks.evidence.suppress import Groups

Json = dict[str, Any]
Floats = NDArray[np.float64]

# Features that are taken away together at most.
MOST = 3
# A difference in shares counts where its adjusted p-value is at most this.
LEVEL = 0.05
MOST_PEOPLE = 20_000
RESAMPLES = 1000


@dataclass(frozen=True)
class Shares:
    """Shares of attributions by group, and whose they are.

    Attributes:
        keys: kind and name of the F features.
        found: by group.
    """

    keys: tuple[Key, ...]
    found: GroupShares


@dataclass(frozen=True)
class _Looked:
    """What is measured once for all sensitive features.

    Attributes:
        subject: model and people.
        rows: int64 [N], the sample.
        groups: of the sample.
        parts: where each of the F features stands.
        keys: kind and name of each.
        states: float64 [N, H].
        without: the same without each feature, F of them.
        made: decisions of held-out people, None where nothing is decided.
    """

    subject: Subject
    rows: Rows
    groups: Groups
    parts: tuple[Parts, ...]
    keys: tuple[Key, ...]
    states: Floats
    without: tuple[Floats, ...]
    made: Decisions | None

    def run(self, rows: Rows, parts: Parts = NOTHING) -> tuple[Floats, Floats]:
        """States and logits of some rows without some features."""
        return run_without(self.subject.model, self.subject.prepared.sequences, rows, parts)


def find(subject: Subject, rows: Rows, groups: Groups, shares: Shares) -> tuple[Json, Json]:
    """Return probes and ablations of every sensitive feature, for outside and inside.

    Args:
        subject: model and people.
        rows: int64 [N], the sample, one row a person.
        groups: of the sample.
        shares: by group, of the same sample.
    """
    where = parts_of(subject.prepared.schema, subject.prepared.sequences.input_size)
    parts = tuple(where[key] for key in shares.keys)
    sequences = subject.prepared.sequences
    states = [run_without(subject.model, sequences, rows, p)[0] for p in (NOTHING, *parts)]
    made = decisions(subject)
    if made is not None and len(made.rows) > MOST_PEOPLE:
        made = Decisions(
            made.rows[:MOST_PEOPLE], made.favoured[:MOST_PEOPLE], made.score[:MOST_PEOPLE],
            made.toward,
        )  # fmt: skip
    looked = _Looked(subject, rows, groups, parts, shares.keys, states[0], tuple(states[1:]), made)
    hidden = withheld(groups)
    told = _told_decisions(subject, made)
    outside, inside = [], []
    for feature in dict.fromkeys(groups.features):
        found = _feature(looked, feature, shares)
        inside.append(found)
        outside.append(publishable(found, feature, groups, hidden, told.get(feature, set())))
    facts = {
        "people": len(rows),
        "confidence": CONFIDENCE,
        "shuffles": subject.config.probe_shuffles,
        "decided": made is not None,
    }
    return {**facts, "sensitive": outside}, {**facts, "sensitive": inside}


def _told_decisions(subject: Subject, made: Decisions | None) -> dict[str, set[str]]:
    """Labels by feature whose decisions may be spoken of: enough people, and others too."""
    if made is None:
        return {}
    groups = subject.groups(made.rows)
    hidden = withheld(groups)
    told: dict[str, set[str]] = {feature: set() for feature in groups.features}
    for g, why in enumerate(hidden):
        if why is None:
            told[groups.features[g]].add(groups.labels[g])
    return told


def _feature(looked: _Looked, feature: str, shares: Shares) -> Json:
    """Probe, carriers and ablations of one sensitive feature, everything told."""
    codes, config = looked.groups.column(feature), looked.subject.config
    probe = fit_probe(looked.states, codes, config.seed)
    drops = np.zeros(len(looked.keys))
    rows: list[Json] = []
    if probe is not None:
        by_chance = shuffled_aucs(
            looked.states, codes, config.probe_shuffles, config.seed, CONFIDENCE
        )
        kept = _told_apart(probe)
        drops = _drops(looked, probe, kept)
        rows = [_probed(looked, probe, g, by_chance.get(g, [])) for g in kept]
    members = looked.groups.of(feature)
    gap = np.abs(shares.found.mean - shares.found.rest)[members]
    gap = np.where(shares.found.adjusted[members] <= LEVEL, gap, 0.0)
    chosen = {
        "probe": top(drops, MOST) if any(_above_chance(row) for row in rows) else [],
        "attributions": top(gap.max(0), MOST),
    }
    return {
        "name": feature,
        "probe": rows,
        "carriers": [
            {"feature": name, "kind": kind, "drop": float(drop)}
            for (kind, name), drop in zip(looked.keys, drops, strict=True)
        ],
        "ablations": _ablations(looked, feature, chosen),
    }


def _told_apart(probe: Probe) -> list[int]:
    """Groups to report: of two the first alone, for the second is its mirror."""
    groups = [int(g) for g in probe.groups]
    return groups[:1] if len(groups) == 2 else groups


def _probed(looked: _Looked, probe: Probe, group: int, by_chance: Sequence[float]) -> Json:
    """How well one group is told from the others, and how well by chance."""
    chance = np.array(by_chance)
    return {
        "label": looked.groups.labels[group],
        "auc": probe.auc(looked.states, group, CONFIDENCE).as_dict(),
        "shuffled": {
            "value": float(chance.mean()) if len(chance) else None,
            "low": float(chance.min()) if len(chance) else None,
            "high": float(chance.max()) if len(chance) else None,
        },
    }


def _above_chance(row: Json) -> bool:
    """Whether a probe's interval lies above one half, and its value above every shuffled one."""
    auc, chance = row["auc"], row["shuffled"]["high"]
    return auc["low"] is not None and auc["low"] > 0.5 and (chance is None or auc["value"] > chance)


def _drops(looked: _Looked, probe: Probe, kept: Sequence[int]) -> Floats:
    """How much of the probe's AUC each feature carries: the most over groups, float64 [F]."""
    whole = np.array([probe.auc(looked.states, g, CONFIDENCE).value for g in kept])
    left = [[probe.auc(s, g, CONFIDENCE).value for g in kept] for s in looked.without]
    return np.asarray((whole - np.array(left)).max(1))


def _ablations(looked: _Looked, feature: str, chosen: dict[str, list[int]]) -> list[Json]:
    """What happens without the chosen features; the same ones are taken away once."""
    found: dict[tuple[int, ...], Json] = {}
    for why, features in chosen.items():
        # Without any feature there is no model left to ask.
        few = tuple(sorted(features[: max(1, len(looked.keys) - 1)]))
        if not few:
            continue
        if few in found:
            found[few]["chosen_by"].append(why)
            continue
        parts = together(looked.parts[f] for f in few)
        found[few] = {
            "chosen_by": [why],
            "features": [looked.keys[f][1] for f in few],
            "probe": _probe_without(looked, feature, parts),
            "groups": [],
            "auc_change": None,
            **(_decided_without(looked, feature, parts) if looked.made else {}),
        }
    return list(found.values())


def _probe_without(looked: _Looked, feature: str, parts: Parts) -> list[Json]:
    """A probe fitted anew on states that know nothing of some features."""
    states, _ = looked.run(looked.rows, parts)
    probe = fit_probe(states, looked.groups.column(feature), looked.subject.config.seed)
    return [
        {"label": looked.groups.labels[g], "auc": probe.auc(states, g, CONFIDENCE).as_dict()}
        for g in (_told_apart(probe) if probe is not None else [])
        if probe is not None
    ]


def _decided_without(looked: _Looked, feature: str, parts: Parts) -> Json:
    """Impact ratios and the model's own AUC where some features say nothing.

    As many people as before get the favourable decision, those with the best new scores.
    """
    made, subject = looked.made, looked.subject
    assert made is not None
    logit = looked.run(made.rows, parts)[1][:, 0]
    after = as_many(-made.toward * logit, int(made.favoured.sum()))
    groups = subject.groups(made.rows)
    reference = _reference(subject, groups, feature)
    changes = impact_changes(
        groups.column(feature), reference, made.favoured, after, RESAMPLES,
        subject.config.seed, CONFIDENCE,
    )  # fmt: skip
    events = np.asarray(subject.prepared.sequences.targets[made.rows]) == 1
    values, covariance = stats.auc_covariance(events, [logit, made.score])
    change = float(values[0] - values[1])
    spread = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    half = stats.normal_quantile(CONFIDENCE) * float(np.sqrt(max(spread, 0.0)))
    return {
        "reference": groups.labels[reference],
        "groups": [_changed(groups.labels[g], change_) for g, change_ in changes.items()],
        "auc_change": stats.Interval(change, change - half, change + half).as_dict(),
    }


def _reference(subject: Subject, groups: Groups, feature: str) -> int:
    """The group that the recipe names, or else the largest."""
    members = groups.of(feature)
    named = subject.references.get(feature)
    for g in members.tolist():
        if groups.labels[g] == named:
            return int(g)
    return int(members[np.argmax([groups.members(g).sum() for g in members])])


def _changed(label: str, change: Change) -> Json:
    """A group's ratios as JSON."""
    return {
        "label": label,
        "before": change.before.as_dict(),
        "after": change.after.as_dict(),
        "factor": change.factor.as_dict(),
    }
