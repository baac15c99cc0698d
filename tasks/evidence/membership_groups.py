"""Whom an attack finds most easily: membership by group, beside groups drawn by lot.

The largest difference between groups is never 0, and small groups alone make it large. How large
by chance, the same computation tells with the labels shuffled.

n attacked people, G groups of one feature.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import stats
from tasks.evidence.families import benjamini_hochberg
from tasks.evidence.membership import true_positive_rates
from tasks.recipe import AttackConfig

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Codes = NDArray[np.int64]

# Fewer members or non-members than this say nothing about a group.
LEAST_PEOPLE = 30
STATISTICS = ("auc", "advantage")


@dataclass(frozen=True)
class Attacked:
    """Attacked people, by rising score.

    Attributes:
        scores: float [n], higher meaning member.
        ranks: int64 [n], the same for equal scores.
        member: bool [n].
        chooses: bool [n], whether the person is of the half that thresholds are chosen on.
        order: int64 [n], where each of them stood before.
    """

    scores: Array
    ranks: Codes
    member: Flags
    chooses: Flags
    order: Codes

    @classmethod
    def of(cls, scores: Array, member: Flags, seed: int) -> "Attacked":
        """Sort people, and halve members and non-members at random."""
        order = np.argsort(scores, kind="stable")
        score, is_member = scores[order], member[order]
        ranks = np.cumsum(np.r_[False, score[1:] != score[:-1]][: len(score)], dtype=np.int64)
        chooses = np.zeros(len(score), dtype=bool)
        rng = np.random.default_rng(seed)
        for side in (True, False):
            people = np.flatnonzero(is_member == side)
            chooses[rng.permutation(people)[: len(people) // 2]] = True
        return cls(score, ranks, is_member, chooses, order)

    def shuffled(self, codes: Codes, rng: np.random.Generator) -> Codes:
        """Return labels dealt out anew, as many of each as there are in each half of each side."""
        found = codes.copy()
        for people in (2 * self.member + self.chooses == kind for kind in range(4)):
            found[people] = rng.permutation(codes[people])
        return found


def area(ranks: Codes, member: Flags) -> float:
    """Return the AUC of ranks that rise; ties count half.

    Example:
        >>> area(np.array([0, 1, 1, 2]), np.array([False, True, False, True]))
        0.875
    """
    mine, others = ranks[member], ranks[~member]
    below = np.searchsorted(others, mine, side="left").sum()
    upto = np.searchsorted(others, mine, side="right").sum()
    return float(below + upto) / (2 * max(len(mine) * len(others), 1))


def judged(ranks: Codes, member: Flags, chooses: Flags) -> tuple[int, int, int, int]:
    """Return members found, members, others accused and others, of the half that judges.

    The threshold is the best one of the half that chooses.
    """
    mine, others = ranks[member & chooses], ranks[~member & chooses]
    bars = ranks[chooses]
    true = np.searchsorted(mine, bars, side="right") / max(len(mine), 1)
    false = np.searchsorted(others, bars, side="right") / max(len(others), 1)
    # Shares below: those above, negated, so that the best bar has the least difference.
    bar = bars[np.argmin(true - false)] if len(bars) else 0
    above = ranks > bar
    kept, lost = member & ~chooses, ~member & ~chooses
    return int(above[kept].sum()), int(kept.sum()), int(above[lost].sum()), int(lost.sum())


def _statistics(people: Attacked, codes: Codes, groups: Sequence[int]) -> Array:
    """AUC and advantage of some groups, float [2, len(groups)]."""
    found = np.full((2, len(groups)), math.nan)
    for at, group in enumerate(groups):
        own = codes == group
        ranks, member, chooses = people.ranks[own], people.member[own], people.chooses[own]
        hits, n, accused, m = judged(ranks, member, chooses)
        found[:, at] = area(ranks, member), hits / max(n, 1) - accused / max(m, 1)
    return found


def _range(values: Array) -> Array:
    """Largest less smallest over groups."""
    return values.max(axis=-1) - values.min(axis=-1)


def disparity(people: Attacked, codes: Codes, groups: Sequence[int], plan: AttackConfig) -> Any:
    """Return for AUC and advantage the largest difference between groups, beside its control.

    Args:
        people: sorted.
        codes: int64 [n], each one's group, in the same order.
        groups: that are large enough to compare.
        plan: shuffles and seed.

    Returns:
        By statistic: value, the control's median, 5 % and 95 % quantiles, and the p-value; None
        where fewer than two groups can be compared.

    Source: Kulynych, Yaghini, Cherubin, Veale and Troncoso (2022), "Disparate vulnerability to
    membership inference attacks"; p-value after Phipson and Smyth (2010).
    """
    if len(groups) < 2:
        return dict.fromkeys(STATISTICS)
    seen = _range(_statistics(people, codes, groups))
    rng = np.random.default_rng([plan.seed, 2])
    control = np.array(
        [
            _range(_statistics(people, people.shuffled(codes, rng), groups))
            for _ in range(plan.shuffles)
        ]
    )
    # The last digits of equal differences may differ.
    beyond = (control >= seen - 1e-12).sum(0)
    return {
        name: {
            "value": float(seen[at]),
            "control_median": float(np.median(control[:, at])),
            "control_low": float(np.quantile(control[:, at], 0.05)),
            "control_high": float(np.quantile(control[:, at], 0.95)),
            "p_value": float(beyond[at] + 1) / (plan.shuffles + 1),
        }
        for at, name in enumerate(STATISTICS)
    }


def _one(label: str, people: Attacked, own: Flags, plan: AttackConfig) -> dict[str, Any]:
    """One group's figures; null where it is too small."""
    member = people.member[own]
    found: dict[str, Any] = {
        "label": label,
        "members": int(member.sum()),
        "non_members": int((~member).sum()),
        "auc": None,
        "advantage": None,
        "tpr": [],
        "not_measurable": list(plan.false_positive_rates),
    }
    if min(found["members"], found["non_members"]) < LEAST_PEOPLE:
        return found
    scores = people.scores[own]
    counted = judged(people.ranks[own], member, people.chooses[own])
    return (
        found
        | {
            "auc": stats.auc(member, scores, plan.confidence).as_dict(),
            "advantage": stats.newcombe(*counted, plan.confidence).as_dict(),
        }
        | true_positive_rates(scores[member], scores[~member], plan)
    )


