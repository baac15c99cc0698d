"""One backward pass, then every example's gradient norm and the clipped sum.

A linear map's gradient for one example is the sum over its steps of an outer product of what
came back (delta) and what went in (activation). Both are kept during one forward and backward
pass; norms and sums follow from them, and no gradient of size B x parameters is stored.

B examples, T steps, I inputs, O outputs, V tokens.

Source: Bu, Wang, Zha, Karypis (2023), "Differentially private optimization on large model at
small cost" (book-keeping), carried over to recurrences.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

# Elements that a chunk of materialised outer products may hold.
CHUNK_ELEMENTS = 1 << 24


class Record:
    """What one map kept of one pass."""

    delta: Tensor | None = None

    def keep_delta(self, gradient: Tensor) -> None:
        """Store what came back."""
        self.delta = gradient if self.delta is None else self.delta + gradient

    def squared_norms(self) -> Tensor:
        """Return float [B], the squared gradient norm of each example."""
        raise NotImplementedError

    def add_clipped(self, factors: Tensor) -> None:
        """Add the sum over examples of factor times gradient to each parameter's summed_grad."""
        raise NotImplementedError


def _add(parameter: Tensor, value: Tensor) -> None:
    """Accumulate over physical batches where Opacus' optimizer looks for it."""
    so_far = getattr(parameter, "summed_grad", None)
    parameter.summed_grad = value if so_far is None else so_far + value  # type: ignore[attr-defined]


def _clear(tensor: Tensor, factors: Tensor) -> Tensor:
    """Zero the rows of refused examples: 0 times inf is not 0."""
    refused = factors == 0
    if not bool(refused.any()):
        return tensor
    return tensor.masked_fill(refused.view(-1, *[1] * (tensor.dim() - 1)), 0)


