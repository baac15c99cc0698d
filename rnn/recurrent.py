"""RNN, LSTM and GRU: torch.nn's parameters and numbers, with per-example gradients in one pass.

Padded batches in original order; a reverse direction starts at each sequence's last real step.
B sequences, T steps, D inputs, H hidden units.
"""

from typing import Any

import torch
from torch import Tensor, nn

from rnn.cells import GRURecurrence, LSTMRecurrence, RNNRecurrence, Trace
from rnn.dense import StateRecord
from rnn.library import LibraryRecurrence, preferred
from rnn.masks import dropout
from rnn.records import Record
from rnn.recurrent_record import RecurrentRecord
from rnn.tape import Recorded, watch

States = Tensor | tuple[Tensor, Tensor]
Weights = tuple[Tensor, Tensor, Tensor, Tensor]


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


def _check_options(options: dict[str, Any]) -> None:
    """Refuse what torch.nn offers and these layers do not."""
    if options.get("proj_size") or not options.get("bias", True):
        raise ValueError("proj_size and bias=False are not supported")


class _Recurrent(Recorded):
    """What the three cells share; torch.nn's class holds the parameters."""

    hidden_size: int
    num_layers: int
    bidirectional: bool
    dropout: float
    gates: int

    @property
    def kernel(self) -> str:
        """What the library calls the cell."""
        raise NotImplementedError

    def _recur(
        self, inputs: Tensor, weights: Weights, states: list[Tensor], anchor: Tensor, trace: Trace
    ) -> Tensor:
        """Run one layer and direction by hand."""
        raise NotImplementedError

    def _fused(self, inputs: Tensor, states: list[Tensor], weights: list[Tensor]) -> Tensor:
        """Run one layer and direction by the library's own kernel, batch first."""
        raise NotImplementedError

    def _zeros(self, inputs: Tensor) -> list[Tensor]:
        """Initial states of one layer and direction, [B, H] each."""
        return [inputs.new_zeros(inputs.shape[0], self.hidden_size)]

    def _states(self, inputs: Tensor, initial: States | None) -> list[list[Tensor]]:
        """Initial states, [B, H] each, by layer and direction."""
        directions = self.num_layers * (2 if self.bidirectional else 1)
        if initial is None:
            return [self._zeros(inputs)] * directions
        given = (initial,) if isinstance(initial, Tensor) else initial
        expected = (directions, inputs.shape[0], self.hidden_size)
        wanted = len(self._zeros(inputs))
        if len(given) != wanted or any(tuple(g.shape) != expected for g in given):
            shapes = [tuple(g.shape) for g in given]
            raise ValueError(f"initial has shapes {shapes}: {wanted} of shape {expected} needed")
        return [
            [state[i].to(inputs.dtype).contiguous() for state in given] for i in range(directions)
        ]

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, initial: States | None = None
    ) -> Tensor:
        """Return every step's output of the last layer.

        Args:
            inputs: float [B, T, D], padded; B may be 0.
            lengths: int64 [B], each in 1..T; all T if None.
            initial: h_0 [layers x directions, B, H], or (h_0, c_0) for an LSTM; zeros if None.
                A learnt one comes from `LearnedState`.

        Returns:
            float [B, T, H], or [B, T, 2H] when bidirectional; steps after a length hold no
            meaning.

        Raises:
            ValueError: initial states of a wrong number or shape.
        """
        if lengths is None:
            lengths = torch.full((inputs.shape[0],), inputs.shape[1], device=inputs.device)
        states = self._states(inputs, initial)
        for layer in range(self.num_layers):
            if layer:
                inputs = dropout(inputs, self.dropout, self.training)
            outputs = self._direction(inputs, f"l{layer}", states.pop(0))
            if self.bidirectional:
                reverse = reverse_padded(inputs, lengths)
                backwards = self._direction(reverse, f"l{layer}_reverse", states.pop(0))
                outputs = torch.cat([outputs, reverse_padded(backwards, lengths)], 2)
            inputs = outputs
        return inputs

    def _direction(self, inputs: Tensor, suffix: str, states: list[Tensor]) -> Tensor:
        """One layer in one direction, [B, T, H]."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weight_ih, weight_hh, bias_ih, bias_hh = (getattr(self, f"{n}_{suffix}") for n in names)
        if self.tape is None and inputs.shape[0]:
            return self._fused(inputs, states, [weight_ih, weight_hh, bias_ih, bias_hh])
        weights, trace = (weight_ih, weight_hh, bias_ih, bias_hh), Trace()
        recorded = self.tape is not None and torch.is_grad_enabled()
        # Nothing before or in the layer may want a gradient: the anchor makes backward come by.
        anchor = inputs.new_zeros((), requires_grad=recorded)
        if inputs.shape[0] and preferred(inputs):
            outputs = LibraryRecurrence.apply(self.kernel, inputs, weights, anchor, trace, *states)
        else:
            outputs = self._recur(inputs, weights, states, anchor, trace)
        if self.tape is not None and recorded:
            self.tape.records.append(RecurrentRecord(weights, trace, inputs.shape[0]))
        return outputs


class RNN(_Recurrent, nn.RNN):  # type: ignore[misc]
    """torch.nn.RNN's parameters (tanh or relu), this module's forward."""

    gates = 1

    @property
    def kernel(self) -> str:
        kind: str = self.nonlinearity
        return kind

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any):
        """Take what torch.nn.RNN takes; batch_first is always true."""
        _check_options(options)
        nn.RNN.__init__(self, input_size, hidden_size, num_layers, batch_first=True, **options)

    def _recur(
        self, inputs: Tensor, weights: Weights, states: list[Tensor], anchor: Tensor, trace: Trace
    ) -> Tensor:
        relu = self.nonlinearity == "relu"
        return RNNRecurrence.apply(inputs, *weights, states[0], anchor, trace, relu)

    def _fused(self, inputs: Tensor, states: list[Tensor], weights: list[Tensor]) -> Tensor:
        kernel = torch.rnn_relu if self.nonlinearity == "relu" else torch.rnn_tanh
        return kernel(inputs, states[0][None], weights, True, 1, 0.0, self.training, False, True)[0]


class GRU(_Recurrent, nn.GRU):  # type: ignore[misc]
    """torch.nn.GRU's parameters, this module's forward."""

    gates = 3

    @property
    def kernel(self) -> str:
        return "gru"

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any):
        """Take what torch.nn.GRU takes; batch_first is always true."""
        _check_options(options)
        nn.GRU.__init__(self, input_size, hidden_size, num_layers, batch_first=True, **options)

    def _recur(
        self, inputs: Tensor, weights: Weights, states: list[Tensor], anchor: Tensor, trace: Trace
    ) -> Tensor:
        return GRURecurrence.apply(inputs, *weights, states[0], anchor, trace)

    def _fused(self, inputs: Tensor, states: list[Tensor], weights: list[Tensor]) -> Tensor:
        return torch.gru(
            inputs, states[0][None], weights, True, 1, 0.0, self.training, False, True
        )[0]


class LSTM(_Recurrent, nn.LSTM):  # type: ignore[misc]
    """torch.nn.LSTM's parameters, this module's forward."""

    gates = 4

    @property
    def kernel(self) -> str:
        return "lstm"

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any):
        """Take what torch.nn.LSTM takes; batch_first is always true."""
        _check_options(options)
        nn.LSTM.__init__(self, input_size, hidden_size, num_layers, batch_first=True, **options)

    def _zeros(self, inputs: Tensor) -> list[Tensor]:
        zero = inputs.new_zeros(inputs.shape[0], self.hidden_size)
        return [zero, zero]

    def _recur(
        self, inputs: Tensor, weights: Weights, states: list[Tensor], anchor: Tensor, trace: Trace
    ) -> Tensor:
        return LSTMRecurrence.apply(inputs, *weights, *states, anchor, trace)

    def _fused(self, inputs: Tensor, states: list[Tensor], weights: list[Tensor]) -> Tensor:
        both = [state[None] for state in states]
        return torch.lstm(inputs, both, weights, True, 1, 0.0, self.training, False, True)[0]


class LearnedState(Recorded):
    """Initial states that are learnt: the same for every example.

    Example:
        >>> LearnedState(2, 4)(3).shape
        torch.Size([2, 3, 4])
    """

    def __init__(self, directions: int, hidden_size: int):
        """Start at zero; `directions` counts layers times directions."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(directions, hidden_size))

    def forward(self, count: int) -> Tensor:
        """Return float [layers x directions, B, H] for B = `count` examples."""
        states = self.weight.expand(count, -1, -1)
        if self.tape is not None and torch.is_grad_enabled():
            record = StateRecord(self.weight, count)
            self.tape.records.append(record)
            # A view of the parameter: a tensor of its own starts the graph.
            states = watch(states.clone(), record)
        return states.transpose(0, 1)


CELLS: dict[str, type[RNN] | type[LSTM] | type[GRU]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}

__all__ = ["CELLS", "GRU", "LSTM", "RNN", "LearnedState", "Record", "reverse_padded"]
