"""Randomness of a private run: from the operating system, under a key that is written nowhere.

The generator is AES-256 in counter mode. Sampling compares 64-bit integers.

Noise on a grid. Floating-point noise leaks where the low bits of sum + noise tell sums apart:
some doubles can be reached from one sum and not from its neighbour (Mironov 2012), and a single
Box-Muller draw can be inverted (Jin et al. 2022). Neither has a hold here:

1. Sum and noise are each rounded to multiples of one power of two, the grid, and added as
   integers, exactly. The result is an integer too: its low bits are those of an integer noise
   and say nothing of the sum. What follows (one rounding to the weights' precision, division,
   the optimizer) is computed from that integer alone: post-processing.
2. The grid follows from the settings and the (released) bound alone: the largest power of two
   for which rounding d coordinates moves the sum by at most GRID_SHARE x max_grad_norm in norm
   (each coordinate of a neighbour's difference by at most one grid step, so sqrt(d) steps in
   all). That is part of the engine's ROUNDING, for which the noise is scaled.
3. Every integer that matters has a vast number of origins: a value is the sum of two draws over
   sqrt(2), each from two uniform numbers that serve no other value, 4 x 53 random bits, for
   fewer than 2^53 grid points within 12 standard deviations. No integer is unreachable, and a
   draw cannot be solved for.
4. What is left is the evaluation of log, sqrt and cos: relative errors of a few 2^-53 shift
   the edges between grid points by a fraction of a grid step of about grid^-1 x 2^-50, at
   random; this is not a proof of exactness as integer samplers (Canonne et al. 2020) have it.
5. Values beyond 12.2 standard deviations never happen; their chance, below 1e-33, is far under
   any delta.

Timing of the sampler does not depend on the values: it has no rejection loop.

Source: Holohan and Braghin (2021), "Secure random sampling in differential privacy", section 4;
Mironov (2012), "On significance of the least significant bits", section 5.2 (snapping); Jin,
McMurtry, Rubinstein, Ohrimenko (2022), "Are we there yet? Timing and floating-point attacks".
"""

import hashlib
import math
import os

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

KEY_BYTES = 32
# Draws that one value sums, each from two uniform numbers of its own.
_SUMMED = 2
# Values drawn at a time: their numbers stay in the second-level cache.
_BLOCK = 1 << 14
# Rounding to the grid moves a neighbour's difference by at most this share of max_grad_norm.
GRID_SHARE = 1e-6
# A sum beyond this many grid steps could lose low bits; no sum of fewer than 10^9 rows gets there.
_FARTHEST = 2.0**51


class Keystream:
    """An unending stream of random bits; its key never leaves the object."""

    __slots__ = ("_encryptor", "_key", "source")

    def __init__(self, key: bytes, source: str):
        """Start a stream.

        Args:
            key: 32 bytes.
            source: where the key came from, in words that may be published.

        Raises:
            ValueError: a key of another length.
        """
        if len(key) != KEY_BYTES:
            raise ValueError(f"key has {len(key)} bytes: it must have {KEY_BYTES}")
        self._key = key
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        self.source = source

    def __repr__(self) -> str:
        """Name the source, not the key."""
        return f"Keystream({self.source!r})"

    def __reduce__(self) -> str:
        """Refuse to be copied to a file."""
        raise TypeError("a Keystream is not written anywhere")

    @classmethod
    def from_system(cls) -> "Keystream":
        """Return a stream under a fresh key from the operating system."""
        return cls(os.urandom(KEY_BYTES), "operating system")

    @classmethod
    def from_seed(cls, seed: int) -> "Keystream":
        """Return a repeatable stream: for tests and benchmarks, it protects nobody."""
        return cls(hashlib.sha256(f"insecure {seed}".encode()).digest(), "insecure seed")

    def child(self, step: int) -> "Keystream":
        """Return an independent stream for one step, the same whenever it is asked for.

        A seeded run that was interrupted goes on with the numbers that it would have had.
        """
        key = hashlib.blake2b(step.to_bytes(8, "big"), key=self._key, digest_size=KEY_BYTES)
        return Keystream(key.digest(), self.source)

    def integers(self, count: int) -> NDArray[np.uint64]:
        """Return uint64 [count], uniform."""
        return np.frombuffer(self._encryptor.update(bytes(8 * count)), dtype="<u8")

    def bernoulli(self, rate: float, count: int) -> NDArray[np.bool_]:
        """Return bool [count], each true with probability `rate`, exact to 2^-64.

        Raises:
            ValueError: rate is outside (0, 1].
        """
        if not 0 < rate <= 1:
            raise ValueError(f"rate = {rate} must be above 0 and at most 1")
        if rate == 1:
            return np.ones(count, dtype=np.bool_)
        return self.integers(count) < np.uint64(int(rate * 2**64))

    def normal(self, count: int) -> NDArray[np.float64]:
        """Return float64 [count], independent standard Gaussian values."""
        blocks = [self._draws(min(_BLOCK, count - start)) for start in range(0, count, _BLOCK)]
        return np.concatenate(blocks) if blocks else np.zeros(0)

    def _draws(self, count: int) -> NDArray[np.float64]:
        """One block of Gaussian values; torch evaluates it, for it uses all cores."""
        bits = self.integers(2 * _SUMMED * count)
        # 53 random bits, moved off zero so that the logarithm is finite.
        uniform = torch.from_numpy((bits >> np.uint64(11)).astype(np.float64))
        radius, angle = uniform.add_(0.5).mul_(2.0**-53).view(2, _SUMMED * count)
        draws = radius.log_().mul_(-2.0).sqrt_() * angle.mul_(2.0 * math.pi).cos_()
        values: NDArray[np.float64] = draws.view(_SUMMED, count).sum(0).numpy()
        return values / math.sqrt(_SUMMED)


def grid_for(max_grad_norm: float, coordinates: int) -> float:
    """Return the power of two to whose multiples sum and noise are rounded.

    Args:
        max_grad_norm: bound on a unit's gradient.
        coordinates: numbers that are released together.
    """
    return 2.0 ** math.floor(math.log2(GRID_SHARE * max_grad_norm / math.sqrt(coordinates)))


def noised(
    total: NDArray[np.float64], stream: Keystream, scale: float, grid: float
) -> NDArray[np.float64]:
    """Return sum plus noise, exactly a multiple of `grid`.

    Args:
        total: the sum, any shape.
        stream: where the noise comes from.
        scale: standard deviation of the noise.
        grid: a power of two, far below the scale.
    """
    noise = stream.normal(total.size)
    noise *= scale / grid
    np.rint(noise, out=noise)
    steps = np.rint(total / grid)
    np.clip(steps, -_FARTHEST, _FARTHEST, out=steps)
    steps += noise.reshape(total.shape)
    steps *= grid
    return steps
