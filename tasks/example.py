"""Invented raw rows in a recipe's layout, made from its public bounds alone."""

from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from tasks.recipe import (
    ColumnFeature,
    DataConfig,
    LongLayout,
    Scalar,
    SeriesLayout,
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


def _times(layout: LongLayout | SeriesLayout, count: int) -> list[str]:
    """Days of the year 2000, or a series' steps from its first day on, as the recipe writes."""
    series = isinstance(layout, SeriesLayout)
    step = timedelta(days=1)
    if isinstance(layout, SeriesLayout):
        step = timedelta(microseconds=layout.step)
    days = [datetime(2000, 1, 1) + n * step for n in range(count)]
    if layout.time_format:
        return [day.strftime(layout.time_format) for day in days]
    return [day.isoformat() if series else day.date().isoformat() for day in days]


def _text(layout: TextLayout, length: int) -> str:
    """The first letters of the alphabet, or the first words of the vocabulary."""
    listed = layout.vocabulary.values if layout.vocabulary else tuple(layout.alphabet)
    if layout.tokens == "bigrams":
        # Every other pair, end to end, so that each stands in the text.
        return "".join([pair for pair in listed if pair.isalpha()][: length // 2]) or "aa"
    if layout.tokens == "characters":
        return "".join([c for c in listed if c.isalpha()][:length]) or "a"
    return " ".join([word for word in listed if word.isalpha()][:length]) or "a"


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
        if isinstance(layout, LongLayout | SeriesLayout):
            # Of a series as many steps as a window has.
            events = layout.reach if isinstance(layout, SeriesLayout) else events
            shown = {f.column: _cell(f) for f in layout.features}
            rows += [{**who, layout.time: t, **shown, **fixed} for t in _times(layout, events)]
        elif isinstance(layout, TextLayout):
            text = _text(layout, 2 * events)
            rows.append({**who, **dict.fromkeys(layout.columns, text), **fixed})
        else:
            wide: dict[str, Any] = {}
            for feature in layout.features:
                for name in feature.columns:
                    wide.setdefault(name, _cell(feature))
            rows.append({**who, **wide, **fixed})
        if isinstance(layout, SeriesLayout) and data.person is None:
            break
    return pd.DataFrame(rows)
