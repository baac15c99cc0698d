"""Records that hold each example's gradient itself: small parameters, and layers without a rule.

A norm's scale and an initial state are small; of a layer without a one-pass rule another library
computes each example's gradient, which costs memory.

B examples, T steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnn.precision import wide, wide_type
from rnn.records import Gradients, Record, add_sum, clear_refused, trainable

Sampler = Callable[[nn.Module, list[Tensor], Tensor], dict[nn.Parameter, Tensor]]


@dataclass
class DenseRecord(Record):
    """Gradients of each example, computed one by one or small enough to be kept.

    Attributes:
        held: each parameter with its gradients [B, *shape].
    """

    held: Gradients = field(default_factory=list)

    def gradients(self) -> Gradients:
        """Each trainable parameter with its gradients."""
        return self.held

    @property
    def parameters(self) -> list[Tensor]:
        """Those that have gradients."""
        return [p for p, _ in self.gradients()]

    @property
    def rows(self) -> int:
        """B."""
        return self.gradients()[0][1].shape[0]

    def squared_norms(self) -> Tensor:
        """Return float [B]."""
        parts = [wide(g).flatten(1).square().sum(1) for _, g in self.gradients()]
        return torch.stack(parts).sum(0)

    def add_clipped(self, factors: Tensor) -> None:
        """A weighted sum."""
        for parameter, gradient in self.gradients():
            flat = factors @ clear_refused(wide(gradient), factors).flatten(1)
            add_sum(parameter, flat.view_as(parameter))

    def merged(self, rows: Tensor) -> "DenseRecord":
        """Sums over a unit's rows."""
        return DenseRecord([(p, wide(g)[rows].sum(1)) for p, g in self.gradients()])

    def per_example(self, rows: slice) -> Gradients:
        """They are there."""
        return [(p, wide(g)[rows]) for p, g in self.gradients()]


class StateRecord(DenseRecord):
    """A parameter that every example uses as it is: its gradient is delta."""

    def __init__(self, parameter: Tensor, rows: int):
        """Expect delta [B, *shape]."""
        super().__init__()
        self.parameter, self.count = parameter, rows

    def gradients(self) -> Gradients:
        """Delta."""
        if not trainable(self.parameter):
            return []
        if self.delta is None:
            return [(self.parameter, self.parameter.new_zeros(self.count, *self.parameter.shape))]
        return [(self.parameter, self.delta.to(self.parameter.dtype))]


class LayerNormRecord(DenseRecord):
    """y = scale x normalised + shift."""

    def __init__(self, layer: nn.LayerNorm, activation: Tensor):
        """Keep what went in."""
        super().__init__()
        self.layer, self.activation = layer, activation
        self.version = activation._version

    def gradients(self) -> Gradients:
        """Sums over the steps."""
        if self.held:
            return self.held
        if self.activation._version != self.version:
            raise RuntimeError("a layer's input was modified in place after the layer used it")
        shape, weight = self.layer.normalized_shape, self.layer.weight
        normal = functional.layer_norm(self.activation, shape, eps=self.layer.eps)
        normal = normal.to(wide_type(weight.dtype))
        delta = torch.zeros_like(normal) if self.delta is None else self.delta.to(normal.dtype)
        flat = (delta.shape[0], delta.shape[1 : delta.dim() - len(shape)].numel(), *shape)
        if trainable(weight):
            self.held.append((weight, (delta * normal).reshape(flat).sum(1)))
        if trainable(self.layer.bias):
            self.held.append((self.layer.bias, delta.reshape(flat).sum(1)))
        return self.held


class SamplerRecord(DenseRecord):
    """A layer without a one-pass rule: another library computes each example's gradient."""

    def __init__(
        self, layer: nn.Module, activations: list[Tensor], output: Tensor, sampler: Sampler
    ):
        """Keep what the sampler needs."""
        super().__init__()
        self.layer, self.activations, self.sampler = layer, activations, sampler
        self.versions = [a._version for a in activations]
        self.shape, self.dtype = output.shape, output.dtype

    def gradients(self) -> Gradients:
        """What the sampler says."""
        if self.held:
            return self.held
        if [a._version for a in self.activations] != self.versions:
            raise RuntimeError("a layer's input was modified in place after the layer used it")
        delta = self.delta
        if delta is None:
            delta = self.activations[0].new_zeros(self.shape, dtype=self.dtype)
        found = self.sampler(self.layer, self.activations, delta)
        own = [p for p in self.layer.parameters(recurse=False) if trainable(p)]
        left_out = {id(p) for p in own} - {id(p) for p in found}
        if left_out:
            raise TypeError(f"the sampler of {type(self.layer).__name__} leaves parameters out")
        self.held = [(p, g) for p, g in found.items() if trainable(p)]
        return self.held
