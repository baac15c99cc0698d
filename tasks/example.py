"""Invented raw rows in a recipe's layout, made from its public bounds alone."""

from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from tasks.recipe import (
    ColumnFeature,
    DataConfig,
    LongLayout,
    Scalar,
    TextLayout,
    WideFeature,
)

PEOPLE = ("example-1", "example-2")
# Events of each invented person in a long table: lengths differ.
EVENTS = (3, 1)


def _cell(feature: WideFeature | ColumnFeature) -> Scalar:
    """The middle of the bounds, or the first declared value."""
    if feature.bounds is None:
        return feature.values[0]
    return (feature.bounds[0] + feature.bounds[1]) / 2


def _fed(data: DataConfig) -> dict[str, Any]:
    """Columns of the sensitive features that the model or its decision reads."""
    cells: dict[str, Any] = {}
    for feature in data.sensitive:
        if not feature.feed and feature.name != data.decision_groups:
            continue
        for index, name in enumerate(feature.one_hot):
            cells[name] = int(index == 0)
        if feature.column is not None:
            cells[feature.column] = feature.bins[0] if feature.bins else next(iter(feature.labels))
    return cells


def _times(layout: LongLayout, count: int) -> list[str]:
    """Days of the year 2000, as the recipe writes times."""
    days = [datetime(2000, 1, 1) + timedelta(days=n) for n in range(count)]
    return [
        day.strftime(layout.time_format) if layout.time_format else day.date().isoformat()
        for day in days
    ]


def example_rows(data: DataConfig) -> pd.DataFrame:
    """Return raw rows of two people who do not exist, the columns that the model reads alone.

    Args:
        data: the recipe's data block.
    """
    fixed = {f.column: _cell(f) for f in data.static} | _fed(data)
    layout = data.sequence
    rows: list[dict[str, Any]] = []
    for person, events in zip(PEOPLE, EVENTS, strict=True):
        who: dict[str, Any] = {} if data.person is None else {data.person: person}
        if isinstance(layout, LongLayout):
            shown = {f.column: _cell(f) for f in layout.features}
            rows += [{**who, layout.time: t, **shown, **fixed} for t in _times(layout, events)]
        elif isinstance(layout, TextLayout):
            letters = "".join(c for c in layout.alphabet if c.isalpha())[: 2 * events] or "a"
            rows.append({**who, **dict.fromkeys(layout.columns, letters), **fixed})
        else:
            wide: dict[str, Any] = {}
            for feature in layout.features:
                for name in feature.columns:
                    wide.setdefault(name, _cell(feature))
            rows.append({**who, **wide, **fixed})
    return pd.DataFrame(rows)
