"""Weights of single losses that follow released counts: one number a group, or a group x class.

A weight is a function of the released numbers and of the row's own group and class, so a row's
loss still hears of no other row.

P units, K cells (groups, or groups x classes).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rnn.fairness.config import BoundedGroupLoss, Reweight
from rnn.fairness.groups import Groups
from rnn.privacy.counts import Seen, Sizes, by_group, release
from rnn.privacy.noise import Keystream
from rnn.privacy.ranks import Ranks

# A step's group losses are averaged over about this many steps.
_MEMORY = 0.8


def balanced(weights: Tensor, sizes: Sizes, highest: float) -> Tensor:
    """Return weights whose mean over people is 1, then none above `highest`.

    A cell that cannot be told from an empty one has a weight, but no say in the mean.
    """
    shares = torch.where(sizes.known(), sizes.shares(), 0.0)
    mean = (shares * weights).sum() / shares.sum().clamp(min=1e-3)
    return (weights / mean.clamp(min=1e-3)).clamp(max=highest)


@dataclass
class ConstantWeights:
    """Public constants: nothing is released.

    Attributes:
        values: float64 [K].
    """

    values: Tensor

    def step(self, parts: list[Seen], stream: Keystream, ranks: Ranks) -> None:
        """Constants stay."""

    def tensors(self) -> dict[str, Tensor]:
        """Nothing moves."""
        return {}

    def load(self, saved: dict[str, Tensor]) -> None:
        """Nothing moved."""


@dataclass
class CountedWeights:
    """Inverse to the released counts; 1 before the first.

    Attributes:
        config: power and limits.
        classes: cells of a group; 1 where weights are by group alone.
        sizes: shares of the cells.
        values: float64 [K], the weights now.
    """

    config: Reweight
    classes: int
    sizes: Sizes
    values: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Weights of the counts so far."""
        self.values = self._weights()

    def counts(self, seen: Seen) -> Tensor:
        """Return the size of each cell in one physical batch, float64 [K]."""
        if seen.cells is None:
            raise ValueError("weights need the cell of each unit")
        return by_group(torch.ones(len(seen.cells)), seen.cells, len(self.sizes.total))

    def step(self, parts: list[Seen], stream: Keystream, ranks: Ranks) -> None:
        """Release the counts of one logical batch and move."""
        sums = torch.zeros_like(self.sizes.total)
        for part in parts:
            sums = sums + self.counts(part)
        noise = torch.full_like(sums, self.sizes.noise)
        self.update(release(sums, noise, stream.child(1), ranks))

    def update(self, released: Tensor) -> None:
        """Take one step's counts in."""
        self.sizes.add(released)
        self.values = self._weights()

    def _weights(self) -> Tensor:
        """1 / share, or P(group) P(class) / P(group, class), to a power."""
        shares = self.sizes.shares()
        if not self.sizes.steps:
            return torch.ones_like(shares)
        wanted = torch.ones_like(shares)
        if self.classes > 1:
            joint = shares.view(-1, self.classes)
            wanted = (joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)).flatten()
        weights = (wanted / shares) ** self.config.power
        return balanced(weights, self.sizes, self.config.max_weight)

    def tensors(self) -> dict[str, Tensor]:
        """Return what a later process needs."""
        return {"sizes": self.sizes.total, "steps": torch.tensor(self.sizes.steps)}

    def load(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self.sizes.total, self.sizes.steps = saved["sizes"].clone(), int(saved["steps"])
        self.values = self._weights()


def once_counted(config: Reweight, groups: Groups) -> ConstantWeights:
    """Return weights inverse to the numbers that preparation released, constant from then on.

    Raises:
        ValueError: none were released.
    """
    if not groups.sizes:
        raise ValueError("counted: once needs the numbers that data.private_counts releases")
    total = torch.tensor(groups.sizes, dtype=torch.float64)
    people = max(1, int(total.sum()))
    return ConstantWeights(CountedWeights(config, 1, Sizes(groups.noise, people, total, 1)).values)


@dataclass
class LossWeights:
    """Exponentiated multipliers that follow the released loss of each group.

    Attributes:
        config: bound, rate and limits.
        loss_noise: standard deviation of the noise in a loss sum, in units of loss_clip.
        sizes: shares of the groups.
        sums: float64 [K], averaged sum(min(loss, clip) / clip - 1/2) by group.
        tilts: float64 [K], logarithms of the multipliers.
        values: float64 [K], the weights now.
    """

    config: BoundedGroupLoss
    loss_noise: float
    sizes: Sizes
    sums: Tensor
    tilts: Tensor
    values: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Weights of the multipliers so far."""
        self.values = self._weights()

    def counts(self, seen: Seen) -> Tensor:
        """Return centred loss sums, in units of loss_clip, and sizes by group, float64 [2K]."""
        if seen.cells is None:
            raise ValueError("weights need the cell of each unit")
        clip = self.config.loss_clip
        # A loss that is not a number counts as the largest.
        losses = torch.nan_to_num(seen.losses.detach().cpu().double(), nan=clip).clamp(0, clip)
        count = len(self.sums)
        centred = by_group(losses / clip - 0.5, seen.cells, count)
        return torch.cat([centred, by_group(torch.ones_like(losses), seen.cells, count)])

    def step(self, parts: list[Seen], stream: Keystream, ranks: Ranks) -> None:
        """Release the sums of one logical batch and move."""
        count = len(self.sums)
        sums = torch.zeros(2 * count, dtype=torch.float64)
        for part in parts:
            sums = sums + self.counts(part)
        scales = [self.loss_noise] * count + [self.sizes.noise] * count
        noise = torch.tensor(scales, dtype=torch.float64)
        self.update(release(sums, noise, stream.child(1), ranks))

    def update(self, released: Tensor) -> None:
        """Take one step's sums in."""
        centred, sizes = released.chunk(2)
        self.sizes.add(sizes)
        self.sums = _MEMORY * self.sums + (1 - _MEMORY) * centred
        self.tilts = self.tilts + self.config.rate * self._excess()
        # Only differences count without a bound; with one, a group that is well below has none.
        if self.config.bound is None:
            self.tilts = self.tilts - self.tilts.max()
        self.tilts = self.tilts.clamp(-10, 10)
        self.values = self._weights()

    def losses(self) -> Tensor:
        """Return the released mean loss of each group, float64 [K], nats."""
        clip = self.config.loss_clip
        people = self.sizes.shares() * self.sizes.expected_batch_size
        mean = self.sums / (1 - _MEMORY**self.sizes.steps) / people
        return clip * (mean + 0.5).clamp(0, 1)

    def _excess(self) -> Tensor:
        """By how much each group's loss is above the bound, or above the mean."""
        losses, known = self.losses(), self.sizes.known()
        if self.config.bound is not None:
            level = torch.tensor(self.config.bound, dtype=torch.float64)
        else:
            shares = torch.where(known, self.sizes.shares(), 0.0)
            level = (shares * losses).sum() / shares.sum().clamp(min=1e-3)
        # Of a cell that may be empty nothing is known but noise.
        return torch.where(known, losses - level, 0.0)

    def _weights(self) -> Tensor:
        """(1 - strength) of the weight is everybody's, the rest goes by the multipliers."""
        if not self.sizes.steps:
            return torch.ones_like(self.tilts)
        shares = self.sizes.shares()
        parts = self.tilts.exp() * torch.where(self.sizes.known(), shares, 0.0)
        # With a bound the multipliers may add up to less than all: nobody is above it.
        slack = 0.0 if self.config.bound is None else 1.0
        multipliers = parts / (slack + parts.sum()).clamp(min=1e-9)
        strength = self.config.strength
        weights = (1 - strength) + strength * multipliers / shares
        return balanced(weights, self.sizes, self.config.max_weight)

    def tensors(self) -> dict[str, Tensor]:
        """Return what a later process needs."""
        return {
            "sums": self.sums,
            "tilts": self.tilts,
            "sizes": self.sizes.total,
            "steps": torch.tensor(self.sizes.steps),
        }

    def load(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self.sums, self.tilts = saved["sums"].clone(), saved["tilts"].clone()
        self.sizes.total, self.sizes.steps = saved["sizes"].clone(), int(saved["steps"])
        self.values = self._weights()


Weights = ConstantWeights | CountedWeights | LossWeights
