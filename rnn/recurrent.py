"""RNN, LSTM and GRU: torch.nn's parameters and numbers, with per-example gradients in one pass.

Padded batches in original order; a reverse direction starts at each sequence's last real step.
B sequences, T steps, D inputs, H hidden units.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnn.cells import GRURecurrence, LSTMRecurrence, RNNRecurrence, Trace
from rnn.tape import LinearRecord, Record, Recorded, watch


class _HiddenRecord(LinearRecord):
    """W_hh's record: its delta comes from the recurrence's backward pass."""

    trace: Trace

    def _parts(self) -> tuple[Tensor, Tensor]:
        """Batch first, as the other records have it."""
        delta = self.trace.delta_hidden
        before = self.trace.hidden_before.transpose(0, 1)
        if delta is None:
            return before, before.new_zeros(*before.shape[:2], self.weight.shape[0])
        return before, delta.transpose(0, 1)


def reverse_padded(values: Tensor, lengths: Tensor) -> Tensor:
    """Return each sequence's real steps in reverse order, the padding left where it is.

    Args:
        values: [B, T, .].
        lengths: int64 [B].
    """
    steps = torch.arange(values.shape[1], device=values.device)
    last = lengths[:, None] - 1
    index = torch.where(steps <= last, last - steps, steps)
    return values.gather(1, index[..., None].expand_as(values))


class _Recurrent(Recorded):
    """What the three cells share; torch.nn's class holds the parameters."""

    hidden_size: int
    num_layers: int
    bidirectional: bool
    dropout: float
    gates: int

    def _recur(
        self, gates: Tensor, weight: Tensor, bias: Tensor, states: list[Tensor], trace: Trace
    ) -> Tensor:
        """Run one layer and direction by hand, time first."""
        raise NotImplementedError

    def _fused(self, inputs: Tensor, states: list[Tensor], weights: list[Tensor]) -> Tensor:
        """Run one layer and direction by the library's own kernel, batch first."""
        raise NotImplementedError

    def _zeros(self, inputs: Tensor) -> list[Tensor]:
        """Initial states of one layer and direction, [B, H] each."""
        return [inputs.new_zeros(inputs.shape[0], self.hidden_size)]

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return every step's output of the last layer.

        Args:
            inputs: float [B, T, D], padded; B may be 0.
            lengths: int64 [B], each in 1..T.

        Returns:
            float [B, T, H], or [B, T, 2H] when bidirectional; steps after a length hold no
            meaning.
        """
        for layer in range(self.num_layers):
            if layer:
                inputs = functional.dropout(inputs, self.dropout, self.training)
            outputs = self._direction(inputs, f"l{layer}")
            if self.bidirectional:
                backwards = self._direction(reverse_padded(inputs, lengths), f"l{layer}_reverse")
                outputs = torch.cat([outputs, reverse_padded(backwards, lengths)], 2)
            inputs = outputs
        return inputs

    def _direction(self, inputs: Tensor, suffix: str) -> Tensor:
        """One layer in one direction, [B, T, H]."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weight_ih, weight_hh, bias_ih, bias_hh = (getattr(self, f"{n}_{suffix}") for n in names)
        states = self._zeros(inputs)
        if self.tape is None and inputs.shape[0]:
            return self._fused(inputs, states, [weight_ih, weight_hh, bias_ih, bias_hh])
        gates = functional.linear(inputs, weight_ih, bias_ih)
        trace = Trace()
        if self.tape is not None:
            record = LinearRecord(weight_ih, bias_ih, inputs.detach())
            hidden = _HiddenRecord(weight_hh, bias_hh, inputs)
            hidden.trace = trace
            self.tape.records += [record, hidden]
            gates = watch(gates, record)
        steps_first = gates.transpose(0, 1)
        return self._recur(steps_first, weight_hh, bias_hh, states, trace).transpose(0, 1)


class RNN(_Recurrent, nn.RNN):  # type: ignore[misc]
    """torch.nn.RNN's parameters (tanh or relu), this module's forward."""

    gates = 1

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any):
        """Take what torch.nn.RNN takes; batch_first is always true."""
        nn.RNN.__init__(self, input_size, hidden_size, num_layers, batch_first=True, **options)

    def _recur(
        self, gates: Tensor, weight: Tensor, bias: Tensor, states: list[Tensor], trace: Trace
    ) -> Tensor:
        relu = self.nonlinearity == "relu"
        return RNNRecurrence.apply(gates, weight, bias, states[0], trace, relu)

    def _fused(self, inputs: Tensor, states: list[Tensor], weights: list[Tensor]) -> Tensor:
        kernel = torch.rnn_relu if self.nonlinearity == "relu" else torch.rnn_tanh
        return kernel(inputs, states[0][None], weights, True, 1, 0.0, self.training, False, True)[0]


class GRU(_Recurrent, nn.GRU):  # type: ignore[misc]
    """torch.nn.GRU's parameters, this module's forward."""

    gates = 3

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any):
        """Take what torch.nn.GRU takes; batch_first is always true."""
        nn.GRU.__init__(self, input_size, hidden_size, num_layers, batch_first=True, **options)

    def _recur(
        self, gates: Tensor, weight: Tensor, bias: Tensor, states: list[Tensor], trace: Trace
    ) -> Tensor:
        return GRURecurrence.apply(gates, weight, bias, states[0], trace)

    def _fused(self, inputs: Tensor, states: list[Tensor], weights: list[Tensor]) -> Tensor:
        return torch.gru(
            inputs, states[0][None], weights, True, 1, 0.0, self.training, False, True
        )[0]


class LSTM(_Recurrent, nn.LSTM):  # type: ignore[misc]
    """torch.nn.LSTM's parameters, this module's forward."""

    gates = 4

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any):
        """Take what torch.nn.LSTM takes; batch_first is always true."""
        nn.LSTM.__init__(self, input_size, hidden_size, num_layers, batch_first=True, **options)

    def _zeros(self, inputs: Tensor) -> list[Tensor]:
        zero = inputs.new_zeros(inputs.shape[0], self.hidden_size)
        return [zero, zero]

    def _recur(
        self, gates: Tensor, weight: Tensor, bias: Tensor, states: list[Tensor], trace: Trace
    ) -> Tensor:
        return LSTMRecurrence.apply(gates, weight, bias, *states, trace)

    def _fused(self, inputs: Tensor, states: list[Tensor], weights: list[Tensor]) -> Tensor:
        both = [state[None] for state in states]
        return torch.lstm(inputs, both, weights, True, 1, 0.0, self.training, False, True)[0]


CELLS: dict[str, type[RNN] | type[LSTM] | type[GRU]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}

__all__ = ["CELLS", "GRU", "LSTM", "RNN", "Record", "reverse_padded"]
