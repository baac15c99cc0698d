"""What is not public about a table, released about its training people by mechanisms of opendp.

Units contribute at most K values each (the caller draws them, by a function of the unit's own
rows). Neighbours are as in training: one unit's contribution is replaced by nothing, which takes
away at most K values: a symmetric distance of K. Every mechanism is scaled by its own privacy map,
so that what is claimed is what opendp proves of it.

Randomness is the operating system's; opendp cannot be seeded, so that no draw can be repeated.
Counts are whole numbers and candidates come from a public list: nothing that is released has low
bits of floating point.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

# Values of a mean lie on this grid, so that their sum is exact.
_GRID = 2**20
# Relative steps by which a scale or a threshold grows until opendp's own map says enough.
_STEP = 1 + 2.0**-40
# Of a public list, a candidate that nobody has is kept in one of so many releases.
_FALSE_KEEP = 0.01
# A grid of round numbers: steps of 12 to 33 %.
_ROUND = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_DECADES = 6
_LINEAR = 100


def _scaled(make: Callable[[float], Any], distance: Any, epsilon: float) -> Any:
    """A pure mechanism whose map at a distance is at most epsilon, and hardly less."""
    if not epsilon > 0:
        raise ValueError(f"epsilon = {epsilon:g} must be above 0")
    scale = float(make(1.0).map(distance)) / epsilon
    mechanism = make(scale)
    while mechanism.map(distance) > epsilon:
        scale *= _STEP
        mechanism = make(scale)
    return mechanism


def candidates_of(low: float, high: float, grid: str = "log") -> list[float]:
    """Return public candidates for a bound, rising, ends included.

    Args:
        low: lowest that a bound may be.
        high: highest that a bound may be.
        grid: log for round numbers of both signs over six decades and 0; linear for 101 equal
            steps.

    Example:
        >>> candidates_of(0.0, 100.0, "linear")[:3]
        [0.0, 1.0, 2.0]
        >>> [c for c in candidates_of(-10.0, 100.0) if abs(c) > 3 or c == 0]
        [-10.0, -8.0, -6.0, -5.0, -4.0, 0.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0]
    """  # noqa: E501
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"range = [{low:g}, {high:g}] must be finite and rise")
    if grid == "linear":
        return [float(value) for value in np.linspace(low, high, _LINEAR + 1)]
    top = math.floor(math.log10(max(abs(low), abs(high))))
    sizes = [
        float(f"{digits}e{power}") for power in range(top - _DECADES, top + 1) for digits in _ROUND
    ]
    signed = {0.0, *sizes, *(-size for size in sizes)}
    return sorted({low, high, *(value for value in signed if low < value < high)})


def spread_out(values: Floats, candidates: Sequence[float]) -> Floats:
    """Return values moved by up to half a step between candidates, each by a number of its own.

    Where very many people have one value, no candidate has the right share on either side, and
    far ones look nearly as good: a credit limit of exactly 500,000. Spread, the next ones stand
    out. Each value moves alone, so that a unit still contributes its own values only; nobody
    needs to trust the numbers.

    Args:
        values: float64 [n].
        candidates: rising, at least two.
    """
    grid = np.asarray(candidates, dtype=np.float64)
    above = np.clip(np.searchsorted(grid, values), 1, len(grid) - 1)
    steps = grid[above] - grid[above - 1]
    return values + steps * (np.random.default_rng().random(len(values)) - 0.5)


def quantile_mechanism(
    candidates: Sequence[float], quantile: float, *, epsilon: float, max_values: int
) -> Any:
    """Return opendp's measurement of `private_quantile`."""
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_private_quantile
    from opendp.measures import max_divergence
    from opendp.metrics import symmetric_distance

    _enable()
    space = vector_domain(atom_domain(T="f64", nan=False)), symmetric_distance()

    def make(scale: float) -> Any:
        return make_private_quantile(
            *space, max_divergence(), candidates=list(candidates), alpha=quantile, scale=scale
        )

    return _scaled(make, max_values, epsilon)


