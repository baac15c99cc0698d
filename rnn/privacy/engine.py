"""Private gradient steps: per-example clipping in one pass, noise, a fixed normaliser.

B examples in a physical batch. The clipped sum of a logical batch collects over its physical
batches in each parameter's `summed_grad`, where Opacus' optimizer keeps it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from rnn.privacy.noise import Keystream
from rnn.tape import recording

# Sums in single precision overshoot the clip bound by up to about 9e-6 at B = 2048; the noise is
# scaled for a bound that much larger.
ROUNDING = 2e-5


@dataclass(frozen=True)
class ClipReport:
    """What clipping saw in one physical batch: internal.

    Attributes:
        norms: float [B], before clipping.
        refused: examples whose gradient was not finite and counts as zero.
    """

    norms: Tensor
    refused: int


def clip_factors(norms: Tensor, max_grad_norm: float) -> Tensor:
    """Return float [B]: what scales each gradient to a norm of at most max_grad_norm.

    A norm that is not finite gets 0.
    """
    factors = (max_grad_norm / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(max=1.0)
    return torch.where(norms.isfinite(), factors, 0.0)


def accumulate_clipped(
    model: nn.Module, losses: Callable[[], Tensor], max_grad_norm: float
) -> tuple[Tensor, ClipReport]:
    """Add one physical batch's clipped gradient sum to the parameters' `summed_grad`.

    Args:
        model: every trainable layer has a one-pass rule.
        losses: runs the model forward and returns each example's own loss, float [B].
        max_grad_norm: bound on one example's gradient.

    Returns:
        The losses, detached, and what clipping saw.

    Raises:
        ValueError: the losses are not one number an example.
        TypeError: a layer has no rule.
    """
    with recording(model) as tape:
        values = losses()
        if values.dim() != 1:
            raise ValueError(f"losses have shape {tuple(values.shape)}: one number an example")
        if len(values):
            values.sum().backward()
    if not len(values):
        return values.detach(), ClipReport(values.detach(), 0)
    with torch.no_grad():
        norms = tape.squared_norms().sqrt()
        tape.add_clipped(clip_factors(norms, max_grad_norm))
    return values.detach(), ClipReport(norms, int((~norms.isfinite()).sum()))


class PrivateOptimizer(DPOptimizer):
    """Opacus' optimizer fed by the tape, with noise from a keystream and a constant normaliser."""

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        expected_batch_size: int,
    ):
        """Wrap a torch optimizer; `expected_batch_size` is a constant of the settings."""
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
        )
        self.keystream: Keystream | None = None

    def pre_step(self, closure: Callable[[], float] | None = None) -> bool:
        """Noise the sums and divide; an empty batch is noise alone, and is a step like any."""
        self.add_noise()
        self.scale_grad()
        if self.step_hook:
            self.step_hook(self)
        return True

    def add_noise(self) -> None:
        """Put clipped sum plus noise into each parameter's gradient; the noise is spent once."""
        if self.keystream is None:
            raise RuntimeError("no keystream for this step")
        scale = self.noise_multiplier * self.max_grad_norm * (1 + ROUNDING)
        for p in self.params:
            noise = torch.from_numpy(self.keystream.normal(p.numel())).view(p.shape) * scale
            total = getattr(p, "summed_grad", None)
            if total is not None:
                noise = noise + total.detach().cpu().double()
            p.grad = noise.to(device=p.device, dtype=p.dtype)
        self.keystream = None

    def scale_grad(self) -> None:
        """Divide by the expected batch size, whatever the batch was."""
        for p in self.params:
            p.grad /= self.expected_batch_size

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients and sums; every step here is a whole logical batch."""
        for p in self.params:
            p.summed_grad = None
        self.original_optimizer.zero_grad(set_to_none)
