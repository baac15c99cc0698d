"""Which rows count in a release: so many of a person, drawn by that person's rows alone.

n rows.
"""

from hashlib import blake2b
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray


class Limited(Protocol):
    """How many rows of a person count: a release plan, or what says the same."""

    @property
    def unit(self) -> str:
        """record or person."""

    @property
    def max_rows(self) -> int:
        """Of a person."""


def kept(person_ids: pl.Series, plan: Limited) -> NDArray[np.bool_]:
    """Return which rows count in a release: at most max_rows of a person, drawn by a hash.

    Which of a person's rows are kept depends on that person's rows alone. Where the unit is a
    record, every row is a unit.

    Args:
        person_ids: str [n], of each row.
        plan: unit and max_rows.
    """
    chosen = np.ones(len(person_ids), dtype=np.bool_)
    if plan.unit == "record":
        return chosen
    drawn: dict[str, list[tuple[bytes, int]]] = {}
    for row in np.flatnonzero(person_ids.is_duplicated().to_numpy()).tolist():
        mine = drawn.setdefault(person_ids[row], [])
        mine.append((_draw(person_ids[row], len(mine)), row))
    for mine in drawn.values():
        chosen[[row for _, row in sorted(mine)[plan.max_rows :]]] = False
    return chosen


def _draw(person: str, rank: int) -> bytes:
    """A number for the rank-th row of a person."""
    return blake2b(f"{rank} {person}".encode(), digest_size=8, person=b"kept rows").digest()
