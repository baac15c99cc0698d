"""What is claimed of new people, each claim with its share of the chance of a false alarm.

A drift claim: the mean of a measure is where the reference had it, within what the reference
could tell. A gate claim: a bar that the model cleared when it was registered is cleared still.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import stats
from tasks.recipe import GateConfig
from tasks.settings.watch import WatchConfig
from tasks.watching.bets import Bet
from tasks.watching.measured import CALIBRATION, DECISION, ERROR, Measures

Array = NDArray[np.float64]
Groups = Mapping[str, Sequence[str]]

EVERYBODY = ""
RATIO, RANKING = "ratio", "ranking"
SEPARATOR = ": "


@dataclass(frozen=True)
class Claim:
    """One claim and the bet against it.

    Attributes:
        measure: of `measured`; ratio and ranking are made of two people each.
        group: FEATURE: LABEL; empty for everybody.
        against: of a ratio, the group that it is a ratio to.
        kind: drift or gate.
        alpha: chance that it is refuted although it holds.
        bet: against it.
        raised: number of the batch that refuted it; None while it stands.
    """

    measure: str
    group: str
    kind: str
    alpha: float
    bet: Bet
    against: str = ""
    raised: int | None = None

    @property
    def words(self) -> str:
        """The claim in a reader's words."""
        who = f" of {self.group}" if self.group else ""
        more = "at most" if self.bet.side == "above" else "at least"
        if self.measure == RATIO:
            bar = self.bet.bound / (1 - self.bet.bound)
            return f"{DECISION}{who} over that of {self.against}: {more} {bar:.3f}"
        if self.measure == RANKING:
            return f"AUC: {more} {self.bet.bound:.3f}"
        bound = 2 * self.bet.bound - 1 if self.measure == CALIBRATION else self.bet.bound
        what = "outcome minus score" if self.measure == CALIBRATION else self.measure
        return f"{what}{who}: {more} {bound:.3f}"

    def after(self, values: Array, batch: int) -> "Claim":
        """Return the claim after one more batch of its values."""
        bet = self.bet.after(values)
        refuted = self.raised is None and bet.evidence >= 1 / self.alpha
        raised = batch if refuted else self.raised
        return Claim(self.measure, self.group, self.kind, self.alpha, bet, self.against, raised)

    def as_dict(self) -> dict[str, Any]:
        """Return it in JSON's values."""
        plain = ("measure", "group", "kind", "alpha", "against", "raised")
        return {name: getattr(self, name) for name in plain} | {"bet": self.bet.as_dict()}

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "Claim":
        """Return what `as_dict` gave."""
        return cls(**{**saved, "bet": Bet.of(saved["bet"])})


@dataclass(frozen=True)
class People:
    """Some people's measures and groups.

    Attributes:
        measures: name -> float64 [N] in 0..1, NaN where not known.
        groups: sensitive feature -> label of each.
        event: 1 where the event happened, float64 [N]; NaN: not known, empty: no such target.
        scores: probability of the event, float64 [N], beside `event`.
    """

    measures: Measures
    groups: Groups = field(default_factory=dict)
    event: Array = field(default_factory=lambda: np.zeros(0))
    scores: Array = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        """Return N."""
        return len(next(iter(self.measures.values()))) if self.measures else 0

    def members(self, group: str) -> NDArray[np.bool_]:
        """Return who is in FEATURE: LABEL; everybody for the empty name."""
        if group == EVERYBODY:
            return np.ones(len(self), dtype=bool)
        feature, _, label = group.partition(SEPARATOR)
        if feature not in self.groups:
            return np.zeros(len(self), dtype=bool)
        return np.array([found == label for found in self.groups[feature]], dtype=bool)

    def of(self, measure: str, group: str = EVERYBODY) -> Array:
        """Return the known values of a measure in a group."""
        if measure not in self.measures:
            return np.zeros(0)
        values = self.measures[measure][self.members(group)]
        return values[~np.isnan(values)]

    def names(self) -> list[str]:
        """Return all groups as FEATURE: LABEL, in a fixed order."""
        return [
            f"{f}{SEPARATOR}{label}" for f in self.groups for label in sorted(set(self.groups[f]))
        ]


def bounds_of(values: Array, alpha: float) -> tuple[float, float]:
    """Return where the mean behind some values lies, but with chance alpha.

    Clopper and Pearson for values of 0 and 1; else the empirical Bernstein bound of Maurer and
    Pontil (2009), theorem 4.
    """
    count = len(values)
    if np.isin(values, (0.0, 1.0)).all():
        found = stats.clopper_pearson(int(values.sum()), count, 1 - alpha)
        return float(found.low or 0.0), float(1.0 if found.high is None else found.high)
    part = math.log(4 / alpha)
    radius = math.sqrt(2 * values.var(ddof=1) * part / count) + 7 * part / (3 * (count - 1))
    return max(0.0, values.mean() - radius), min(1.0, values.mean() + radius)


