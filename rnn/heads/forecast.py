"""Numbers to come, each by its quantiles. B sequences, H horizon, Q quantiles."""

import torch
from torch import Tensor

from rnn.config import InputShape


def quantiles_of(outputs: Tensor, shape: InputShape) -> Tensor:
    """Return float [B, H, Q], rising over Q, from outputs [B, H x Q].

    The first quantile and the logarithms of the steps to the next are learnt, so that quantiles
    never cross.
    """
    parts = outputs.view(outputs.shape[0], -1, len(shape.quantiles))
    steps = torch.nn.functional.softplus(parts[..., 1:])
    return torch.cat([parts[..., :1], parts[..., :1] + steps.cumsum(2)], 2)


def forecast_losses(
    outputs: Tensor, targets: Tensor, lengths: Tensor | None, shape: InputShape
) -> Tensor:
    """Return the pinball loss, meaned over horizon and quantiles, float [B].

    Args:
        outputs: float [B, H x Q].
        targets: float [B, H]; NaN where nobody knows, which costs nothing.
        lengths: unused.
        shape: with the quantiles.

    Source: Koenker and Bassett (1978); Wen et al. (2017), "A multi-horizon quantile recurrent
    forecaster".
    """
    known = targets.isfinite()
    wanted = torch.where(known, targets, 0.0).to(outputs.dtype)[..., None]
    error = wanted - quantiles_of(outputs, shape)
    levels = outputs.new_tensor(shape.quantiles)
    costs = torch.maximum(levels * error, (levels - 1) * error).mean(2)
    return (costs * known).sum(1) / known.sum(1).clamp(min=1)
