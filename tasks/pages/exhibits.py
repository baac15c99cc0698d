"""Figures with the table behind each, from the artifacts of earlier stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tasks import figures
from tasks.figures import Interval
from tasks.pages.html import interval, number, percent

Json = dict[str, Any]
FOUR_FIFTHS = 0.8
SHARES = ("base_rate", "selection_rate", "tpr", "fpr", "accuracy", "recall")
NAMES = {
    "base_rate": "Base rate",
    "selection_rate": "Selection rate",
    "tpr": "True positive rate",
    "fpr": "False positive rate",
    "accuracy": "Accuracy",
    "recall": "Recall",
    "auc": "AUC",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "r2": "R²",
    "bias": "Bias",
    "loss": "Loss",
    "perplexity": "Perplexity",
    "ece": "Expected calibration error",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
}


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the row."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Exhibit:
    """One figure, what it says, and its numbers."""

    title: str
    note: str
    svg: Markup
    table: Table


def name_of(metric: str) -> str:
    """Return what a reader calls a metric."""
    return NAMES.get(metric, metric.replace("_", " "))


def shown(metric: str, figure: Json | None) -> str:
    """Return a metric's figure with its interval, shares as per cent."""
    return interval(figure, "percent" if metric in SHARES else "number")


def enough(figure: Json) -> Json | None:
    """Return an attribution's figure; None where too few people stood behind it."""
    return figure if figure["value"] is not None else None


def row_of(label: str, figure: Json | None) -> Interval:
    """Return a row of a forest plot from value, low and high."""
    found = figure or {}
    return Interval(label, found.get("value"), found.get("low"), found.get("high"))


def exhibit(title: str, note: str, svg: str, headers: Sequence[str], rows: Any) -> Exhibit:
    """Return an exhibit from our own SVG, whose text is escaped already."""
    cells = tuple(tuple(map(str, row)) for row in rows)
    return Exhibit(title, note, Markup(svg), Table(tuple(headers), cells))


def group_table(feature: Json) -> Table:
    """Return every figure of every group of one sensitive feature."""
    groups = feature["groups"]
    metrics = list(dict.fromkeys(m for g in groups for m in g["metrics"]))
    rows = [
        (
            g["label"],
            number(g["n"]) if g["n"] is not None else f"suppressed: {g['suppressed']}",
            *(shown(m, g["metrics"].get(m)) for m in metrics),
        )
        for g in groups
    ]
    return Table(("Group", "People", *map(name_of, metrics)), tuple(rows))


def group_rates(
    prefix: str, feature: Json, metric: str, limits: tuple[float, float] | None = None
) -> Exhibit:
    """Return one metric by group with intervals."""
    groups = feature["groups"]
    axis = name_of(metric).lower() + (" (share)" if metric in SHARES else "")
    rows = [row_of(g["label"], g["metrics"].get(metric)) for g in groups]
    title = f"{name_of(metric)} by {feature['name']}"
    svg = figures.forest(
        f"{prefix}-{metric.replace('_', '-')}", title, rows, axis=axis, limits=limits
    )
    table = [(g["label"], shown(metric, g["metrics"].get(metric))) for g in groups]
    return exhibit(title, "Points with intervals.", svg, ("Group", name_of(metric)), table)


def impact_ratios(
    prefix: str, feature: Json, bar: float | None, limits: tuple[float, float] | None = None
) -> Exhibit | None:
    """Return selection rates over that of the reference group, with the bar."""
    compared = feature["comparisons"].get("to_reference", [])
    if not compared:
        return None
    bar = FOUR_FIFTHS if bar is None else bar
    title = f"Impact ratio by {feature['name']}"
    rows = [row_of(c["group"], c["impact_ratio"]) for c in compared]
    note = f"Selection rate over that of {feature['reference']}; 1 is equal treatment."
    svg = figures.forest(
        f"{prefix}-impact",
        title,
        rows,
        axis="impact ratio (1 = equal)",
        bar=bar,
        bar_name=f"bar {bar:g}",
        limits=limits,
    )
    headers = ("Group", f"Against {feature['reference']}", "Against the highest group")
    table = [
        (c["group"], interval(c["impact_ratio"]), interval(c.get("impact_ratio_to_highest")))
        for c in compared
    ]
    return exhibit(title, note, svg, headers, table)


def calibration(bins: Sequence[Json]) -> Exhibit | None:
    """Return observed against predicted rates; None where no bin is large enough."""
    if not bins:
        return None
    title = "Calibration"
    svg = figures.calibration("calibration", title, bins)
    rows = [
        (
            f"{b['low']:.3f} to {b['high']:.3f}",
            number(b["n"]),
            percent(b["mean_score"]),
            percent(b["rate"]),
        )
        for b in bins
    ]
    note = "On the dashed line the predicted probability is the observed rate."
    headers = ("Predicted probability", "People", "Mean prediction", "Observed rate")
    return exhibit(title, note, svg, headers, rows)


def attributions(found: Json) -> list[Exhibit]:
    """Return importance by feature, by step, and by both."""
    unit = f"mean |attribution| ({found['unit']})"
    rows = [row_of(f["feature"], f) for f in found["by_feature"]]
    by_feature = exhibit(
        "By feature", "Summed over the steps of each person, then averaged over people.",
        figures.bars("by-feature", "Mean absolute attribution by feature", rows, axis=unit),
        ("Feature", "Kind", "Mean absolute attribution"),
        [(f["feature"], f["kind"], interval(enough(f))) for f in found["by_feature"]],
    )  # fmt: skip
    steps = found["by_step"]
    if not steps:
        return [by_feature]
    axis = found["step_axis"]
    by_step = exhibit(
        f"By {axis}", "Summed over features.",
        figures.steps("by-step", f"Mean absolute attribution by {axis}",
                      [row_of(s["step"], s) for s in steps], axis=axis, value_axis=unit),
        (axis.capitalize(), "Mean absolute attribution"),
        [(s["step"], interval(enough(s))) for s in steps],
    )  # fmt: skip
    names, labels = found["sequence_features"], [s["step"] for s in steps]
    if len(names) < 2:
        return [by_feature, by_step]
    both = exhibit(
        f"By feature and {axis}", "The darker, the larger the mean absolute attribution.",
        figures.heat("by-both", f"Mean absolute attribution by feature and {axis}", names, labels,
                     found["by_feature_and_step"], axis=axis),
        ("Feature", *labels),
        [(n, *map(number, row))
         for n, row in zip(names, found["by_feature_and_step"], strict=True)],
    )  # fmt: skip
    return [by_feature, by_step, both]


def promise(epsilon: float, delta: float) -> Exhibit:
    """Return what (epsilon, delta) leaves to a membership attack."""
    rates = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5)
    title = "What an attacker can reach at most"
    rows = [(percent(a), percent(figures.most_found(a, epsilon, delta))) for a in rates]
    headers = ("Wrongly accused, of people who were not in the data", "Found at most, of those in")
    note = "No attack on the released model, however clever, lies above the line."
    svg = figures.trade_off("promise", title, epsilon, delta)
    return exhibit(title, note, svg, headers, rows)


def spread(figures_: Sequence[Json | None], *marks: float) -> tuple[float, float] | None:
    """Return common ends of an axis over several figures, with some room."""
    ends = [f[k] for f in figures_ if f for k in ("value", "low", "high") if f[k] is not None]
    if not ends:
        return None
    low, high = min(*ends, *marks), max(*ends, *marks)
    room = 0.04 * (high - low) or 0.05
    return low - room, high + room
