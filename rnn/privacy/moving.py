"""Bounds on a unit's gradient that follow released counts: one for all, or one a group.

P units, G groups.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rnn.fairness.config import GlobalAdapt, GroupClipping
from rnn.privacy.clipping import AdaptiveBound, Bound, LayerBounds
from rnn.privacy.counts import Seen, Sizes, by_group, release
from rnn.privacy.noise import Keystream
from rnn.privacy.ranks import Ranks

# Counts by group are averaged over about this many steps.
_MEMORY = 0.9


@dataclass
class GlobalBound:
    """Global-Adapt: clip at Z, then scale by max_grad_norm / Z.

    Scaling the noisy sum is what scaling each gradient and the noise would be.

    Attributes:
        value: Z now; it is computed from released counts alone.
        target: norm that gradients are scaled to.
        config: threshold, rate and limits.
        count_noise: standard deviation of the noise on sum(b - 1/2).
        expected_batch_size: the constant that the count is divided by.
    """

    value: float
    target: float
    config: GlobalAdapt
    count_noise: float
    expected_batch_size: int

    @classmethod
    def of(
        cls, config: GlobalAdapt, max_grad_norm: float, count_noise: float, batch: int
    ) -> "GlobalBound":
        """Return the bound before the first step."""
        start = 10 * max_grad_norm if config.start is None else config.start
        return cls(start, max_grad_norm, config, count_noise, batch)

    @property
    def rescale(self) -> float:
        """What the noisy sum is multiplied by."""
        return self.target / self.value

    def step(self, parts: list[Seen], stream: Keystream, ranks: Ranks) -> None:
        """Release the count of one logical batch and move."""
        bound = self.config.threshold * self.value
        centred = sum(float(p.norms_above(bound).double().sum()) - len(p.norms) / 2 for p in parts)
        noise = torch.tensor([self.count_noise], dtype=torch.float64)
        sums = torch.tensor([centred], dtype=torch.float64)
        self.update(float(release(sums, noise, stream.child(0), ranks)))

    def update(self, released: float) -> None:
        """Move towards where `rate` of the units lie above."""
        above = min(max(released / self.expected_batch_size + 0.5, 0.0), 1.0)
        low = self.target if self.config.lowest is None else self.config.lowest
        moved = self.value * math.exp(above - self.config.rate)
        self.value = min(max(moved, low), self.config.highest)

    def tensors(self) -> dict[str, Tensor]:
        """Return what a later process needs."""
        return {"value": torch.tensor(self.value, dtype=torch.float64)}

    def load(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self.value = float(saved["value"])


@dataclass
class GroupBounds:
    """DPSGD-F: base x (1 + the group's clipped share / everybody's).

    Attributes:
        base: norm above which a gradient counts as clipped.
        config: limits.
        count_noise: standard deviation of the noise in each of a group's two counts.
        sizes: shares of the groups.
        clipped: float64 [G], averaged sum(b - 1/2) by group.
        values: float64 [G], the bounds now.
    """

    base: float
    config: GroupClipping
    count_noise: float
    sizes: Sizes
    clipped: Tensor
    values: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Before the first step all groups are alike."""
        self.values = self._bounds()

    @classmethod
    def of(
        cls, config: GroupClipping, max_grad_norm: float, count_noise: float, batch: int, count: int
    ) -> "GroupBounds":
        """Return the bounds of `count` groups before the first step."""
        sizes = Sizes.of(count, count_noise, batch)
        nothing = torch.zeros(count, dtype=torch.float64)
        base = max_grad_norm / 2 if config.base is None else config.base
        return cls(base, config, count_noise, sizes, nothing)

    @property
    def largest(self) -> float:
        """Return what the noise is scaled to."""
        return float(self.values.max())

    def rows(self, groups: Tensor) -> Tensor:
        """Return the bound of each row, float64 [B]."""
        return self.values.to(groups.device)[groups]

    def counts(self, seen: Seen) -> Tensor:
        """Return sum(b - 1/2) and size by group of one physical batch, float64 [2G]."""
        if seen.groups is None:
            raise ValueError("bounds by group need the group of each unit")
        centred = seen.norms_above(self.base).double() - 0.5
        count = len(self.clipped)
        sizes = by_group(torch.ones_like(centred), seen.groups, count)
        return torch.cat([by_group(centred, seen.groups, count), sizes])

    def step(self, parts: list[Seen], stream: Keystream, ranks: Ranks) -> None:
        """Release the counts of one logical batch and move."""
        count = len(self.clipped)
        sums = torch.zeros(2 * count, dtype=torch.float64)
        for part in parts:
            sums = sums + self.counts(part)
        noise = torch.full_like(sums, self.count_noise)
        self.update(release(sums, noise, stream.child(0), ranks))

    def update(self, released: Tensor) -> None:
        """Take one step's counts in."""
        centred, sizes = released.chunk(2)
        self.sizes.add(sizes)
        # An average from zero on, corrected for its start as Adam's are.
        self.clipped = _MEMORY * self.clipped + (1 - _MEMORY) * centred
        self.values = self._bounds()

    def _bounds(self) -> Tensor:
        """The bounds that the counts so far ask for."""
        if not self.sizes.steps:
            return torch.full_like(self.clipped, 2 * self.base)
        people = self.sizes.shares() * self.sizes.expected_batch_size
        mean = self.clipped / (1 - _MEMORY**self.sizes.steps)
        clipped = (mean + people / 2).clamp(min=0).minimum(people)
        # Where next to nothing is clipped, shares are noise: groups are then alike.
        error = self.count_noise * ((1 - _MEMORY) / (1 + _MEMORY)) ** 0.5
        unsure = 2 * error / self.sizes.expected_batch_size
        known = torch.where(self.sizes.known(), people, 0.0)
        share = (clipped / people * known).sum() / known.sum().clamp(min=1.0)
        ratio = 1 + (clipped / people + unsure) / (share + unsure).clamp(min=1e-3)
        return self.base * ratio.clamp(max=self.config.max_ratio)

    def tensors(self) -> dict[str, Tensor]:
        """Return what a later process needs."""
        return {
            "clipped": self.clipped,
            "sizes": self.sizes.total,
            "steps": torch.tensor(self.sizes.steps),
        }

    def load(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self.clipped, self.sizes.total = saved["clipped"].clone(), saved["sizes"].clone()
        self.sizes.steps = int(saved["steps"])
        self.values = self._bounds()


AnyBound = Bound | AdaptiveBound | GlobalBound | GroupBounds


def current(bound: AnyBound, groups: Tensor | None) -> float | LayerBounds | Tensor:
    """Return what a batch is clipped to now.

    Args:
        bound: of the run.
        groups: int64 [B], the group of each row, for bounds by group.
    """
    if isinstance(bound, GroupBounds):
        if groups is None:
            raise ValueError("bounds by group need the group of each row")
        return bound.rows(groups)
    return bound.value if isinstance(bound, AdaptiveBound | GlobalBound) else bound


def total_bound(bound: AnyBound) -> float:
    """Return the bound over all parameters, to which the noise is scaled."""
    if isinstance(bound, GroupBounds):
        return bound.largest
    if isinstance(bound, AdaptiveBound | GlobalBound):
        return bound.value
    return bound.total if isinstance(bound, LayerBounds) else bound


def rescale(bound: AnyBound) -> float:
    """Return what the noisy sum is multiplied by: post-processing."""
    return bound.rescale if isinstance(bound, GlobalBound) else 1.0


def move(bound: AnyBound, parts: list[Seen], stream: Keystream, ranks: Ranks) -> None:
    """Release what the bound counts and let it move, where it moves."""
    if isinstance(bound, AdaptiveBound):
        bound.step([part.clipped for part in parts], stream.child(0), ranks)
    elif isinstance(bound, GlobalBound | GroupBounds):
        bound.step(parts, stream, ranks)


def saved_bound(bound: AnyBound) -> dict[str, Tensor]:
    """Return what a later process needs of a bound; nothing of one that stays."""
    if isinstance(bound, AdaptiveBound):
        return {"value": torch.tensor(bound.value, dtype=torch.float64)}
    return bound.tensors() if isinstance(bound, GlobalBound | GroupBounds) else {}


def load_bound(bound: AnyBound, saved: dict[str, Tensor]) -> None:
    """Go on from what `saved_bound` gave."""
    if isinstance(bound, AdaptiveBound):
        bound.value = float(saved["value"])
    elif isinstance(bound, GlobalBound | GroupBounds):
        bound.load(saved)
