"""What is said of all groups at once: the gate's smallest ratio, and the extremes of a feature.

B resamples, G groups of all features together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import stats
from tasks.evidence import families
from tasks.evidence.compared import Evidence
from tasks.evidence.table_intervals import Figures, percentiles, quotient, wilson
from tasks.evidence.table_metrics import rate_counts, rate_draws

Array = NDArray[np.float64]

# A ratio of a withheld group is told in these steps, away from equality.
GRAIN = 0.05
DRAWN = ("selection_rate", "tpr", "fpr")
PARTS = {"demographic_parity": ("selection_rate",), "equalized_odds": ("tpr", "fpr")}


@dataclass(frozen=True)
class Judged:
    """Groups of one feature that the gate looks at.

    Attributes:
        feature: name.
        shown: numbers of groups whose selection rate is shown.
        coarse: numbers of groups that are withheld only to protect others, and large enough to
            be judged in steps of `GRAIN`.
    """

    feature: str
    shown: tuple[int, ...]
    coarse: tuple[int, ...] = ()


def resampled(evidence: Evidence) -> Array:
    """Return resampled rates of `DRAWN`, float64 [B, G, 3]."""
    return rate_draws(evidence.table, DRAWN, evidence.plan.bootstraps, evidence.plan.seed)


def extremes(evidence: Evidence, numbers: NDArray[np.int64], draws: Array) -> dict[str, Any]:
    """Return largest gaps and smallest ratios over groups, with how far resampling moves them.

    They are biased away from equality and no interval of theirs covers as it should: `low` and
    `high` are the spread of resampled values, and are said to be without coverage.

    Args:
        evidence: figures of all groups.
        numbers: groups of one feature.
        draws: of `resampled`.
    """
    found: dict[str, Any] = {}
    for kind, parts in PARTS.items():
        shown = [n for n in numbers.tolist() if all(evidence.shown(m, n) for m in parts)]
        if len(shown) < 2:
            continue
        place = [DRAWN.index(part) for part in parts]
        values = np.stack([evidence.found[m].value[shown] for m in parts], 1)[None]
        for name, seen in (("difference", _gap), ("ratio", _ratio)):
            low, high = percentiles(seen(draws[:, shown][..., place]), evidence.plan.confidence)
            whole = stats.Interval(float(seen(values)[0]), float(low), float(high))
            found[f"{kind}_{name}"] = {**whole.as_dict(), "coverage": False}
    return found


def _gap(rates: Array) -> Array:
    """Largest difference over groups, of the worst rate: [..., J, R] -> [...]."""
    return np.asarray((rates.max(-2) - rates.min(-2)).max(-1))


def _ratio(rates: Array) -> Array:
    """Smallest ratio over groups, of the worst rate."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((rates.min(-2) / rates.max(-2)).min(-1))


def smallest_ratio(
    evidence: Evidence, judged: Sequence[Judged], draws: Array
) -> dict[str, Any] | None:
    """Return the smallest impact ratio between any two judged groups, for the gate.

    The lower rate over the higher, over all pairs of groups of each feature. The intervals of
    all pairs hold at once; the ends are the least of the low ends and the least of the high
    ends, so that they cover the smallest true ratio whichever pair that is.

    Args:
        evidence: figures of all groups.
        judged: by feature.
        draws: of `resampled`.

    Returns:
        None where no two groups can be compared.
    """
    rate = evidence.found["selection_rate"].value
    pairs: list[tuple[Judged, int, int]] = []
    for one in judged:
        for pair in combinations((*one.shown, *one.coarse), 2):
            a, b = sorted(pair, key=lambda n: float(rate[n]))
            if rate[b] > 0:
                pairs.append((one, a, b))
    if not pairs:
        return None
    lower, upper = (np.array([pair[k] for pair in pairs]) for k in (1, 2))
    found, confidence = _together(evidence, lower, upper, draws)
    labels = evidence.table.labels
    told = []
    for index, (one, a, b) in enumerate(pairs):
        ratio = found.at(index)
        if a in one.coarse or b in one.coarse:
            ratio = _outward(ratio)
        told.append((ratio, {"feature": one.feature, "group": labels[a], "reference": labels[b]}))
    least = min(told, key=lambda f: f[0].value)
    loosest = min(told, key=lambda f: f[0].low)
    high = min(1.0, *(ratio.high for ratio, _ in told))
    return {
        **least[1],
        "impact_ratio": stats.Interval(least[0].value, loosest[0].low, high).as_dict(),
        "low_from": loosest[1],
        "pairs": len(pairs),
        "confidence": evidence.plan.confidence,
        "each": confidence,
    }


def _together(
    evidence: Evidence, lower: NDArray[np.int64], upper: NDArray[np.int64], draws: Array
) -> tuple[Figures, float]:
    """Ratios with simultaneous intervals, and at which confidence each alone holds.

    Exact counts: Wilson's intervals at that confidence, combined on the log scale, which hold
    for few people too. Noised ones: max-T's own. Without a number, an end says nothing.
    """
    found = evidence.found["selection_rate"]
    value = found.value[lower] / found.value[upper]
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = draws[:, lower, 0] / draws[:, upper, 0]
    drawn = np.where(drawn > 0, drawn, np.nan)
    family = families.max_t(value, drawn, evidence.plan.confidence, log=True)
    each = family.confidence
    if evidence.table.noise == 0:
        each = (
            max(each, evidence.plan.confidence)
            if math.isfinite(each)
            else _bonferroni(evidence, len(value))
        )
        hits, of = rate_counts(evidence.table.cells, ("selection_rate",))
        rates = wilson(hits[:, 0], of[:, 0], each)
        whole = quotient(rates[lower], rates[upper])
    else:
        whole = Figures(value, family.low, family.high)
    low = np.where(np.isfinite(whole.low), whole.low, 0.0)
    return Figures(value, low, np.where(np.isfinite(whole.high), whole.high, np.inf)), each


def _bonferroni(evidence: Evidence, pairs: int) -> float:
    """The confidence of each pair where nothing could be resampled."""
    return 1 - (1 - evidence.plan.confidence) / pairs


def _outward(interval: stats.Interval) -> stats.Interval:
    """The interval in coarse steps, never narrower; the value in the nearest step."""
    value = round(round(interval.value / GRAIN) * GRAIN, 2)
    low = round(math.floor(interval.low / GRAIN) * GRAIN, 2)
    high = interval.high
    return stats.Interval(
        value, low, round(math.ceil(high / GRAIN) * GRAIN, 2) if math.isfinite(high) else high
    )
