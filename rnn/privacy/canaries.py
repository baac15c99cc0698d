"""The null block: canaries that measure the very run that is registered, and leave it alone.

m extra parameters that no output depends on, one a canary. A canary is there or not by a coin of
its own. One that is there is sampled as people are, has a gradient far above the bound in its own
coordinate alone, is clipped, summed and noised as people's gradients are, by the same code and in
the same steps. What comes out in its coordinate shows noise, clipping, sampling rate and their
sum over the run. It depends on coins alone, never on a person, so all of it may be published.

m canaries, n rows of them in a step, G groups of parameters that are clipped apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special, stats
from torch import Tensor, nn

from rnn.privacy.noise import Keystream
from rnn.records import EmbeddingRecord
from rnn.tape import Tape

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Gradient norms over the bound, by turns: each is clipped to exactly the bound, and factors that
# were handed to the wrong rows would show.
LOUDNESS = (4.0, 32.0, 256.0, 2048.0)
# How often a sound run is called unsound, by any of the tests together.
SIGNIFICANCE = 0.001
# Of noise, contribution, spread, sampling, evenness, and the promised curve.
TESTS = 6
# What each test may use of it.
SHARE = SIGNIFICANCE / TESTS


class NullBlock(nn.Module):
    """m parameters a group that nothing but their canaries touches."""

    loudness: Tensor

    def __init__(self, present: Flags, groups: int = 1):
        """Start at zero.

        Args:
            present: bool [m], the coins.
            groups: G; a canary has a coordinate in each.
        """
        super().__init__()
        self.present = np.asarray(present, dtype=np.bool_)
        count = len(self.present)
        self.tables = nn.ModuleList(
            nn.Embedding.from_pretrained(torch.zeros(count, 1), freeze=False) for _ in range(groups)
        )
        turns = torch.tensor(LOUDNESS).repeat(-(-count // len(LOUDNESS)))[:count, None]
        self.register_buffer("loudness", turns, persistent=False)

    @classmethod
    def drawn(cls, count: int, stream: Keystream, groups: int = 1) -> "NullBlock":
        """Return a block with fair coins."""
        return cls(stream.bernoulli(0.5, count), groups)

    def tape(self, canaries: Tensor, bounds: Sequence[float]) -> Tape:
        """Return the gradients of `losses`, as a pass over these canaries would record them.

        Each is known without the pass: as many times the bound as the canary is loud.

        Args:
            canaries: int64 [n], the canary of each row.
            bounds: of this step, one a group.
        """
        loud = self.loudness[canaries]
        return Tape(
            [
                EmbeddingRecord(weight, canaries, None, loud * bound)
                for weight, bound in zip(self.parameters(), bounds, strict=True)
            ]
        )

    def losses(self, canaries: Tensor, bounds: Sequence[float]) -> Tensor:
        """Return float [n]: losses whose gradient in the canary's coordinates is far too large.

        Args:
            canaries: int64 [n], the canary of each row.
            bounds: of this step, one a group.
        """
        loud = self.loudness[canaries]
        parts = [
            table(canaries) * (loud * bound)
            for table, bound in zip(self.tables, bounds, strict=True)
        ]
        values: Tensor = torch.cat(parts, 1).sum(1) if len(parts) > 1 else parts[0].squeeze(1)
        return values


class NullAccount:
    """Sums over the steps of a run, from which every figure follows; resumable.

    Attributes:
        sums: float64 [4, m]: per canary, the log likelihood ratio of "there" against "not there";
            residuals squared; noisy contributions in steps that sampled it; how many those were.
        unevenness: sum over the steps of z squared, z being how the step's residuals were spread.
        steps: so far.
    """

    def __init__(self, count: int, sample_rate: float, noise_multiplier: float):
        """Begin.

        Args:
            count: m.
            sample_rate: as claimed.
            noise_multiplier: as claimed, of the gradients alone.
        """
        self.sample_rate, self.noise_multiplier = sample_rate, noise_multiplier
        self.sums = np.zeros((4, count))
        self.unevenness = 0.0
        self.steps = 0

    def add(self, noisy: Array, sampled: NDArray[np.int64]) -> None:
        """Take in one step.

        Args:
            noisy: float64 [m], the block's noisy sum over the clip bound.
            sampled: int64, canaries in the step, each once.
        """
        rate, noise = self.sample_rate, self.noise_multiplier
        there = math.log(rate) + (2 * noisy - 1) / (2 * noise**2)
        absent = math.log1p(-rate) if rate < 1 else -math.inf
        self.sums[0] += np.logaddexp(absent, there)
        residual = noisy.copy()
        residual[sampled] -= 1
        residual *= residual
        self.sums[1] += residual
        self.sums[2, sampled] += noisy[sampled]
        self.sums[3, sampled] += 1
        self.unevenness += float(_z_squared(residual.sum() / noise**2, len(noisy)))
        self.steps += 1

    @property
    def scores(self) -> Array:
        """float64 [m], the best possible attack's evidence that each canary is there.

        Source: Neyman and Pearson (1933); the steps are independent given the coin.
        """
        scores: Array = self.sums[0]
        return scores


def _z_squared(sums: Array | float, degrees: int) -> Array:
    """Squares of the standard Gaussian values that stand where sums of squares stand."""
    low, high = special.chdtr(degrees, sums), special.chdtrc(degrees, sums)
    # The nearer tail, which keeps its digits far out.
    z = special.ndtri(np.maximum(np.minimum(low, high), 1e-300))
    squares: Array = np.square(z)
    return squares


def _two_sided(sum_of_squares: float, degrees: int) -> float:
    """P-value of a sum of squares of standard Gaussian values."""
    low = float(special.chdtr(degrees, sum_of_squares))
    return min(1.0, 2 * min(low, float(special.chdtrc(degrees, sum_of_squares))))


@dataclass(frozen=True)
class Measured:
    """A figure of the run against what is claimed of it.

    Attributes:
        value: measured.
        low: end of its interval at 1 - SHARE.
        high: other end.
        claimed: what it should be.
        p_value: of the two-sided test of the claim.
    """

    value: float
    low: float
    high: float
    claimed: float
    p_value: float

    @property
    def refuted(self) -> bool:
        """Whether the claim is rejected at SHARE."""
        return self.p_value < SHARE


def noise_scale(account: NullAccount) -> Measured:
    """Return the noise multiplier that the block saw.

    What is left of each coordinate and step after the known contributions is noise alone.

    Source: the exact distribution of a sum of squares of Gaussian values.
    """
    degrees = account.steps * account.sums.shape[1]
    total = float(account.sums[1].sum())
    tail = SHARE / 2
    low, high = (math.sqrt(total / stats.chi2.ppf(p, degrees)) for p in (1 - tail, tail))
    p_value = _two_sided(total / account.noise_multiplier**2, degrees)
    value = math.sqrt(total / degrees)
    return Measured(value, low, high, account.noise_multiplier, p_value)


def contribution(account: NullAccount) -> Measured | None:
    """Return a sampled canary's mean contribution in clip bounds, which clipping makes 1.

    None where no canary was ever sampled.
    """
    count = float(account.sums[3].sum())
    if count == 0:
        return None
    value = float(account.sums[2].sum()) / count
    error = account.noise_multiplier / math.sqrt(count)
    reach = float(special.ndtri(1 - SHARE / 2)) * error
    p_value = 2 * float(special.ndtr(-abs(value - 1) / error))
    return Measured(value, value - reach, value + reach, 1.0, p_value)


def spread_of_contributions(account: NullAccount) -> float:
    """Return the p-value that canaries of every loudness contribute alike.

    Factors that went to the wrong rows leave the mean near 1 and set the loud apart.
    """
    group = np.arange(account.sums.shape[1]) % len(LOUDNESS)
    sums = np.bincount(group, account.sums[2], len(LOUDNESS))
    counts = np.bincount(group, account.sums[3], len(LOUDNESS))
    used = counts > 0
    if not used.any():
        return 1.0
    excess = (sums[used] - counts[used]) / (account.noise_multiplier * np.sqrt(counts[used]))
    return float(stats.chi2.sf(float((excess**2).sum()), int(used.sum())))


def sampling(account: NullAccount, present: Flags) -> Measured | None:
    """Return the share of steps that sampled a canary that was there; None where none was."""
    trials = int(present.sum()) * account.steps
    taken = int(account.sums[3].sum())
    if trials == 0:
        return None
    test = stats.binomtest(taken, trials, account.sample_rate)
    ends = test.proportion_ci(1 - SHARE)
    return Measured(
        taken / trials, float(ends.low), float(ends.high), account.sample_rate, float(test.pvalue)
    )


def evenness(account: NullAccount) -> float:
    """Return the p-value that noise is the same in every step, and fresh in every step.

    A normaliser that follows the batch makes steps differ more than chance does; noise that comes
    back in later steps makes coordinates differ. Neither need move the mean scale.
    """
    count = account.sums.shape[1]
    steps = _two_sided(account.unevenness, account.steps)
    squares = _z_squared(account.sums[1] / account.noise_multiplier**2, account.steps)
    return min(1.0, 2 * min(steps, _two_sided(float(squares.sum()), count)))
