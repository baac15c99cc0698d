"""Recurrences with a hand-written backward pass that hands out delta, step by step.

Delta is the gradient of the loss with respect to the gate pre-activations. It is all that the
weights' gradients need, for each example: sum over t of delta_t x_t^T and delta_t h_(t-1)^T.

B sequences, T steps, H hidden units, G = gates x H. Time comes first inside: [T, B, .].
Gate order is that of torch.nn: LSTM i, f, g, o; GRU r, z, n.
"""

from typing import Any

import torch
from torch import Tensor


class Trace:
    """What a recurrence leaves for the tape.

    Attributes:
        hidden_before: [T, B, H], the hidden state that each step started from.
        delta_hidden: [T, B, G], gradient with respect to W_hh h + b_hh; set by backward.
    """

    hidden_before: Tensor
    delta_hidden: Tensor | None = None


def _weight_gradients(
    ctx: Any, delta: Tensor, hidden_before: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Ordinary gradients, for training without privacy."""
    flat = delta.flatten(0, 1)
    weight = flat.T @ hidden_before.flatten(0, 1) if ctx.needs_input_grad[1] else None
    bias = flat.sum(0) if ctx.needs_input_grad[2] else None
    return weight, bias


def _before(outputs: Tensor, initial: Tensor) -> Tensor:
    """Hidden states shifted by one step."""
    return torch.cat([initial[None], outputs[:-1]])


class GRURecurrence(torch.autograd.Function):
    """h_t = (1 - z) n + z h_(t-1), n = tanh(x_n + r (W_n h + b_n))."""

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, initial: Tensor, trace: Trace
    ) -> Tensor:
        """Return [T, B, H] from x W_ih^T + b_ih [T, B, 3H]."""
        steps, batch, _ = gates.shape
        size = weight.shape[1]
        outputs = gates.new_empty(steps, batch, size)
        kept = gates.new_empty(steps, batch, 4 * size)
        hidden, transposed = initial, weight.T.contiguous()
        for t in range(steps):
            recurrent = torch.addmm(bias, hidden, transposed)
            rz = torch.sigmoid_(gates[t, :, : 2 * size] + recurrent[:, : 2 * size])
            r, z = rz.chunk(2, 1)
            hn = recurrent[:, 2 * size :]
            n = torch.tanh_(torch.addcmul(gates[t, :, 2 * size :], r, hn))
            hidden = torch.lerp(n, hidden, z)
            outputs[t] = hidden
            torch.cat([rz, n, hn], 1, out=kept[t])
        before = _before(outputs, initial)
        trace.hidden_before = before
        ctx.trace = trace
        ctx.save_for_backward(kept, before, weight)
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Walk back; delta for W_hh carries the reset gate, delta for the input does not."""
        kept, before, weight = ctx.saved_tensors
        steps, batch, size = before.shape
        delta = kept.new_empty(steps, batch, 3 * size)
        delta_hidden = kept.new_empty(steps, batch, 3 * size)
        carry = torch.zeros_like(before[0])
        for t in range(steps - 1, -1, -1):
            r, z, n, hn = kept[t].chunk(4, 1)
            dh = grad[t] + carry
            dn = dh * (1 - z) * (1 - n * n)
            delta[t, :, 2 * size :] = dn
            delta[t, :, size : 2 * size] = dh * (before[t] - n) * z * (1 - z)
            delta[t, :, :size] = dn * hn * r * (1 - r)
            delta_hidden[t, :, : 2 * size] = delta[t, :, : 2 * size]
            delta_hidden[t, :, 2 * size :] = dn * r
            carry = torch.addmm(dh * z, delta_hidden[t], weight)
        ctx.trace.delta_hidden = delta_hidden
        return delta, *_weight_gradients(ctx, delta_hidden, before), carry, None


class LSTMRecurrence(torch.autograd.Function):
    """c_t = f c_(t-1) + i g, h_t = o tanh(c_t)."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        weight: Tensor,
        bias: Tensor,
        initial: Tensor,
        initial_cell: Tensor,
        trace: Trace,
    ) -> Tensor:
        """Return [T, B, H] from x W_ih^T + b_ih [T, B, 4H]."""
        steps, batch, width = gates.shape
        size = weight.shape[1]
        outputs = gates.new_empty(steps, batch, size)
        cells = gates.new_empty(steps, batch, size)
        activated = gates.new_empty(steps, batch, width)
        hidden, cell, transposed = initial, initial_cell, weight.T.contiguous()
        shifted = gates + bias
        for t in range(steps):
            acts = torch.addmm(shifted[t], hidden, transposed, out=activated[t])
            acts[:, : 2 * size].sigmoid_()
            acts[:, 2 * size : 3 * size].tanh_()
            acts[:, 3 * size :].sigmoid_()
            i, f, g, o = acts.chunk(4, 1)
            cell = torch.addcmul(f * cell, i, g, out=cells[t])
            hidden = torch.mul(o, torch.tanh(cell), out=outputs[t])
        before = _before(outputs, initial)
        trace.hidden_before = before
        ctx.trace = trace
        ctx.save_for_backward(activated, cells, before, initial_cell, weight)
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Walk back; W_ih and W_hh share one delta."""
        activated, cells, before, initial_cell, weight = ctx.saved_tensors
        steps, _, size = before.shape
        delta = torch.empty_like(activated)
        carry = torch.zeros_like(before[0])
        dcell = torch.zeros_like(before[0])
        for t in range(steps - 1, -1, -1):
            i, f, g, o = activated[t].chunk(4, 1)
            previous = cells[t - 1] if t else initial_cell
            squashed = torch.tanh(cells[t])
            dh = grad[t] + carry
            dcell = dcell + dh * o * (1 - squashed * squashed)
            row = delta[t]
            row[:, :size] = dcell * g * i * (1 - i)
            row[:, size : 2 * size] = dcell * previous * f * (1 - f)
            row[:, 2 * size : 3 * size] = dcell * i * (1 - g * g)
            row[:, 3 * size :] = dh * squashed * o * (1 - o)
            dcell = dcell * f
            carry = row @ weight
        ctx.trace.delta_hidden = delta
        return delta, *_weight_gradients(ctx, delta, before), carry, dcell, None


class RNNRecurrence(torch.autograd.Function):
    """h_t = act(x_t + W h_(t-1) + b), act = tanh or relu."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        weight: Tensor,
        bias: Tensor,
        initial: Tensor,
        trace: Trace,
        relu: bool,
    ) -> Tensor:
        """Return [T, B, H] from x W_ih^T + b_ih [T, B, H]."""
        outputs = torch.empty_like(gates)
        hidden, transposed = initial, weight.T.contiguous()
        shifted = gates + bias
        for t in range(gates.shape[0]):
            hidden = torch.addmm(shifted[t], hidden, transposed, out=outputs[t])
            hidden.relu_() if relu else hidden.tanh_()
        before = _before(outputs, initial)
        trace.hidden_before = before
        ctx.trace, ctx.relu = trace, relu
        ctx.save_for_backward(outputs, before, weight)
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Walk back."""
        outputs, before, weight = ctx.saved_tensors
        delta = torch.empty_like(outputs)
        carry = torch.zeros_like(before[0])
        for t in range(outputs.shape[0] - 1, -1, -1):
            slope = (outputs[t] > 0).to(grad.dtype) if ctx.relu else 1 - outputs[t].square()
            torch.mul(grad[t] + carry, slope, out=delta[t])
            carry = delta[t] @ weight
        ctx.trace.delta_hidden = delta
        return delta, *_weight_gradients(ctx, delta, before), carry, None, None
