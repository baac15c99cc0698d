"""Settings of what is drawn from training people because it is not public, each with its price."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from rnn.config import FORBID_EXTRA, Count, Positive

_TEXTS = {**FORBID_EXTRA, "coerce_numbers_to_str": True}

Quantile = Annotated[float, Ge(0), Le(1)]
Delta = Annotated[float, Gt(0), Lt(1)]


@dataclass(frozen=True, kw_only=True)
class PrivateBounds:
    """Bounds of a number, drawn as noised quantiles of training people.

    Attributes:
        epsilon: of both bounds together.
        range: public; no bound is outside.
        low_quantile: share of values that should lie below the lower bound.
        high_quantile: share of values that should lie below the upper bound.
        low: public lower bound; null: drawn.
        high: public upper bound; null: drawn.
        grid: candidates in the range: round numbers of all sizes (log), or equal steps (linear).
        max_values: of one unit that count, drawn by a hash of its id.
    """

    __pydantic_config__ = FORBID_EXTRA

    epsilon: Positive
    range: tuple[float, float]
    low_quantile: Quantile = 0.01
    high_quantile: Quantile = 0.99
    low: float | None = None
    high: float | None = None
    grid: Literal["log", "linear"] = "log"
    max_values: Count = 1

    def __post_init__(self) -> None:
        """Everything rises, and something is drawn."""
        first, last = self.range
        if not (math.isfinite(first) and math.isfinite(last) and first < last):
            raise ValueError(
                f"private_bounds.range = [{first:g}, {last:g}] must be finite and rise"
            )
        if self.low_quantile >= self.high_quantile:
            raise ValueError(
                f"private_bounds.low_quantile = {self.low_quantile:g} must be below "
                f"high_quantile = {self.high_quantile:g}"
            )
        if self.low is not None and self.high is not None:
            raise ValueError("private_bounds: low and high are both public: state bounds instead")
        if self.low is not None and not first <= self.low < last:
            raise ValueError(
                f"private_bounds.low = {self.low:g} must be from {first:g} to below {last:g}, the "
                "range"
            )
        if self.high is not None and not first < self.high <= last:
            raise ValueError(
                f"private_bounds.high = {self.high:g} must be above {first:g} and at most "
                f"{last:g}, the range"
            )


@dataclass(frozen=True, kw_only=True)
class PrivateVocabulary:
    """Values of a category, or characters of texts, that enough training people have.

    Attributes:
        epsilon: of the release.
        delta: chance that a value of one unit alone is shown; null: a hundredth of privacy.delta.
            Not needed with candidates.
        candidates: public list; only its members can be kept. Empty: any value can.
        max_values: different ones of one unit that count, drawn by a hash of its id.
    """

    __pydantic_config__ = _TEXTS

    epsilon: Positive
    delta: Delta | None = None
    candidates: tuple[Annotated[str, MinLen(1)], ...] = ()
    max_values: Count = 1

    def __post_init__(self) -> None:
        """A delta is for values that nobody listed."""
        if self.candidates and self.delta is not None:
            raise ValueError("candidates need no delta: state one of them")
        if len(set(self.candidates)) != len(self.candidates):
            raise ValueError("candidates must be distinct")


@dataclass(frozen=True, kw_only=True)
class PrivateMean:
    """The mean of a number inside its bounds: what a missing cell is taken for.

    Attributes:
        epsilon: of the release.
        max_values: of one unit that count, drawn by a hash of its id.
    """

    __pydantic_config__ = FORBID_EXTRA

    epsilon: Positive
    max_values: Count = 1


@dataclass(frozen=True, kw_only=True)
class PrivateCounts:
    """How many training people each declared label of a sensitive feature has.

    Attributes:
        feature: among data.sensitive, with labels, bins or one_hot.
        epsilon: of the release.
    """

    __pydantic_config__ = FORBID_EXTRA

    feature: Annotated[str, MinLen(1)]
    epsilon: Positive
