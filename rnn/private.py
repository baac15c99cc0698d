"""The engine on somebody's own training loop.

N rows or persons in the training set, B rows in a physical batch.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rnn.config import AdaptiveConfig
from rnn.fairness.config import GlobalAdapt, GroupClipping, NoMitigation
from rnn.masks import MASKS, masks_from
from rnn.privacy.accounting import epsilon_spent, noise_for
from rnn.privacy.counts import Seen, by_unit
from rnn.privacy.engine import PrivateOptimizer, accumulate_clipped, numbered
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.moving import current, move, rescale, total_bound
from rnn.privacy.noise import Keystream
from rnn.privacy.ranks import Ranks


class Private:
    """A model, its optimizer, and the account of their steps; made by `make_private`."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        mechanism: Mechanism,
        expected_batch_size: int,
        keystream: Keystream,
    ):
        """Wrap; nothing in model or optimizer is renamed or replaced."""
        self.model, self.mechanism, self.keystream = model, mechanism, keystream
        self.steps = 0
        self.ranks = Ranks.current()
        self.bound = mechanism.bound(model, expected_batch_size)
        self.optimizer = PrivateOptimizer(
            optimizer,
            noise_multiplier=mechanism.gradient_noise(expected_batch_size),
            max_grad_norm=total_bound(self.bound),
            expected_batch_size=expected_batch_size,
            ranks=self.ranks,
        )
        self.optimizer.zero_grad()
        self._stream: Keystream | None = None
        self._masks: Keystream | None = None
        self._sampled = 0
        self._parts: list[Seen] = []

    @property
    def noise_multiplier(self) -> float:
        """What the account uses."""
        return self.mechanism.noise_multiplier

    def sample(self, count: int) -> Tensor:
        """Return the next step's Poisson sample, int64 [n]; n may be 0, and varies.

        Args:
            count: N, rows in the training set; persons, where `units` will be given.

        Raises:
            RuntimeError: the last sample has not been stepped on.
        """
        if self._stream is not None:
            raise RuntimeError("one sample a step: call step() before the next sample()")
        self._stream = self.keystream.child(self.steps)
        self._masks = self._stream.child(MASKS + self.ranks.rank)
        chosen = self._stream.bernoulli(self.mechanism.sample_rate, count).nonzero()[0]
        mine = self.ranks.share(self.ranks.agree(chosen if self.ranks.first else None))
        self._sampled = len(mine)
        return torch.from_numpy(np.ascontiguousarray(mine, dtype=np.int64))

    def accumulate(
        self,
        losses: Callable[[], Tensor],
        units: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> Tensor:
        """Add a physical batch, a part of the sample, and return its losses [B], detached.

        Args:
            losses: runs the model on the batch and returns each row's own loss, float [B].
            units: int64 [B], the person of each row; all rows of a person in one batch.
            groups: int64 [B], the group of each row, for bounds by group: a person has one.

        Raises:
            RuntimeError: no sample was drawn, or the losses drew from torch's generator.
        """
        if self._masks is None:
            raise RuntimeError("call sample() first")
        bound = current(self.bound, groups)
        with masks_from(self._masks.bernoulli, self.model):
            values, report = accumulate_clipped(self.model, losses, bound, units)
        codes = None if groups is None else by_unit(groups, numbered(units, len(values)))
        self._parts.append(Seen(report.norms, report.clipped, values, codes))
        return values

    def step(
        self,
        losses: Callable[[], Tensor] | None = None,
        units: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> None:
        """Noise what was accumulated and update the weights.

        Args:
            losses: of the whole sample, where it fits in memory; not called where the sample is
                empty, which is a step like any other.
            units: as for `accumulate`.
            groups: as for `accumulate`.

        Raises:
            RuntimeError: no sample was drawn for this step.
            ValueError: not every sampled row or person was seen, or some more than once.
        """
        stream = self._stream
        if stream is None:
            raise RuntimeError("call sample() first")
        if losses is not None and self._sampled:
            self.accumulate(losses, units, groups)
        seen = sum(len(part.norms) for part in self._parts)
        if seen != self._sampled:
            raise ValueError(f"{seen} rows or persons were seen, {self._sampled} were sampled")
        self.optimizer.keystream = stream
        self.optimizer.max_grad_norm = total_bound(self.bound)
        self.optimizer.rescale = rescale(self.bound)
        self.optimizer.step()
        move(self.bound, self._parts, stream, self.ranks)
        self.optimizer.zero_grad()
        self._stream, self._masks, self._parts = None, None, []
        self.steps += 1

    def epsilon(self, delta: float) -> float:
        """Return the upper bound on epsilon at `delta` after the steps so far."""
        return epsilon_spent(
            noise_multiplier=self.mechanism.noise_multiplier,
            sample_rate=self.mechanism.sample_rate,
            steps=self.steps,
            delta=delta,
        )


def _noise(
    noise_multiplier: float | None,
    target_epsilon: float | None,
    delta: float | None,
    steps: int | None,
    sample_rate: float,
) -> float:
    """The noise that was stated or follows from a target."""
    if (noise_multiplier is None) == (target_epsilon is None):
        raise ValueError("state exactly one of noise_multiplier and target_epsilon")
    if noise_multiplier is not None:
        if noise_multiplier <= 0:
            raise ValueError(f"noise_multiplier = {noise_multiplier} must be above 0")
        return noise_multiplier
    if target_epsilon is None or delta is None or steps is None:
        raise ValueError("target_epsilon needs delta and steps")
    return noise_for(
        target_epsilon=target_epsilon, sample_rate=sample_rate, steps=steps, delta=delta
    )


def make_private(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    sample_rate: float,
    expected_batch_size: int,
    max_grad_norm: float,
    noise_multiplier: float | None = None,
    target_epsilon: float | None = None,
    delta: float | None = None,
    steps: int | None = None,
    clipping: str = "flat",
    layer_max_grad_norms: dict[str, float] | None = None,
    adaptive: AdaptiveConfig | None = None,
    mitigation: GlobalAdapt | GroupClipping | None = None,
    groups: int = 0,
    insecure_seed: int | None = None,
) -> Private:
    """Return what samples, clips, noises and accounts for a torch model.

    Args:
        model: recurrences are `rnn.RNN`, `LSTM` or `GRU`; batch first.
        optimizer: any of torch's; it takes the private gradients.
        sample_rate: inclusion probability a step, a constant that is not counted from the data.
        expected_batch_size: what sums are divided by, a constant too: sample_rate x public N.
        max_grad_norm: bound on one row's, or person's, gradient.
        noise_multiplier: standard deviation of the noise over max_grad_norm.
        target_epsilon: instead: noise is solved for, with `delta` and `steps`.
        delta: of target_epsilon.
        steps: planned, of target_epsilon.
        clipping: flat, per_layer or adaptive.
        layer_max_grad_norms: per_layer: layer -> bound; equal shares if empty.
        adaptive: how an adaptive bound moves.
        mitigation: Global-Adapt, or bounds by group; then clipping is flat.
        groups: public number of groups, for bounds by group.
        insecure_seed: repeatable noise for tests; it protects nobody.

    Raises:
        ValueError: a setting out of range, or the target cannot be reached.
    """
    if not 0 < sample_rate <= 1:
        raise ValueError(f"sample_rate = {sample_rate} must be above 0 and at most 1")
    if expected_batch_size < 1 or max_grad_norm <= 0:
        raise ValueError("expected_batch_size and max_grad_norm must be above 0")
    if clipping not in ("flat", "per_layer", "adaptive"):
        raise ValueError(f"clipping = {clipping!r} must be flat, per_layer or adaptive")
    if isinstance(mitigation, GroupClipping) and groups < 1:
        raise ValueError("bounds by group need groups, the public number of them")
    mechanism = Mechanism(
        sample_rate,
        _noise(noise_multiplier, target_epsilon, delta, steps, sample_rate),
        max_grad_norm,
        clipping=clipping,
        layer_max_grad_norms=layer_max_grad_norms or {},
        adaptive=adaptive or AdaptiveConfig(),
        mitigation=mitigation or NoMitigation(),
        groups=groups,
    )
    if insecure_seed is None:
        keystream = Keystream.from_system()
    else:
        keystream = Keystream.from_seed(insecure_seed)
    return Private(model, optimizer, mechanism, expected_batch_size, keystream)