def private_quantile(
    values: Floats,
    candidates: Sequence[float],
    quantile: float,
    *,
    epsilon: float,
    max_values: int = 1,
) -> float:
    """Return the public candidate that is, but for noise, nearest to a quantile.

    Args:
        values: finite [n], at most `max_values` of a unit.
        candidates: public, rising.
        quantile: 0..1.
        epsilon: of the release, (epsilon, 0).
        max_values: K, values of one unit.

    Returns:
        One of the candidates. Where the quantile is off by r values, it is chosen exp(-epsilon r /
        (2 K max(quantile, 1 - quantile))) times as often as the exact one, or about so.

    Raises:
        ValueError: epsilon is not above 0, or candidates do not rise.

    Source: Smith (2011), "Privacy-preserving statistical estimation with optimal convergence
    rates"; McKenna and Sheldon (2020), "Permute-and-flip", for the choice.
    """
    if list(candidates) != sorted(set(candidates)) or not len(candidates):
        raise ValueError("candidates must rise")
    mechanism = quantile_mechanism(candidates, quantile, epsilon=epsilon, max_values=max_values)
    return float(mechanism(np.asarray(values, dtype=np.float64).tolist()))


def risen(low: float, high: float, candidates: Sequence[float]) -> tuple[float, float]:
    """Return two drawn bounds in rising order, the next candidates where they are the same.

    Example:
        >>> risen(5.0, 5.0, [0.0, 5.0, 9.0]), risen(9.0, 5.0, [0.0, 5.0, 9.0])
        ((0.0, 9.0), (5.0, 9.0))
    """
    low, high = min(low, high), max(low, high)
    if low < high:
        return low, high
    below = [value for value in candidates if value < low]
    above = [value for value in candidates if value > high]
    return (below[-1] if below else low), (above[0] if above else high)


def threshold_mechanism(*, epsilon: float, delta: float, max_values: int) -> Any:
    """Return opendp's measurement of `private_vocabulary`, at the lowest threshold it may have."""
    from opendp.domains import atom_domain, map_domain
    from opendp.measurements import make_laplace_threshold
    from opendp.metrics import absolute_distance, l01inf_distance

    _enable()
    if not 0 < delta < 1:
        raise ValueError(f"delta = {delta:g} must be above 0 and below 1")
    space = (
        map_domain(atom_domain(T=str), atom_domain(T="i64")),
        l01inf_distance(absolute_distance(T="i64")),
    )
    # One unit is in at most K counts, in each of them once.
    distance = (max_values, max_values, 1)

    def make(scale: float, threshold: int) -> Any:
        return make_laplace_threshold(*space, scale=scale, threshold=threshold)

    # Above any threshold that matters, delta is 0 and the map is the noise's alone.
    scale = max_values / epsilon if epsilon > 0 else math.inf
    if not math.isfinite(scale):
        raise ValueError(f"epsilon = {epsilon:g} must be above 0")
    while make(scale, 2**40).map(distance)[0] > epsilon:
        scale *= _STEP
    threshold = max(2, math.floor(scale * math.log(max_values / (2 * delta))) - 2)
    while make(scale, threshold).map(distance)[1] > delta:
        threshold += 1
    # A noised count that equals the threshold is kept, and opendp 0.16's map leaves that case out
    # (its issue 2922): the next threshold is the one whose price this is.
    return make(scale, threshold + 1)


