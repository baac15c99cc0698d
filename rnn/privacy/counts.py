"""Counts and sums over the units of a step, released with noise beside the gradients.

P units, G groups, K coordinates of a release.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnn.privacy.noise import Keystream
from rnn.privacy.ranks import Ranks

# What units add lies on this grid, so that their sums are exact.
_UNIT_GRID = 2.0**20
_GRID = 2.0**30


@dataclass(frozen=True)
class Seen:
    """What one physical batch showed of its units: internal.

    Attributes:
        norms: float [P], gradient norms before clipping; empty without privacy.
        clipped: bool [P], whether a bound was exceeded; empty without privacy.
        losses: float [P], unweighted, of the task alone.
        groups: int64 [P], the group of each unit; None where nobody asked.
        cells: int64 [P], whose weight it has; None where nobody asked.
    """

    norms: Tensor
    clipped: Tensor
    losses: Tensor
    groups: Tensor | None = None
    cells: Tensor | None = None

    def norms_above(self, bound: float) -> Tensor:
        """Return bool [P]; a norm that is not finite is above."""
        return ~(self.norms <= bound)


def by_unit(codes: Tensor, units: Tensor | None) -> Tensor:
    """Return one code a unit: the largest of its rows', a function of that unit alone.

    Args:
        codes: int64 [B].
        units: int64 [B], numbered 0..P-1; None: each row is a unit.
    """
    if units is None or not len(codes):
        return codes
    out = codes.new_zeros(int(units.max()) + 1)
    return out.scatter_reduce(0, units, codes, "amax", include_self=False)


def mean_by_unit(values: Tensor, units: Tensor | None) -> Tensor:
    """Return the mean over each unit's rows, float [P]."""
    if units is None or not len(values):
        return values
    count = int(units.max()) + 1
    total = values.new_zeros(count).index_add(0, units, values)
    return total / values.new_zeros(count).index_add(0, units, torch.ones_like(values))


def by_group(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """Return sums by group, float64 [G], exact: each unit's value is rounded to a grid first.

    Args:
        values: [P], of which no magnitude grows by the rounding: it is towards zero.
        groups: int64 [P].
        count: G.
    """
    on_grid = (values.detach().cpu().double() * _UNIT_GRID).trunc() / _UNIT_GRID
    out = torch.zeros(count, dtype=torch.float64)
    return out.index_add(0, groups.cpu(), on_grid)


def release(sums: Tensor, noise: Tensor, stream: Keystream, ranks: Ranks) -> Tensor:
    """Return sums over all processes plus noise, on a grid of 2^-30.

    Args:
        sums: float64 [K], of this process, on the grid.
        noise: float64 [K], standard deviations; 0 for none.
        stream: where the noise comes from; the first process's is used.
        ranks: processes that share the step.
    """
    (total,) = ranks.add([sums])
    if ranks.first:
        draws = stream.normal(len(total)) * noise.numpy()
        total = total + torch.from_numpy(np.rint(draws * _GRID) / _GRID)
    (agreed,) = ranks.spread([total])
    return agreed


@dataclass
class Sizes:
    """Shares of the groups, from the noisy sizes of all steps so far.

    Attributes:
        noise: standard deviation of each step's count.
        expected_batch_size: what a step's counts add up to, a constant.
        total: float64 [G], sum of the released counts.
        steps: how many were released.
    """

    noise: float
    expected_batch_size: int
    total: Tensor
    steps: int = 0

    @classmethod
    def of(cls, groups: int, noise: float, expected_batch_size: int) -> "Sizes":
        """Return the state before the first step."""
        return cls(noise, expected_batch_size, torch.zeros(groups, dtype=torch.float64))

    def add(self, released: Tensor) -> None:
        """Take one step's counts in."""
        self.total = self.total + released
        self.steps += 1

    def shares(self) -> Tensor:
        """Return float64 [G]; equal before the first step.

        A share that cannot be told from zero is put at two standard errors of its mean.
        """
        count = len(self.total)
        if not self.steps:
            return torch.full((count,), 1 / count, dtype=torch.float64)
        return self._mean().clamp(min=self._floor(), max=1.0)

    def known(self) -> Tensor:
        """Return bool [G]: whether a share can be told from zero."""
        if not self.steps:
            return torch.ones(len(self.total), dtype=torch.bool)
        return self._mean() > self._floor()

    def _mean(self) -> Tensor:
        """Released counts a step, as shares."""
        return self.total / self.steps / self.expected_batch_size

    def _floor(self) -> float:
        """Two standard errors of the mean; one in a thousand where that is less."""
        return max(2 * self.noise / self.expected_batch_size / self.steps**0.5, 1e-3)
