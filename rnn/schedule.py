"""The plain optimizer and its learning rate."""

import math

from torch import nn, optim

from rnn.config import TrainConfig

# Of training, between two halvings.
PARTS = 5


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the rate of a step counted from 0."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    share = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    if config.schedule == "linear":
        return config.learning_rate * (1 - share)
    if config.schedule == "halving":
        return config.learning_rate * 0.5 ** math.floor(PARTS * share)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def optimizer_of(model: nn.Module, config: TrainConfig) -> optim.Optimizer:
    """Return the plain optimizer of all parameters."""
    if config.optimizer == "adam":
        return optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
    return optim.SGD(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
