"""A hundred steps of Opacus' own layers and optimizer end in the same weights."""

import pytest
import torch
from opacus.grad_sample import GradSampleModule
from opacus.layers import DPGRU, DPLSTM
from opacus.optimizers import DPOptimizer
from opacus.optimizers import optimizer as opacus_optimizer
from torch import nn

from rnn.privacy import engine
from rnn.privacy.engine import PrivateOptimizer, accumulate_clipped
from rnn.privacy.noise import Keystream
from rnn.recurrent import GRU, LSTM

STEPS, ROWS, CLIP, NOISE = 100, 6, 0.1, 0.5
PAIRS = {"lstm": (LSTM, DPLSTM), "gru": (GRU, DPGRU)}


class _Model(nn.Module):
    """Mean over time, then a linear layer."""

    def __init__(self, recurrent, theirs):
        super().__init__()
        self.recurrent, self.output, self.theirs = recurrent, nn.Linear(4, 1), theirs

    def forward(self, inputs):
        outputs = self.recurrent(inputs)
        return self.output((outputs[0] if self.theirs else outputs).mean(1)).squeeze(1)


def _batch(step):
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(ROWS, 5, 3, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(ROWS, generator=generator, dtype=torch.float64)


def _noise(step, count):
    generator = torch.Generator().manual_seed(step)
    return torch.randn(count, generator=generator, dtype=torch.float64)


def _slices(model):
    """Where the noise of each of Opacus' parameters is in our vector, in Opacus' order.

    Ours come as in torch.nn: both weights of the recurrence, both biases, then the output's.
    """
    sizes = {name: p.numel() for name, p in model.named_parameters()}

    def place(name):
        return not name.startswith("recurrent"), "bias" in name, "hh" in name

    start, found = 0, {}
    for name in sorted(sizes, key=place):
        found[name] = slice(start, start + sizes[name])
        start += sizes[name]
    return [found[name] for name in sizes], start


def _theirs(model, monkeypatch):
    wrapped = GradSampleModule(model, loss_reduction="sum")
    plain = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    optimizer = DPOptimizer(
        plain, noise_multiplier=NOISE, max_grad_norm=CLIP, expected_batch_size=8
    )
    slices, total = _slices(model)
    now = {"step": 0, "place": 0}

    def generate(std, reference, **_):
        values = _noise(now["step"], total)[slices[now["place"]]]
        now["place"] += 1
        return values.view_as(reference) * std

    monkeypatch.setattr(opacus_optimizer, "_generate_noise", generate)
    for step in range(STEPS):
        now.update(step=step, place=0)
        optimizer.zero_grad()
        inputs, targets = _batch(step)
        (wrapped(inputs) - targets).square().sum().backward()
        optimizer.step()


def _ours(model, monkeypatch):
    plain = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    optimizer = PrivateOptimizer(
        plain, noise_multiplier=NOISE, max_grad_norm=CLIP, expected_batch_size=8
    )
    # Opacus neither rounds to a grid nor leaves room for rounding, and adds 1e-6 to norms.
    monkeypatch.setattr(
        engine, "clip_factors", lambda norms, bound: (bound / (norms + 1e-6)).clamp(max=1)
    )
    monkeypatch.setattr(engine, "rounding_margin", lambda _: 0.0)
    monkeypatch.setattr(engine, "grid_for", lambda *_: 2.0**-48)
    for step in range(STEPS):
        optimizer.zero_grad()
        inputs, targets = _batch(step)
        accumulate_clipped(model, lambda x=inputs, y=targets: (model(x) - y).square(), CLIP)
        monkeypatch.setattr(
            Keystream, "normal", lambda self, count, s=step: _noise(s, count).numpy()
        )
        optimizer.keystream = Keystream.from_seed(0)
        optimizer.step()


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("cell", PAIRS)
def test_a_hundred_steps_end_in_the_same_weights(cell, monkeypatch):
    mine, theirs = PAIRS[cell]
    torch.manual_seed(0)
    model = _Model(mine(3, 4), theirs=False).double()
    other = _Model(theirs(3, 4, batch_first=True), theirs=True).double()
    # Nested in a model, Opacus' layers do not take torch's names: one by one.
    other.recurrent.load_state_dict(model.recurrent.state_dict())
    other.output.load_state_dict(model.output.state_dict())
    start = model.output.weight.detach().clone()
    _ours(model, monkeypatch)
    _theirs(other, monkeypatch)
    for part in ("recurrent", "output"):
        there = getattr(other, part).state_dict()
        for name, value in getattr(model, part).state_dict().items():
            assert float((value - there[name]).abs().max()) < 1e-8, name
    assert float((model.output.weight.detach() - start).abs().max()) > 0.05
