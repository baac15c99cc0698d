"""One answer a sequence: an event, a class, a number. B sequences, C logits."""

from torch import Tensor
from torch.nn import functional

from rnn.config import InputShape


def binary_losses(
    logits: Tensor, targets: Tensor, lengths: Tensor | None, shape: InputShape
) -> Tensor:
    """Return cross-entropy in nats, float [B], from logits [B, 1] and classes [B]."""
    return functional.binary_cross_entropy_with_logits(
        logits.squeeze(1), targets.to(logits.dtype), reduction="none"
    )


def multiclass_losses(
    logits: Tensor, targets: Tensor, lengths: Tensor | None, shape: InputShape
) -> Tensor:
    """Return cross-entropy in nats, float [B], from logits [B, C] and classes [B]."""
    return functional.cross_entropy(logits, targets, reduction="none")


def regression_losses(
    logits: Tensor, targets: Tensor, lengths: Tensor | None, shape: InputShape
) -> Tensor:
    """Return half the squared error, float [B], from logits [B, 1] and numbers [B]."""
    return 0.5 * (logits.squeeze(1) - targets.to(logits.dtype)).square()
