"""One of several public candidates, chosen privately: the exponential mechanism, in integers.

The chance of a candidate is proportional to exp(-epsilon x distance / (2 sensitivity)). Weights
are computed to 100 digits and cut to integers of 2^-256, and an integer below their sum is drawn:
the outcome has no low bits of floating point, no weight is off by more than 2^-256, and the work
does not depend on what is drawn. What that adds to delta is below 1e-70.

Source: McSherry and Talwar (2007), "Mechanism design via differential privacy", section 3;
Ilvento (2020), "Implementing the exponential mechanism with base-2 differential privacy", on why
floating-point weights are not enough.
"""

from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction
from itertools import accumulate

from rnn.privacy.noise import Keystream

_UNIT = 1 << 256
# Words of 64 bits in one draw: 2^-512 of a weight's chance is lost.
_WORDS = 12
_EXACT = Context(prec=100)


def weights(distances: Sequence[Fraction], *, epsilon: float, sensitivity: Fraction) -> list[int]:
    """Return what each candidate's chance is proportional to.

    Args:
        distances: how far each candidate is from what is wanted, 0 or more.
        epsilon: of the choice, (epsilon, 0).
        sensitivity: how far one person moves any distance.
    """
    nearest = min(distances)
    found = []
    for distance in distances:
        exponent = Fraction(epsilon) * (nearest - distance) / (2 * sensitivity)
        power = _EXACT.divide(Decimal(exponent.numerator), Decimal(exponent.denominator))
        found.append(int(_EXACT.multiply(_EXACT.exp(power), Decimal(_UNIT))))
    return found


def choose(
    distances: Sequence[Fraction], *, epsilon: float, sensitivity: Fraction, stream: Keystream
) -> int:
    """Return the number of the candidate chosen.

    Args:
        distances: exact; how far each candidate is from what is wanted.
        epsilon: of the choice, (epsilon, 0).
        sensitivity: how far one person moves any distance.
        stream: where the draw comes from; its next numbers must serve nothing else.

    Raises:
        ValueError: there is nothing to choose from, or epsilon or sensitivity is not above 0.
    """
    if not distances or epsilon <= 0 or sensitivity <= 0:
        raise ValueError("a choice needs candidates, and epsilon and sensitivity above 0")
    sums = list(accumulate(weights(distances, epsilon=epsilon, sensitivity=sensitivity)))
    drawn = int.from_bytes(stream.integers(_WORDS).tobytes(), "little")
    at = (drawn * sums[-1]) >> (64 * _WORDS)
    return sum(at >= top for top in sums)
