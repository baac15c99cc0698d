"""The null block: canaries that measure the very run that is registered, and leave it alone.

m extra parameters that no output depends on, one a canary. A canary is there or not by a coin of
its own. One that is there is sampled as people are, has a gradient far above the bound in its own
coordinate alone, is clipped, summed and noised as people's gradients are, by the same code and in
the same steps. What comes out in its coordinate shows noise, clipping, sampling rate and their
sum over the run. It depends on coins alone, never on a person, so all of it may be published.

m canaries, n of them sampled in a step.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special, stats
from torch import Tensor, nn

from rnn.privacy.noise import Keystream

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Gradient norms over the bound, by turns: each is clipped to exactly the bound, and factors that
# were handed to the wrong rows would show.
LOUDNESS = (4.0, 32.0, 256.0, 2048.0)
# Two tests, of noise and of contributions, each wrong about a sound run this often.
SIGNIFICANCE = 0.001


class NullBlock(nn.Module):
    """m parameters that nothing but their canaries touches."""

    def __init__(self, present: Flags):
        """Start at zero.

        Args:
            present: bool [m], the coins.
        """
        super().__init__()
        self.present = np.asarray(present, dtype=np.bool_)
        self.block = nn.Embedding(len(self.present), 1)
        nn.init.zeros_(self.block.weight)

    @classmethod
    def drawn(cls, count: int, stream: Keystream) -> "NullBlock":
        """Return a block with fair coins."""
        return cls(stream.bernoulli(0.5, count))

    def losses(self, sampled: Tensor, bound: float) -> Tensor:
        """Return float [n]: losses whose gradient in the canary's coordinate is far above `bound`.

        Args:
            sampled: int64 [n], canaries in this step.
            bound: the clip bound of this step.
        """
        loudness = torch.tensor(LOUDNESS)[sampled % len(LOUDNESS)] * bound
        values: Tensor = self.block(sampled[:, None])[:, 0, 0] * loudness
        return values

    def taken(self, stream: Keystream, sample_rate: float) -> Tensor:
        """Return the canaries of a step, int64: those that are there, each with `sample_rate`."""
        chosen = stream.bernoulli(sample_rate, len(self.present)) & self.present
        return torch.from_numpy(chosen.nonzero()[0].astype(np.int64))


class NullAccount:
    """Sums over the steps of a run, from which every figure follows; resumable.

    Attributes:
        sums: float64 [4, m]: per canary, the log likelihood ratio of "there" against "not there";
            residuals squared; noisy contributions in steps that sampled it; how many those were.
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
        self.steps = 0

    def add(self, noisy: Array, sampled: NDArray[np.int64]) -> None:
        """Take in one step.

        Args:
            noisy: float64 [m], the block's noisy sum over the clip bound.
            sampled: int64 [n], canaries in the step.
        """
        rate, noise = self.sample_rate, self.noise_multiplier
        there = math.log(rate) + (2 * noisy - 1) / (2 * noise**2)
        absent = math.log1p(-rate) if rate < 1 else -math.inf
        self.sums[0] += np.logaddexp(absent, there)
        residual = noisy.copy()
        residual[sampled] -= 1
        self.sums[1] += residual**2
        self.sums[2, sampled] += noisy[sampled]
        self.sums[3, sampled] += 1
        self.steps += 1

    @property
    def scores(self) -> Array:
        """float64 [m], the best possible attack's evidence that each canary is there.

        Source: Neyman and Pearson (1933); the steps are independent given the coin.
        """
        scores: Array = self.sums[0]
        return scores


@dataclass(frozen=True)
class Measured:
    """A figure of the run against what is claimed of it.

    Attributes:
        value: measured.
        low: end of its interval at 1 - SIGNIFICANCE.
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
        """Whether the claim is rejected at SIGNIFICANCE."""
        return self.p_value < SIGNIFICANCE


def noise_scale(account: NullAccount) -> Measured:
    """Return the noise multiplier that the block saw.

    What is left of each coordinate and step after the known contributions is noise alone.

    Source: the exact distribution of a sum of squares of Gaussian values.
    """
    degrees = account.steps * account.sums.shape[1]
    total = float(account.sums[1].sum())
    value = math.sqrt(total / degrees)
    tail = SIGNIFICANCE / 2
    low, high = (math.sqrt(total / stats.chi2.ppf(p, degrees)) for p in (1 - tail, tail))
    at = total / account.noise_multiplier**2
    p_value = 2 * min(float(stats.chi2.cdf(at, degrees)), float(stats.chi2.sf(at, degrees)))
    return Measured(value, low, high, account.noise_multiplier, min(1.0, p_value))


def contribution(account: NullAccount) -> Measured:
    """Return a sampled canary's mean contribution in clip bounds, which clipping makes 1."""
    count = float(account.sums[3].sum())
    if count == 0:
        return Measured(math.nan, -math.inf, math.inf, 1.0, 1.0)
    value = float(account.sums[2].sum()) / count
    error = account.noise_multiplier / math.sqrt(count)
    reach = float(special.ndtri(1 - SIGNIFICANCE / 2)) * error
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
    excess = (sums[used] - counts[used]) / (account.noise_multiplier * np.sqrt(counts[used]))
    return float(stats.chi2.sf(float((excess**2).sum()), int(used.sum())))


def sampling(account: NullAccount, present: Flags) -> Measured:
    """Return the share of steps that sampled a canary that was there."""
    trials = int(present.sum()) * account.steps
    taken = int(account.sums[3].sum())
    if trials == 0:
        return Measured(math.nan, 0.0, 1.0, account.sample_rate, 1.0)
    test = stats.binomtest(taken, trials, account.sample_rate)
    ends = test.proportion_ci(1 - SIGNIFICANCE)
    return Measured(
        taken / trials, float(ends.low), float(ends.high), account.sample_rate, float(test.pvalue)
    )
