"""What a layer keeps of one pass: enough for each example's gradient norm and the clipped sum.

A linear map's gradient for one example is the sum over its steps of an outer product of what
came back (delta) and what went in (activation).

B examples, T steps, I inputs, O outputs, V tokens, P units, K rows of a unit.

Source: Bu, Wang, Zha, Karypis (2023), "Differentially private optimization on large model at
small cost" (book-keeping), carried over to recurrences.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from rnn.precision import wide_type

# Elements that a chunk of materialised outer products may hold.
CHUNK_ELEMENTS = 1 << 24

Gradients = list[tuple[Tensor, Tensor]]


class Record:
    """What one map kept of one pass."""

    delta: Tensor | None = None

    def keep_delta(self, gradient: Tensor) -> None:
        """Store what came back."""
        self.delta = gradient if self.delta is None else self.delta + gradient

    @property
    def parameters(self) -> list[Tensor]:
        """The trainable parameters that the map used."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """B."""
        raise NotImplementedError

    def squared_norms(self) -> Tensor:
        """Return float [B], the squared gradient norm of each example."""
        raise NotImplementedError

    def reach(self) -> Tensor | float:
        """Return float [B], the norm if no steps cancelled: what rounding errors grow with.

        0 where the gradient that is summed is the one whose norm was taken.
        """
        return 0.0

    def add_clipped(self, factors: Tensor) -> None:
        """Add the sum over examples of factor times gradient to each parameter's summed_grad."""
        raise NotImplementedError

    def merged(self, rows: Tensor) -> "Record":
        """Return the record of units instead of examples.

        Args:
            rows: int64 [P, K], the rows of each unit.
        """
        raise NotImplementedError

    def per_example(self, rows: slice) -> Gradients:
        """Return each parameter with the gradients [b, *shape] of some examples."""
        raise NotImplementedError


def trainable(parameter: Tensor | None) -> bool:
    """Whether a parameter takes part; outside of `recording` it says so itself."""
    return parameter is not None and parameter.requires_grad


def add_sum(parameter: Tensor, value: Tensor) -> None:
    """Accumulate over physical batches where Opacus' optimizer looks for it."""
    so_far = getattr(parameter, "summed_grad", None)
    parameter.summed_grad = value if so_far is None else so_far + value  # type: ignore[attr-defined]


def clear_refused(tensor: Tensor, factors: Tensor) -> Tensor:
    """Zero the rows of refused examples: 0 times inf is not 0."""
    refused = factors == 0
    # Elsewhere than on a CPU the question would wait for all work that is under way.
    if tensor.is_cpu and not bool(refused.any()):
        return tensor
    return tensor.masked_fill(refused.view(-1, *[1] * (tensor.dim() - 1)), 0)


@dataclass
class LinearRecord(Record):
    """y = x W^T + b over any number of steps.

    Attributes:
        weight: [O, I], or any shape whose first axis is O and whose others make I.
        bias: [O] or None.
        activation: [B, T, I]; or [B, I], which is one step.
    """

    weight: Tensor
    bias: Tensor | None
    activation: Tensor
    delta: Tensor | None = None
    version: int = field(init=False)

    def __post_init__(self) -> None:
        """Remember the state of the activation."""
        self.version = self.activation._version

    @property
    def parameters(self) -> list[Tensor]:
        """Weight and bias."""
        return [p for p in (self.weight, self.bias) if p is not None and trainable(p)]

    @property
    def rows(self) -> int:
        """B."""
        return self.activation.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """O and I."""
        return self.weight.shape[0], self.weight.shape[1:].numel()

    def check_unchanged(self) -> None:
        """What went in must still be there: an in-place operation would falsify the gradient."""
        if self.activation._version != self.version:
            raise RuntimeError("a layer's input was modified in place after the layer used it")

    def parts(self) -> tuple[Tensor, Tensor]:
        """Activation [B, T, I] and delta [B, T, O]."""
        self.check_unchanged()
        outputs, inputs = self.shape
        if self.delta is None:
            # The output did not reach the loss: its gradient is zero.
            self.delta = self.activation.new_zeros(*self.activation.shape[:-1], outputs)
        batch = self.activation.shape[0]
        steps, dtype = self.activation.shape[1:-1].numel(), wide_type(self.weight.dtype)
        return (
            self.activation.reshape(batch, steps, inputs).to(dtype),
            self.delta.reshape(batch, steps, outputs).to(dtype),
        )

    def squared_norms(self) -> Tensor:
        """Return float [B]; by Gram matrices or by outer products, whichever is cheaper."""
        activation, delta = self.parts()
        steps = activation.shape[1]
        bias = 1.0 if trainable(self.bias) else 0.0
        if not trainable(self.weight):
            return bias * delta.sum(1).square().sum(1)
        if steps == 1:
            return delta.square().sum((1, 2)) * (activation.square().sum((1, 2)) + bias)
        outputs, inputs = self.shape
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

    def reach(self) -> Tensor | float:
        """Sums over the steps of the outer products' norms."""
        activation, delta = self.parts()
        if activation.shape[1] == 1:
            return 0.0
        sizes = torch.linalg.vector_norm(activation, dim=2).square_() + 1
        return (torch.linalg.vector_norm(delta, dim=2) * sizes.sqrt_()).sum(1)

    def add_clipped(self, factors: Tensor) -> None:
        """One GEMM for the weight, one sum for the bias."""
        activation, delta = self.parts()
        scaled = (clear_refused(delta, factors) * factors[:, None, None]).flatten(0, 1)
        if trainable(self.weight):
            total = scaled.T @ clear_refused(activation, factors).flatten(0, 1)
            add_sum(self.weight, total.view_as(self.weight))
        if self.bias is not None and trainable(self.bias):
            add_sum(self.bias, scaled.sum(0))

    def merged(self, rows: Tensor) -> "LinearRecord":
        """A unit's rows are steps of one long sequence."""
        activation, delta = self.parts()
        return LinearRecord(
            self.weight, self.bias, activation[rows].flatten(1, 2), delta[rows].flatten(1, 2)
        )

    def per_example(self, rows: slice) -> Gradients:
        """Outer products."""
        activation, delta = (part[rows] for part in self.parts())
        out: Gradients = []
        if trainable(self.weight):
            products = torch.bmm(delta.transpose(1, 2), activation)
            out.append((self.weight, products.view(-1, *self.weight.shape)))
        if self.bias is not None and trainable(self.bias):
            out.append((self.bias, delta.sum(1)))
        return out


