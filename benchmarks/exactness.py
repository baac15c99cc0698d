"""Clipped sums in single precision against one backward pass an example in double precision.

`python -m benchmarks.exactness [--json FILE]`

A figure is the largest difference of a parameter's clipped sum over its largest entry, over
ragged batches of several lengths. Below 1e-5 in single precision; 1e-10 in double is printed
beside it.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnn.privacy.engine import accumulate_clipped
from rnn.recurrent import CELLS

ROWS, STEPS, INPUTS, HIDDEN, TOKENS = 24, 40, 6, 24, 11
CLIP = 0.3


class Layer(nn.Module):
    """A layer between inputs and a loss that sees each real step."""

    def __init__(self, layer: nn.Module, call: Callable[[nn.Module, Tensor, Tensor], Tensor]):
        """Call `layer` by `call(layer, inputs, lengths)`, which returns [B, T, .]."""
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return a loss an example, [B]."""
        outputs = self.call(self.layer, inputs, lengths)
        real = (torch.arange(outputs.shape[1]) < lengths[:, None])[..., None]
        weights = torch.linspace(-1, 1, outputs.shape[2], dtype=outputs.dtype)
        return (functional.softplus(outputs) * weights * real).sum((1, 2))


def _recurrent(layer: nn.Module, inputs: Tensor, lengths: Tensor) -> Tensor:
    return layer(inputs, lengths)


def _stepwise(layer: nn.Module, inputs: Tensor, lengths: Tensor) -> Tensor:
    return layer(inputs)


def _convolved(layer: nn.Module, inputs: Tensor, lengths: Tensor) -> Tensor:
    return layer(inputs.transpose(1, 2)).transpose(1, 2)


def layers() -> dict[str, Layer]:
    """Return the layers by the names of their rows."""
    out = {}
    for name, cell in CELLS.items():
        for label, options in (
            (name, {}),
            (f"{name}_bidirectional", {"bidirectional": True}),
            (f"{name}_stacked", {"num_layers": 2}),
        ):
            out[label] = Layer(cell(INPUTS, HIDDEN, **options), _recurrent)
    out["rnn_relu"] = Layer(CELLS["rnn"](INPUTS, HIDDEN, nonlinearity="relu"), _recurrent)
    out["linear"] = Layer(nn.Linear(INPUTS, HIDDEN), _stepwise)
    out["conv1d"] = Layer(nn.Conv1d(INPUTS, HIDDEN, 3, padding=1), _convolved)
    out["layer_norm"] = Layer(nn.LayerNorm(INPUTS), _stepwise)
    out["embedding"] = Layer(nn.Embedding(TOKENS, HIDDEN, padding_idx=0), _stepwise)
    return out


def data(tokens: bool) -> tuple[Tensor, Tensor]:
    """Return inputs and lengths."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, STEPS + 1, (ROWS,), generator=generator)
    if tokens:
        return torch.randint(1, TOKENS, (ROWS, STEPS), generator=generator), lengths
    return torch.randn(ROWS, STEPS, INPUTS, generator=generator).double(), lengths


def clipped(model: Layer, inputs: Tensor, lengths: Tensor) -> list[Tensor]:
    """Return the engine's clipped sums."""
    for p in model.parameters():
        p.summed_grad = None  # type: ignore[attr-defined]
    accumulate_clipped(model, lambda: model(inputs, lengths), CLIP)
    return [p.summed_grad.double() for p in model.parameters()]  # type: ignore[attr-defined]


def reference(model: Layer, inputs: Tensor, lengths: Tensor) -> list[Tensor]:
    """Return clipped sums by one backward pass an example."""
    sums = [torch.zeros_like(p) for p in model.parameters()]
    for row in range(ROWS):
        loss = model(inputs[row : row + 1], lengths[row : row + 1]).sum()
        grads = torch.autograd.grad(loss, list(model.parameters()))
        norm = float(torch.stack([g.norm() for g in grads]).norm())
        for total, gradient in zip(sums, grads, strict=True):
            total += gradient * min(1.0, CLIP / norm)
    return sums


def difference(got: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest difference, relative to each parameter's largest entry."""
    pairs = zip(got, expected, strict=True)
    return max(float((g - e).abs().max() / e.abs().max()) for g, e in pairs)


def main() -> None:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    rows = []
    for name, model in layers().items():
        inputs, lengths = data(name == "embedding")
        single = inputs.float() if inputs.is_floating_point() else inputs
        expected = reference(model.double(), inputs, lengths)
        double = difference(clipped(model, inputs, lengths), expected)
        # Weights and inputs are single-precision numbers in both: their rounding is no error.
        found = difference(clipped(model.float(), single, lengths), expected)
        print(f"{name:<20} float32 {found:.1e}  float64 {double:.1e}")
        rows.append({"name": f"exactness/{name}/float32", "value": found, "unit": "relative"})
        rows.append({"name": f"exactness/{name}/float64", "value": double, "unit": "relative"})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
