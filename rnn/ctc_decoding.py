"""From a network's symbols a step to one sequence of symbols: the best path, and prefix search.

T steps, C classes; 0 is the blank, class k is k + 1.
"""

from math import exp, inf, log1p

import numpy as np
from numpy.typing import NDArray

Symbols = tuple[int, ...]

WIDTH = 16
# exp(-16) is a ten-millionth: such a symbol changes no answer and takes time.
LEAST = -16.0


def collapsed(path: list[int]) -> Symbols:
    """Return the symbols of a path: repeats are one, then blanks go.

    Example:
        >>> collapsed([0, 3, 3, 0, 3, 1])
        (3, 3, 1)
    """
    return tuple(k for i, k in enumerate(path) if k and (i == 0 or path[i - 1] != k))


def best_path(chances: NDArray[np.floating]) -> Symbols:
    """Return the symbols of the likeliest path, which need not be the likeliest symbols.

    Args:
        chances: [T, C + 1], logits or log-probabilities, the blank first.

    Source: Graves, Fernandez, Gomez, Schmidhuber (2006), section 3.2.
    """
    return collapsed(chances.argmax(1).tolist())


def _plus(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -inf else a + log1p(exp(b - a))


def prefix_search(
    chances: NDArray[np.floating], width: int = WIDTH, least: float = LEAST
) -> list[tuple[Symbols, float]]:
    """Return the likeliest sequences of symbols, each over all the paths that say it.

    With `width` no smaller than the number of sequences and `least` of minus infinity the result
    is exact; else a sequence whose beginning falls out of the beam is lost.

    Args:
        chances: [T, C + 1], log-probabilities, the blank first.
        width: prefixes kept at every step.
        least: symbols with a lower log-probability at a step do not begin there.

    Returns:
        At most `width` pairs of symbols and log-probability, the likeliest first.

    Source: Graves (2012), "Supervised sequence labelling with recurrent neural networks",
    section 7.5.3; with one beam a step as in Hannun et al. (2014).

    Example:
        >>> said, chance = prefix_search(np.log([[0.6, 0.4], [0.6, 0.4]]))[0]
        >>> said, round(float(np.exp(chance)), 2)
        ((1,), 0.64)
    """
    beam: dict[Symbols, tuple[float, float]] = {(): (0.0, -inf)}
    rows = np.asarray(chances, dtype=np.float64)
    for row in rows:
        heard = (np.flatnonzero(row[1:] >= least) + 1).tolist()
        beam = _best(_step(beam, row.tolist(), heard), width)
    return [(prefix, _plus(*both)) for prefix, both in beam.items()]


def _step(
    beam: dict[Symbols, tuple[float, float]], row: list[float], heard: list[int]
) -> dict[Symbols, tuple[float, float]]:
    """One more step: of every prefix the chance that it ends in a blank, and that it does not."""
    grown: dict[Symbols, tuple[float, float]] = {}

    def add(prefix: Symbols, blank: float, symbol: float) -> None:
        old = grown.get(prefix, (-inf, -inf))
        grown[prefix] = _plus(old[0], blank), _plus(old[1], symbol)

    for prefix, (blank, symbol) in beam.items():
        either, last = _plus(blank, symbol), prefix[-1] if prefix else 0
        add(prefix, either + row[0], symbol + row[last] if last else -inf)
        for k in heard:
            # The same symbol twice needs a blank between.
            add((*prefix, k), -inf, (blank if k == last else either) + row[k])
    return grown


def _best(
    grown: dict[Symbols, tuple[float, float]], width: int
) -> dict[Symbols, tuple[float, float]]:
    """The likeliest possible prefixes, the likeliest first; of equals the smallest."""
    chances = {prefix: _plus(*both) for prefix, both in grown.items()}
    possible = [prefix for prefix, chance in chances.items() if chance > -inf]
    order = sorted(possible, key=lambda prefix: (-chances[prefix], prefix))
    return {prefix: grown[prefix] for prefix in order[:width]}
