"""Recurrences with a hand-written backward pass that hands out delta, step by step.

Delta is the gradient of the loss with respect to the gate pre-activations. It is all that the
weights' gradients need, for each example: sum over t of delta_t x_t^T and delta_t h_(t-1)^T.

What went in lies side by side, [x_t, h_(t-1)], so that each step is one matrix product and no
product of all steps is stored. The activated gates are overwritten by delta on the way back.
A tanh is 2 sigmoid(2x) - 1 throughout: torch's sigmoid is several times faster on a CPU.

B sequences, T steps, D inputs, H hidden units. Time comes first inside: [T, B, .].
Gate order is that of torch.nn: LSTM i, f, g, o; GRU r, z, n.
"""

from typing import Any

import torch
from torch import Tensor

from rnn.kernels import linear, linear_plus, spread, weight_sum

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


class Trace:
    """What a recurrence leaves for the record.

    Attributes:
        went_in: [T, B, D + H], each step's input and the hidden state that it started from.
        delta: pieces [t, B, .] of all steps in order; set by backward.
        split: widths of (delta of W_ih alone, of both, of W_hh alone), in the order of storage.
    """

    went_in: Tensor
    delta: list[Tensor] | None = None
    split: tuple[int, int, int]
    version: int = 0

    def check_unchanged(self) -> None:
        """The outputs are a window on what went in: nobody may have written there."""
        if self.went_in._version != self.version:
            raise RuntimeError("a layer's output was modified in place")


def _side_by_side(inputs: Tensor, initial: Tensor) -> Tensor:
    """[T + 1, B, D + H]: the inputs, the first hidden state, and room for the others."""
    batch, steps, width = inputs.shape
    out = inputs.new_empty(steps + 1, batch, width + initial.shape[1])
    out[:steps, :, :width].copy_(inputs.transpose(0, 1))
    out[0, :, width:].copy_(initial)
    return out


def _begin(ctx: Any, trace: Trace, room: Tensor, split: tuple[int, int, int]) -> None:
    """Leave the trace."""
    trace.went_in, trace.split, trace.version = room[:-1], split, room._version
    ctx.trace = trace


def _take(ctx: Any) -> tuple[Any, ...]:
    """What forward kept; once, for backward writes over it."""
    if ctx.kept is None:
        raise RuntimeError("a recurrence can be walked back once only")
    kept, ctx.kept = ctx.kept, None
    ctx.trace.check_unchanged()
    return tuple(kept)


