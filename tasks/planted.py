"""Faults of private training, planted from outside for as long as a block lasts.

Each replaces code that people's gradients and canaries' both go through; nothing in the engine
knows of them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from rnn.fit import Fit
from rnn.privacy import engine
from rnn.privacy.engine import PrivateOptimizer
from rnn.privacy.noise import Keystream
from rnn.units import Population, Sample

Plant = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Fault:
    """One thing that may go wrong.

    Attributes:
        name: in a table.
        what: in words.
        plant: puts it in place, and takes it away again.
    """

    name: str
    what: str
    plant: Plant


def noise_times(share: float) -> Plant:
    """Return a fault: noise of another scale than the account's."""
    right = PrivateOptimizer.add_noise

    def add_noise(self: PrivateOptimizer) -> None:
        claimed = self.noise_multiplier
        self.noise_multiplier = share * claimed
        try:
            right(self)
        finally:
            self.noise_multiplier = claimed

    return lambda: patch.object(PrivateOptimizer, "add_noise", add_noise)


def stale_noise() -> AbstractContextManager[Any]:
    """Every second step has the noise of the step before."""
    right = PrivateOptimizer.add_noise
    streams: list[Keystream] = []

    def add_noise(self: PrivateOptimizer) -> None:
        if streams:
            self.keystream = streams.pop()
        else:
            # A child's noise can be drawn twice; sampling has taken from the stream itself.
            assert self.keystream is not None
            streams.append(self.keystream.child(7))
            self.keystream = self.keystream.child(7)
        right(self)

    return patch.object(PrivateOptimizer, "add_noise", add_noise)


def no_clip() -> AbstractContextManager[Any]:
    """Gradients pass whole."""
    return patch.object(engine, "clip_factors", lambda norms, bound: torch.ones_like(norms))


def wrong_rows() -> AbstractContextManager[Any]:
    """Each row gets the clip factor of another."""
    right = engine.clip_factors

    def turned(norms: Tensor, bound: float | Tensor) -> Tensor:
        return right(norms, bound).roll(1, -1)

    return patch.object(engine, "clip_factors", turned)


def clip_after_noise() -> AbstractContextManager[Any]:
    """Noise first, then one clip of the noisy sum."""
    right = PrivateOptimizer.add_noise

    def add_noise(self: PrivateOptimizer) -> None:
        right(self)
        size = torch.cat([p.grad.flatten() for p in self.params]).norm()
        for p in self.params:
            p.grad *= float((self.max_grad_norm / size).clamp(max=1.0))

    return patch.object(PrivateOptimizer, "add_noise", add_noise)


def sampling_times(factor: float) -> Plant:
    """Return a fault: units are sampled with another rate than the account's."""
    right = Population.draw

    def draw(self: Population, stream: Keystream, rate: float) -> Sample:
        return right(self, stream, min(1.0, factor * rate))

    return lambda: patch.object(Population, "draw", draw)


@contextmanager
def normaliser_of_the_batch() -> Iterator[None]:
    """The noisy sum is divided by the number of people that were sampled."""
    sizes: list[int] = []
    draw, scale = Fit._sample, PrivateOptimizer.scale_grad

    def sample(self: Fit, stream: Keystream) -> Sample:
        found = draw(self, stream)
        sizes[:] = [max(1, len(found.rows))]
        return found

    def scale_grad(self: PrivateOptimizer) -> None:
        claimed = self.expected_batch_size
        self.expected_batch_size = sizes[0]
        try:
            scale(self)
        finally:
            self.expected_batch_size = claimed

    with (
        patch.object(Fit, "_sample", sample),
        patch.object(PrivateOptimizer, "scale_grad", scale_grad),
    ):
        yield


def steps_not_counted() -> AbstractContextManager[Any]:
    """Every step is taken twice, with noise of its own, and counted once."""
    right = PrivateOptimizer.step

    def step(self: PrivateOptimizer, closure: Any = None) -> Any:
        assert self.keystream is not None
        spare = self.keystream.child(7)
        right(self)
        self.keystream = spare
        return right(self)

    return patch.object(PrivateOptimizer, "step", step)


FAULTS = (
    Fault("noise_0.95x", "noise of 0.95 of the claimed scale", noise_times(0.95)),
    Fault("noise_1.05x", "noise of 1.05 of the claimed scale", noise_times(1.05)),
    Fault("noise_0.5x", "noise of half of the claimed scale", noise_times(0.5)),
    Fault("noise_off", "no noise", noise_times(0.0)),
    Fault("noise_stale", "every second step repeats the noise of the one before", stale_noise),
    Fault("clip_off", "gradients are not clipped", no_clip),
    Fault("wrong_rows", "clip factors go to other rows than their norms came from", wrong_rows),
    Fault("noise_then_clip", "the noisy sum is clipped, not each gradient", clip_after_noise),
    Fault("sampling_2x", "twice the claimed sampling rate", sampling_times(2.0)),
    Fault("sampling_0.5x", "half of the claimed sampling rate", sampling_times(0.5)),
    Fault(
        "normaliser", "the sum is divided by the number of people sampled", normaliser_of_the_batch
    ),
    Fault("steps", "twice as many steps as the account counts", steps_not_counted),
)
SOUND = Fault("none", "nothing is wrong", nullcontext)
