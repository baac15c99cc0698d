"""What the null block says of a finished run, from its coins and sums alone: it may be published.

m canaries.
"""

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import special, stats

from rnn.privacy.canaries import (
    SHARE,
    SIGNIFICANCE,
    Array,
    Flags,
    Measured,
    NullAccount,
    contribution,
    evenness,
    noise_scale,
    sampling,
    spread_of_contributions,
)
from rnn.privacy.ledger import Event, deltas_of, epsilon_of
from rnn.privacy.lower_bounds import (
    Curve,
    LowerBound,
    lower_bound,
    promised_inverse_blow_up,
    violated,
)

# A test that misses a fault of this size in more than one of a hundred runs cannot refute.
_POWER = 0.99
_NOISE_FAULT = 0.95
_FACTOR = 2.0
# Where the promised curve is read: finely where tests bite.
_EPSILONS = (*np.linspace(0.0, 10.0, 101).tolist(), *np.linspace(10.5, 70.0, 120).tolist())
# Shares of the canaries that are called "there".
_CALLED = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_INTERVAL = 0.95


@dataclass(frozen=True)
class NullVerdict:
    """Every figure of the block, each against what the ledger claims.

    Attributes:
        canaries: m.
        steps: that released something, as the block saw them.
        claimed_steps: as the ledger has them.
        noise_scale: noise multiplier of the gradients, room for rounding included.
        contribution: of a sampled canary, in clip bounds; None where none was sampled.
        sampling: share of steps that sampled a canary that was there; None where none was.
        spread_p_value: that canaries of every loudness contribute alike.
        evenness_p_value: that noise is as large in every step, and fresh in each.
        lower_bound: on epsilon, from guessing the coins.
        refutes_curve: whether the guesses refute the curve that the ledger promises.
        points: of the best possible attack, for a picture of the trade-off.
        blind: tests that would have missed a fault in this run: too few steps or samples.
    """

    canaries: int
    steps: int
    claimed_steps: int
    noise_scale: Measured
    contribution: Measured | None
    sampling: Measured | None
    spread_p_value: float
    evenness_p_value: float
    lower_bound: LowerBound
    refutes_curve: bool
    points: tuple[dict[str, float], ...]
    blind: tuple[str, ...]

    @property
    def rejected(self) -> tuple[str, ...]:
        """Return the names of the tests that reject, each at its share of SIGNIFICANCE."""
        tests = {
            "noise_scale": self.noise_scale.refuted,
            "contribution": self.contribution is not None and self.contribution.refuted,
            "sampling": self.sampling is not None and self.sampling.refuted,
            "spread": self.spread_p_value < SHARE,
            "evenness": self.evenness_p_value < SHARE,
            "curve": self.refutes_curve,
            "steps": self.steps != self.claimed_steps,
        }
        return tuple(name for name, bad in tests.items() if bad)

    @property
    def verdict(self) -> str:
        """Return violated where anything is rejected, else consistent."""
        return "violated" if self.rejected else "consistent"

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        out = asdict(self)
        out["points"] = list(self.points)
        out["blind"] = list(self.blind)
        out |= {"verdict": self.verdict, "rejected": list(self.rejected)}
        return out | {"significance": SIGNIFICANCE, "note": self._note()}

    def _note(self) -> str:
        """What the verdict does not say."""
        if not self.blind:
            return (
                "Consistent means that nothing in this run contradicts the ledger, not that it is "
                "proven."
            )
        return (
            f"This run is too short to refute: {', '.join(self.blind)}. For these, consistent "
            "means that no fault could have shown."
        )


@lru_cache(maxsize=4)
def promised_curve(event: Event, delta: float) -> Curve | None:
    """Return the trade-off curve that the ledger promises of the steps.

    Args:
        event: the steps, as they are charged.
        delta: at which epsilon is read.

    Returns:
        The curve, or None where the event leaves no promise worth refuting.
    """
    if not event.count or math.isinf(epsilon_of([event], delta)):
        return None
    return promised_inverse_blow_up(_EPSILONS, deltas_of([event], _EPSILONS))


def points_of(scores: Array, present: Flags) -> tuple[dict[str, float], ...]:
    """Return how many canaries that are there, and that are not, the best attack calls there.

    Args:
        scores: float [m], higher where a canary seems to be there.
        present: bool [m], the coins.

    Source: Clopper and Pearson (1934), for the true positive rate's interval.
    """
    if present.all() or not present.any():
        return ()
    out = []
    for share in _CALLED:
        called = scores > np.quantile(scores, 1 - share)
        hits = stats.binomtest(int((called & present).sum()), int(present.sum()))
        ends = hits.proportion_ci(_INTERVAL)
        out.append(
            {
                "false_positive_rate": float(called[~present].mean()),
                "true_positive_rate": float(called[present].mean()),
                "low": float(ends.low),
                "high": float(ends.high),
            }
        )
    return tuple(out)


def blind_tests(account: NullAccount, present: Flags) -> tuple[str, ...]:
    """Return the tests that miss noise wrong by 5 %, or else a factor of 2, too often."""
    degrees = account.steps * len(present)
    tail = float(stats.chi2.ppf(SHARE / 2, degrees))
    sees_noise = float(stats.chi2.cdf(tail / _NOISE_FAULT**2, degrees)) >= _POWER
    # As many samples as the claimed rate gives; the run's own number would follow the fault.
    samples = int(present.sum()) * account.steps * account.sample_rate
    reach = float(special.ndtri(1 - SHARE / 2) + special.ndtri(_POWER))
    sees_contribution = samples >= (reach * account.noise_multiplier / (_FACTOR - 1)) ** 2
    sees_sampling = math.sqrt(samples) * (math.sqrt(_FACTOR) - 1) * 2 >= reach
    seen = {
        "noise_scale": sees_noise,
        "contribution": sees_contribution,
        "sampling": sees_sampling,
    }
    return tuple(name for name, sees in seen.items() if not sees)


def judge(account: NullAccount, present: Flags, event: Event, delta: float) -> NullVerdict:
    """Return the verdict on a run.

    Args:
        account: of its canaries.
        present: bool [m], their coins.
        event: the run's steps as the ledger charges them.
        delta: of the claim.
    """
    curve = promised_curve(event, delta)
    return NullVerdict(
        canaries=len(present),
        steps=account.steps,
        claimed_steps=event.count,
        noise_scale=noise_scale(account),
        contribution=contribution(account),
        sampling=sampling(account, present),
        spread_p_value=spread_of_contributions(account),
        evenness_p_value=evenness(account),
        lower_bound=lower_bound(account.scores, present, delta),
        refutes_curve=curve is not None and violated(account.scores, present, curve, SHARE),
        points=points_of(account.scores, present),
        blind=blind_tests(account, present) + (() if curve is not None else ("curve",)),
    )
