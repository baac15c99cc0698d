"""What is predicted: an event, a class, a number, numbers to come, tokens or symbols."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rnn.config import FORBID_EXTRA, SCORED_TASKS, Count
from tasks.settings.features import Name, Scalar
from tasks.settings.tokens import TextTokens

# Kinds whose targets differ in length; all other kinds have one row a target.
RAGGED = ("ctc", "seq2seq")
# What each kind states beside `column`, which all but next_token have.
_STATED = {
    "binary": ("classes", "names"),
    "multiclass": ("classes", "names"),
    "regression": ("bounds",),
    "forecast": ("bounds", "horizon", "quantiles"),
    "next_token": (),
    "ctc": ("classes", "names"),
    "seq2seq": ("text",),
}
_MEDIAN = 0.5


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is predicted.

    `classes` are the values in the column; of a binary target the second is the event whose
    probability the model gives; of ctc they are the symbols, which the column has with spaces
    between. `names` are what reports call them. `bounds`, of a number, and all else is public.

    Attributes:
        column: where it stands; next_token has none.
        kind: of target.
        classes: of binary, multiclass and ctc.
        names: of classes.
        bounds: of regression and forecast: values are clipped to them.
        horizon: of a forecast: how many numbers are to come.
        quantiles: of a forecast, rising, the median among them.
        text: of seq2seq: how the column becomes tokens.
    """

    __pydantic_config__ = FORBID_EXTRA

    column: str = ""
    kind: Literal["binary", "multiclass", "regression", "forecast", "next_token", "ctc", "seq2seq"]
    classes: tuple[Scalar, ...] = ()
    names: tuple[Name, ...] = ()
    bounds: tuple[float, float] | None = None
    horizon: Count | None = None
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    text: TextTokens | None = None

    def __post_init__(self) -> None:
        """Each kind states what it needs, and nothing else."""
        self._check_stated()
        if self.kind in ("regression", "forecast"):
            self._check_bounds()
        if self.kind in ("binary", "multiclass", "ctc"):
            self._check_classes()
        if self.kind == "forecast":
            self._check_quantiles()
        if self.kind == "seq2seq" and self.text is None:
            raise ValueError("target.text is not set: seq2seq needs how its column becomes tokens")

    @property
    def is_scored(self) -> bool:
        """Has a sequence one answer: an event, a class or a number?"""
        return self.kind in SCORED_TASKS

    def _check_stated(self) -> None:
        """A field of another kind would do nothing."""
        if bool(self.column) == (self.kind == "next_token"):
            need = "has no column: the text is its own target" if self.column else "needs a column"
            raise ValueError(f"target.column = {self.column!r}: {self.kind} {need}")
        allowed = {"column", "kind", *_STATED[self.kind]}
        for name, one in type(self).__dataclass_fields__.items():
            if name not in allowed and getattr(self, name) != one.default:
                kinds = [kind for kind, names in _STATED.items() if name in names]
                raise ValueError(
                    f"target.{name} = {getattr(self, name)}: is for {', '.join(kinds)}, "
                    f"not for {self.kind}"
                )

    def _check_bounds(self) -> None:
        """Finite, and rising."""
        if self.bounds is None or not all(map(math.isfinite, self.bounds)):
            raise ValueError(f"target.bounds = {self.bounds}: {self.kind} needs finite bounds")
        if self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"target.bounds = {list(self.bounds)} must rise from low to high")

    def _check_classes(self) -> None:
        """Distinct, as many as the kind needs, each with a name or none."""
        least = 1 if self.kind == "ctc" else 2
        if len(set(self.classes)) != len(self.classes) or len(self.classes) < least:
            raise ValueError(
                f"target.classes = {list(self.classes)}: {self.kind} needs distinct values, "
                f"at least {least}"
            )
        if self.kind == "binary" and len(self.classes) != least:
            raise ValueError(f"target.classes has {len(self.classes)} values: binary needs 2")
        if self.names and len(self.names) != len(self.classes):
            raise ValueError(
                f"target.names has {len(self.names)} entries, classes has {len(self.classes)}"
            )
        for symbol in map(str, self.classes if self.kind == "ctc" else ()):
            if not symbol or len(symbol.split()) != 1:
                raise ValueError(
                    f"target.classes: {symbol!r} must be one symbol without spaces, which part "
                    "symbols in the column"
                )

    def _check_quantiles(self) -> None:
        """Rising inside 0..1, the median among them; and a horizon."""
        if self.horizon is None:
            raise ValueError("target.horizon is not set: forecast needs how many steps are to come")
        levels = list(self.quantiles)
        inside = all(0 < level < 1 for level in levels)
        if not inside or levels != sorted(set(levels)) or _MEDIAN not in levels:
            raise ValueError(
                f"target.quantiles = {levels} must rise between 0 and 1, with 0.5 among them"
            )


def output_size(target: Mapping[str, Any], vocabulary_size: int) -> int:
    """Return how many numbers the network gives, a sequence or a step.

    Args:
        target: block "target" of schema.json.
        vocabulary_size: tokens of the input.

    Example:
        >>> output_size({"kind": "ctc", "classes": ["a", "b"]}, 0)
        3
    """
    kind = target["kind"]
    if kind == "forecast":
        return int(target["horizon"]) * len(target["quantiles"])
    if kind == "next_token":
        return vocabulary_size
    sizes = {
        "multiclass": len(target.get("classes", ())),
        "ctc": len(target.get("classes", ())) + 1,
        "seq2seq": len(target.get("vocabulary", ())),
    }
    return sizes.get(kind, 1)
