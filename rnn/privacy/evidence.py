"""What the noisy sums of a run say of each canary's coin, and what an ideal attack would say.

m canaries, W parameters.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Times that the others' expected parts are taken away.
_ROUNDS = 2


class Evidence:
    """What the steps so far say of each canary."""

    def __init__(self, count: int, sample_rate: float, seed: int = 0):
        """Begin with fair coins.

        Args:
            count: m.
            sample_rate: inclusion probability a step.
            seed: of the probes for crosstalk.
        """
        self.sample_rate = sample_rate
        self.scores = np.zeros(count)
        self.crosstalk = 0.0
        self.steps = 0
        self._probes = np.random.default_rng(seed)

    def add(self, seen: Tensor, gradients: Tensor, noise: float) -> None:
        """Take in one step.

        What other canaries are expected to have added is taken away from each one's part; what
        cannot be known of them counts as noise.

        Args:
            seen: float [W], the noisy sum of the canaries alone, over the clip bound.
            gradients: float [m, W], clipped, over the clip bound.
            noise: standard deviation in each coordinate of `seen`.
        """
        rate = self.sample_rate
        norms = torch.linalg.vector_norm(gradients, dim=1).double()
        size = norms.square().cpu().numpy()
        prior = rate / (1 + np.exp(-np.clip(self.scores, -500, 500)))
        expected, ratio, shared = prior, np.zeros_like(prior), 0.0
        for _ in range(_ROUNDS):
            left = seen - _like(expected, gradients) @ gradients
            aimed = (gradients @ left).double().cpu().numpy() + expected * size
            shared = self._shared(expected * (1 - expected), gradients, size)
            ratio = size * (2 * aimed - size) / (2 * (noise**2 * size + shared + 1e-300))
            odds = np.log(prior) - np.log1p(-prior) if rate < 1 else ratio
            expected = 1 / (1 + np.exp(-np.clip(odds + ratio, -500, 500)))
        absent = math.log1p(-rate) if rate < 1 else -math.inf
        self.scores += np.logaddexp(absent, math.log(rate) + ratio)
        self.crosstalk += shared / (noise**2 * max(float(size.mean()), 1e-300))
        self.steps += 1

    def _shared(self, spread: Array, gradients: Tensor, size: Array) -> float:
        """Mean variance that the others' sampling puts into a canary's part, by one probe."""
        signs = self._probes.choice([-1.0, 1.0], len(spread))
        probe = _like(np.sqrt(spread) * signs, gradients) @ gradients
        power = float((gradients @ probe).double().square().mean())
        return max(0.0, power - float((spread * size**2).mean()))


def _like(values: Array, tensor: Tensor) -> Tensor:
    """Values as a tensor beside another."""
    return torch.from_numpy(values).to(tensor)


def ideal_scores(
    count: int, steps: int, sample_rate: float, noise: float, seed: int
) -> tuple[Array, Flags]:
    """Return scores and coins of an ideal attack: canaries in coordinates of their own.

    Args:
        count: m.
        steps: of training.
        sample_rate: inclusion probability a step.
        noise: standard deviation over the clip bound.
        seed: of coins, sampling and noise.

    Source: Neyman and Pearson (1933); the steps are independent given the coin.
    """
    rng = np.random.default_rng(seed)
    present = rng.random(count) < 0.5
    scores = np.zeros(count)
    absent = math.log1p(-sample_rate) if sample_rate < 1 else -math.inf
    for _ in range(steps):
        noisy = noise * rng.standard_normal(count)
        noisy += (rng.random(count) < sample_rate) & present
        scores += np.logaddexp(absent, math.log(sample_rate) + (2 * noisy - 1) / (2 * noise**2))
    return scores, present
