"""Randomness of a private run: from the operating system, under a key that is written nowhere.

The generator is AES-256 in counter mode. Sampling compares 64-bit integers; noise is Gaussian
in double precision, each value the half-sum of four independent ones, which leaves too many
possible origins of a value for the floating-point attack on a single draw.

Source: Holohan and Braghin (2021), "Secure random sampling in differential privacy", section 4.
"""

import hashlib
import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

KEY_BYTES = 32
_SUMMED = 4


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

    def _integers(self, count: int) -> NDArray[np.uint64]:
        """`count` uniform 64-bit integers."""
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
        return self._integers(count) < np.uint64(int(rate * 2**64))

    def normal(self, count: int) -> NDArray[np.float64]:
        """Return float64 [count], independent standard Gaussian values."""
        pairs = -(-count * _SUMMED // 2)
        bits = self._integers(2 * pairs)
        # 53 random bits, moved off zero so that the logarithm is finite.
        uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        radius = np.sqrt(-2.0 * np.log(uniform[:pairs]))
        angle = 2.0 * np.pi * uniform[pairs:]
        values = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        return values[: count * _SUMMED].reshape(_SUMMED, count).sum(0) / np.sqrt(_SUMMED)
