"""Secrets that were put into a language model's training text, and how far it gives them away.

A secret is a random sequence of tokens of a known format, such as "the code is" and nine digits.
A model that learned only the language ranks an inserted secret anywhere among all that might
have been inserted; a model that remembers ranks it first. Recipes that predict the next token
use this; it takes log-perplexities from whoever has a model, and knows no model itself.

k inserted secrets, n candidates that were not inserted, S slots of a format.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.stats import kstest, mannwhitneyu

from tasks import stats

Array = NDArray[np.float64]

# Mean exposure, in bits, where nothing is remembered: ranks are uniform.
FORGOTTEN = 1 / math.log(2)
# No skew-normal distribution is more skewed than 0.9953.
_LARGEST_SKEWNESS = 0.99
_POINTS = 2001


@dataclass(frozen=True)
class Format:
    """What secrets look like.

    Attributes:
        slots: S, the token ids that may stand at each place; one id where the text is fixed.
    """

    slots: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """Something must be secret, and nothing may be counted twice."""
        if any(not slot or len(set(slot)) < len(slot) for slot in self.slots) or self.size < 2:
            raise ValueError(
                "a format needs distinct token ids at every place, and at least two secrets"
            )

    @property
    def size(self) -> int:
        """Return how many secrets there are."""
        return math.prod(len(slot) for slot in self.slots)

    def secret(self, number: int) -> tuple[int, ...]:
        """Return the secret of a number in 0..size - 1.

        Example:
            >>> Format(((7,), (1, 2), (3, 4, 5))).secret(4)
            (7, 2, 4)
        """
        found = []
        for slot in reversed(self.slots):
            number, place = divmod(number, len(slot))
            found.append(slot[place])
        return tuple(reversed(found))

    def every(self) -> NDArray[np.int64]:
        """Return all secrets, int64 [size, S]; for formats that are small enough."""
        numbers = np.unravel_index(np.arange(self.size), [len(slot) for slot in self.slots])
        return np.stack([np.array(s)[i] for s, i in zip(self.slots, numbers, strict=True)], axis=1)

    def draw(self, count: int, seed: int) -> NDArray[np.int64]:
        """Return distinct secrets drawn uniformly, int64 [count, S].

        The first k may be inserted and the rest serve as candidates.

        Raises:
            ValueError: there are not so many.
        """
        if count > self.size:
            raise ValueError(f"{count} secrets were asked for, the format has {self.size}")
        rng = np.random.default_rng(seed)
        chosen: dict[tuple[int, ...], None] = {}
        if count > self.size // 2:
            return self.every()[rng.permutation(self.size)[:count]]
        while len(chosen) < count:
            chosen[tuple(int(rng.choice(slot)) for slot in self.slots)] = None
        return np.array(list(chosen), dtype=np.int64).reshape(count, len(self.slots))


def by_rank(secrets: Array, every: Array) -> Array:
    """Return the exposure of inserted secrets among all secrets of their format.

    log2 of how many secrets there are, less log2 of the rank: what the model saves a guesser, in
    bits. Ties rank last, so that a model that says nothing exposes nothing.

    Args:
        secrets: float [k], log-perplexities.
        every: float [n], of all secrets, the inserted ones among them.

    Returns:
        float [k], 0 to log2 n.

    Source: Carlini, Liu, Erlingsson, Kos and Song (2019), "The secret sharer", definition of
    exposure.

    Example:
        >>> by_rank(np.array([1.0, 5.0]), np.array([1.0, 2.0, 3.0, 5.0])).tolist()
        [2.0, 0.0]
    """
    rank = np.searchsorted(np.sort(every), secrets, side="right")
    return math.log2(len(every)) - np.log2(np.maximum(rank, 1))


def by_sampling(
    secret: float, candidates: Array, size: int, confidence: float = 0.95
) -> stats.Interval:
    """Return the exposure of one inserted secret from a sample of those that were not.

    The share of candidates that the model finds likelier has an exact interval; where there are
    none, the exposure is at least the low end and at most log2 of the number of secrets.

    Args:
        secret: log-perplexity.
        candidates: float [n], drawn uniformly.
        size: how many secrets the format has.
        confidence: of the interval.

    Source: Carlini et al. (2019), approximation by sampling; Clopper and Pearson (1934).
    """
    below = int((candidates <= secret).sum())
    share = stats.clopper_pearson(below, len(candidates), confidence)
    top = math.log2(size)

    def bits(part: float) -> float:
        return min(top, -math.log2(part)) if part > 0 else top

    value = bits((below + 1) / (len(candidates) + 1))
    return stats.Interval(value, max(0.0, bits(share.high)), bits(share.low))


@dataclass(frozen=True)
class SkewNormal:
    """A skew-normal distribution of log-perplexities.

    Attributes:
        shape: 0 for a normal one.
        place: where it lies.
        scale: how wide it is.
    """

    shape: float
    place: float
    scale: float

    @classmethod
    def of(cls, values: Array) -> "SkewNormal":
        """Return the one with the moments of some values.

        Source: Azzalini (1985); Pewsey (2000), method of moments.
        """
        mean, spread = float(values.mean()), max(float(values.std()), 1e-12)
        third = float((((values - mean) / spread) ** 3).mean())
        third = min(max(third, -_LARGEST_SKEWNESS), _LARGEST_SKEWNESS)
        part = abs(third) ** (2 / 3)
        share = math.sqrt(math.pi / 2 * part / (part + ((4 - math.pi) / 2) ** (2 / 3)))
        lean = math.copysign(min(share, 0.9999), third)
        scale = spread / math.sqrt(1 - 2 * lean**2 / math.pi)
        place = mean - scale * lean * math.sqrt(2 / math.pi)
        return cls(lean / math.sqrt(1 - lean**2), place, scale)

    def below(self, values: Array) -> Array:
        """Return the probability of less than each value, to some 1e-15."""
        z = (values - self.place) / self.scale
        return np.clip(special.ndtr(z) - 2 * special.owens_t(z, self.shape), 0.0, 1.0)

    def log_below(self, value: float) -> float:
        """Return the log of the probability of less than a value, however unlikely."""
        plain = float(self.below(np.array([value]))[0])
        if plain > 1e-6:
            return math.log(plain)
        # Far out the two parts of the function cancel, so that its density is summed instead.
        z = (value - self.place) / self.scale
        reach = np.linspace(0.0, 40 / max(abs(z), 1.0), _POINTS)
        t = z - reach
        density = -(t**2) / 2 + special.log_ndtr(self.shape * t) + math.log(2 / math.pi) / 2
        weights = np.full(_POINTS, reach[1])
        weights[[0, -1]] /= 2
        return float(special.logsumexp(density, b=weights))


def by_skew_normal(
    secrets: Array,
    candidates: Array,
    size: int,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 400,
) -> list[stats.Interval]:
    """Return exposures beyond what a sample can rank, from the shape of the candidates.

    The interval resamples candidates; it does not cover that their shape may be another one, so
    read it with the p-value of `fit`.

    Args:
        secrets: float [k], log-perplexities of inserted secrets.
        candidates: float [n], of secrets drawn uniformly, at least 3.
        size: how many secrets the format has.
        confidence: of each interval.
        seed: of the resampling.
        resamples: of the candidates.

    Source: Carlini et al. (2019), approximation by distribution modelling.
    """
    top = math.log2(size)
    rng = np.random.default_rng(seed)
    drawn = (rng.choice(candidates, len(candidates)) for _ in range(resamples))
    shapes = [SkewNormal.of(candidates), *(SkewNormal.of(sample) for sample in drawn)]
    found = []
    for secret in secrets.tolist():
        bits = [min(top, -shape.log_below(secret) / math.log(2)) for shape in shapes]
        tail = (1 - confidence) / 2
        low, high = np.quantile(bits[1:], [tail, 1 - tail])
        found.append(stats.Interval(bits[0], min(float(low), bits[0]), max(float(high), bits[0])))
    return found


def fit(candidates: Array) -> float:
    """Return Kolmogorov and Smirnov's p-value of the skew-normal shape.

    A small one speaks against extrapolating; a large one is flattered, for the shape was fitted
    to the same values.
    """
    return float(kstest(candidates, SkewNormal.of(candidates).below).pvalue)


def exposure(
    secrets: Array, candidates: Array, size: int, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Return how far a model gives inserted secrets away, for attack/internal.

    Args:
        secrets: float [k], log-perplexities of inserted secrets.
        candidates: float [n], of secrets of the same format that were not inserted, drawn
            uniformly, at least 3.
        size: how many secrets the format has.
        confidence: of the intervals.
        seed: of the resampling.

    Returns:
        Exposures in bits, each by sampling and extrapolated; `p_value` is that of no memory at
        all, Mann and Whitney's of secrets against candidates.
    """
    told = by_skew_normal(secrets, candidates, size, confidence, seed)
    sampled = [by_sampling(s, candidates, size, confidence) for s in secrets.tolist()]
    together = mannwhitneyu(secrets, candidates, alternative="less")
    return {
        "secrets": len(secrets),
        "candidates": len(candidates),
        "bits": math.log2(size),
        "forgotten": FORGOTTEN,
        "sampled": [one.as_dict() for one in sampled],
        "extrapolated": [one.as_dict() for one in told],
        "mean": stats.mean([one.value for one in told], confidence).as_dict(),
        "fit_p_value": fit(candidates),
        "p_value": float(together.pvalue),
        "confidence": confidence,
    }
