"""Ragged sequences on disk, padded batches in memory.

B sequences in a batch, T its longest length, D channels a step, S static channels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class SequenceBatch:
    """One padded batch.

    Attributes:
        inputs: float32 [B, T, D], or int64 [B, T] tokens; padded with 0 after each length.
        lengths: int64 [B], each in 1..T.
        static: float32 [B, S].
        targets: int64 [B] classes, or float32 [B].
    """

    inputs: Tensor
    lengths: Tensor
    static: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "SequenceBatch":
        """Return the batch on another device."""
        return SequenceBatch(
            self.inputs.to(device),
            self.lengths.to(device),
            self.static.to(device),
            self.targets.to(device),
        )

    def __len__(self) -> int:
        """Return B, which may be 0."""
        return self.lengths.shape[0]


@dataclass(frozen=True)
class PreparedSequences:
    """N ragged sequences end to end; arrays may be memory-mapped.

    Attributes:
        sequences: float32 [total, D], or int32 [total] tokens.
        missing: uint8 [total, D], 1 where the value was missing; None for tokens.
        offsets: int64 [N + 1], where each sequence starts and the last ends.
        static: float32 [N, S].
        targets: int64 [N] classes, or float32 [N].
        missing_indicators: append `missing` to the channels of a batch.
        units: int64 [N], the person of each sequence; None: each is a person's only one.
    """

    sequences: NDArray[np.generic]
    missing: NDArray[np.uint8] | None
    offsets: NDArray[np.int64]
    static: NDArray[np.float32]
    targets: NDArray[np.generic]
    missing_indicators: bool = False
    units: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return N."""
        return len(self.offsets) - 1

    @property
    def is_tokens(self) -> bool:
        """Tokens have no channel axis."""
        return self.sequences.ndim == 1

    @property
    def input_size(self) -> int:
        """Return D as a batch has it; 0 for tokens."""
        if self.is_tokens:
            return 0
        return int(self.sequences.shape[1]) * (2 if self.missing_indicators else 1)

    def batch(self, rows: NDArray[np.int64]) -> SequenceBatch:
        """Return the padded batch of some rows, in the order given; `rows` may be empty."""
        starts = self.offsets[rows]
        lengths = (self.offsets[rows + 1] - starts).astype(np.int64)
        longest = max(int(lengths.max(initial=1)), 1)
        steps = np.arange(longest)
        real = steps[None, :] < lengths[:, None]
        where = (starts[:, None] + steps[None, :])[real]
        inputs = self._gather(where, real)
        return SequenceBatch(
            torch.from_numpy(inputs),
            torch.from_numpy(lengths),
            torch.from_numpy(np.ascontiguousarray(self.static[rows], dtype=np.float32)),
            torch.from_numpy(np.ascontiguousarray(self.targets[rows])),
        )

    def _gather(
        self, where: NDArray[np.int64], real: NDArray[np.bool_]
    ) -> NDArray[np.float32] | NDArray[np.int64]:
        """Values at `where` laid out over [B, T], zero elsewhere."""
        if self.is_tokens:
            tokens = np.zeros(real.shape, dtype=np.int64)
            tokens[real] = self.sequences[where]
            return tokens
        values = np.zeros((*real.shape, self.input_size), dtype=np.float32)
        width = self.sequences.shape[1]
        values[real, :width] = self.sequences[where]
        if self.missing_indicators and self.missing is not None:
            values[real, width:] = self.missing[where]
        return values
