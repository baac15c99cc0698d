"""Numbers to come of a series, each by its quantiles.

n windows asked for, W steps of history, H steps to come, Q quantiles, S seasons. Forecasts are
made in -1..1 between target.bounds, as training sees them; figures are in the target's unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn.model import SequenceModel
from tasks.artifacts import Prepared
from tasks.kinds.answers.forecast import forecasts_of, usual_of
from tasks.kinds.base import Array, Figure, Fit, Judged, Kind, Rows, shares
from tasks.params import UserError

FIGURES = (
    Figure("mae", "Mean absolute error of the median", "", "lower", 3),
    Figure("mase", "MASE: the same, 1 for repeating the first season in training", "", "lower", 3),
    Figure("rmse", "Root mean square error of the median", "", "lower", 3),
    Figure("skill", "Error saved against the better season repeated", "", "higher", 3),
    Figure("pinball", "Pinball loss, mean over quantiles", "", "lower", 3),
    Figure("coverage", "Share inside the outer quantiles", "", "higher", 3),
    Figure("width", "Mean distance of the outer quantiles", "", "lower", 3),
)


def summary(sums: Mapping[str, Array]) -> dict[str, Array]:
    """Return the figures of forecasts from totals of `judged`, any leading axes.

    Example:
        >>> totals = {"absolute": [[3.0, 5.0]], "known": [[2.0, 2.0]], "square": [36.0]}
        >>> totals |= {"pinball": [2.0], "inside": [3.0], "width": [8.0], "scaled": [4.0]}
        >>> totals |= {"naive": [[16.0, 10.0]]}
        >>> found = summary({name: np.array(value) for name, value in totals.items()})
        >>> {name: round(float(value[0]), 2) for name, value in found.items()}
        {'mae': 2.0, 'mase': 1.0, 'rmse': 3.0, 'skill': 0.2, 'pinball': 0.5, 'coverage': 0.75, \
'width': 2.0}
    """
    count, error = sums["known"].sum(-1), sums["absolute"].sum(-1)
    return {
        "mae": shares(error, count),
        "mase": shares(sums["scaled"], count),
        "rmse": np.sqrt(shares(sums["square"], count)),
        "skill": 1.0 - shares(error, sums["naive"].min(-1)),
        "pinball": shares(sums["pinball"], count),
        "coverage": shares(sums["inside"], count),
        "width": shares(sums["width"], count),
    }


def by_step(sums: Mapping[str, Array]) -> Array:
    """Return the mean absolute error of each step to come, float64 [..., H], from totals."""
    return shares(sums["absolute"], sums["known"])


def histories(prepared: Prepared, rows: Rows) -> Array:
    """Return the target's own history, float64 [n, W] in -1..1, NaN where missing."""
    known, sequences = prepared.schema["series"], prepared.sequences
    where = np.asarray(sequences.offsets)[rows][:, None] + np.arange(known["window"])
    assert sequences.missing is not None
    values = np.asarray(sequences.sequences[:, known["channel"]], dtype=np.float64)[where]
    gone = np.asarray(sequences.missing[:, known["channel"]])[where]
    return np.where(gone == 1, np.nan, values)


def repeated(history: Array, season: int, horizon: int) -> Array:
    """Return the last season repeated, float64 [n, H].

    Where the step of the last season is missing, the season before it is taken, and so on; where
    all are missing, the mean of what is known of the window, 0 if nothing is.

    Args:
        history: float64 [n, W], NaN where missing.
        season: its steps.
        horizon: H.

    Example:
        >>> repeated(np.array([[1.0, 2.0, 3.0, np.nan]]), 2, 3).tolist()
        [[3.0, 2.0, 3.0]]
    """
    width = history.shape[1]
    known = np.isfinite(history)
    counts = known.sum(1)
    middle = np.where(known, history, 0.0).sum(1) / np.maximum(counts, 1)
    found = np.full((len(history), horizon), np.nan)
    places = width - season + np.arange(horizon) % season
    while (places >= 0).any():
        there = history[:, np.maximum(places, 0)]
        found = np.where(np.isnan(found) & (places >= 0), there, found)
        places = places - season
    return np.where(np.isnan(found), middle[:, None], found)


def wanted_of(prepared: Prepared, rows: Rows) -> Array:
    """Return what came, float64 [n, H] in -1..1, NaN where nobody knows."""
    usual = usual_of(prepared.sequences, rows, prepared.schema)
    return usual + np.asarray(prepared.sequences.targets[rows], dtype=np.float64)


def pinball(forecasts: Array, wanted: Array, levels: Sequence[float]) -> Array:
    """Return the pinball loss, mean over quantiles, float64 [n, H].

    Args:
        forecasts: float64 [n, H, Q].
        wanted: float64 [n, H].
        levels: Q.
    """
    error = wanted[..., None] - forecasts
    level = np.asarray(levels)
    return np.asarray(np.maximum(level * error, (level - 1) * error).mean(2))