def private_vocabulary(
    counts: Mapping[str, int], *, epsilon: float, delta: float, max_values: int
) -> list[str]:
    """Return the values that enough units have, of a domain that nobody needs to know.

    Args:
        counts: value -> units that have it; one unit is in at most `max_values` of them.
        epsilon: of the release.
        delta: of the release: the chance that a value of one unit alone is shown.
        max_values: K.

    Returns:
        Values whose noised count reaches the threshold, about K ln(K / (2 delta)) / epsilon;
        sorted, so that their order tells nothing.

    Raises:
        ValueError: epsilon or delta is out of range.

    Source: Korolova, Kenthapadi, Mishra, Ntoulas (2009), "Releasing search queries and clicks
    privately"; Rogers (2023), "A unifying privacy analysis framework for unknown domain
    algorithms in differential privacy".
    """
    mechanism = threshold_mechanism(epsilon=epsilon, delta=delta, max_values=max_values)
    return sorted(mechanism({value: int(count) for value, count in counts.items()}))


def counts_mechanism(*, epsilon: float, distance: int) -> Any:
    """Return opendp's measurement of whole numbers that one unit moves by `distance` in L1."""
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_laplace
    from opendp.metrics import l1_distance

    _enable()
    space = vector_domain(atom_domain(T="i64")), l1_distance(T="i64")
    return _scaled(lambda scale: make_laplace(*space, scale=scale), distance, epsilon)


def private_counts(counts: Whole, *, epsilon: float, max_values: int = 1) -> Whole:
    """Return counts of public cells plus discrete Laplace noise of scale K / epsilon.

    Args:
        counts: [cells], empty ones too; one unit adds at most `max_values` in all.
        epsilon: of the release, (epsilon, 0).
        max_values: K.

    Returns:
        int64 [cells]; may be negative.

    Source: Ghosh, Roughgarden, Sundararajan (2009), "Universally utility-maximizing privacy
    mechanisms".
    """
    mechanism = counts_mechanism(epsilon=epsilon, distance=max_values)
    return np.array(mechanism([int(count) for count in counts]), dtype=np.int64)


def private_choice_of(
    counts: Mapping[str, int], candidates: Sequence[str], *, epsilon: float, max_values: int
) -> list[str]:
    """Return those of a public list that units have, as far as noise can tell; needs no delta.

    Args:
        counts: value -> units that have it; values outside of the list are not looked at.
        candidates: public, distinct.
        epsilon: of the release, (epsilon, 0).
        max_values: K.

    Returns:
        In the order of the list. One that nobody has is kept in about one of a hundred releases.
    """
    exact = np.array([counts.get(value, 0) for value in candidates], dtype=np.int64)
    noised = private_counts(exact, epsilon=epsilon, max_values=max_values)
    cut = max_values / epsilon * math.log(max(1, len(candidates)) / (2 * _FALSE_KEEP))
    return [value for value, count in zip(candidates, noised, strict=True) if count > cut]


def private_mean(
    values: Floats, bounds: tuple[float, float], *, epsilon: float, max_values: int = 1
) -> float:
    """Return the mean of values between public or released bounds.

    Half of epsilon goes to the sum, half to how many there are: the number of training people is
    not public.

    Args:
        values: finite [n], at most `max_values` of a unit; clipped to the bounds.
        bounds: low and high.
        epsilon: of the release, (epsilon, 0).
        max_values: K.

    Returns:
        Between the bounds; the middle where noise leaves nobody.
    """
    low, high = bounds
    middle, half = (low + high) / 2, (high - low) / 2
    inside = np.clip(np.asarray(values, dtype=np.float64), low, high)
    steps = np.clip(np.trunc((inside - middle) / half * _GRID), -_GRID, _GRID)
    total = counts_mechanism(epsilon=epsilon / 2, distance=max_values * _GRID)(
        [int(steps.astype(np.int64).sum())]
    )[0]
    count = private_counts(np.array([len(inside)]), epsilon=epsilon / 2, max_values=max_values)[0]
    if count < 1:
        return middle
    return float(np.clip(middle + half * (total / _GRID / count), low, high))


def _enable() -> None:
    """Say that opendp's contributed mechanisms may be used: all of them are."""
    from opendp.mod import enable_features

    enable_features("contrib")
