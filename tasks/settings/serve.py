"""What a served model says beyond its score: reasons, and what they are measured against."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rnn.config import FORBID_EXTRA
from tasks.settings.data import DataConfig
from tasks.settings.features import ColumnFeature, Name, Scalar, TextLayout, WideFeature


@dataclass(frozen=True, kw_only=True)
class ReasonConfig:
    """One feature as a reason of a live answer.

    Attributes:
        reference: value in the user's unit that a person's is compared with; public knowledge,
            never measured from the rows. Where there is none: the middle of the bounds, or no
            declared value.
        code: of the house, for its notices.
        text: what a notice says; without one it is the feature's name.
    """

    __pydantic_config__ = FORBID_EXTRA

    reference: Scalar | None = None
    code: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Reasons by the name of their feature."""

    __pydantic_config__ = FORBID_EXTRA

    reasons: dict[Name, ReasonConfig] = field(default_factory=dict)


def readings(data: DataConfig) -> tuple[WideFeature | ColumnFeature, ...]:
    """Return every feature of the sequence, then every static one; none for a text's tokens."""
    layout = data.sequence
    return (*(() if isinstance(layout, TextLayout) else layout.features), *data.static)


def check_serve(serve: ServeConfig, data: DataConfig) -> None:
    """Raise where a reason is about nothing that the model reads, or its reference cannot be.

    Raises:
        ValueError: names field, value and what is allowed.
    """
    if serve.reasons and not data.has_reasons:
        raise ValueError(
            f"serve.reasons is for one score a person: not for {data.target.kind} and layout "
            f"{data.sequence.layout}"
        )
    fed = [s.name for s in data.sensitive if s.feed]
    known = list(dict.fromkeys([*(f.name for f in readings(data)), *fed]))
    for name, reason in serve.reasons.items():
        if name not in known:
            raise ValueError(
                f"serve.reasons names {name!r}, which is not among the features that the model "
                f"reads: {known}"
            )
        if reason.reference is not None:
            own = [f for f in readings(data) if f.name == name]
            _check_reference(f"serve.reasons.{name}.reference", reason.reference, own)


def _check_reference(where: str, value: Scalar, own: Sequence[WideFeature | ColumnFeature]) -> None:
    """One stated value; bounds and values that are drawn from people are not known yet."""
    if not own:
        raise ValueError(f"{where} = {value!r}: a sensitive feature has none")
    if any(f.is_number for f in own):
        if isinstance(value, bool | str) or not math.isfinite(value):
            raise ValueError(f"{where} = {value!r} must be a number")
        for low, high in (f.bounds for f in own if f.bounds is not None):
            if not low <= value <= high:
                raise ValueError(
                    f"{where} = {value:g} must be within the bounds [{low:g}, {high:g}]"
                )
        return
    values = [v for f in own for v in f.values]
    if values and not any(type(v) is type(value) and v == value for v in values):
        raise ValueError(f"{where} = {value!r} must be one of the values {values}")
