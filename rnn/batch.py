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
        targets: int64 [B] classes, float32 [B], float32 [B, H] to forecast, or int64 [B, U]
            tokens, padded with 0.
        target_lengths: int64 [B], each in 1..U; None where every target is one row.
    """

    inputs: Tensor
    lengths: Tensor
    static: Tensor
    targets: Tensor
    target_lengths: Tensor | None = None

    def to(self, device: torch.device) -> "SequenceBatch":
        """Return the batch on another device."""
        return SequenceBatch(
            self.inputs.to(device),
            self.lengths.to(device),
            self.static.to(device),
            self.targets.to(device),
            None if self.target_lengths is None else self.target_lengths.to(device),
        )

    def __len__(self) -> int:
        """Return B, which may be 0."""
        return self.lengths.shape[0]


def _laid_out(
    offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Lengths [B], where the real steps lie end to end, and which of [B, T] they are."""
    starts = offsets[rows]
    lengths = (offsets[rows + 1] - starts).astype(np.int64)
    steps = np.arange(max(int(lengths.max(initial=1)), 1))
    real = steps[None, :] < lengths[:, None]
    return lengths, (starts[:, None] + steps[None, :])[real], real


@dataclass(frozen=True)
class PreparedSequences:
    """N ragged sequences end to end; arrays may be memory-mapped.

    Attributes:
        sequences: float32 [total, D], or int32 [total] tokens.
        missing: uint8 [total, D], 1 where the value was missing; None for tokens.
        offsets: int64 [N + 1], where each sequence starts and the last ends.
        static: float32 [N, S].
        targets: int64 [N] classes, float32 [N], float32 [N, H] to forecast, or int32 [all
            targets] tokens end to end.
        missing_indicators: append `missing` to the channels of a batch.
        units: int64 [N], the person of each sequence; None: each is a person's only one.
        target_offsets: int64 [N + 1], where each target starts and the last ends; None where
            every target is one row.
        next_token: a batch reads all tokens but the last, and its targets are all but the first;
            `targets` is not looked at.
    """

    sequences: NDArray[np.generic]
    missing: NDArray[np.uint8] | None
    offsets: NDArray[np.int64]
    static: NDArray[np.float32]
    targets: NDArray[np.generic]
    missing_indicators: bool = False
    units: NDArray[np.int64] | None = None
    target_offsets: NDArray[np.int64] | None = None
    next_token: bool = False

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
        lengths, where, real = _laid_out(self.offsets, rows)
        inputs = torch.from_numpy(self._gather(where, real))
        static = torch.from_numpy(np.ascontiguousarray(self.static[rows], dtype=np.float32))
        if self.next_token:
            lengths = np.maximum(lengths - 1, 1)
            after = torch.zeros_like(inputs)
            after[:, :-1] = inputs[:, 1:]
            # The last token is read by nobody.
            steps = int(lengths.max(initial=1))
            inside = torch.arange(steps) < torch.from_numpy(lengths)[:, None]
            inputs, after = inputs[:, :steps] * inside, after[:, :steps] * inside
            sizes = torch.from_numpy(lengths)
            return SequenceBatch(inputs, sizes, static, after, sizes)
        targets, own = self._targets(rows)
        return SequenceBatch(inputs, torch.from_numpy(lengths), static, targets, own)

    def _targets(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """Targets of some rows, and their lengths where those differ."""
        if self.target_offsets is None:
            return torch.from_numpy(np.ascontiguousarray(self.targets[rows])), None
        lengths, where, real = _laid_out(self.target_offsets, rows)
        tokens = np.zeros(real.shape, dtype=np.int64)
        tokens[real] = self.targets[where]
        return torch.from_numpy(tokens), torch.from_numpy(lengths)

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