def by_group(
    scores: Array, member: Flags, sensitive: Mapping[str, Sequence[str]], plan: AttackConfig
) -> list[dict[str, Any]]:
    """Return membership figures by group of every sensitive feature, and how far they differ.

    A group's members are told from non-members of the same group, at thresholds of its own. The
    advantage is the true less the false positive rate at a threshold chosen on one half of the
    group and judged on the other.

    Args:
        scores: float [n], higher meaning member.
        member: bool [n].
        sensitive: by feature, label of each of the people.
        plan: rates, shuffles, confidence and seed.

    Returns:
        One entry a feature; `adjusted_p_value` is over all features and statistics.
    """
    people = Attacked.of(scores, member, plan.seed)
    found = []
    for name, column in sensitive.items():
        labels, numbers = np.unique(np.asarray(column, dtype=str), return_inverse=True)
        codes = numbers.astype(np.int64)[people.order]
        groups = [_one(str(x), people, codes == i, plan) for i, x in enumerate(labels)]
        large = [i for i, group in enumerate(groups) if group["auc"]]
        found.append(
            {
                "name": name,
                "groups": groups,
                "least_people": LEAST_PEOPLE,
                "disparity": disparity(people, codes, large, plan),
            }
        )
    tests = [t for f in found for t in f["disparity"].values() if t]
    for test, p in zip(tests, benjamini_hochberg([t["p_value"] for t in tests]), strict=True):
        test["adjusted_p_value"] = float(p)
    return found
