"""Losses of single examples: what one person adds never depends on who else is in the batch."""

from torch import Tensor
from torch.nn import functional


def example_losses(logits: Tensor, targets: Tensor, task: str) -> Tensor:
    """Return the loss of each example.

    Args:
        logits: float [B, C]; C is 1 for binary and regression.
        targets: int64 [B] classes, or float [B].
        task: binary (cross-entropy, nats), multiclass (cross-entropy, nats) or regression
            (half squared error).

    Returns:
        float [B].

    Raises:
        ValueError: unknown task.
    """
    if task == "binary":
        return functional.binary_cross_entropy_with_logits(
            logits.squeeze(1), targets.to(logits.dtype), reduction="none"
        )
    if task == "multiclass":
        return functional.cross_entropy(logits, targets, reduction="none")
    if task == "regression":
        return 0.5 * (logits.squeeze(1) - targets.to(logits.dtype)).square()
    raise ValueError(f"task = {task!r} must be binary, multiclass or regression")
