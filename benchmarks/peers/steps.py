"""One training step of the same small classifier: plain, ours, and Opacus'.

B sequences, T steps, D inputs, H hidden units.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnn.privacy.engine import PrivateOptimizer, accumulate_clipped
from rnn.privacy.noise import Keystream
from rnn.recurrent import CELLS

CLASSES = 2
CLIP, NOISE, RATE = 1.0, 1.0, 0.1
PLAIN = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class Shape(NamedTuple):
    """B, T, D, H."""

    batch: int
    steps: int
    inputs: int
    hidden: int

    def __str__(self) -> str:
        """As row names have it."""
        return "x".join(map(str, self))


SHAPES = (
    Shape(2048, 6, 8, 32),
    Shape(256, 24, 32, 128),
    Shape(256, 64, 32, 128),
    Shape(64, 128, 64, 256),
)


class Classifier(nn.Module):
    """A recurrent layer, its last output, a linear head."""

    def __init__(self, recurrent: nn.Module, hidden: int):
        """Put a head on `recurrent`."""
        super().__init__()
        self.recurrent, self.head = recurrent, nn.Linear(hidden, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, C] of inputs [B, T, D]."""
        outputs = self.recurrent(inputs)[0]
        return self.head(outputs[:, -1])


class Ours(Classifier):
    """The same, with lengths given, as this project's layers want them."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, C] of inputs [B, T, D]."""
        lengths = torch.full((len(inputs),), inputs.shape[1])
        outputs = self.recurrent(inputs, lengths)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        return self.head(outputs[:, -1])


def data(shape: Shape) -> tuple[Tensor, Tensor]:
    """Return inputs [B, T, D] and targets [B]."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(shape.batch, shape.steps, shape.inputs, generator=generator)
    return inputs, torch.randint(CLASSES, (shape.batch,), generator=generator)


def plain(cell: str, shape: Shape) -> Callable[[], None]:
    """Return a step of torch.nn's own layer without privacy."""
    torch.manual_seed(1)
    layer = PLAIN[cell](shape.inputs, shape.hidden, batch_first=True)
    model = Classifier(layer, shape.hidden)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    inputs, targets = data(shape)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    return step


def ours(cell: str, shape: Shape) -> Callable[[], None]:
    """Return a private step of this project's engine, cryptographic noise included."""
    torch.manual_seed(1)
    model = Ours(CELLS[cell](shape.inputs, shape.hidden), shape.hidden)
    optimizer = PrivateOptimizer(
        torch.optim.SGD(model.parameters(), lr=RATE),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=shape.batch,
    )
    inputs, targets = data(shape)

    def losses() -> Tensor:
        return functional.cross_entropy(model(inputs), targets, reduction="none")

    def step() -> None:
        optimizer.zero_grad()
        accumulate_clipped(model, losses, CLIP)
        optimizer.keystream = Keystream.from_system()
        optimizer.step()

    return step


def opacus(cell: str, shape: Shape) -> Callable[[], None]:
    """Return a private step of Opacus' own layer with its per-sample gradients."""
    from opacus import GradSampleModule
    from opacus.layers import DPGRU, DPLSTM, DPRNN
    from opacus.optimizers import DPOptimizer

    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    layer = {"lstm": DPLSTM, "gru": DPGRU, "rnn": DPRNN}[cell]
    torch.manual_seed(1)
    model = GradSampleModule(
        Classifier(layer(shape.inputs, shape.hidden, batch_first=True), shape.hidden)
    )
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=RATE),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=shape.batch,
    )
    inputs, targets = data(shape)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    return step


TORCH: dict[str, Callable[[str, Shape], Callable[[], None]]] = {
    "plain": plain,
    "ours": ours,
    "opacus": opacus,
}
