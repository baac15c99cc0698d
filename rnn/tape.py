"""One backward pass, then every example's gradient norm and the clipped sum.

Layers write records while a tape is set; norms and sums follow from the records, and no gradient
of size B x parameters is stored. A parameter that is used more than once (a tied embedding, a
layer that is called twice) counts with the sum of its uses: their cross terms are part of the
norm.

B examples, P units, K rows of a unit, G groups of parameters.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rnn.dense import Sampler
from rnn.precision import exact_arithmetic
from rnn.records import CHUNK_ELEMENTS, LinearRecord, Record
from rnn.rules import Rule, rule_of
from rnn.shared import joint_squared_norms

__all__ = ["CHUNK_ELEMENTS", "LinearRecord", "Record", "Recorded", "Tape", "recording", "watch"]


# Where the steps of an example cancel, errors of single precision grow with what was cancelled:
# measured up to 1.2e-7 of the reach squared in a squared norm. Four times that is allowed for as
# soon as it is more than the engine's ROUNDING has room for.
_ERROR = 2.0**-21
_NOTICED = 3e-4


def _cautious(norms: Tensor, records: list[Record]) -> Tensor:
    """Squared norms that are not below the true ones by more than the noise has room for."""
    if norms.dtype == torch.float64:
        return norms
    reaches = [record.reach() for record in records]
    if not any(isinstance(reach, Tensor) or reach for reach in reaches):
        return norms
    reach = torch.as_tensor(sum(reaches), device=norms.device)
    error = (reach * _ERROR**0.5).square()
    return torch.where(error > _NOTICED * norms, norms + error, norms)


def _components(records: list[Record]) -> list[list[Record]]:
    """Records that share parameters, together."""
    owner: dict[int, int] = {}
    parts: list[list[Record]] = []
    for record in records:
        touched = sorted({owner[id(p)] for p in record.parameters if id(p) in owner})
        home = touched[0] if touched else len(parts)
        if not touched:
            parts.append([])
        parts[home].append(record)
        for other in touched[1:]:
            parts[home] += parts[other]
            parts[other] = []
        for member in parts[home]:
            owner.update((id(p), home) for p in member.parameters)
    return [part for part in parts if part]


def units_by_size(units: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return units of equal size together.

    Args:
        units: int64 [B], which unit each row belongs to, numbered 0..P-1, none left out.

    Returns:
        Pairs of unit numbers int64 [p] and their rows int64 [p, K], one pair a size.
    """
    counts = torch.bincount(units)
    order = torch.argsort(units, stable=True)
    starts = counts.cumsum(0) - counts
    out = []
    for size in counts.unique().tolist():
        chosen = (counts == size).nonzero()[:, 0]
        steps = torch.arange(size, device=units.device)
        out.append((chosen, order[starts[chosen][:, None] + steps]))
    return out


@dataclass
class Tape:
    """The records of one pass over one physical batch."""

    records: list[Record] = field(default_factory=list)

    @exact_arithmetic()
    def squared_norms(
        self, units: Tensor | None = None, groups: Mapping[int, int] | None = None
    ) -> Tensor:
        """Return squared gradient norms.

        Args:
            units: int64 [B], which unit 0..P-1 each row belongs to; a row each if None.
            groups: parameter id -> group 0..G-1; all parameters are one group if None.

        Returns:
            float [P] over all parameters, or [G, P] with groups.
        """
        used = [record for record in self.records if record.parameters]
        if units is None:
            return self._norms(used, groups)
        total: Tensor | None = None
        for chosen, rows in units_by_size(units):
            part = self._norms([record.merged(rows) for record in used], groups)
            if total is None:
                total = part.new_zeros(*part.shape[:-1], int(units.max()) + 1)
            total[..., chosen] = part
        return units.new_zeros(0, dtype=torch.float32) if total is None else total

    def _norms(self, records: list[Record], groups: Mapping[int, int] | None) -> Tensor:
        """Norms of rows, by group."""
        single = groups is None
        sums: dict[int, Tensor] = {}
        for part in _components(records):
            group = 0 if groups is None else groups[id(part[0].parameters[0])]
            norms = part[0].squared_norms() if len(part) == 1 else joint_squared_norms(part)
            norms = _cautious(norms, part)
            sums[group] = sums[group] + norms if group in sums else norms
        if single:
            return sums[0]
        some = next(iter(sums.values()))
        count = max((groups or {0: 0}).values()) + 1
        return torch.stack([sums.get(g, torch.zeros_like(some)) for g in range(count)])

    @exact_arithmetic()
    def add_clipped(self, factors: Tensor, groups: Mapping[int, int] | None = None) -> None:
        """Add the clipped sum to every parameter's summed_grad.

        Args:
            factors: float [B], or [G, B] with groups.
            groups: as for `squared_norms`.
        """
        for record in self.records:
            used = record.parameters
            if used:
                record.add_clipped(factors if groups is None else factors[groups[id(used[0])]])


