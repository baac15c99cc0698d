"""Which record a layer writes."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from rnn.dense import LayerNormRecord, Sampler, SamplerRecord
from rnn.records import ConvRecord, EmbeddingRecord, LinearRecord, Record

Rule = Callable[[Any, list[Tensor], Tensor], Record]


def _linear(layer: nn.Linear, inputs: list[Tensor], output: Tensor) -> Record:
    """Record a linear layer."""
    return LinearRecord(layer.weight, layer.bias, inputs[0].detach())


def _embedding(layer: nn.Embedding, inputs: list[Tensor], output: Tensor) -> Record:
    """Record an embedding."""
    return EmbeddingRecord(layer.weight, inputs[0], layer.padding_idx)


def _conv(layer: nn.Conv1d, inputs: list[Tensor], output: Tensor) -> Record:
    """Record a convolution over time."""
    reach = layer.dilation[0] * (layer.kernel_size[0] - 1)
    if layer.padding == "same":
        padding = (reach // 2, reach - reach // 2)
    elif layer.padding == "valid":
        padding = (0, 0)
    else:
        padding = (int(layer.padding[0]), int(layer.padding[0]))
    return ConvRecord(
        layer.weight,
        layer.bias,
        inputs[0].detach(),
        padding=padding,
        stride=layer.stride[0],
        dilation=layer.dilation[0],
    )


def _layer_norm(layer: nn.LayerNorm, inputs: list[Tensor], output: Tensor) -> Record:
    """Record a layer norm."""
    return LayerNormRecord(layer, inputs[0].detach())


def rule_of(layer: nn.Module, samplers: Mapping[type[nn.Module], Sampler]) -> Rule | None:
    """Return how a layer is recorded, or None where nobody knows."""
    kind = type(layer)
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        return None
    if kind is nn.Linear:
        return _linear
    if kind is nn.Embedding:
        # Both make a row's gradient depend on the other rows of the batch.
        odd = layer.max_norm is not None or layer.scale_grad_by_freq
        return None if odd else _embedding
    if kind is nn.Conv1d and layer.groups == 1:
        return _conv
    if kind is nn.LayerNorm and layer.weight is not None:
        return _layer_norm
    if kind in samplers:
        sampler = samplers[kind]
        return lambda m, i, o: SamplerRecord(m, [x.detach() for x in i], o, sampler)
    return None
