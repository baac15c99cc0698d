"""Private gradient steps: clipping a unit in one pass, noise, a fixed normaliser.

B rows in a physical batch, P units that they belong to, G groups of parameters. The clipped sum
of a logical batch collects over its physical batches in each parameter's `summed_grad`, where
Opacus' optimizer keeps it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from rnn.privacy.clipping import Bound, LayerBounds, clip_factors
from rnn.privacy.noise import Keystream, grid_for, noised
from rnn.privacy.ranks import Ranks, cut
from rnn.tape import Tape, recording

__all__ = [
    "ROUNDING",
    "ClipReport",
    "PrivateOptimizer",
    "accumulate_clipped",
    "clip_factors",
    "numbered",
    "rounding_margin",
]

# One unit's clipped gradient overshoots the bound by up to about 1e-5 in single precision; by up
# to half of the tape's _NOTICED where steps cancel; and rounding to the noise's grid adds at most
# noise.GRID_SHARE of the bound.
ROUNDING = 3e-4
# A row that comes or goes changes the rounding of the whole sum: with gradients that all point
# one way, measured 3.4e-5 at B = 2048 and 1.3e-4 at 8192, a quarter of this times B.
_ROUNDING_A_ROW = 2.0**-24


def rounding_margin(expected_batch_size: int) -> float:
    """Return by what share sums in single precision may move beyond the clip bound."""
    return ROUNDING + _ROUNDING_A_ROW * expected_batch_size


@dataclass(frozen=True)
class ClipReport:
    """What clipping saw in one physical batch: internal.

    Attributes:
        norms: float [P], over all parameters before clipping.
        clipped: bool [P], whether a bound was exceeded; a refused unit counts as such.
        refused: units whose gradient was not finite and counts as zero.
    """

    norms: Tensor
    clipped: Tensor
    refused: int


def numbered(units: Tensor | None, rows: int) -> Tensor | None:
    """Return units numbered 0..P-1 in ascending order of their names; None where rows are units.

    Args:
        units: int64 [B], any names.
        rows: B.

    Raises:
        ValueError: not one unit a row.
    """
    if units is None:
        return None
    if units.shape != (rows,):
        raise ValueError(f"units have shape {tuple(units.shape)}: one a row, ({rows},)")
    return torch.unique(units, return_inverse=True)[1]


def _unit_bounds(bound: float | Tensor, units: Tensor | None, dtype: torch.dtype) -> float | Tensor:
    """The bound of each unit: the least of its rows', a function of that unit alone."""
    if not isinstance(bound, Tensor):
        return bound
    bound = bound.to(dtype)
    if units is None:
        return bound
    out = bound.new_zeros(int(units.max()) + 1)
    return out.scatter_reduce(0, units, bound, "amin", include_self=False)


@dataclass(frozen=True)
class Batch:
    """Rows whose gradients a tape holds.

    Attributes:
        tape: what they left.
        units: int64 [B], the unit 0..P-1 of each row; None: each row is a unit.
        bound: on one unit's gradient, bounds by layer, or float [B], one a row.
    """

    tape: Tape
    units: Tensor | None
    bound: Bound | Tensor

    @property
    def groups(self) -> Mapping[int, int] | None:
        """Which parameters are clipped together; None: all of them."""
        return self.bound.groups if isinstance(self.bound, LayerBounds) else None


@torch.no_grad()
def clip_together(batches: Sequence[Batch]) -> ClipReport:
    """Clip the units of some batches and add them up; return what was seen of the first one's.

    Batches with parameters in common, or with bounds of different kinds, have no norm together.
    """
    parts = [batch.tape.squared_norms(batch.units, batch.groups) for batch in batches]
    squares = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
    bound, groups = batches[0].bound, batches[0].groups
    whole = squares.sum(0) if groups is not None else squares
    norms_of_all = whole.sqrt()
    if isinstance(bound, LayerBounds):
        pairs = zip(squares.sqrt(), bound.bounds, strict=True)
        factors = torch.stack([clip_factors(norms, c) for norms, c in pairs])
        # A unit that is refused in one group is refused in all.
        factors = torch.where(whole.isfinite(), factors, 0.0)
        clipped = (factors < 1).any(0)
    else:
        factors = clip_factors(norms_of_all, _bounds_of(batches, squares.dtype))
        clipped = factors < 1
    sizes = [part.shape[-1] for part in parts]
    for batch, own in zip(batches, factors.split(sizes, -1), strict=True):
        rows = own if batch.units is None else own[..., batch.units]
        batch.tape.add_clipped(rows, batch.groups)
    first = slice(sizes[0])
    refused = int((~whole[first].isfinite()).sum())
    return ClipReport(norms_of_all[first], clipped[first], refused)


def _bounds_of(batches: Sequence[Batch], dtype: torch.dtype) -> float | Tensor:
    """The bound of every unit, or the one of all of them."""
    found = [_unit_bounds(batch.bound, batch.units, dtype) for batch in batches]  # type: ignore[arg-type]
    if len(found) == 1 or not isinstance(found[0], Tensor):
        return found[0]
    return torch.cat(found)  # type: ignore[arg-type]


