"""Where masks of dropout come from: torch's generator, or, in a private run, its secret key.

A mask hangs on a row's place in the batch, which one person more shifts for all that follow. Masks
that anybody can work out would let every other row's gradient change with that person. Torch's are
such masks even under a secret seed: on a CPU its generator keeps 32 bits of it, few enough to try
all. Masks of unforeseeable bits are independent from row to row, wherever the row lies, so that
one person's gradient alone differs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

# Number of a step's stream of masks, apart from those of steps.
MASKS = 2**62

# (probability, count) -> bool [count], as `Keystream.bernoulli`.
Draw = Callable[[float, int], NDArray[np.bool_]]

_DRAW: ContextVar[Draw | None] = ContextVar("draw", default=None)


def chosen(like: Tensor, rate: float) -> Tensor:
    """Return bool of a tensor's shape, each true with probability `rate`, above 0."""
    draw = _DRAW.get()
    if draw is None:
        return torch.rand(like.shape, device=like.device) < rate
    return torch.from_numpy(draw(rate, like.numel())).view(like.shape).to(like.device)


def dropout(inputs: Tensor, rate: float, training: bool = True) -> Tensor:
    """Return inputs with a share of `rate` set to zero and the others made up for it.

    Args:
        inputs: float, any shape.
        rate: in 0..1.
        training: whether anything is dropped at all.

    Example:
        >>> dropout(torch.ones(2), 0.0)
        tensor([1., 1.])
    """
    if _DRAW.get() is None or not training or rate == 0:
        return functional.dropout(inputs, rate, training)
    if rate == 1:
        return inputs * 0
    return inputs * chosen(inputs, 1 - rate).to(inputs.dtype).div_(1 - rate)


def _states(model: nn.Module) -> list[Tensor]:
    """Where torch's generators of the model's devices are."""
    devices = {p.device for p in model.parameters() if p.is_cuda}
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]


def _drop(layer: nn.Dropout, inputs: Tensor) -> Tensor:
    """`nn.Dropout.forward`."""
    return dropout(inputs, layer.p, layer.training)


@contextmanager
def masks_from(draw: Draw, model: nn.Module) -> Iterator[None]:
    """Draw all masks of `model` by `draw`, those of `nn.Dropout` and of the recurrences too.

    Args:
        draw: bool [count] with a probability, as `Keystream.bernoulli`.
        model: what is called meanwhile.

    Raises:
        RuntimeError: something drew from torch's generator nevertheless.
    """
    layers = [layer for layer in model.modules() if type(layer) is nn.Dropout]
    for layer in layers:
        layer.__dict__["forward"] = partial(_drop, layer)
    before, token = _states(model), _DRAW.set(draw)
    try:
        yield
    finally:
        _DRAW.reset(token)
        for layer in layers:
            del layer.__dict__["forward"]
    if not all(map(torch.equal, before, _states(model))):
        raise RuntimeError(
            "the losses drew from torch's generator, which anybody can work out: "
            "use nn.Dropout or rnn.dropout"
        )
