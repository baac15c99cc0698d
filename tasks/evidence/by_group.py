"""Whether the model listens to other things in one group than in the rest.

N people, F features of the model, G groups of all sensitive features, B permutations.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.evidence.families import benjamini_hochberg
from tasks.evidence.suppress import Groups
from tasks.stats import Interval, normal_quantile

Floats = NDArray[np.float64]

# A mean over many of whom a few have the feature at all speaks of those few.
MIN_CARRIERS = 10
_AT_ONCE = 250
_TINY = 1e-12


@dataclass(frozen=True)
class GroupShares:
    """Shares of attributions in each group and outside it; NaN where there are below two people.

    Attributes:
        mean: float64 [G, F].
        rest: float64 [G, F], of the people of other groups of the same sensitive feature.
        error: float64 [G, F], standard error of the mean.
        difference_error: float64 [G, F], standard error of mean less rest.
        carriers: int64 [G, F], people with a share above 0.
        p: float64 [G, F], of no difference, by permutation.
        adjusted: float64 [G, F], the same after Benjamini and Hochberg over the whole table.
    """

    mean: Floats
    rest: Floats
    error: Floats
    difference_error: Floats
    carriers: NDArray[np.int64]
    p: Floats
    adjusted: Floats

    def share(self, group: int, feature: int, confidence: float) -> Interval:
        """Return a group's mean share with its normal interval."""
        half = normal_quantile(confidence) * float(self.error[group, feature])
        value = float(self.mean[group, feature])
        return Interval(value, value - half, value + half).clip(0.0, 1.0)

    def difference(self, group: int, feature: int, confidence: float) -> Interval:
        """Return a group's mean share less that of the rest."""
        half = normal_quantile(confidence) * float(self.difference_error[group, feature])
        value = float(self.mean[group, feature] - self.rest[group, feature])
        return Interval(value, value - half, value + half)


def _moments(inside: Floats, shares: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Means and squared errors inside and outside; inside float [B, N] of 0 and 1."""
    size = inside.sum(1)[:, None]
    other = len(shares) - size
    with np.errstate(invalid="ignore", divide="ignore"):
        first, second = inside @ shares, inside @ shares**2
        mean, rest = first / size, (shares.sum(0) - first) / other
        within = (second - size * mean**2) / (size - 1) / size
        without = ((shares**2).sum(0) - second - other * rest**2) / (other - 1) / other
    return mean, rest, np.maximum(within, 0), np.maximum(without, 0)


def _studentised(inside: Floats, shares: Floats) -> Floats:
    """Welch's statistic of each feature, [B, F]; 0 where nothing varies."""
    mean, rest, within, without = _moments(inside, shares)
    error = np.sqrt(within + without)
    return np.divide(mean - rest, error, out=np.zeros_like(mean), where=error > _TINY)


def permutation_p(
    member: NDArray[np.bool_], shares: Floats, permutations: int, seed: int
) -> Floats:
    """Return for each feature the chance of so large a difference under shuffled membership.

    The statistic is studentised, so that groups of unequal spread do not count as unequal means.

    Args:
        member: bool [N].
        shares: float64 [N, F].
        permutations: B; the smallest p-value is 1 / (B + 1).
        seed: of the shuffling.

    Source: Chung and Romano (2013); Phipson and Smyth (2010) for the 1 in both counts.
    """
    generator = np.random.default_rng(seed)
    seen = np.abs(_studentised(member[None].astype(np.float64), shares)[0])
    beyond = np.zeros(shares.shape[1])
    for start in range(0, permutations, _AT_ONCE):
        count = min(_AT_ONCE, permutations - start)
        drawn = generator.permuted(np.tile(member.astype(np.float64), (count, 1)), axis=1)
        beyond += (np.abs(_studentised(drawn, shares)) >= seen - _TINY).sum(0)
    return (beyond + 1) / (permutations + 1)


def group_shares(groups: Groups, shares: Floats, permutations: int, seed: int) -> GroupShares:
    """Return shares by group, each group against the rest of its sensitive feature.

    Of two groups the second is the mirror of the first: they count once in the family.

    Args:
        groups: of N people.
        shares: float64 [N, F], each row adding up to 1.
        permutations: B.
        seed: of the shuffling.
    """
    size = (len(groups.labels), shares.shape[1])
    mean, rest, error, both, p = (np.full(size, math.nan) for _ in range(5))
    carriers = np.zeros(size, dtype=np.int64)
    mirror = {}
    for feature in dict.fromkeys(groups.features):
        table = [g for g in groups.of(feature).tolist() if groups.members(g).sum() >= 2]
        for position, g in enumerate(table):
            member = groups.members(g)
            moments = _moments(member[None].astype(np.float64), shares)
            mean[g], rest[g] = moments[0][0], moments[1][0]
            error[g], both[g] = np.sqrt(moments[2][0]), np.sqrt(moments[2][0] + moments[3][0])
            carriers[g] = (shares[member] > 0).sum(0)
            if (~member).sum() < 2:
                continue
            if len(table) == 2 and position and (member ^ groups.members(table[0])).all():
                mirror[g] = table[0]
                continue
            p[g] = permutation_p(member, shares, permutations, seed + g)
    adjusted = benjamini_hochberg(p.ravel()).reshape(size)
    for g, first in mirror.items():
        p[g], adjusted[g] = p[first], adjusted[first]
    return GroupShares(mean, rest, error, both, carriers, p, adjusted)


def largest(shares: Floats, most: int) -> NDArray[np.int64]:
    """Return the features with the largest mean shares, largest first, at most so many."""
    return np.argsort(-shares.mean(0), kind="stable")[:most]


def as_rows(
    groups: Groups,
    found: GroupShares,
    names: tuple[str, ...],
    confidence: float,
    hidden: list[str | None] | None = None,
) -> list[dict[str, Any]]:
    """Return one entry a sensitive feature with its groups.

    Args:
        groups: as measured.
        found: of them.
        names: of the F features.
        confidence: of intervals.
        hidden: for each group why it is withheld; None: everything is told, for inside.
    """
    out = []
    for feature in dict.fromkeys(groups.features):
        shown = [g for g in groups.of(feature).tolist() if hidden is None or hidden[g] is None]
        rows = [
            {
                "label": groups.labels[g],
                **({"n": int(groups.members(g).sum())} if hidden is None else {}),
                "shares": [
                    _cell(found, g, f, confidence, hidden is not None) for f in range(len(names))
                ],
            }
            for g in shown
        ]
        withheld = len(shown) < len(groups.of(feature))
        out.append({"name": feature, "groups": rows, "withheld": withheld})
    return out


def _cell(
    found: GroupShares, group: int, feature: int, confidence: float, published: bool
) -> dict[str, Any] | None:
    """One share, its difference to the rest and the adjusted p-value; rounded where published."""
    if published and 0 < found.carriers[group, feature] < MIN_CARRIERS:
        return None
    p = float(found.adjusted[group, feature])
    digits = 3 if published else 6

    def rounded(figure: Interval) -> dict[str, float | None]:
        return {k: v if v is None else round(v, digits) for k, v in figure.as_dict().items()}

    return {
        "share": rounded(found.share(group, feature, confidence)),
        "difference": rounded(found.difference(group, feature, confidence)),
        "p": None if math.isnan(p) else round(p, 4),
    }
