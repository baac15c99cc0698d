"""Bars for any published figure of held-out people: at least, or at most, by its interval."""

import math
from collections.abc import Mapping
from typing import Any

from tasks.settings.bars import FigureBar

Json = dict[str, Any]


def check_figures(bars: Mapping[str, FigureBar], metrics: Mapping[str, Any]) -> list[Json]:
    """Return one check a bar.

    Args:
        bars: by figure.
        metrics: published, with the figures of the model, and what they are called.
    """
    model = metrics.get("model", {})
    titles = {one["name"]: one["title"] for one in metrics.get("figures", [])}
    return [
        check_figure(name, titles.get(name, name.replace("_", " ")), model.get(name), bar)
        for name, bar in bars.items()
    ]


def check_figure(name: str, title: str, figure: Mapping[str, Any] | None, bar: FigureBar) -> Json:
    """Judge one figure by its interval, not by its value.

    Args:
        name: of the figure, and of the check.
        title: in a reader's words.
        figure: value, low and high; None where there is none.
        bar: to be kept.

    Example:
        >>> found = {"value": 55.0, "low": 50.0, "high": 62.0}
        >>> check_figure("perplexity", "Perplexity", found, FigureBar(at_most=60))["verdict"]
        'inconclusive'
    """
    value, low, high = ((figure or {}).get(key) for key in ("value", "low", "high"))
    limit = bar.at_most if bar.at_least is None else bar.at_least
    assert limit is not None
    check = {"name": name, "value": value, "low": low, "high": high, "bar": limit}
    if value is None or low is None or high is None:
        reason = f"{title} could not be measured, so nothing shows that it is {bar.words}."
        return {**check, "verdict": "inconclusive", "reason": reason}
    # More digits where four would hide on which side of the bar an end lies.
    near = min(abs(low - limit), abs(high - limit)) < 5e-4 * max(1.0, abs(limit))
    digits = 8 if near else 4
    between = f"{title}: {value:.4g}, between {low:.{digits}g} and {high:.{digits}g}"
    kept, missed = (low >= limit, high < limit)
    if bar.at_least is None:
        kept, missed = (high <= limit, low > limit)
    if kept:
        return {**check, "verdict": "pass", "reason": f"{between}: {bar.words}."}
    if missed:
        return {**check, "verdict": "fail", "reason": f"{between}: not {bar.words}."}
    reason = f"{between}: the data cannot tell whether it is {bar.words}."
    return {**check, "verdict": "inconclusive", "reason": reason}


def limits(bars: Mapping[str, FigureBar]) -> dict[str, float]:
    """Return every bar's number by words that name it.

    Example:
        >>> limits({"mae": FigureBar(at_most=2.5)})
        {'mae at most': 2.5}
    """
    sides = ("at_least", "at_most")
    return {
        f"{name} {side.replace('_', ' ')}": float(value)
        for name, bar in bars.items()
        for side in sides
        if (value := getattr(bar, side)) is not None and math.isfinite(value)
    }
