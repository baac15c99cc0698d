"""Whose group is whose: needs no torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Groups:
    """Which label each row has; the labels are public.

    Attributes:
        codes: int64 [N], number of the label.
        labels: all that were declared, and "unknown" as the last.
        sizes: released numbers of training people by label, where preparation released them.
        noise: standard deviation of the noise in them.
    """

    codes: NDArray[np.int64]
    labels: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    noise: float = 0.0