@dataclass
class ConvRecord(LinearRecord):
    """A convolution over time, one group: a linear map of windows.

    Attributes:
        weight: [O, channels, width].
        activation: [B, channels, T], as it went in.
        padding: left and right.
        stride: between windows.
        dilation: between a window's steps.
    """

    padding: tuple[int, int] = (0, 0)
    stride: int = 1
    dilation: int = 1

    def parts(self) -> tuple[Tensor, Tensor]:
        """Windows [B, T', channels x width] and delta [B, T', O]."""
        self.check_unchanged()
        padded = functional.pad(self.activation, self.padding)
        reach = self.dilation * (self.weight.shape[2] - 1) + 1
        windows = padded.unfold(2, reach, self.stride)[..., :: self.dilation]
        activation = windows.permute(0, 2, 1, 3).flatten(2)
        if self.delta is None:
            delta = activation.new_zeros(*activation.shape[:2], self.weight.shape[0])
        else:
            delta = self.delta.transpose(1, 2)
        dtype = wide_type(self.weight.dtype)
        return activation.to(dtype), delta.to(dtype)


@dataclass
class EmbeddingRecord(Record):
    """Rows of a table looked up by token.

    Attributes:
        weight: [V, E].
        tokens: int64 [B, ...].
        padding: token whose row never moves, or None.
    """

    weight: Tensor
    tokens: Tensor
    padding: int | None
    delta: Tensor | None = None
    version: int = field(init=False)

    def __post_init__(self) -> None:
        """Remember the state of the tokens."""
        self.version = self.tokens._version

    @property
    def parameters(self) -> list[Tensor]:
        """The table."""
        return [self.weight] if trainable(self.weight) else []

    @property
    def rows(self) -> int:
        """B."""
        return self.tokens.shape[0]

    def parts(self) -> tuple[Tensor, Tensor]:
        """Tokens [B, T] and delta [B, T, E] with the padding's rows at zero."""
        if self.tokens._version != self.version:
            raise RuntimeError("a layer's tokens were modified in place after the layer used them")
        batch, width = self.tokens.shape[0], self.weight.shape[1]
        dtype = wide_type(self.weight.dtype)
        tokens = self.tokens.reshape(batch, self.tokens.shape[1:].numel())
        if self.delta is None:
            return tokens, self.weight.new_zeros(*tokens.shape, width, dtype=dtype)
        delta = self.delta.reshape(*tokens.shape, width).to(dtype)
        if self.padding is not None:
            delta = delta.masked_fill((tokens == self.padding)[..., None], 0)
        return tokens, delta

    def squared_norms(self) -> Tensor:
        """Return float [B]: steps that share a token share a row."""
        tokens, delta = self.parts()
        if tokens.shape[1] == 1:
            return delta.square().sum((1, 2))
        same = tokens[:, :, None] == tokens[:, None, :]
        return ((delta @ delta.transpose(1, 2)) * same).sum((1, 2)).clamp_(min=0)

    def reach(self) -> Tensor | float:
        """Sums over the steps of delta's norm."""
        tokens, delta = self.parts()
        return 0.0 if tokens.shape[1] == 1 else torch.linalg.vector_norm(delta, dim=2).sum(1)

    def add_clipped(self, factors: Tensor) -> None:
        """Scatter the scaled rows."""
        tokens, delta = self.parts()
        scaled = clear_refused(delta, factors) * factors[:, None, None]
        total = torch.zeros_like(self.weight, dtype=delta.dtype)
        total.index_add_(0, tokens.flatten(), scaled.flatten(0, 1))
        add_sum(self.weight, total)

    def merged(self, rows: Tensor) -> "EmbeddingRecord":
        """A unit's rows are steps of one long sequence."""
        tokens, delta = self.parts()
        return EmbeddingRecord(
            self.weight, tokens[rows].flatten(1, 2), self.padding, delta[rows].flatten(1, 2)
        )

    def per_example(self, rows: slice) -> Gradients:
        """A table for each example."""
        tokens, delta = (part[rows] for part in self.parts())
        return [(self.weight, self._tables(tokens, delta, self.weight.shape[0]))]

    def tables(self, kept: Tensor) -> Tensor:
        """Return float [B, v, E], rows of each example's table; those left out are zeros.

        Args:
            kept: int64 [v], sorted: all tokens that occur, and perhaps others.

        Raises:
            RuntimeError: a token that is not kept.
        """
        tokens, delta = self.parts()
        places = torch.searchsorted(kept, tokens.contiguous()).clamp_(max=len(kept) - 1)
        if not torch.equal(kept[places], tokens):
            raise RuntimeError("a token occurs that is not among those kept")
        return self._tables(places, delta, len(kept))

    def _tables(self, places: Tensor, delta: Tensor, count: int) -> Tensor:
        """Sums of delta by place, [B, count, E]."""
        tables = delta.new_zeros(len(places), count, self.weight.shape[1])
        return tables.scatter_add_(1, places[..., None].expand_as(delta), delta)
