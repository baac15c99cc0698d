"""Held-out people in two halves: one gives the width of intervals, the other is measured.

n held-out rows.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.evidence.kept import kept
from tasks.evidence.metrics import Array, Predictions
from tasks.evidence.prediction_interval import (
    WIDTH,
    account,
    ends,
    exact_half_width,
    private_half_width,
    setting_aside,
)
from tasks.evidence.threshold import keystream
from tasks.params import UserError
from tasks.recipe import ReleasePlan


@dataclass(frozen=True)
class Measured:
    """The half that is measured.

    Attributes:
        rows: which of the held-out rows, bool [n].
        made: predictions of each model about them, with intervals.
        interval: what may be published of the model's interval: level, half width and account.
    """

    rows: NDArray[np.bool_]
    made: dict[str, Predictions]
    interval: dict[str, Any]


def with_intervals(
    person_ids: pl.Series,
    truth: NDArray[np.generic],
    made: dict[str, Predictions],
    level: float,
    bounds: tuple[float, float],
    plan: ReleasePlan,
) -> Measured:
    """Return predictions of one half of the people with intervals that the other half gave.

    The model's half width is chosen privately, or exactly where no privacy is promised; those of
    twin and baseline are exact, and stay internal.

    Args:
        person_ids: of each row, str [n].
        truth: in the target's units [n].
        made: predictions by model.
        level: share of people whose number shall lie in the interval.
        bounds: public, of the target.
        plan: epsilon, unit and rows of one person.

    Raises:
        UserError: nobody is left to be measured.
    """
    aside, actual = setting_aside(person_ids), np.asarray(truth, dtype=np.float64)
    if aside.all():
        raise UserError(
            f"predict.interval = {level:g}: all {len(aside)} held-out rows are of people set aside "
            "for the width, so that nobody is left to audit; allowed is more held-out people, or "
            "null for no intervals"
        )
    counted = aside & kept(person_ids, plan)
    stream = keystream(plan, WIDTH)
    widths = {}
    for name, one in made.items():
        residuals = np.abs(actual - one.scores)[counted]
        widths[name] = (
            private_half_width(residuals, level, bounds, plan, stream)
            if name == "model" and plan.epsilon is not None
            else exact_half_width(residuals, level, bounds)
        )
    measured = {n: _of(one, ~aside, ends(one.scores, widths[n], bounds)) for n, one in made.items()}
    interval = {
        "level": level,
        "half_width": widths["model"],
        "account": None if plan.epsilon is None else account(plan, stream),
    }
    return Measured(~aside, measured, interval)


def _of(one: Predictions, rows: NDArray[np.bool_], interval: tuple[Array, Array]) -> Predictions:
    """Some rows of the predictions of a model, with intervals."""
    low, high = interval
    return replace(
        one,
        scores=one.scores[rows],
        predicted=one.predicted[rows],
        losses=one.losses[rows],
        low=low[rows],
        high=high[rows],
    )
