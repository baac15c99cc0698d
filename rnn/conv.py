"""Convolutions over time in front of a recurrence: windows of steps, the same number of them.

B sequences, T steps, D channels in, E channels out, K steps of a window.

Source: Sainath, Vinyals, Senior, Sak (2015), "Convolutional, long short-term memory, fully
connected deep neural networks", section 2.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnn.config import ConvLayer


class Convolutions(nn.Module):
    """Conv1d and SiLU, once a layer; padded steps are zero before each, so that they say nothing.

    Where the next step is what is to be told (`causal`), a window ends at its own step; else it
    reaches as far ahead as back.
    """

    def __init__(self, size: int, layers: tuple[ConvLayer, ...], causal: bool):
        """Build `layers` on `size` channels."""
        super().__init__()
        self.causal = causal
        self.layers = nn.ModuleList()
        for layer in layers:
            reach = layer.kernel - 1
            self.layers.append(nn.Conv1d(size, layer.channels, layer.kernel, padding=reach))
            size = layer.channels
        self.size = size

    def ahead(self, layer: nn.Module) -> int:
        """Return how many steps after its own a window reads."""
        reach = int(layer.kernel_size[0]) - 1  # type: ignore[index]
        return 0 if self.causal else reach - reach // 2

    def forward(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """Return float [B, T, E].

        Args:
            steps: float [B, T, D].
            lengths: int64 [B], each in 1..T.
        """
        count = steps.shape[1]
        real = (torch.arange(count, device=lengths.device) < lengths[:, None])[..., None]
        for layer in self.layers:
            # Steps after a length hold no meaning: select, do not multiply.
            kept = torch.where(real, steps, 0.0).transpose(1, 2)
            # Of all windows that touch a step, those that belong to one.
            made = layer(kept).narrow(2, self.ahead(layer), count)
            steps = functional.silu(made.transpose(1, 2))
        return steps
