"""Exponential smoothing as a rival of forecasts: a form chosen by AICc, fitted once, then rolled.

n windows asked for, W steps of history, H steps to come, Q quantiles, T steps of a series.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.artifacts import Prepared
from tasks.kinds.base import Array, Judged, Rows
from tasks.kinds.forecast import histories, judged, repeated, wanted_of

# More states than that the library does not fit: it would drop the season.
LONGEST_SEASON = 24
# Seasons that a fit looks back on: more take longer and changed little.
SEASONS = 28
FEWEST = 3


@dataclass(frozen=True)
class Line:
    """What is known of one series, put together from windows.

    Attributes:
        first: its first step, counted from 1970.
        values: float64 [T] in the target's unit, gaps filled by the season before.
    """

    first: int
    values: Array


def begins(prepared: Prepared, rows: Rows) -> NDArray[np.int64]:
    """Return the first step to come of windows, counted from 1970."""
    moments = prepared.people["time"].gather(rows).to_numpy().astype("datetime64[us]")
    return np.asarray(moments.astype(np.int64) // int(prepared.schema["series"]["step"]))


def filled(values: Array, season: int) -> Array:
    """Return a series whose gaps hold what came a season before, at its start the mean.

    Example:
        >>> filled(np.array([np.nan, 2.0, 4.0, np.nan]), 2).tolist()
        [3.0, 2.0, 4.0, 2.0]
    """
    made = values.copy()
    gaps = np.flatnonzero(np.isnan(made))
    middle = float(np.nanmean(values)) if len(gaps) < len(values) else 0.0
    for at in gaps:
        made[at] = made[at - season] if at >= season else middle
    return made


def line(prepared: Prepared, train: Rows, rows: Rows, season: int) -> Line:
    """Return one series from the histories of its windows and the targets of training.

    Args:
        prepared: of all windows.
        train: its training windows.
        rows: its held-out windows: what came after the last of them is not looked at.
        season: for gaps.
    """
    width, everyone = int(prepared.schema["series"]["window"]), np.concatenate([train, rows])
    ends = begins(prepared, everyone)
    first, horizon = int(ends.min()) - width, int(prepared.schema["target"]["horizon"])
    values = np.full(int(ends.max()) + horizon - first, np.nan)
    ahead = begins(prepared, train)[:, None] - first + np.arange(horizon)
    values[ahead] = wanted_of(prepared, train)
    back = ends[:, None] - first - width + np.arange(width)
    values[back] = histories(prepared, everyone)
    low, high = prepared.schema["target"]["bounds"]
    units = low + (values[: int(ends.max()) - first] + 1) / 2 * (high - low)
    return Line(first, filled(units, season))


@dataclass(frozen=True)
class AutoEts:
    """Each series has a model of its own.

    Its form (error, trend, season) and its parameters come from the steps before its first
    held-out window. The states then follow the series: a window is forecast from all that came
    before it, and from nothing later.

    Attributes:
        train: training windows by series.
        season: steps; 1 for none.

    Source: Hyndman et al. (2002), "A state space framework for automatic forecasting using
    exponential smoothing methods".
    """

    train: dict[str, Rows]
    season: int

    @classmethod
    def fit(cls, prepared: Prepared, seed: int) -> "AutoEts":
        """Sort training windows; fitting waits for the series that are asked for."""
        seasons = [s for s in prepared.schema["series"]["seasons"] if s <= LONGEST_SEASON]
        return cls(_by_series(prepared, prepared.rows("train")), max(seasons, default=1))

    def judge(self, prepared: Prepared, rows: Rows) -> Judged:
        """Return the same sums as of a model."""
        target = prepared.schema["target"]
        levels, (low, high) = target["quantiles"], target["bounds"]
        made = np.zeros((len(rows), int(target["horizon"]), len(levels)))
        place = {int(row): at for at, row in enumerate(rows)}
        for name, mine in _by_series(prepared, rows).items():
            train = self.train.get(name, np.zeros(0, dtype=np.int64))
            known = line(prepared, train, mine, self.season)
            places = begins(prepared, mine) - known.first
            units = _rolled(known.values, places, self.season, made.shape[1], levels)
            made[[place[int(row)] for row in mine]] = 2 * (units - low) / (high - low) - 1
        # A form may run away from a series that it was not fitted on.
        plain = repeated(histories(prepared, rows), self.season, made.shape[1])[..., None]
        return judged(np.where(np.isfinite(made), made, plain), prepared, rows)


def _by_series(prepared: Prepared, rows: Rows) -> dict[str, Rows]:
    """Windows of each series, in the order of time; all of them are one where it has no name."""
    if not prepared.schema["series"]["keyed"]:
        return {"": rows} if len(rows) else {}
    names = prepared.people["person_id"].gather(rows).to_numpy()
    return {str(name): rows[names == name] for name in dict.fromkeys(names.tolist())}


def _rolled(
    values: Array, places: NDArray[np.int64], season: int, horizon: int, levels: list[float]
) -> Array:
    """Forecasts from each place of one series, float64 [n, H, Q] in the target's unit."""
    from statsforecast.models import AutoETS

    start = max(0, int(places.min()) - SEASONS * season)
    history = values[start : int(places.min())]
    model: Any = AutoETS(season_length=season if len(history) >= FEWEST * season else 1)
    model.fit(history)
    # Symmetric intervals: their lower and upper ends are the quantiles.
    widths = sorted({round(100 * abs(1 - 2 * level), 6) for level in levels} - {0.0})
    made = np.zeros((len(places), horizon, len(levels)))
    for at, place in enumerate(places):
        found = model.forward(values[start:place], h=horizon, level=widths)
        for q, level in enumerate(levels):
            width = round(100 * abs(1 - 2 * level), 6)
            side = "lo" if level < 0.5 else "hi"
            made[at, :, q] = found[f"{side}-{width}"] if width else found["mean"]
    return made
