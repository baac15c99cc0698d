"""The training loop, with privacy or without, one step at a time and resumable at each.

B rows in a physical batch; a logical batch is a Poisson sample of all training rows.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from rnn.batch import PreparedSequences, SequenceBatch
from rnn.config import TrainConfig
from rnn.losses import example_losses
from rnn.model import SequenceModel
from rnn.privacy.engine import PrivateOptimizer, accumulate_clipped
from rnn.privacy.noise import Keystream


@dataclass(frozen=True)
class Mechanism:
    """The numbers that the accounting rests on; none is taken from the data.

    Attributes:
        sample_rate: inclusion probability a step.
        noise_multiplier: standard deviation of the noise over max_grad_norm.
        max_grad_norm: bound on one example's gradient.
    """

    sample_rate: float
    noise_multiplier: float
    max_grad_norm: float


@dataclass(frozen=True)
class StepReport:
    """What one step saw: internal, for it is computed from private rows.

    Attributes:
        step: 1 after the first.
        rows: size of the Poisson sample.
        loss: mean over the sample, nan when it was empty.
        gradient_norm: median before clipping; nan without privacy or when empty.
        clipped_share: share of the sample above max_grad_norm.
        refused: gradients that were not finite.
    """

    step: int
    rows: int
    loss: float
    gradient_norm: float
    clipped_share: float
    refused: int


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the rate of a step counted from 0."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    share = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def resolve_device(name: str) -> torch.device:
    """Return the device that a setting asks for; auto takes a GPU when there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _optimizer(model: SequenceModel, config: TrainConfig) -> Optimizer:
    """The plain optimizer."""
    if config.optimizer == "adam":
        return torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
    return torch.optim.SGD(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )


class Fit:
    """A training run that can be stopped after any step and taken up from its tensors."""

    def __init__(
        self,
        model: SequenceModel,
        sequences: PreparedSequences,
        rows: NDArray[np.int64],
        config: TrainConfig,
        *,
        sample_rate: float,
        mechanism: Mechanism | None,
        keystream: Keystream,
    ):
        """Prepare a run.

        Args:
            model: with its initial weights.
            sequences: all people; only `rows` are trained on.
            rows: the training rows.
            config: steps, rates, sizes.
            sample_rate: inclusion probability a step, a constant of the settings.
            mechanism: clipping and noise, or None for training without privacy.
            keystream: of sampling and noise.
        """
        self.device = resolve_device(config.device)
        self.model = model.to(self.device)
        self.sequences, self.rows, self.config = sequences, rows, config
        self.sample_rate, self.mechanism, self.keystream = sample_rate, mechanism, keystream
        self.step_count = 0
        self.plain = _optimizer(model, config)
        self.optimizer: Optimizer = self.plain
        if mechanism is not None:
            self.optimizer = PrivateOptimizer(
                self.plain,
                noise_multiplier=mechanism.noise_multiplier,
                max_grad_norm=mechanism.max_grad_norm,
                expected_batch_size=config.expected_batch_size,
            )
        self.average = {n: p.detach().clone() for n, p in model.named_parameters()}

    def step(self) -> StepReport:
        """Take one step on one Poisson sample."""
        stream = self.keystream.child(self.step_count)
        chosen = self.rows[stream.bernoulli(self.sample_rate, len(self.rows))]
        self.model.train()
        self.optimizer.zero_grad()
        # Dropout's masks come from torch; seeded by step so that a resumed run repeats them.
        torch.manual_seed(self.config.seed * 1_000_003 + self.step_count)
        parts = [self._physical(batch) for batch in self._batches(chosen)]
        for group in self.plain.param_groups:
            group["lr"] = learning_rate(self.config, self.step_count)
        if isinstance(self.optimizer, PrivateOptimizer):
            self.optimizer.keystream = stream
        self.optimizer.step()
        self.step_count += 1
        self._update_average()
        return self._report(parts)

    def _batches(self, chosen: NDArray[np.int64]) -> list[SequenceBatch]:
        """Physical batches of a logical one, of like lengths to waste little padding."""
        lengths = self.sequences.offsets[chosen + 1] - self.sequences.offsets[chosen]
        ordered = chosen[np.argsort(lengths, kind="stable")]
        size = self.config.physical_batch_size
        return [
            self.sequences.batch(ordered[start : start + size]).to(self.device)
            for start in range(0, len(ordered), size)
        ]

    def _physical(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Losses and gradient norms of one physical batch; gradients are accumulated."""

        def losses() -> Tensor:
            logits = self.model(batch.inputs, batch.lengths, batch.static)
            return example_losses(logits, batch.targets, self.model.shape.task)

        if self.mechanism is not None:
            values, seen = accumulate_clipped(self.model, losses, self.mechanism.max_grad_norm)
            return values, seen.norms
        values = losses()
        (values.sum() / self.config.expected_batch_size).backward()
        return values.detach(), values.new_zeros(0)

    def _update_average(self) -> None:
        """Exponential average of weights, short-sighted at first: post-processing, it is free."""
        decay = min(self.config.averaging, self.step_count / (self.step_count + 10))
        if self.config.averaging == 0:
            decay = 0.0
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                self.average[name].lerp_(parameter, 1 - decay)

    def _report(self, parts: list[tuple[Tensor, Tensor]]) -> StepReport:
        """Summarise a step."""
        losses = torch.cat([p[0] for p in parts]) if parts else torch.zeros(0)
        norms = torch.cat([p[1] for p in parts]) if parts else torch.zeros(0)
        bound = self.mechanism.max_grad_norm if self.mechanism else math.inf
        return StepReport(
            step=self.step_count,
            rows=len(losses),
            loss=float(losses.mean()) if len(losses) else math.nan,
            gradient_norm=float(norms.median()) if len(norms) else math.nan,
            clipped_share=float((norms > bound).float().mean()) if len(norms) else math.nan,
            refused=int((~norms.isfinite()).sum()),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return all that a later process needs to go on; no key or seed is among it."""
        out = {"step": torch.tensor(self.step_count)}
        for name, parameter in self.model.named_parameters():
            out[f"weight/{name}"] = parameter.detach()
            out[f"average/{name}"] = self.average[name]
            for key, value in self.plain.state.get(parameter, {}).items():
                out[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
        return out

    def load_tensors(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self.step_count = int(saved["step"])
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(saved[f"weight/{name}"])
                self.average[name].copy_(saved[f"average/{name}"])
                state = {
                    key.split("/")[1]: value.clone()
                    for key, value in saved.items()
                    if key.startswith("optimizer/") and key.split("/", 2)[2] == name
                }
                if state:
                    self.plain.state[parameter] = state
