"""What a recurrence keeps of one pass: its input and hidden weights are one linear map.

The map takes [x_t, h_(t-1)] to the gates, so one product of delta with itself serves both
weights' norms, and one product sums both weights' gradients.

B examples, T steps, D inputs, H hidden units.
"""

import torch
from torch import Tensor

from rnn.cells import Trace, weight_gradients
from rnn.precision import wide
from rnn.records import Gradients, LinearRecord, Record, add_sum, trainable

# Products of so few steps cost their calls: the shared part of delta is rather multiplied twice.
_FEW_STEPS = 16


class SumRecord(Record):
    """Records of different parameters, taken as one."""

    def __init__(self, records: list[Record]):
        """Keep them."""
        self.records = records

    @property
    def parameters(self) -> list[Tensor]:
        """All of them."""
        return [p for record in self.records for p in record.parameters]

    @property
    def rows(self) -> int:
        """B."""
        return self.records[0].rows

    def squared_norms(self) -> Tensor:
        """Sums of theirs."""
        return torch.stack([record.squared_norms() for record in self.records]).sum(0)

    def reach(self) -> Tensor | float:
        """Sums of theirs."""
        return sum(record.reach() for record in self.records)

    def add_clipped(self, factors: Tensor) -> None:
        """Each its own."""
        for record in self.records:
            record.add_clipped(factors)

    def merged(self, rows: Tensor) -> "SumRecord":
        """Each its own."""
        return SumRecord([record.merged(rows) for record in self.records])

    def per_example(self, rows: slice) -> Gradients:
        """One after the other."""
        return [pair for record in self.records for pair in record.per_example(rows)]


class RecurrentRecord(Record):
    """Both weights and both biases of one layer and direction."""

    def __init__(self, weights: tuple[Tensor, Tensor, Tensor, Tensor], trace: Trace, rows: int):
        """Expect the trace of the recurrence; weights are W_ih, W_hh, b_ih, b_hh."""
        self.weights, self.trace, self.count = weights, trace, rows

    @property
    def parameters(self) -> list[Tensor]:
        """Those that are trained."""
        return [p for p in self.weights if trainable(p)]

    @property
    def rows(self) -> int:
        """B."""
        return self.count

    def _pieces(self) -> list[Tensor]:
        """Delta [t, B, .], nothing where the output did not reach the loss."""
        self.trace.check_unchanged()
        if wide(self.trace.went_in) is not self.trace.went_in:
            self.trace = _widened(self.trace)
        return self.trace.delta or []

    def pair(self) -> SumRecord:
        """Return the two linear maps apart, batch first."""
        weight_ih, weight_hh, bias_ih, bias_hh = self.weights
        inner, (before, shared, _) = weight_ih.shape[1], self.trace.split
        pieces = self._pieces()
        went_in = self.trace.went_in.transpose(0, 1)
        left, right = went_in[..., :inner], went_in[..., inner:]
        own: tuple[Tensor, Tensor] | None = None
        if pieces:
            delta = torch.cat(pieces).transpose(0, 1)
            own = delta[..., : before + shared].roll(-before, 2), delta[..., before:]
        zeros = went_in.new_zeros(*went_in.shape[:2], weight_ih.shape[0])
        deltas = own or (zeros, zeros)
        return SumRecord(
            [
                LinearRecord(weight_ih, bias_ih, left, deltas[0]),
                LinearRecord(weight_hh, bias_hh, right, deltas[1]),
            ]
        )

    def squared_norms(self) -> Tensor:
        """Return float [B]."""
        pieces = self._pieces()
        went_in = self.trace.went_in
        if not pieces:
            return went_in.new_zeros(self.count)
        steps, inputs = went_in.shape[0], went_in.shape[2]
        outputs = self.weights[0].shape[0]
        cheap = steps * (outputs + inputs) <= outputs * inputs
        if not cheap or len(self.parameters) < 4:
            return self.pair().squared_norms()
        inner, (before, shared, after) = self.weights[0].shape[1], self.trace.split
        parts = self._grams(steps, inner, (before, shared, after))
        total = torch.stack([_weighed(pieces, *part) for part in parts]).sum(0)
        # A Gram sum can round below zero where the true norm is zero.
        return total.clamp_(min=0)

    def _grams(
        self, steps: int, inner: int, split: tuple[int, int, int]
    ) -> list[tuple[int, int, Tensor]]:
        """First column and width of parts of delta, each with its Gram [B, T, T] of what went in.

        Each bias goes in as a 1.
        """
        before, shared, after = split
        rows = self.trace.went_in.transpose(0, 1)
        if not before and not after:
            return [(0, shared, rows @ rows.transpose(1, 2) + 2)]
        x, h = rows[..., :inner], rows[..., inner:]
        own, kept = x @ x.transpose(1, 2) + 1, h @ h.transpose(1, 2) + 1
        if steps <= _FEW_STEPS:
            return [(0, before + shared, own), (before, shared + after, kept)]
        ends = before + shared
        return [(0, before, own), (before, shared, own + kept), (ends, after, kept)]

    def reach(self) -> Tensor | float:
        """Sums over the steps of the norms of both maps' outer products."""
        pieces = self._pieces()
        if not pieces:
            return 0.0
        delta = torch.cat([torch.linalg.vector_norm(piece, dim=2) for piece in pieces])
        sizes = torch.linalg.vector_norm(self.trace.went_in, dim=2).square_() + 2
        return (delta * sizes.sqrt_()).sum(0)

    def add_clipped(self, factors: Tensor) -> None:
        """One product for both weights."""
        if not self._pieces():
            sums = [torch.zeros_like(p) for p in self.weights]
        else:
            sums = list(weight_gradients(self.trace, self.weights[0].shape[1], factors))
        for parameter, value in zip(self.weights, sums, strict=True):
            if trainable(parameter):
                add_sum(parameter, value)

    def merged(self, rows: Tensor) -> SumRecord:
        """A unit's rows are steps of one long sequence."""
        return self.pair().merged(rows)

    def per_example(self, rows: slice) -> Gradients:
        """Outer products."""
        return self.pair().per_example(rows)


def _widened(trace: Trace) -> Trace:
    """The trace in single precision; the walk back is over, and nothing else looks at it."""
    out = Trace()
    out.went_in, out.split = wide(trace.went_in), trace.split
    pieces, trace.delta = trace.delta, None
    out.delta = None if pieces is None else [wide(pieces.pop(0)) for _ in range(len(pieces))]
    return out


def _weighed(pieces: list[Tensor], start: int, width: int, gram: Tensor) -> Tensor:
    """Return float [B], inner products of delta's steps weighed by `gram` [B, T, T]."""
    parts = [p[..., start : start + width].transpose(0, 1) for p in pieces]
    total = gram.new_zeros(gram.shape[0])
    row = 0
    for k, left in enumerate(parts):
        column = 0
        rows = slice(row, row + left.shape[1])
        for right in parts[: k + 1]:
            columns = slice(column, column + right.shape[1])
            products = (left @ right.transpose(1, 2)).mul_(gram[:, rows, columns]).sum((1, 2))
            # The other half is its mirror image.
            total += products if right is left else 2 * products
            column = columns.stop
        row = rows.stop
    return total
