"""What a clock and a calendar say of a step, as channels that anybody can work out beforehand.

n steps.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.settings.series import DAY

NAMES = {"hour": "hour of the day", "weekday": "day of the week", "month": "month"}
_WAVES = ("sine", "cosine")


def turns(when: NDArray[np.int64], part: str) -> NDArray[np.float64]:
    """Return how far round its circle each moment is, 0 to below 1.

    Args:
        when: microseconds since 1970.
        part: hour (of the day, with its minutes), weekday (from Monday) or month (from January).
    """
    days = when // DAY
    if part == "hour":
        return (when % DAY) / DAY
    if part == "weekday":
        # 1970 began on a Thursday.
        return ((days + 3) % 7) / 7
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return (months % 12) / 12


def waves(when: NDArray[np.int64], parts: Sequence[str]) -> NDArray[np.float32]:
    """Return sine and cosine of each part in turn, float32 [n, 2 parts].

    Args:
        when: microseconds since 1970, of any shape; the channels are a new last axis.
        parts: as in `turns`.

    Example:
        >>> waves(np.array([0, 6 * 3_600_000_000]), ["hour"]).round(3).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    found = np.zeros((*when.shape, 2 * len(parts)), dtype=np.float32)
    for at, part in enumerate(parts):
        angle = 2 * np.pi * turns(when, part)
        found[..., 2 * at] = np.sin(angle)
        found[..., 2 * at + 1] = np.cos(angle)
    return found


def named_waves(parts: Sequence[str]) -> list[dict[str, Any]]:
    """Return what schema.json calls the channels of `waves`."""
    return [
        {"feature": NAMES[part], "value": wave, "unit": ""} for part in parts for wave in _WAVES
    ]