def pairs(first: Array, second: Array, ratio: float) -> Array:
    """Return values in 0..1 whose mean is at least r / (1 + r) where mean(first) >= r mean(second).

    Disjoint pairs in the order given; who is left over waits for nobody.
    """
    count = min(len(first), len(second))
    return (first[:count] - ratio * second[:count] + ratio) / (1 + ratio)


def ranked(scores: Array, event: Array) -> Array:
    """Return 1 where an event's score is above another's, a half where it is the same: an AUC."""
    yes, no = scores[event == 1], scores[event == 0]
    count = min(len(yes), len(no))
    return (yes[:count] > no[:count]) + 0.5 * (yes[:count] == no[:count])


def values_for(claim: Claim, people: People) -> Array:
    """Return what a batch says of a claim."""
    if claim.measure == RATIO:
        ratio = claim.bet.bound / (1 - claim.bet.bound)
        first, second = people.of(DECISION, claim.group), people.of(DECISION, claim.against)
        return pairs(first, second, ratio)
    if claim.measure == RANKING:
        return ranked(people.scores, people.event)
    return people.of(claim.measure, claim.group)


def gate_claims(reference: People, gate: GateConfig, least: int) -> list[Claim]:
    """Return the gate's bars as claims, their alpha still open."""
    found: list[Claim] = []

    def add(measure: str, bound: float, side: Any, group: str = "", against: str = "") -> None:
        found.append(Claim(measure, group, "gate", 0.0, Bet(bound, side), against))

    if gate.min_accuracy is not None:
        add(ERROR, 1 - gate.min_accuracy, "above")
    if gate.min_auc is not None and CALIBRATION in reference.measures:
        add(RANKING, gate.min_auc, "below")
    if gate.min_group_ratio is not None and DECISION in reference.measures:
        ratio = gate.min_group_ratio
        for names in _by_feature(reference, least):
            best = max(names, key=lambda name: reference.of(DECISION, name).mean())
            for name in names:
                if name != best:
                    add(RATIO, ratio / (1 + ratio), "below", name, best)
    return found


def _by_feature(people: People, least: int) -> Iterable[list[str]]:
    """Groups that are large enough, feature by feature."""
    for feature in people.groups:
        names = [n for n in people.names() if n.partition(SEPARATOR)[0] == feature]
        large = [n for n in names if people.members(n).sum() >= least]
        if len(large) > 1:
            yield large


def drift_claims(reference: People, least: int) -> list[tuple[str, str]]:
    """Return measure and group of everything that should stay where it was.

    Decisions and calibration by group; everything else of everybody.
    """
    wanted = [(measure, EVERYBODY) for measure in reference.measures]
    for names in _by_feature(reference, least):
        for measure in (DECISION, CALIBRATION, ERROR):
            wanted += [(measure, name) for name in names]
    return [
        (measure, group) for measure, group in wanted if len(reference.of(measure, group)) >= least
    ]


def claims_of(reference: People, gate: GateConfig, config: WatchConfig) -> list[Claim]:
    """Return all claims about new people; the chances of their false alarms add up to the recipe's.

    Half of a drift claim's chance is for the reference's own error.

    Args:
        reference: people on whom the model was found good.
        gate: the recipe's bars.
        config: the recipe's watch block.
    """
    bars = gate_claims(reference, gate, config.min_people)
    drifts = drift_claims(reference, config.min_people)
    first = [d for d in drifts if d[0] == DECISION]
    others = [d for d in drifts if d[0] != DECISION]
    many = len(bars) + 2 * len(first)
    shares = {True: config.gate_share, False: 1 - config.gate_share}
    if not many or not others:
        shares = {True: 1.0, False: 1.0}
    each = {
        True: shares[True] * config.false_alarms / max(many, 1),
        False: shares[False] * config.false_alarms / max(2 * len(others), 1),
    }
    found = [
        Claim(bar.measure, bar.group, "gate", each[True], bar.bet, bar.against) for bar in bars
    ]
    for measure, group in (*first, *others):
        alpha = each[measure == DECISION] / 2
        low, high = bounds_of(reference.of(measure, group), 2 * alpha)
        found.append(Claim(measure, group, "drift", alpha, Bet(low, "below")))
        found.append(Claim(measure, group, "drift", alpha, Bet(high, "above")))
    return found
