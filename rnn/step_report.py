"""What a training step saw of its rows: internal, for it is computed from private ones.

B rows in a physical batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rnn.privacy.counts import Seen


@dataclass(frozen=True)
class StepReport:
    """What one step saw: internal, for it is computed from private rows.

    Attributes:
        step: 1 after the first.
        rows: in the Poisson sample (of this process, where several train together).
        loss: mean over the sample, nan when it was empty.
        gradient_norm: median before clipping; nan without privacy or when empty.
        clipped_share: share of the sample above its bound.
        refused: gradients that were not finite.
    """

    step: int
    rows: int
    loss: float
    gradient_norm: float
    clipped_share: float
    refused: int


@dataclass(frozen=True)
class Part:
    """One physical batch: losses of rows [B], and what was seen of its units."""

    losses: Tensor
    seen: Seen


def summarised(step: int, parts: Sequence[Part]) -> StepReport:
    """Return the report of a step.

    Args:
        step: 1 after the first.
        parts: its physical batches; none where nobody was sampled.
    """
    empty = torch.zeros(0)
    losses = torch.cat([p.losses for p in parts]) if parts else empty
    norms = torch.cat([p.seen.norms for p in parts]) if parts else empty
    clipped = torch.cat([p.seen.clipped for p in parts]) if parts else empty
    return StepReport(
        step=step,
        rows=len(losses),
        loss=float(losses.mean()) if len(losses) else math.nan,
        gradient_norm=float(norms.median()) if len(norms) else math.nan,
        clipped_share=float(clipped.float().mean()) if len(norms) else math.nan,
        refused=int((~norms.isfinite()).sum()),
    )
