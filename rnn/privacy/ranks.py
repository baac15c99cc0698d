"""Several processes, one logical batch: sums are added, noise is drawn once, all step together.

Every process holds all rows. The first one draws the Poisson sample over the whole data set and
the noise; each takes its share of the sampled units, which may be none. So the noise and the
account are those of one process.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    """This process among its peers.

    Attributes:
        rank: 0 is the one that draws.
        size: number of processes; 1 speaks to nobody.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "Ranks":
        """Return what torch.distributed says; one process where it was not started."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process draws."""
        return self.rank == 0

    def add(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return sums over the processes; float64 on the CPU."""
        if self.size == 1 or not tensors:
            return tensors
        flat = torch.cat([t.flatten() for t in tensors])
        distributed.all_reduce(flat)
        return cut(flat, tensors)

    def spread(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return the first process's tensors; float64 on the CPU, of equal shapes everywhere."""
        if self.size == 1 or not tensors:
            return tensors
        flat = torch.cat([t.flatten() for t in tensors])
        distributed.broadcast(flat, 0)
        return cut(flat, tensors)

    def agree(self, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Return the first process's rows; the others' are ignored."""
        if self.size == 1:
            return np.zeros(0, dtype=np.int64) if rows is None else rows
        count = torch.tensor([0 if rows is None else len(rows)])
        distributed.broadcast(count, 0)
        if self.first and rows is not None:
            values = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64))
        else:
            values = torch.zeros(int(count), dtype=torch.int64)
        distributed.broadcast(values, 0)
        return values.numpy()

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's part of the sampled units."""
        return rows[self.rank :: self.size]


def cut(flat: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """Return a vector in pieces of the shapes of some tensors."""
    pieces = flat.split([t.numel() for t in tensors])
    return [piece.view(t.shape) for piece, t in zip(pieces, tensors, strict=True)]