@dataclass
class LinearRecord(Record):
    """y = x W^T + b over any number of steps.

    Attributes:
        weight: [O, I].
        bias: [O] or None.
        activation: [B, T, I]; or [B, I], which is one step.
    """

    weight: Tensor
    bias: Tensor | None
    activation: Tensor
    delta: Tensor | None = None

    def _parts(self) -> tuple[Tensor, Tensor]:
        """Activation and delta as [B, T, .]."""
        if self.delta is None:
            # The output did not reach the loss: its gradient is zero.
            self.delta = self.activation.new_zeros(
                *self.activation.shape[:-1], self.weight.shape[0]
            )
        batch = self.activation.shape[0]
        steps = self.activation.shape[1:-1].numel()
        return (
            self.activation.reshape(batch, steps, self.weight.shape[1]),
            self.delta.reshape(batch, steps, self.weight.shape[0]),
        )

    def squared_norms(self) -> Tensor:
        """Return float [B]; by Gram matrices or by outer products, whichever is cheaper."""
        activation, delta = self._parts()
        steps = activation.shape[1]
        bias = 0.0 if self.bias is None else 1.0
        if steps == 1:
            return delta.square().sum((1, 2)) * (activation.square().sum((1, 2)) + bias)
        outputs, inputs = self.weight.shape
        if steps * (outputs + inputs) <= outputs * inputs:
            gram = activation @ activation.transpose(1, 2) + bias
            # A Gram sum can round below zero where the true norm is zero.
            return ((delta @ delta.transpose(1, 2)) * gram).sum((1, 2)).clamp_(min=0)
        rows = max(1, CHUNK_ELEMENTS // (outputs * inputs))
        norms = [
            torch.bmm(d.transpose(1, 2), a).square().sum((1, 2))
            for a, d in zip(activation.split(rows), delta.split(rows), strict=True)
        ]
        total = torch.cat(norms) if norms else activation.new_zeros(0)
        return total + bias * delta.sum(1).square().sum(1)

    def add_clipped(self, factors: Tensor) -> None:
        """One GEMM for the weight, one sum for the bias."""
        activation, delta = self._parts()
        scaled = (_clear(delta, factors) * factors[:, None, None]).flatten(0, 1)
        _add(self.weight, scaled.T @ _clear(activation, factors).flatten(0, 1))
        if self.bias is not None:
            _add(self.bias, scaled.sum(0))


@dataclass
class EmbeddingRecord(Record):
    """Rows of a table looked up by token.

    Attributes:
        weight: [V, E].
        tokens: int64 [B, T].
        padding: token whose row never moves, or None.
    """

    weight: Tensor
    tokens: Tensor
    padding: int | None
    delta: Tensor | None = None

    def _delta(self) -> Tensor:
        """Delta with the padding's rows at zero."""
        if self.delta is None:
            return self.weight.new_zeros(*self.tokens.shape, self.weight.shape[1])
        if self.padding is None:
            return self.delta
        return self.delta.masked_fill((self.tokens == self.padding)[..., None], 0)

    def squared_norms(self) -> Tensor:
        """Return float [B]: steps that share a token share a row."""
        delta = self._delta()
        same = self.tokens[:, :, None] == self.tokens[:, None, :]
        return ((delta @ delta.transpose(1, 2)) * same).sum((1, 2)).clamp_(min=0)

    def add_clipped(self, factors: Tensor) -> None:
        """Scatter the scaled rows."""
        scaled = _clear(self._delta(), factors) * factors[:, None, None]
        total = torch.zeros_like(self.weight)
        total.index_add_(0, self.tokens.flatten(), scaled.flatten(0, 1))
        _add(self.weight, total)


@dataclass
class Tape:
    """The records of one pass over one physical batch."""

    records: list[Record] = field(default_factory=list)

    def squared_norms(self) -> Tensor:
        """Return float [B], over all parameters."""
        return torch.stack([record.squared_norms() for record in self.records]).sum(0)

    def add_clipped(self, factors: Tensor) -> None:
        """Add the clipped sum to every parameter's summed_grad."""
        for record in self.records:
            record.add_clipped(factors)


def watch(output: Tensor, record: Record) -> Tensor:
    """Let `record` keep the gradient of `output`, which starts the graph if nothing before did."""
    if not output.requires_grad:
        output.requires_grad_(True)
    output.register_hook(record.keep_delta)
    return output


class Recorded(nn.Module):
    """A layer that writes its own records while `tape` is set."""

    tape: Tape | None = None


def _linear_hook(
    tape: Tape, layer: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor
) -> Tensor:
    """Record a linear layer."""
    record = LinearRecord(layer.weight, layer.bias, inputs[0].detach())
    tape.records.append(record)
    return watch(output, record)


def _embedding_hook(
    tape: Tape, layer: nn.Embedding, inputs: tuple[Tensor, ...], output: Tensor
) -> Tensor:
    """Record an embedding."""
    record = EmbeddingRecord(layer.weight, inputs[0], layer.padding_idx)
    tape.records.append(record)
    return watch(output, record)


@contextmanager
def recording(model: nn.Module) -> Iterator[Tape]:
    """Record every trainable layer of `model`; parameters get no ordinary gradient meanwhile.

    Raises:
        TypeError: a trainable parameter belongs to a layer without a rule.
    """
    tape = Tape()
    trainable = [p for p in model.parameters() if p.requires_grad]
    handles = []
    covered: set[int] = set()
    layers: list[Recorded] = []
    for layer in model.modules():
        own = [p for p in layer.parameters(recurse=False) if p.requires_grad]
        if isinstance(layer, Recorded):
            layer.tape = tape
            layers.append(layer)
        elif type(layer) is nn.Linear:
            handles.append(layer.register_forward_hook(lambda m, i, o: _linear_hook(tape, m, i, o)))
        elif type(layer) is nn.Embedding:
            handles.append(
                layer.register_forward_hook(lambda m, i, o: _embedding_hook(tape, m, i, o))
            )
        else:
            continue
        covered.update(map(id, own))
    try:
        missing = [
            n for n, p in model.named_parameters() if p.requires_grad and id(p) not in covered
        ]
        if missing:
            raise TypeError(f"no per-example gradient rule for {', '.join(missing)}")
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield tape
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        for handle in handles:
            handle.remove()
        for recorded in layers:
            recorded.tape = None
