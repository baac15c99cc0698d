"""Windows of regular series: history that is read, the steps to come, and on which side they are.

N windows, T steps of one series, W steps of a window, H steps to come, D channels a step,
S static channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.recipe import DataConfig, SeriesLayout
from tasks.table.calendar import named_waves, waves
from tasks.table.channels import Floats, named, unscale
from tasks.table.grid import Regular

USUAL = "usual value"


@dataclass(frozen=True)
class Windows:
    """What a model reads and is asked.

    Attributes:
        series: int64 [N], the series of each, as a place in the list that was cut.
        begins: int64 [N], first step to come, counted from 1970.
        history: float32 [total, D], windows end to end.
        missing: uint8 [total, D].
        offsets: int64 [N + 1].
        ahead: float32 [N, S], what is known of the steps to come: their calendar, and last what
            is usual at each of them, where the recipe asks for it.
        targets: float32 [N, H], less what is usual; NaN where nobody knows.
        held_out: bool [N].
    """

    series: NDArray[np.int64]
    begins: NDArray[np.int64]
    history: Floats
    missing: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    ahead: Floats
    targets: Floats
    held_out: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return N."""
        return len(self.begins)


def horizon_of(data: DataConfig) -> int:
    """Return H."""
    assert data.target.horizon is not None
    return data.target.horizon


def layout_of(data: DataConfig) -> SeriesLayout:
    """Return the layout, which is series."""
    assert isinstance(data.sequence, SeriesLayout)
    return data.sequence


def latest(series: Sequence[Regular], data: DataConfig) -> Windows:
    """Return the last window of each series: the steps to come lie after its last row.

    Args:
        series: N of them; one that is shorter than a window is read as it is.
        data: the recipe's data block.
    """
    layout, horizon = layout_of(data), horizon_of(data)
    cut = [_cut(one, np.array([len(one)]), data, min(layout.window, len(one))) for one in series]
    begins = np.array([one.first + len(one) for one in series], dtype=np.int64)
    targets = np.full((len(series), horizon), np.nan, dtype=np.float32)
    return _joined(cut, np.arange(len(series)), begins, targets, np.ones(len(series), np.bool_))


def all_windows(
    series: Sequence[Regular], data: DataConfig, in_training: NDArray[np.bool_], as_of: int | None
) -> Windows:
    """Return every window to train or to test on, series by series, each in the order of time.

    A window is for training where all its steps to come lie before `as_of`, and held out where
    none does: one that straddles is neither. Without `as_of` the whole series is on one side.

    Args:
        series: from `regular`.
        data: the recipe's data block.
        in_training: of each series; not looked at with `as_of`.
        as_of: microseconds since 1970.
    """
    layout, horizon = layout_of(data), horizon_of(data)
    cut, series_of, begins, targets, held = [], [], [], [], []
    for at, one in enumerate(series):
        places, late = _places(one, layout, horizon, bool(in_training[at]), as_of)
        wanted = places[:, None] + np.arange(horizon)
        kept = _known_enough(one, places, wanted, layout)
        places, late, wanted = places[kept], late[kept], wanted[kept]
        cut.append(_cut(one, places, data, layout.window))
        usual = usual_ahead(cut[-1][2], data)
        series_of.append(np.full(len(places), at, dtype=np.int64))
        begins.append(one.first + places)
        targets.append(one.target[wanted] - usual)
        held.append(late)
    return _joined(
        cut,
        np.concatenate([*series_of, np.zeros(0, np.int64)]),
        np.concatenate([*begins, np.zeros(0, np.int64)]),
        np.concatenate([*targets, np.zeros((0, horizon), np.float32)]),
        np.concatenate([*held, np.zeros(0, np.bool_)]),
    )


