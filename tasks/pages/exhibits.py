"""Figures with the table behind each, from the artifacts of earlier stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tasks import figures
from tasks.figures import Interval
from tasks.pages.called import titled
from tasks.pages.html import interval, number, percent

Json = dict[str, Any]
FOUR_FIFTHS = 0.8
SHARES = (
    "base_rate", "selection_rate", "tpr", "fpr", "fnr", "ppv", "accuracy", "recall", "disagreement",
    "interval_coverage", "approval_rate",
)  # fmt: skip
COUNTS = ("n", "positives")
NAMES = {
    "positives": "Favourable outcomes",
    "base_rate": "Base rate",
    "selection_rate": "Selection rate",
    "tpr": "True positive rate",
    "fpr": "False positive rate",
    "fnr": "False negative rate",
    "ppv": "Precision",
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "recall": "Recall",
    "auc": "AUC",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "r2": "R²",
    "bias": "Bias",
    "interval_coverage": "Inside the interval",
    "interval_width": "Mean width of intervals",
    "approval_rate": "Approval rate",
    "loss": "Loss",
    "perplexity": "Perplexity",
    "ece": "Calibration error",
    "brier": "Brier score",
    "skill": "Skill",
    "disagreement": "Decided otherwise",
    "demographic_parity_difference": "Demographic parity, difference",
    "demographic_parity_ratio": "Demographic parity, ratio",
    "equalized_odds_difference": "Equalized odds, difference",
    "equalized_odds_ratio": "Equalized odds, ratio",
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
    return titled() if metric == "n" else NAMES.get(metric, metric.replace("_", " "))


def shown(metric: str, figure: Json | None) -> str:
    """Return a metric's figure with its interval, shares as per cent, counts as whole numbers."""
    if metric in COUNTS and figure and figure["value"] is not None:
        whole = [round(figure[k]) for k in ("value", "low", "high") if figure.get(k) is not None]
        ends = f" ({number(whole[1])} to {number(whole[2])})" if len(set(whole)) == 3 else ""
        return number(whole[0]) + ends
    kind = "percent" if metric in SHARES else "number"
    return interval(figure, kind, int((figure or {}).get("digits", 3)))


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


def group_rates(
    prefix: str,
    feature: Json,
    metric: str,
    limits: tuple[float, float] | None = None,
    missing: str = "suppressed",
) -> Exhibit:
    """Return one metric by group with intervals."""
    groups = feature["groups"]
    axis = name_of(metric).lower() + (" (share)" if metric in SHARES else "")
    rows = [row_of(g["label"], g["metrics"].get(metric)) for g in groups]
    title = f"{name_of(metric)} by {feature['name']}"
    svg = figures.forest(
        f"{prefix}-{metric.replace('_', '-')}", title, rows, axis=axis, limits=limits,
        missing=missing,
    )  # fmt: skip
    values = [(g["label"], g["metrics"].get(metric)) for g in groups]
    table = [(label, shown(metric, value) if value else missing) for label, value in values]
    return exhibit(title, "Points with intervals.", svg, ("Group", name_of(metric)), table)


def impact_ratios(
    prefix: str,
    feature: Json,
    bar: float | None,
    limits: tuple[float, float] | None = None,
    missing: str = "suppressed",
) -> Exhibit | None:
    """Return selection rates over that of the reference group, with the bar."""
    compared = [c for c in feature["comparisons"]["to_reference"] if "impact_ratio" in c]
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
        missing=missing,
    )
    headers = ("Group", f"Against {feature['reference']}")
    table = [
        (c["group"], interval(c["impact_ratio"]) if c["impact_ratio"] else missing)
        for c in compared
    ]
    return exhibit(title, note, svg, headers, table)


def calibration(bins: Sequence[Json]) -> Exhibit | None:
    """Return observed against predicted rates; None where no bin is large enough."""
    if not bins:
        return None
    title = "Calibration"
    points = [{**b, "rate": b["rate"]["value"]} if isinstance(b["rate"], dict) else b for b in bins]
    svg = figures.calibration("calibration", title, points)
    rows = [
        (
            f"{b['low']:.3f} to {b['high']:.3f}",
            number(b["n"]),
            percent(b["mean_score"]),
            interval(b["rate"], "percent") if isinstance(b["rate"], dict) else percent(b["rate"]),
        )
        for b in bins
    ]
    note = "On the dashed line the predicted probability is the observed rate."
    headers = ("Predicted probability", titled(), "Mean prediction", "Observed rate")
    return exhibit(title, note, svg, headers, rows)


def spread(figures_: Sequence[Json | None], *marks: float) -> tuple[float, float] | None:
    """Return common ends of an axis over several figures, with some room."""
    ends = [f[k] for f in figures_ if f for k in ("value", "low", "high") if f[k] is not None]
    if not ends:
        return None
    low, high = min(*ends, *marks), max(*ends, *marks)
    room = 0.04 * (high - low) or 0.05
    return low - room, high + room
