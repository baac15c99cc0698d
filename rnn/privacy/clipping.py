"""How far one unit may move a sum: one bound for all parameters, one a layer, or one that adapts.

P units, G groups of parameters.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rnn.privacy.noise import Keystream
from rnn.privacy.ranks import Ranks


def clip_factors(norms: Tensor, max_grad_norm: float | Tensor) -> Tensor:
    """Return float [P]: what scales each gradient to a norm of at most max_grad_norm.

    One bound, or one a unit.

    A norm that is not finite gets 0.
    """
    factors = (max_grad_norm / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(max=1.0)
    return torch.where(norms.isfinite(), factors, 0.0)


@dataclass(frozen=True)
class LayerBounds:
    """A bound a group of parameters; groups share no parameter.

    Attributes:
        groups: id of a parameter -> its group.
        bounds: of each group.
        names: of each group, the layers in it.
    """

    groups: Mapping[int, int]
    bounds: tuple[float, ...]
    names: tuple[str, ...]

    @property
    def total(self) -> float:
        """Bound on the norm over all groups: the root of the sum of squares."""
        return math.sqrt(sum(bound * bound for bound in self.bounds))


Bound = float | LayerBounds


def _layers(model: nn.Module) -> list[tuple[str, set[int]]]:
    """Names of layers and their trainable parameters; layers that share one are one."""
    out: list[tuple[str, set[int]]] = []
    for name, layer in model.named_modules():
        own = {id(p) for p in layer.parameters(recurse=False) if p.requires_grad}
        if not own:
            continue
        apart = [entry for entry in out if not entry[1] & own]
        for other in (entry for entry in out if entry[1] & own):
            name, own = f"{other[0]}+{name}", own | other[1]
        out = [*apart, (name, own)]
    return out


def layer_bounds(
    model: nn.Module, max_grad_norm: float, by_layer: Mapping[str, float] | None = None
) -> LayerBounds:
    """Return a bound for each layer of a model.

    Args:
        model: whose layers are meant.
        max_grad_norm: bound over all layers; equal shares of it, max_grad_norm / sqrt(layers),
            where `by_layer` is empty.
        by_layer: name of a layer -> its bound; then every layer has one.

    Raises:
        ValueError: `by_layer` names a layer that is not there, or leaves one out.
    """
    layers = _layers(model)
    names = tuple(name for name, _ in layers)
    groups = {key: i for i, (_, own) in enumerate(layers) for key in own}
    if not by_layer:
        return LayerBounds(groups, (max_grad_norm / math.sqrt(len(layers)),) * len(layers), names)
    if set(by_layer) != set(names):
        raise ValueError(f"bounds for layers {sorted(by_layer)}: the model has {sorted(names)}")
    return LayerBounds(groups, tuple(by_layer[name] for name in names), names)


@dataclass
class AdaptiveBound:
    """A bound that follows a quantile of the gradient norms, by a noisy count a step.

    Attributes:
        value: the bound now; it is computed from released counts alone.
        quantile: share of units that should lie below it.
        rate: of the geometric update.
        lowest: the bound never falls below.
        highest: the bound never rises above.
        count_noise: standard deviation of the noise on sum(b - 1/2).
        expected_batch_size: the constant that the count is divided by.

    Source: Andrew, Thakkar, McMahan, Ramaswamy (2021), "Differentially private learning with
    adaptive clipping", algorithm 1, with the count centred as in its section 2.2.
    """

    value: float
    quantile: float
    rate: float
    lowest: float
    highest: float
    count_noise: float
    expected_batch_size: int

    def release(self, centred_count: float, stream: Keystream) -> float:
        """Return the noisy count, on a grid of 2^-30 on which the exact count lies too."""
        noise = float(stream.normal(1)[0]) * self.count_noise
        return centred_count + round(noise * 2**30) / 2**30

    def step(self, clipped: list[Tensor], stream: Keystream, ranks: Ranks) -> None:
        """Release the count of one logical batch and move.

        Args:
            clipped: bool [P] of each physical batch.
            stream: where the noise comes from; the first process's is used.
            ranks: processes that share the batch.
        """
        centred = sum(float((~part).sum()) - len(part) / 2 for part in clipped)
        (count,) = ranks.add([torch.tensor([centred], dtype=torch.float64)])
        released = self.release(float(count), stream)
        (agreed,) = ranks.spread([torch.tensor([released], dtype=torch.float64)])
        self.update(float(agreed))

    def update(self, released: float) -> None:
        """Move towards the quantile."""
        below = released / self.expected_batch_size + 0.5
        # A count far off, by noise, moves the bound by at most a factor of e^rate.
        below = min(max(below, self.quantile - 1), self.quantile + 1)
        moved = self.value * math.exp(-self.rate * (below - self.quantile))
        self.value = min(max(moved, self.lowest), self.highest)
