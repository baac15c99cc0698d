"""The null block beside a training run: drawn, clipped, summed and noised as people are.

People's privacy is what it is without the block:

1. Coins, the canaries' sampling and their gradients depend on no person. They come from streams
   of their own, so that they tell nothing about people's sampling or noise either.
2. A person's gradient has no part in the block's coordinates, so that its norm, its clip factor
   and the clipped sum of the model's coordinates are what they were. Counts that mitigations and
   adaptive bounds release are of people alone.
3. Noise is drawn once for all coordinates, independent in each. Looking at the block's is looking
   at noise that hides nobody. The model that is released has none of them.

The grid that noise is rounded to follows from the number of coordinates, the block's included.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from rnn.privacy.canaries import NullAccount, NullBlock
from rnn.privacy.clipping import LayerBounds
from rnn.privacy.engine import PrivateOptimizer, rounding_margin
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.moving import AnyBound, GroupBounds, rescale, total_bound
from rnn.privacy.noise import Keystream
from rnn.privacy.ranks import Ranks
from rnn.tape import Tape
from rnn.units import Population, Sample

# Far from every step's number, from which people's streams are made.
_STREAM = int.from_bytes(b"canaries", "big")
# Where a person's rows are clipped together, a canary's are.
_ROWS_OF_A_PERSON = 2


class NullRun:
    """Canaries of one training run.

    Attributes:
        block: their parameters, which the optimizer noises with the model's.
        population: the canaries that are there, as rows of units.
        streams: a child a step, from which they are sampled.
        account: what came out.
    """

    def __init__(
        self,
        count: int,
        mechanism: Mechanism,
        bound: AnyBound,
        *,
        expected_batch_size: int,
        by_person: bool,
        keystream: Keystream,
        ranks: Ranks,
        like: Tensor,
    ):
        """Toss the coins.

        Args:
            count: m.
            mechanism: what is claimed of a step.
            bound: that people's gradients are clipped to; the canaries' join it.
            expected_batch_size: that the noisy sum should be divided by.
            by_person: whether the rows of a person are clipped together.
            keystream: of the run.
            ranks: processes that train together; the first one has the canaries.
            like: a parameter of the model, for device and precision.
        """
        self.expected_batch_size = expected_batch_size
        self.by_person, self.max_sequences = by_person, mechanism.max_sequences
        self.ranks = ranks
        own = keystream.child(_STREAM)
        self.streams = own.child(1)
        groups = len(bound.bounds) if isinstance(bound, LayerBounds) else 1
        block = NullBlock.drawn(count, own.child(0), groups)
        self.block = block.to(device=like.device, dtype=like.dtype)
        self.bound = self._joined(bound)
        noise = mechanism.gradient_noise(expected_batch_size)
        noise *= 1 + rounding_margin(expected_batch_size)
        self.account = NullAccount(count, mechanism.sample_rate, noise)
        self._toss(block.present)
        self._sampled = np.zeros(0, dtype=np.int64)

    def _toss(self, present: np.ndarray) -> None:
        """Let these canaries be there."""
        self.block.present = present
        rows = present.nonzero()[0].astype(np.int64)
        if not self.ranks.first:
            rows = rows[:0]
        units = None
        if self.by_person:
            rows = np.repeat(rows, _ROWS_OF_A_PERSON)
            units = rows
        self.population = Population(rows, units, self.max_sequences)

    def _joined(self, bound: AnyBound) -> AnyBound:
        """The run's bound, with a coordinate of each canary in every layer that has its own."""
        if not isinstance(bound, LayerBounds):
            return bound
        own = {id(table.weight): group for group, table in enumerate(self.block.tables)}
        return replace(bound, groups={**bound.groups, **own})

    def _bounds(self) -> tuple[float, ...]:
        """The bound of each of the block's groups now."""
        bound = self.bound
        return bound.bounds if isinstance(bound, LayerBounds) else (total_bound(bound),)

    def parameters(self) -> list[nn.Parameter]:
        """Return what the optimizer must noise."""
        return list(self.block.parameters())

    def tape(self, sample: Sample) -> Tape:
        """Return the gradients of a step's canaries, and remember who they are.

        Args:
            sample: of `population`, drawn as people's is.
        """
        self._sampled = np.unique(sample.rows) if self.by_person else sample.rows
        rows = torch.from_numpy(sample.rows).to(self.block.loudness.device)
        return self.block.tape(rows, self._bounds())

    def codes(self, sample: Sample) -> Tensor | None:
        """Return the group of each row where bounds go by group: the one with the largest."""
        if not isinstance(self.bound, GroupBounds):
            return None
        return torch.full((len(sample.rows),), int(self.bound.values.argmax()))

    def observe(self, optimizer: PrivateOptimizer) -> None:
        """Take in what a step of the optimizer releases, whoever asked for the step.

        What is divided, scaled and clipped is undone with the claimed numbers, not with the
        optimizer's own.
        """
        if not self.ranks.first:
            return
        total = total_bound(self.bound)
        scale = self.expected_batch_size / (rescale(self.bound) * total)
        # Projected onto where a clipped canary points; noise has the same scale in each direction.
        noisy = np.zeros(len(self.block.present))
        for parameter, bound in zip(self.parameters(), self._bounds(), strict=True):
            if parameter.grad is not None:
                noisy += parameter.grad.cpu().double().numpy()[:, 0] * (bound / total * scale)
        self.account.add(noisy, self._sampled)
        self._sampled = self._sampled[:0]

    def tensors(self) -> dict[str, Tensor]:
        """Return what a later process needs: coins and sums; no key or seed."""
        return {
            "present": torch.from_numpy(self.block.present.copy()),
            "sums": torch.from_numpy(self.account.sums.copy()),
            "unevenness": torch.tensor(self.account.unevenness, dtype=torch.float64),
            "steps": torch.tensor(self.account.steps),
        }

    def load(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self._toss(saved["present"].numpy().copy())
        self.account.sums = saved["sums"].numpy().copy()
        self.account.unevenness = float(saved["unevenness"])
        self.account.steps = int(saved["steps"])