def accumulate_clipped(
    model: nn.Module,
    losses: Callable[[], Tensor],
    max_grad_norm: Bound | Tensor,
    units: Tensor | None = None,
    beside: Batch | None = None,
) -> tuple[Tensor, ClipReport]:
    """Add one physical batch's clipped gradient sum to the parameters' `summed_grad`.

    Args:
        model: every trainable layer has a one-pass rule, or Opacus a sampler for it.
        losses: runs the model forward and returns each row's own loss, float [B].
        max_grad_norm: bound on one unit's gradient, bounds by layer, or float [B], one a row: the
            noise must be scaled to the largest that there may be.
        units: int64 [B], which person each row belongs to; the gradients of a person's rows are
            added up and clipped together, so all of them must be in this batch. None: each row
            is a unit.
        beside: rows of other units in parameters of their own, clipped and added in the same
            pass; None for none.

    Returns:
        The losses, detached, and what clipping saw of these units.

    Raises:
        ValueError: the losses are not one number a row, or a layer saw other rows.
        TypeError: a layer has no rule.
    """
    with recording(model, GradSampleModule.GRAD_SAMPLERS) as tape:
        values = losses()
        if values.dim() != 1:
            raise ValueError(f"losses have shape {tuple(values.shape)}: one number an example")
        if len(values):
            values.sum().backward()
    unit_numbers = numbered(units, len(values))
    if not len(values):
        empty = values.detach()
        if beside is not None:
            clip_together([beside])
        return empty, ClipReport(empty, empty.bool(), 0)
    for record in tape.records:
        if record.rows != len(values):
            raise ValueError(f"a layer saw {record.rows} rows, the losses have {len(values)}")
    whole = [Batch(tape, unit_numbers, max_grad_norm)]
    report = clip_together(whole if beside is None else [*whole, beside])
    return values.detach(), report


class PrivateOptimizer(DPOptimizer):
    """Opacus' optimizer fed by the tape, with noise from a keystream and a constant normaliser."""

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        expected_batch_size: int,
        ranks: Ranks | None = None,
        beside: Sequence[nn.Parameter] = (),
    ):
        """Wrap a torch optimizer; `expected_batch_size` is a constant of the settings.

        Args:
            optimizer: whose update rule is used.
            noise_multiplier: standard deviation of the noise over max_grad_norm.
            max_grad_norm: bound on a unit's gradient over all parameters.
            expected_batch_size: what the noisy sum is divided by.
            ranks: processes that share a logical batch; this one alone if None.
            beside: parameters that are summed, noised and divided with the optimizer's own, and
                that no update rule meets.
        """
        self._beside = list(beside)
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
        )
        self.keystream: Keystream | None = None
        self.ranks = ranks or Ranks()
        # Post-processing of the noisy sum; Global-Adapt's.
        self.rescale = 1.0

    @property
    def params(self) -> list[Any]:
        """All that is released together."""
        return [*super().params, *self._beside]

    def pre_step(self, closure: Callable[[], float] | None = None) -> bool:
        """Noise the sums and divide; an empty batch is noise alone, and is a step like any."""
        self.add_noise()
        self.scale_grad()
        if self.step_hook:
            self.step_hook(self)
        return True

    def _sum(self) -> Tensor:
        """The clipped sum of all parameters over all processes, flat, float64 on the CPU.

        One vector, so that a GPU is waited for once.
        """
        parts = [
            torch.zeros_like(p).flatten()
            if p.summed_grad is None
            else p.summed_grad.detach().flatten()
            for p in self.params
        ]
        return self.ranks.add([torch.cat(parts).cpu().double()])[0]

    def add_noise(self) -> None:
        """Put clipped sum plus noise into each parameter's gradient; the noise is spent once."""
        stream, self.keystream = self.keystream, None
        if stream is None:
            raise RuntimeError("no keystream for this step")
        margin = 1 + rounding_margin(self.expected_batch_size)
        scale = self.noise_multiplier * self.max_grad_norm * margin
        grid = grid_for(self.max_grad_norm, sum(p.numel() for p in self.params))
        total = self._sum()
        if self.ranks.first:
            total = torch.from_numpy(noised(total.numpy(), stream, scale, grid))
        (noisy,) = self.ranks.spread([total])
        noisy = noisy.to(self.params[0].device)
        for p, value in zip(self.params, cut(noisy, self.params), strict=True):
            p.grad = value.to(device=p.device, dtype=p.dtype)

    def scale_grad(self) -> None:
        """Divide by the expected batch size, whatever the batch was."""
        for p in self.params:
            p.grad /= self.expected_batch_size / self.rescale

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients and sums; every step here is a whole logical batch."""
        for p in self.params:
            p.summed_grad = None
        self.original_optimizer.zero_grad(set_to_none)
