"""Losses of single examples: what one person adds never depends on who else is in the batch."""

from torch import Tensor

from rnn.batch import SequenceBatch
from rnn.config import InputShape
from rnn.heads import losses_for


def example_losses(logits: Tensor, targets: Tensor, task: str) -> Tensor:
    """Return the loss of each example of a task with one answer a sequence.

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
    shape = InputShape(
        input_size=0,
        vocabulary_size=0,
        static_size=0,
        output_size=1,
        task=task,  # type: ignore[arg-type]
    )
    return losses_for(task)(logits, targets, None, shape)


def batch_losses(outputs: Tensor, batch: SequenceBatch, shape: InputShape) -> Tensor:
    """Return the loss of each example of any task, float [B].

    Args:
        outputs: of the model on this batch.
        batch: with its targets.
        shape: of the model.
    """
    return losses_for(shape.task)(outputs, batch.targets, batch.target_lengths, shape)
