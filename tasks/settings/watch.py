"""How a served model is watched."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from rnn.config import FORBID_EXTRA, Count


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """When new rows are strange enough to call somebody.

    Attributes:
        inbox: path or glob of files with new rows, for `flows/watch.py`; each is read once, in
            the order of their names.
        false_alarms: chance of any alarm at all, over all figures and all time, while nothing
            changed.
        gate_share: of that chance, what goes to decisions by group and to the gate's bars; the
            rest is for scores, calibration and inputs.
        min_people: of a group in the reference; smaller groups are not watched.
        first_people: new people who become the reference where no held-out ones are here.
    """

    __pydantic_config__ = FORBID_EXTRA

    inbox: str | None = None
    false_alarms: Annotated[float, Gt(0), Lt(0.5)] = 0.05
    gate_share: Annotated[float, Gt(0), Lt(1)] = 0.7
    min_people: Annotated[int, Ge(20)] = 100
    first_people: Count = 5000