def _finish(
    ctx: Any, pieces: list[Tensor], weights: tuple[Tensor, Tensor]
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Hand out delta; return gradients of inputs, weights and biases as far as they are asked."""
    trace = ctx.trace
    trace.delta = pieces
    before, shared, _ = trace.split
    own = before + shared
    inner = trace.went_in.shape[2] - weights[1].shape[1]
    inputs = None
    if ctx.needs_input_grad[0]:
        # GRU's storage begins with the gate n, its weights end with it.
        weight = weights[0].roll(before, 0) if before else weights[0]
        parts = [linear(p[..., :own].flatten(0, 1), weight.T) for p in pieces]
        size = trace.went_in.shape[1]
        inputs = torch.cat([p.view(-1, size, inner) for p in parts]).transpose(0, 1)
    if not any(ctx.needs_input_grad[1:5]):
        return inputs, None, None, None, None
    ones = trace.went_in.new_ones(trace.went_in.shape[1])
    return inputs, *weight_gradients(trace, inner, ones)


def weight_gradients(
    trace: Trace, inner: int, factors: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return sums over examples of factor times gradient: W_ih, W_hh, b_ih, b_hh.

    Args:
        trace: after backward.
        inner: D.
        factors: float [B]; an example whose factor is 0 counts as zero, finite or not.
    """
    pieces, went_in = trace.delta or [], trace.went_in
    refused = factors == 0
    # Elsewhere than on a CPU the question would wait for all work that is under way.
    if not went_in.is_cpu or bool(refused.any()):
        pieces = [p.masked_fill(refused[:, None], 0) for p in pieces]
        went_in = went_in.masked_fill(refused[:, None], 0)
    weight = weight_sum(pieces, went_in, factors)
    bias = sum((factors @ p.sum(0) for p in pieces), weight.new_zeros(weight.shape[0]))
    before, shared, _ = trace.split
    own = before + shared
    ih, ih_bias = weight[:own, :inner], bias[:own]
    hh, hh_bias = weight[before:, inner:], bias[before:]
    if before:
        ih, ih_bias = ih.roll(-before, 0), ih_bias.roll(-before, 0)
    return ih, hh, ih_bias, hh_bias


class LSTMRecurrence(torch.autograd.Function):
    """c_t = f c_(t-1) + i g, h_t = o tanh(c_t)."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        initial: Tensor,
        initial_cell: Tensor,
        anchor: Tensor,
        trace: Trace,
    ) -> Tensor:
        """Return [B, T, H] from inputs [B, T, D]."""
        size, (_, steps, width) = weight_hh.shape[1], inputs.shape
        room = _side_by_side(inputs, initial)
        weight, bias = torch.cat([weight_ih, weight_hh], 1), bias_ih + bias_hh
        for part in (weight, bias):
            part[2 * size : 3 * size] *= 2
        acts = spread(inputs, steps, 4 * size)
        i, f, g, o = (
            [a for piece in acts for a in piece[..., k * size : (k + 1) * size].unbind(0)]
            for k in range(4)
        )
        # Twice the cell, which is what the sigmoid that stands for its tanh wants.
        cells = torch.empty_like(room[:, :, width:])
        torch.mul(initial_cell, 2, out=cells[0])
        squashed = torch.empty_like(cells[1:])
        rows, hidden = room.unbind(0), room[..., width:].unbind(0)
        cell, tanh, gates = cells.unbind(0), squashed.unbind(0), _rows(acts)
        for t in range(steps):
            torch.sigmoid(linear(rows[t], weight, bias), out=gates[t])
            torch.mul(f[t], cell[t], out=cell[t + 1])
            cell[t + 1].addcmul_(i[t], g[t] - 0.5, value=4)
            torch.sigmoid(cell[t + 1], out=tanh[t]).mul_(2).sub_(1)
            torch.mul(o[t], tanh[t], out=hidden[t + 1])
        _begin(ctx, trace, room, (0, 4 * size, 0))
        ctx.kept = acts, (i, f, g, o), cell, tanh, (weight_ih, weight_hh)
        return room[1:, :, width:].transpose(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Walk back; W_ih and W_hh share one delta."""
        acts, (i, f, g, o), cell, tanh, weights = _take(ctx)
        size, back = weights[1].shape[1], weights[1].T.contiguous()
        grads, gates = grad.unbind(1), _rows(acts)
        zero = torch.zeros_like(tanh[0])
        dcell, raw = torch.zeros_like(zero), torch.empty_like(gates[0])
        di, df, dg, do = raw.split(size, 1)
        dh = grads[-1]
        for t in range(len(gates) - 1, -1, -1):
            inner = dh * o[t]
            dcell += _tanh_backward(inner, tanh[t], grad_input=inner)
            torch.mul(dh, tanh[t], out=do)
            torch.addcmul(zero, dcell, g[t] - 0.5, value=2, out=di)
            torch.addcmul(zero, dcell, cell[t], value=0.5, out=df)
            torch.addcmul(zero, dcell, i[t], value=4, out=dg)
            dcell *= f[t]
            _sigmoid_backward(raw, gates[t], grad_input=gates[t])
            dh = linear_plus(gates[t], back, grads[t - 1] if t else None)
        return *_finish(ctx, acts, weights), dh, dcell, None, None


class GRURecurrence(torch.autograd.Function):
    """h_t = (1 - z) n + z h_(t-1), n = tanh(x_n + r (W_n h + b_n))."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        initial: Tensor,
        anchor: Tensor,
        trace: Trace,
    ) -> Tensor:
        """Return [B, T, H] from inputs [B, T, D]."""
        size, (batch, steps, width) = weight_hh.shape[1], inputs.shape
        two = 2 * size
        room = _side_by_side(inputs, initial)
        weight = torch.cat([weight_ih[:two], weight_hh[:two]], 1)
        bias = bias_ih[:two] + bias_hh[:two]
        inner, inner_bias = 2 * weight_hh[two:], 2 * bias_hh[two:]
        outer = linear(room[:-1, :, :width].flatten(0, 1), 2 * weight_ih[two:], 2 * bias_ih[two:])
        # Storage n, r, z, r n: W_ih's delta is its first three parts, W_hh's its last three.
        acts = spread(inputs, steps, 4 * size)
        n, r, z = (
            [a for piece in acts for a in piece[..., k * size : (k + 1) * size].unbind(0)]
            for k in range(3)
        )
        both = [a for piece in acts for a in piece[..., size : 3 * size].unbind(0)]
        rows, hidden = room.unbind(0), room[..., width:].unbind(0)
        recurrent, xn = [], outer.view(steps, batch, size).unbind(0)
        for t in range(steps):
            torch.sigmoid(linear(rows[t], weight, bias), out=both[t])
            recurrent.append(linear(hidden[t], inner, inner_bias))
            mixed = torch.addcmul(xn[t], r[t], recurrent[t])
            torch.sigmoid(mixed, out=n[t]).mul_(2).sub_(1)
            torch.lerp(n[t], hidden[t], z[t], out=hidden[t + 1])
        _begin(ctx, trace, room, (size, two, size))
        ctx.kept = acts, (n, r, z), both, recurrent, hidden, (weight_ih, weight_hh)
        return room[1:, :, width:].transpose(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Walk back; delta for W_hh carries the reset gate, delta for the input does not."""
        acts, (n, r, z), both, recurrent, hidden, weights = _take(ctx)
        size, back = weights[1].shape[1], weights[1].T.contiguous()
        grads = grad.unbind(1)
        carried = [a for piece in acts for a in piece[..., size:].unbind(0)]
        zero = torch.zeros_like(recurrent[0])
        raw = zero.new_empty(zero.shape[0], 2 * size)
        dr, dz = raw.split(size, 1)
        dh = grads[-1]
        for t in range(len(both) - 1, -1, -1):
            passed = dh * z[t]
            torch.mul(hidden[t] - n[t], dh, out=dz)
            _tanh_backward(dh - passed, n[t], grad_input=n[t])
            torch.addcmul(zero, n[t], recurrent.pop(), value=0.5, out=dr)
            torch.mul(n[t], r[t], out=carried[t][:, 2 * size :])
            _sigmoid_backward(raw, both[t], grad_input=both[t])
            if t:
                passed += grads[t - 1]
            dh = linear_plus(carried[t], back, passed)
        return *_finish(ctx, acts, weights), dh, None, None


class RNNRecurrence(torch.autograd.Function):
    """h_t = act(x_t + W h_(t-1) + b), act = tanh or relu."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        initial: Tensor,
        anchor: Tensor,
        trace: Trace,
        relu: bool,
    ) -> Tensor:
        """Return [B, T, H] from inputs [B, T, D]."""
        size, (_, steps, width) = weight_hh.shape[1], inputs.shape
        room = _side_by_side(inputs, initial)
        weight, bias = torch.cat([weight_ih, weight_hh], 1), bias_ih + bias_hh
        if not relu:
            weight, bias = 2 * weight, 2 * bias
        rows, hidden = room.unbind(0), room[..., width:].unbind(0)
        for t in range(steps):
            before = linear(rows[t], weight, bias)
            if relu:
                torch.clamp_min(before, 0, out=hidden[t + 1])
            else:
                torch.sub(before.sigmoid_().mul_(2), 1, out=hidden[t + 1])
        _begin(ctx, trace, room, (0, size, 0))
        ctx.kept = hidden, relu, (weight_ih, weight_hh)
        return room[1:, :, width:].transpose(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Walk back."""
        hidden, relu, weights = _take(ctx)
        back, grads = weights[1].T.contiguous(), grad.unbind(1)
        pieces = spread(hidden[0], len(grads), weights[1].shape[1])
        delta = _rows(pieces)
        dh = grads[-1]
        for t in range(len(grads) - 1, -1, -1):
            if relu:
                torch.mul(dh, hidden[t + 1] > 0, out=delta[t])
            else:
                _tanh_backward(dh, hidden[t + 1], grad_input=delta[t])
            dh = linear_plus(delta[t], back, grads[t - 1] if t else None)
        return *_finish(ctx, pieces, weights), dh, None, None, None


def _rows(pieces: list[Tensor]) -> list[Tensor]:
    """Every step of all pieces."""
    return [row for piece in pieces for row in piece.unbind(0)]