def judged(forecasts: Array, prepared: Prepared, rows: Rows) -> Judged:
    """Return what came beside what was forecast, as statistics that add up over windows.

    Args:
        forecasts: float64 [n, H, Q] in -1..1.
        prepared: of all windows.
        rows: n of them.
    """
    target, series = prepared.schema["target"], prepared.schema["series"]
    levels, (low, high) = target["quantiles"], target["bounds"]
    half, horizon = (high - low) / 2, int(target["horizon"])
    wanted, history = wanted_of(prepared, rows), histories(prepared, rows)
    known = np.isfinite(wanted)
    # What is public about the target bounds every forecast of it.
    inside_bounds = np.clip(forecasts, -1.0, 1.0)
    median = inside_bounds[..., list(levels).index(0.5)]
    first, last = inside_bounds[..., 0], inside_bounds[..., -1]

    def counted(values: NDArray[Any]) -> Array:
        return np.where(known, values, 0.0).astype(np.float64)

    absolute = half * counted(np.abs(median - wanted))
    naive = [
        half * counted(np.abs(repeated(history, season, horizon) - wanted)).sum(1)
        for season in series["seasons"]
    ]
    scale = series["scale"] if series["scale"] is not None else np.nan
    costs = counted(pinball(forecasts, wanted, levels))
    sums = {
        "absolute": absolute,
        "known": known.astype(np.float64),
        "square": (absolute**2).sum(1),
        "scaled": absolute.sum(1) / scale,
        "pinball": half * counted(pinball(inside_bounds, wanted, levels)).sum(1),
        "inside": counted((first <= wanted) & (wanted <= last)).sum(1),
        "width": half * counted(last - first).sum(1),
        "naive": np.stack(naive, axis=1),
    }
    return Judged(shares(costs.sum(1), known.sum(1)), sums)


def spread(errors: Array, levels: Sequence[float]) -> Array:
    """Return quantiles of errors by step to come, float64 [H, Q], 0 for the median.

    Args:
        errors: float64 [n, H], NaN where nobody knows.
        levels: Q, rising, the median among them.
    """
    # A step to come that no training window knows has no errors: its forecast is a point.
    known = np.where(np.isnan(errors).all(0), 0.0, errors)
    found, level = np.nanquantile(known, levels, axis=0).T, np.asarray(levels)
    below, above = np.minimum(found, 0.0), np.maximum(found, 0.0)
    return np.where(level < 0.5, below, np.where(level > 0.5, above, 0.0))


@dataclass(frozen=True)
class SeasonalNaive:
    """Repeats the season that did better in training, with the quantiles of its errors there.

    Attributes:
        season: steps.
        errors: float64 [H, Q], quantiles of what came less what was repeated; the median is 0.
    """

    season: int
    errors: Array

    @classmethod
    def fit(cls, prepared: Prepared, seed: int) -> "SeasonalNaive":
        """Choose the season of the lower mean absolute error, the shorter one of equals."""
        rows, target = prepared.rows("train"), prepared.schema["target"]
        wanted, history = wanted_of(prepared, rows), histories(prepared, rows)
        horizon = int(target["horizon"])
        made = {
            season: wanted - repeated(history, season, horizon)
            for season in prepared.schema["series"]["seasons"]
        }
        season = min(made, key=lambda one: float(np.nanmean(np.abs(made[one]))))
        return cls(season, spread(made[season], target["quantiles"]))

    def judge(self, prepared: Prepared, rows: Rows) -> Judged:
        """Return the same sums as of a model."""
        points = repeated(histories(prepared, rows), self.season, len(self.errors))
        return judged(points[..., None] + self.errors, prepared, rows)


@dataclass(frozen=True)
class Usual:
    """What is usual, with the quantiles of its errors in training.

    Attributes:
        errors: as of a `SeasonalNaive`.
    """

    errors: Array

    @classmethod
    def fit(cls, prepared: Prepared, seed: int) -> "Usual":
        """Measure the errors.

        Raises:
            UserError: the recipe does not say what is usual.
        """
        if not prepared.schema["series"]["usual"]:
            raise UserError("predict.baseline = 'usual' needs data.sequence.usual")
        rows = prepared.rows("train")
        less = wanted_of(prepared, rows) - usual_of(prepared.sequences, rows, prepared.schema)
        return cls(spread(less, prepared.schema["target"]["quantiles"]))

    def judge(self, prepared: Prepared, rows: Rows) -> Judged:
        """Return the same sums as of a model."""
        points = usual_of(prepared.sequences, rows, prepared.schema)
        return judged(points[..., None] + self.errors, prepared, rows)


def _auto_ets(prepared: Prepared, seed: int) -> Any:
    """The library behind it takes seconds to import."""
    from tasks.kinds.exponential import AutoEts

    return AutoEts.fit(prepared, seed)


def judge(model: SequenceModel, prepared: Prepared, rows: Rows) -> Judged:
    """Return each window's sums."""
    made = forecasts_of(model, prepared.sequences, rows, prepared.schema)
    return judged(made, prepared, rows)


BASELINES: Mapping[str, Fit] = {
    "seasonal_naive": SeasonalNaive.fit, "auto_ets": _auto_ets, "usual": Usual.fit,
}  # fmt: skip
FORECAST = Kind(FIGURES, BASELINES, judge, summary)
