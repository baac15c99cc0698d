"""Matrix products and storage that the recurrences are made of.

On x86 with oneDNN a product goes there: on AMD processors it is about twice as fast as the BLAS
that torch's addmm uses. Everywhere else, and for other types, it is torch's own.

N rows, I inputs, O outputs, B sequences, T steps.
"""

from functools import cache

import torch
from torch import Tensor

# Larger blocks come from the kernel anew each time, and its zeroing costs more than our sums.
PIECE_BYTES = 16 << 20
# glibc's thresholds follow freed blocks up to 32 MiB.
_LARGEST_KEPT = 31 << 20
# Rows of one product of the weights' sum: small enough for the second-level cache.
SUM_ROWS = 1024


@cache
def onednn() -> bool:
    """Whether oneDNN's product is there and gives the right numbers."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops, "mkldnn"):
        return False
    rows, weight = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
    try:
        found = torch.ops.mkldnn._linear_pointwise(rows, weight, rows.new_ones(4), "none", [], "")
        added = torch.ops.mkldnn._linear_pointwise.binary(rows, found, weight, None, "add")
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    product = rows @ weight.T
    return torch.equal(found, product + 1) and torch.equal(added, 2 * product + 1)


def _suits(rows: Tensor) -> bool:
    """Whether oneDNN takes this product."""
    return rows.dtype is torch.float32 and rows.is_cpu and rows.numel() > 0 and onednn()


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows [N, I] times weight [O, I] transposed, plus bias [O]."""
    if _suits(rows):
        return torch.ops.mkldnn._linear_pointwise.default(rows, weight, bias, "none", [], "")
    return torch.nn.functional.linear(rows, weight, bias)


def linear_plus(rows: Tensor, weight: Tensor, other: Tensor | None) -> Tensor:
    """Return rows [N, I] times weight [O, I] transposed, plus other [N, O] where there is one."""
    if other is None:
        return linear(rows, weight)
    if _suits(rows):
        return torch.ops.mkldnn._linear_pointwise.binary(rows, other, weight, None, "add")
    return torch.addmm(other, rows, weight.T)


@cache
def _keep_freed_memory() -> None:
    """Let the C library keep freed blocks for the next step instead of handing them back.

    Freeing one large untouched block raises glibc's thresholds for both; elsewhere it does
    nothing. Pages that are handed back cost more to get again than the sums made in them.
    """
    torch.empty(_LARGEST_KEPT, dtype=torch.uint8)


def spread(like: Tensor, steps: int, width: int) -> list[Tensor]:
    """Return room for [T, B, width] in pieces of whole steps that the allocator recycles.

    Args:
        like: [B, ...], of the type wanted.
        steps: T.
        width: of a row.
    """
    _keep_freed_memory()
    batch = like.shape[0]
    each = max(1, PIECE_BYTES // max(1, batch * width * like.element_size()))
    if not like.is_cpu:
        # A GPU's allocator keeps blocks of any size, and many small products cost launches.
        each = steps
    return [
        like.new_empty(min(each, steps - start), batch, width) for start in range(0, steps, each)
    ]


def weight_sum(pieces: list[Tensor], went_in: Tensor, factors: Tensor) -> Tensor:
    """Return [O, I], the sum over steps and examples of factor times delta times what went in.

    Args:
        pieces: delta [t, B, O], all T steps in order.
        went_in: [T, B, I].
        factors: float [B].
    """
    batch = went_in.shape[1]
    each = max(1, SUM_ROWS // max(1, batch)) if went_in.is_cpu else len(went_in)
    total, start = None, 0
    for piece in pieces:
        for part in piece.split(each):
            scaled = went_in[start : start + len(part)] * factors[:, None]
            left, right = scaled.flatten(0, 1).T, part.flatten(0, 1).T
            # oneDNN multiplies by a transpose: both are given with the examples last.
            product = linear(left, right) if _suits(left) else left @ right.T
            total = product if total is None else total.add_(product)
            start += len(part)
    if total is None:
        return went_in.new_zeros(0, 0)
    return total.T