class _Start(torch.autograd.Function):
    """Begin a graph at a tensor without copying it."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, anchor: Tensor) -> Tensor:
        """The tensor itself."""
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None]:
        """Nothing lies before it."""
        return None, None


def watch(output: Tensor, record: Record) -> Tensor:
    """Let `record` keep the gradient of `output`, which starts the graph if nothing before did."""
    if not torch.is_grad_enabled():
        return output
    if not output.requires_grad:
        output = _Start.apply(output, output.new_zeros((), requires_grad=True))
    output.register_hook(record.keep_delta)
    return output


class Recorded(nn.Module):
    """A layer that writes its own records while `tape` is set."""

    tape: Tape | None = None


def _hook(
    tape: Tape,
    rule: Rule,
    layer: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
) -> Any:
    """Write a record and watch the output."""
    if not torch.is_grad_enabled():
        return output
    inputs = [*args, *kwargs.values()]
    if not isinstance(output, Tensor) or not all(isinstance(i, Tensor) for i in inputs):
        raise TypeError(f"{type(layer).__name__} must be called with tensors and return one")
    record = rule(layer, inputs, output)
    tape.records.append(record)
    return watch(output, record)


def _refuse_mixing(model: nn.Module) -> None:
    """A layer that mixes the examples of a batch has no per-example gradient."""
    for name, layer in model.named_modules():
        normalises = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        remembers = isinstance(layer, nn.modules.batchnorm._NormBase) and layer.track_running_stats
        if layer.training and (normalises or remembers):
            raise TypeError(
                f"{name or 'model'} is a {type(layer).__name__}, which mixes the examples of a "
                "batch: use LayerNorm or GroupNorm"
            )


def _buffers(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Which tensor each buffer is, and how often it was written to."""
    return {name: (id(b), b._version) for name, b in model.named_buffers()}


@contextmanager
def recording(
    model: nn.Module, samplers: Mapping[type[nn.Module], Sampler] | None = None
) -> Iterator[Tape]:
    """Record every trainable layer of `model`; parameters get no ordinary gradient meanwhile.

    Args:
        model: whose layers are called, batch first.
        samplers: per-example gradients of layers without a one-pass rule.

    Raises:
        TypeError: a trainable parameter belongs to a layer without a rule, or a layer mixes
            examples, or writes down what it saw of them, which would leave with the weights.
    """
    _refuse_mixing(model)
    buffers = _buffers(model)
    tape = Tape()
    trained = [p for p in model.parameters() if p.requires_grad]
    handles = []
    covered: set[int] = set()
    layers: list[Recorded] = []
    for layer in model.modules():
        own = [p for p in layer.parameters(recurse=False) if p.requires_grad]
        if not own:
            continue
        if isinstance(layer, Recorded):
            layers.append(layer)
        else:
            rule = rule_of(layer, samplers or {})
            if rule is None:
                continue
            handles.append(
                layer.register_forward_hook(partial(_hook, tape, rule), with_kwargs=True)
            )
        covered.update(map(id, own))
    try:
        missing = [
            n for n, p in model.named_parameters() if p.requires_grad and id(p) not in covered
        ]
        if missing:
            raise TypeError(f"no per-example gradient rule for {', '.join(missing)}")
        for recorded in layers:
            recorded.tape = tape
        for parameter in trained:
            parameter.requires_grad_(False)
        yield tape
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for handle in handles:
            handle.remove()
        for recorded in layers:
            recorded.tape = None
    changed = [name for name, now in _buffers(model).items() if buffers.get(name) != now]
    if changed:
        raise TypeError(f"{', '.join(changed)}: written to without noise while the model ran")
