"""One noised histogram: several tables of the same people, released together, once.

F tables; each row of a person is in exactly one cell of each of them, and a person has at most R
rows.

Neighbours are as in training: one person's contribution is replaced by nothing. That takes at
most R from one cell of each table where all R rows fall together, and no more in norm where they
do not, so the concatenated counts move by at most R sqrt(F) in L2. (Replacing a person by another
moves two cells a table: R sqrt(2 F); no promise is made at that adjacency.)

The noise is Gaussian, from the run's keystream, rounded to whole numbers. Counts are whole, so
that rounding count + noise is count + rounded noise: post-processing of the Gaussian mechanism,
and what is released is an integer without low bits of floating point (`noise.py` says more).

Source: Dwork and Roth (2014), appendix A; Balle and Wang (2018), theorem 8.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnn.privacy.noise import Keystream, noised

# Counts are rounded to multiples of this: they are whole already.
GRID = 1.0
# Noise that is rounded to whole numbers has this variance more.
_ROUNDED = 1 / 12


@dataclass(frozen=True)
class Histogram:
    """The mechanism.

    Attributes:
        tables: F.
        noise_multiplier: standard deviation of the noise over the sensitivity.
        max_rows: R, rows of one person.
    """

    tables: int
    noise_multiplier: float
    max_rows: int = 1

    @property
    def sensitivity(self) -> float:
        """How far one person moves the counts, in L2."""
        return self.max_rows * math.sqrt(self.tables)

    @property
    def standard_deviation(self) -> float:
        """Of the error of every released count, its rounding included.

        Exact to 1 % where the noise is above 0.7; below that whole numbers swallow part of it.
        """
        return math.hypot(self.noise_multiplier * self.sensitivity, math.sqrt(_ROUNDED))

    def release(self, counts: NDArray[np.float64], stream: Keystream) -> NDArray[np.float64]:
        """Return noised counts: whole numbers, which may be negative.

        Args:
            counts: whole numbers, any shape; all cells of all tables, empty ones too.
            stream: where the noise comes from; its next numbers must serve nothing else.

        Raises:
            ValueError: a count is negative or not whole.
        """
        if not (np.isfinite(counts).all() and (counts >= 0).all() and (counts % 1 == 0).all()):
            raise ValueError("counts must be whole and not negative")
        scale = self.noise_multiplier * self.sensitivity
        return noised(counts, stream, scale, GRID)
