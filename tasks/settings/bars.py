"""Bars for figures of held-out people."""

import math
from dataclasses import dataclass

from rnn.config import FORBID_EXTRA


@dataclass(frozen=True, kw_only=True)
class FigureBar:
    """A bar for one published figure of held-out people, judged by its interval."""

    __pydantic_config__ = FORBID_EXTRA

    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        """One side, and a number."""
        given = [bar for bar in (self.at_least, self.at_most) if bar is not None]
        if len(given) != 1 or not math.isfinite(given[0]):
            raise ValueError(
                f"at_least = {self.at_least}, at_most = {self.at_most}: state exactly one of them"
            )

    @property
    def words(self) -> str:
        """Return the bar in words.

        Example:
            >>> FigureBar(at_most=60).words
            'at most 60'
        """
        bar, side = (self.at_most, "most") if self.at_least is None else (self.at_least, "least")
        return f"at {side} {bar:g}"
