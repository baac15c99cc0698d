"""In which numbers norms and sums are computed, whatever the model itself is trained in.

A gradient is what the tape recorded, in half precision as well; its norm and the clipped sum are
then computed in single precision at least, without autocast and without products in fewer bits:
the bound on a unit's share rests on them.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

_HALVES = (torch.bfloat16, torch.float16)
_FULL = ("none", "ieee")


def wide(tensor: Tensor) -> Tensor:
    """Return half-precision numbers in single precision, others as they are."""
    return tensor.float() if tensor.dtype in _HALVES else tensor


def wide_type(dtype: torch.dtype) -> torch.dtype:
    """Return the type that arithmetic with a parameter of this type is done in."""
    return torch.float32 if dtype in _HALVES else dtype


@contextmanager
def _full_products() -> Iterator[None]:
    """No TF32 or bfloat16 inside products of single-precision numbers.

    torch has two settings for this, an older and a newer one, and complains where they differ:
    the older sets both.
    """
    backends: Any = torch.backends
    places = (backends.cuda.matmul, backends.mkldnn.matmul)
    before = [place.fp32_precision for place in places]
    common = backends.fp32_precision
    if all((common if b == "none" else b) in _FULL for b in before):
        yield
        return
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:
        older = "highest"
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(older)
        for place, setting in zip(places, before, strict=True):
            place.fp32_precision = setting


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Products in the type of their factors: no autocast, no TF32 or bfloat16 inside."""
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(_full_products())
        yield
