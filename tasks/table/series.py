"""A table of moments to windows that are trained on, held out, or forecast from.

N windows.
"""

from typing import Any

import numpy as np
import polars as pl

from tasks.params import UserError
from tasks.recipe import DataConfig
from tasks.table.grid import label, regular, target_channel
from tasks.table.people import PERSON, Grouping
from tasks.table.split import SIDES, cutoff, shares
from tasks.table.windows import (
    Windows,
    all_windows,
    latest,
    layout_of,
    people_of,
    seasonal_errors,
)


def served(frame: pl.DataFrame, data: DataConfig, grouping: Grouping) -> Windows:
    """Return the last window of each series, in the order of the grouping's table.

    Args:
        frame: raw rows.
        data: the recipe's data block.
        grouping: of the same frame.
    """
    assert grouping.codes is not None
    layout = layout_of(data)
    # Whoever asks may send a row of another century: what lies before is never laid out.
    needed = layout.window + max(layout.usual, default=0)
    return latest(regular(frame, data, grouping.codes, needed), data)


def prepared(
    frame: pl.DataFrame, data: DataConfig, grouping: Grouping
) -> tuple[Windows, tuple[float, int]]:
    """Return all windows of some whole series, and the errors that MASE is scaled by.

    Args:
        frame: raw rows.
        data: the recipe's data block.
        grouping: of the same frame.

    Returns:
        Windows; and sum and number of seasonal errors, 0 where no recipe asks for them.
    """
    assert grouping.codes is not None
    series = regular(frame, data, grouping.codes)
    in_training = shares(grouping.table[PERSON], data.split.salt) < data.split.train
    as_of = int(cutoff(data.split)) if data.split.as_of is not None else None
    windows = all_windows(series, data, in_training, as_of)
    measured = layout_of(data).scale == "training"
    errors = seasonal_errors(series, data, in_training, as_of) if measured else (0.0, 0)
    return windows, errors


def begins_of(windows: Windows, data: DataConfig) -> pl.Series:
    """Return the first step to come of each window as text."""
    layout = layout_of(data)
    return pl.Series("time", [label(int(b), layout) for b in windows.begins], dtype=pl.String)


def ids_of(windows: Windows, data: DataConfig, grouping: Grouping) -> pl.Series:
    """Return whose each window is; without a person column the time that it forecasts from."""
    persons = grouping.table[PERSON]
    return people_of(
        windows, persons if data.person is not None else persons.clear(), begins_of(windows, data)
    )


def sides_of(windows: Windows) -> pl.Series:
    """Return train or test for each window."""
    train, test = SIDES
    return pl.Series(np.where(windows.held_out, test, train), dtype=pl.String)


def described(data: DataConfig) -> dict[str, Any]:
    """Return what schema.json says of series, for whoever judges and draws forecasts.

    Args:
        data: with layout series.
    """
    layout = layout_of(data)
    return {
        "keyed": data.person is not None,
        "every": layout.every,
        "step": layout.step,
        "window": layout.window,
        "seasons": list(layout.seasons),
        "channel": target_channel(data),
        # Targets are then less what is usual, which is the last H static channels.
        "usual": list(layout.usual),
        "unit": next(f.unit for f in layout.features if f.column == data.target.column),
        # Where it is measured, prepare fills it in.
        "scale": None if layout.scale == "training" else layout.scale,
    }


def scaled_by(known: dict[str, Any], errors: tuple[float, int]) -> dict[str, Any]:
    """Return a schema whose MASE is scaled by what prepare measured.

    Args:
        known: from `encode.schema`.
        errors: from `prepared`, of all series together.

    Raises:
        UserError: there is no error to scale by.
    """
    total, count = errors
    if total <= 0:
        raise UserError(
            "data.sequence.scale = training: repeating the first season is never wrong in "
            f"{count} training steps; allowed is a number"
        )
    return {**known, "series": {**known["series"], "scale": total / count}}
