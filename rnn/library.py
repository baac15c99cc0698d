"""Recurrences on a GPU: the library's own kernel walks, and its gradient of gx is delta.

gx = x W_ih^T + b_ih for all steps is one product. The kernel gets it as its input, with an
identity as input weight and weights that want no gradient: what comes back for its input is then
delta itself, and no weight's gradient is computed. On a GPU a loop over steps would wait for
launches; on a CPU the identity's product costs more than `rnn.cells` saves it.

B sequences, T steps, D inputs, H hidden units, G gate rows.

Source: Bu, Wang, Zha, Karypis (2023) for book-keeping; the identity weight is this project's.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnn.cells import Trace

_KERNELS: dict[str, Any] = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "tanh": torch.rnn_tanh,
    "relu": torch.rnn_relu,
}


def preferred(inputs: Tensor) -> bool:
    """Whether the library's kernel is the faster walk: on a GPU with cuDNN."""
    return inputs.is_cuda and torch.backends.cudnn.is_acceptable(inputs)


def _gru_storage(
    own: Tensor, gx: Tensor, previous: Tensor, weight_hh: Tensor, bias_hh: Tensor
) -> tuple[Tensor, tuple[int, int, int]]:
    """Delta n, r, z, r n: the hidden weight's share of n carries the reset gate."""
    size = weight_hh.shape[1]
    reset = torch.sigmoid(gx[..., :size] + linear(previous, weight_hh[:size], bias_hh[:size]))
    both, n = own[..., : 2 * size], own[..., 2 * size :]
    return torch.cat([n, both, n * reset], 2), (size, 2 * size, size)


class LibraryRecurrence(torch.autograd.Function):
    """One layer and direction; `kind` is lstm, gru, tanh or relu."""

    @staticmethod
    def forward(
        ctx: Any,
        kind: str,
        inputs: Tensor,
        weights: tuple[Tensor, Tensor, Tensor, Tensor],
        anchor: Tensor,
        trace: Trace,
        *states: Tensor,
    ) -> Tensor:
        """Return [B, T, H] from inputs [B, T, D]; states are h_0, and c_0 of an LSTM, [B, H]."""
        weight_ih, weight_hh, bias_ih, bias_hh = (w.detach() for w in weights)
        with torch.enable_grad():
            gx = linear(inputs.detach(), weight_ih, bias_ih).requires_grad_()
            begin = [s.detach().requires_grad_() for s in states]
            first = [s[None] for s in begin]
            eye = torch.eye(len(weight_hh), dtype=gx.dtype, device=gx.device)
            inner = [eye, weight_hh, torch.zeros_like(bias_hh), bias_hh]
            state = first if kind == "lstm" else first[0]
            walked = _KERNELS[kind](gx, state, inner, True, 1, 0.0, True, False, True)[0]
        outputs = walked.detach()
        previous = torch.cat([states[0].detach()[:, None], outputs[:, :-1]], 1)
        trace.went_in = torch.cat([inputs.detach(), previous], 2).transpose(0, 1).contiguous()
        trace.split, trace.version = (0, len(weight_hh), 0), trace.went_in._version
        ctx.kind, ctx.walk, ctx.trace = kind, (walked, gx, begin), trace
        ctx.weights = weight_ih, weight_hh, bias_hh
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        """Leave the trace; return gradients of inputs and states."""
        if ctx.walk is None:
            raise RuntimeError("a recurrence can be walked back once only")
        (walked, gx, begin), ctx.walk = ctx.walk, None
        own, *states = torch.autograd.grad(walked, [gx, *begin], grad)
        weight_ih, weight_hh, bias_hh = ctx.weights
        trace = ctx.trace
        trace.check_unchanged()
        if ctx.kind == "gru":
            previous = trace.went_in[..., -weight_hh.shape[1] :].transpose(0, 1)
            gru = _gru_storage(own, gx.detach(), previous, weight_hh, bias_hh)
            stored, trace.split = gru
        else:
            stored = own
        trace.delta = [stored.transpose(0, 1).contiguous()]
        inputs = linear(own, weight_ih.T) if ctx.needs_input_grad[1] else None
        return None, inputs, None, None, None, *states