def _places(
    one: Regular, layout: SeriesLayout, horizon: int, in_training: bool, as_of: int | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """First steps to come within one series, rising, and which of them are held out."""
    apart = layout.held_out_stride or horizon
    last = len(one) - horizon
    if as_of is None:
        places = np.arange(layout.reach, last + 1, layout.stride if in_training else apart)
        return places, np.full(len(places), not in_training)
    # The first step that begins on or after the date.
    border = -(-as_of // layout.step) - one.first
    # Of training the last step to come must be over by then, not only have begun.
    over = as_of // layout.step - one.first
    early = np.arange(layout.reach, min(last, over - horizon) + 1, layout.stride)
    late = np.arange(max(border, layout.reach), last + 1, apart)
    return np.concatenate([early, late]), np.repeat([False, True], [len(early), len(late)])


def _known_enough(
    one: Regular, places: NDArray[np.int64], wanted: NDArray[np.int64], layout: SeriesLayout
) -> NDArray[np.bool_]:
    """Which windows have enough of the target in history and horizon, one step at least."""
    known = np.isfinite(one.target)
    until = np.concatenate([[0], np.cumsum(known)])
    history = (until[places] - until[places - layout.window]) / layout.window
    ahead = known[wanted].mean(1) if len(wanted) else np.zeros(0)
    return (history >= layout.known) & (ahead >= layout.known) & (ahead > 0)


def _cut(
    one: Regular, places: NDArray[np.int64], data: DataConfig, length: int
) -> tuple[Floats, NDArray[np.uint8], Floats]:
    """History [n x length, D], missing, and what is known of the steps to come [n, S]."""
    layout, horizon = layout_of(data), horizon_of(data)
    back = places[:, None] - length + np.arange(length)
    wanted = places[:, None] + np.arange(horizon)
    clock = waves((one.first + back) * layout.step, layout.calendar)
    clock_ahead = waves((one.first + wanted) * layout.step, layout.calendar)
    parts = [(one.values[back], one.missing[back]), (clock, np.zeros(clock.shape, np.uint8))]
    ahead = [clock_ahead.reshape(len(places), horizon * clock_ahead.shape[2])]
    if layout.usual:
        usual = usual_of(one.target, layout.usual, horizon)
        gone = np.isnan(usual)
        shown = np.where(gone, 0.0, usual).astype(np.float32)
        parts.append((shown[back][..., None], gone[back][..., None].astype(np.uint8)))
        ahead.append(_instead(usual[wanted], one.target[back]))
    history, missing = (np.concatenate(part, axis=2) for part in zip(*parts, strict=True))
    size = history.shape[2]
    return history.reshape(-1, size), missing.reshape(-1, size), np.concatenate(ahead, axis=1)


def usual_of(target: Floats, backs: Sequence[int], horizon: int) -> Floats:
    """Return what is usual at each step of a series and at the steps to come, float32 [T + H].

    It is the median of the known values so many steps back; NaN where none is known.

    Args:
        target: float32 [T], NaN where missing.
        backs: at least H each, so that no step to come is looked at.
        horizon: H.

    Example:
        >>> usual_of(np.array([1, 2, 3, np.nan], dtype=np.float32), [2, 3], 2).tolist()
        [nan, nan, 1.0, 1.5, 2.5, 3.0]
    """
    length = len(target) + horizon
    found = np.full((len(backs), length), np.nan, dtype=np.float32)
    for row, back in zip(found, backs, strict=True):
        row[back:] = target[: max(length - back, 0)]
    known = ~np.isnan(found).all(0)
    usual = np.full(length, np.nan, dtype=np.float32)
    usual[known] = np.nanmedian(found[:, known], axis=0)
    return usual


def _instead(usual: Floats, history: Floats) -> Floats:
    """What is usual at the steps to come [n, H]; where nobody knows, the mean of history."""
    known = np.isfinite(history)
    mean = np.where(known, history, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    return np.where(np.isnan(usual), mean[:, None], usual).astype(np.float32)


def usual_ahead(ahead: Floats, data: DataConfig) -> Floats | float:
    """Return what is usual at the steps to come [n, H], 0 where the recipe does not ask for it."""
    return ahead[:, -horizon_of(data) :] if layout_of(data).usual else 0.0


def _joined(
    cut: Sequence[tuple[Floats, NDArray[np.uint8], Floats]],
    series: NDArray[np.int64],
    begins: NDArray[np.int64],
    targets: Floats,
    held_out: NDArray[np.bool_],
) -> Windows:
    """Windows of all series end to end."""
    history, missing, ahead = (np.concatenate(parts) for parts in zip(*cut, strict=True))
    counts = [len(part[2]) for part in cut]
    lengths = [len(part[0]) // max(len(part[2]), 1) for part in cut]
    offsets = np.concatenate([[0], np.cumsum(np.repeat(lengths, counts))]).astype(np.int64)
    return Windows(series, begins, history, missing, offsets, ahead, targets, held_out)


def named_steps(layout: SeriesLayout) -> list[dict[str, Any]]:
    """Return what schema.json calls the channels of a step of history."""
    found = named(layout.features) + named_waves(layout.calendar)
    return [*found, {"feature": USUAL, "value": None, "unit": ""}] if layout.usual else found


def named_ahead(data: DataConfig) -> list[dict[str, Any]]:
    """Return what schema.json calls the channels of `ahead`, in their order."""
    layout, steps = layout_of(data), range(1, horizon_of(data) + 1)
    found = [
        {**wave, "value": f"{wave['value']}, {step} ahead"}
        for step, wave in product(steps, named_waves(layout.calendar))
    ]
    if layout.usual:
        found += [{"feature": USUAL, "value": f"{step} ahead", "unit": ""} for step in steps]
    return found


def seasonal_errors(
    series: Sequence[Regular], data: DataConfig, in_training: NDArray[np.bool_], as_of: int | None
) -> tuple[float, int]:
    """Return the errors of repeating the first season in training, summed, and their number.

    Args:
        series: from `regular`.
        data: the recipe's data block.
        in_training: of each series; not looked at with `as_of`.
        as_of: microseconds since 1970: only earlier steps count.

    Returns:
        In the target's unit; their quotient is what MASE is scaled by.

    Source: Hyndman and Koehler (2006), "Another look at measures of forecast accuracy".
    """
    layout = layout_of(data)
    season = layout.seasons[0]
    assert data.target.bounds is not None
    total, count = 0.0, 0
    for at, one in enumerate(series):
        if as_of is None and not in_training[at]:
            continue
        end = len(one) if as_of is None else max(0, as_of // layout.step - one.first)
        values = unscale(one.target[:end].astype(np.float64), data.target.bounds)
        errors = np.abs(values[season:] - values[:-season])
        known = np.isfinite(errors)
        total += float(errors[known].sum())
        count += int(known.sum())
    return total, count


def people_of(windows: Windows, persons: pl.Series, begins: pl.Series) -> pl.Series:
    """Return whose each window is: the person's, or without one the time that it forecasts from.

    Args:
        windows: of all series.
        persons: id of each series; empty where there is one series that is nobody's.
        begins: first step to come of each window, as text.
    """
    if len(persons):
        return persons.gather(windows.series)
    return begins.rename(persons.name)
