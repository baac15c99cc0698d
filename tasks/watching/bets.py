"""Bets that a mean is not what it was: their wealth is evidence at any time.

Whoever bets against a true claim cannot expect to gain; the chance that the wealth ever passes
1 / alpha is at most alpha, however often and whenever it is looked at. The claim is that every
value's mean, given the past, is at most (or at least) a bound. A change may come late: a share of
the first wealth is set aside for every batch to come, so that quiet years do not eat up what a
change would earn.

L stakes, n values of a batch.

Source: Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting";
Ville (1939); a mixture over the time of a change as in Shin, Ramdas and Rinaldo (2024),
"E-detectors".
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Side = Literal["above", "below"]

STAKES = 12
# Of the most that can be staked without losing everything on one value.
FULL, LEAST = 0.7, 1 / 64
# A bound at an end of 0..1 would be refuted by a single value.
EDGE = 0.005


@dataclass(frozen=True)
class Bet:
    """Wealth so far against one claim.

    Attributes:
        bound: of the mean of values in 0..1.
        side: above: the claim is that the mean is at most the bound; below: at least.
        batches: seen so far.
        values: seen so far.
        wealth: log of each stake's wealth, float64 [L]; what is set aside for later batches is
            not in it.
        highest: log of the most that all of it ever was.
    """

    bound: float
    side: Side
    batches: int = 0
    values: int = 0
    wealth: tuple[float, ...] = (-math.inf,) * STAKES
    highest: float = 0.0

    def after(self, values: ArrayLike) -> "Bet":
        """Return the bet after one more batch.

        Args:
            values: [n], each in 0..1; none may be there.

        Example:
            >>> Bet(0.5, "above").after([1.0] * 20).evidence > 100
            True
        """
        seen = np.asarray(values, dtype=np.float64)
        if seen.size and not (seen.min() >= 0 and seen.max() <= 1):
            raise ValueError(f"values from {seen.min():g} to {seen.max():g} must be in 0..1")
        if not seen.size:
            return self
        number = self.batches + 1
        # The share of the first wealth that waited for this batch: they add up to 1.
        fresh = -math.log(number * (number + 1.0))
        gains = np.log1p(np.outer(self._stakes(), self._payoffs(seen))).sum(1)
        wealth = np.logaddexp(np.array(self.wealth), fresh - math.log(STAKES)) + gains
        # What waits for later batches is kept as it is.
        total = float(np.logaddexp.reduce(np.append(wealth, -math.log(number + 1.0))))
        return Bet(
            self.bound, self.side, number, self.values + seen.size,
            tuple(wealth.tolist()), max(self.highest, total),
        )  # fmt: skip

    @property
    def evidence(self) -> float:
        """The highest wealth so far, of 1 at the start; at most 1 / alpha but with chance alpha."""
        return math.exp(min(self.highest, 700.0))

    def _safe(self) -> float:
        """The bound, away from the ends, on the claim's generous side."""
        if self.side == "above":
            return min(max(self.bound, EDGE), 1.0)
        return max(min(self.bound, 1 - EDGE), 0.0)

    def _payoffs(self, values: Array) -> Array:
        """What one unit staked earns on each value."""
        return values - self._safe() if self.side == "above" else self._safe() - values

    def _stakes(self) -> Array:
        """Float64 [L], none of which can lose more than FULL of its wealth on one value."""
        loss = self._safe() if self.side == "above" else 1 - self._safe()
        shares = np.geomspace(LEAST, FULL, STAKES)
        return shares / max(loss, EDGE)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON's numbers; minus infinity is null."""
        return {
            "bound": self.bound, "side": self.side, "batches": self.batches,
            "values": self.values, "highest": self.highest,
            "wealth": [None if math.isinf(w) else w for w in self.wealth],
        }  # fmt: skip

    @classmethod
    def of(cls, saved: dict[str, Any]) -> "Bet":
        """Return what `as_dict` gave."""
        wealth = tuple(-math.inf if w is None else float(w) for w in saved["wealth"])
        return cls(**{**saved, "wealth": wealth})


def always_valid(count: int, mean: float, alpha: float, around: int = 1000) -> tuple[float, float]:
    """Return an interval of a mean of values in 0..1 that holds at all times together.

    Args:
        count: values so far.
        mean: of them.
        alpha: chance that it ever misses.
        around: number of values for which it is narrowest.

    Source: Howard, Ramdas, McAuliffe, Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic
    confidence sequences", the two-sided normal mixture for sums that are sub-Gaussian with
    variance 1/4 a value.
    """
    if count == 0:
        return 0.0, 1.0
    spread = around / 4 / max(1.0, 2 * math.log(1 / alpha))
    variance = count / 4
    radius = math.sqrt(
        (variance + spread) * (2 * math.log(1 / alpha) + math.log1p(variance / spread))
    )
    return max(0.0, mean - radius / count), min(1.0, mean + radius / count)
