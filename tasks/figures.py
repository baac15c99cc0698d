"""The forms of figure that reports use, as SVG text: the same bytes for the same values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from tasks.pages.svg import ACCENT, BAD, INK, MUTED, PAPER, SECOND, draw, plain

_SERIES = (ACCENT, SECOND, MUTED, BAD)
_DASHES = ("-", "--", ":", "-.")
_LABEL_CHARACTERS = 26
# Labels up to here stand three beside each other.
_SHORT_LABEL = 10


@dataclass(frozen=True)
class Interval:
    """One estimate with its interval; `value` is None where it was suppressed."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None


def _row_labels(axes: Axes, labels: Sequence[str]) -> None:
    """Names of rows, the first on top."""
    axes.set_yticks(range(len(labels)), [plain(label, _LABEL_CHARACTERS) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def forest(
    name: str,
    title: str,
    rows: Sequence[Interval],
    *,
    axis: str,
    bar: float | None = None,
    bar_name: str = "bar",
    limits: tuple[float, float] | None = None,
    missing: str = "suppressed",
) -> str:
    """Return estimates with intervals, one a row.

    Args:
        name: prefix of ids.
        title: of the figure.
        rows: a row without value is marked as suppressed.
        axis: what the horizontal axis measures, with unit.
        bar: a vertical line to compare with.
        bar_name: what it is called.
        limits: ends of the axis; chosen from the rows if None.
        missing: what stands in a row without value.
    """

    def paint(axes: Axes) -> None:
        axes.grid(axis="x")
        if bar is not None:
            axes.axvline(bar, color=BAD, linestyle="--", linewidth=1)
            axes.set_title(f"dashed: {plain(bar_name)}", fontsize=8, color=BAD, loc="right")
        for y, row in enumerate(rows):
            if row.value is None:
                axes.text(
                    0.02, y, missing, transform=axes.get_yaxis_transform(), va="center",
                    color=MUTED, fontsize=8, fontstyle="italic",
                    bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
                )  # fmt: skip
                continue
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [y, y], color=ACCENT, linewidth=1.6)
            axes.plot([row.value], [y], "o", color=ACCENT, markersize=4.5)
        _row_labels(axes, [row.label for row in rows])
        if limits is not None:
            axes.set_xlim(*limits)
        # Long numbers must not run into each other.
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel(plain(axis))

    shown = [row for row in rows if row.value is not None]
    words = f"{len(rows)} rows, {len(rows) - len(shown)} {missing}, along {axis}."
    return draw(name, title, words, 0.75 + 0.26 * max(len(rows), 1), paint)


def bars(name: str, title: str, rows: Sequence[Interval], *, axis: str) -> str:
    """Return horizontal bars with intervals, in the order given; a suppressed row has no bar."""

    def paint(axes: Axes) -> None:
        axes.grid(axis="x")
        for y, row in enumerate(rows):
            if row.value is None:
                continue
            axes.barh(y, row.value, height=0.62, color=ACCENT, alpha=0.75)
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [y, y], color=INK, linewidth=1.2)
        _row_labels(axes, [row.label for row in rows])
        axes.set_xlim(left=0)
        axes.set_xlabel(plain(axis))

    words = f"{len(rows)} bars along {axis}."
    return draw(name, title, words, 0.75 + 0.28 * max(len(rows), 1), paint)


def steps(name: str, title: str, rows: Sequence[Interval], *, axis: str, value_axis: str) -> str:
    """Return estimates over the steps of a sequence, joined, with intervals."""

    def paint(axes: Axes) -> None:
        axes.grid(axis="y")
        shown = [(x, row) for x, row in enumerate(rows) if row.value is not None]
        axes.plot([x for x, _ in shown], [r.value or 0.0 for _, r in shown], "-o", color=ACCENT,
                  markersize=4, linewidth=1.4)  # fmt: skip
        for x, row in shown:
            if row.low is not None and row.high is not None:
                axes.plot([x, x], [row.low, row.high], color=ACCENT, linewidth=1.4)
        every = max(1, math.ceil(len(rows) / 8))
        ticks = range(0, len(rows), every)
        axes.set_xticks(ticks, [plain(rows[i].label, 10) for i in ticks])
        axes.set_xlim(-0.5, max(len(rows) - 0.5, 0.5))
        axes.set_ylim(bottom=0)
        axes.set_xlabel(plain(axis))
        axes.set_ylabel(plain(value_axis))

    return draw(name, title, f"{len(rows)} steps along {axis}.", 2.5, paint)


def heat(
    name: str,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    *,
    axis: str,
) -> str:
    """Return a table of non-negative numbers as shaded cells; the darkest is the largest.

    Args:
        name: prefix of ids.
        title: of the figure.
        rows: names of R rows.
        columns: names of C columns.
        values: [R][C], None where suppressed.
        axis: what the columns are.
    """
    largest = max((v for row in values for v in row if v is not None), default=0.0) or 1.0
    write = len(columns) <= 8

    def paint(axes: Axes) -> None:
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                if value is None:
                    continue
                share = value / largest
                axes.barh(
                    y, 0.96, left=x - 0.48, height=0.92, color=ACCENT, alpha=0.06 + 0.6 * share
                )
                if write:
                    axes.text(x, y, f"{value:.2g}", ha="center", va="center", fontsize=7.5)
        _row_labels(axes, rows)
        every = max(1, math.ceil(len(columns) / 8))
        ticks = range(0, len(columns), every)
        slanted = max((len(columns[i]) for i in ticks), default=0) * len(ticks) > 48
        axes.set_xticks(ticks, [plain(columns[i], 16 if slanted else 10) for i in ticks])
        if slanted:
            axes.tick_params(axis="x", rotation=30)
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.5, max(len(columns) - 0.5, 0.5))
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel(plain(axis))

    words = f"{len(rows)} rows by {len(columns)} columns; the largest value is {largest:.3g}."
    return draw(name, title, words, 0.75 + 0.32 * max(len(rows), 1), paint)


def calibration(name: str, title: str, bins: Sequence[Mapping[str, float]]) -> str:
    """Return observed against predicted shares.

    Args:
        name: prefix of ids.
        title: of the figure.
        bins: each with mean_score, rate and n.
    """

    def paint(axes: Axes) -> None:
        axes.grid()
        axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
        axes.plot([b["mean_score"] for b in bins], [b["rate"] for b in bins], "-o", color=ACCENT,
                  markersize=4.5, linewidth=1.2)  # fmt: skip
        top = max([b[k] for b in bins for k in ("mean_score", "rate")], default=1.0)
        end = min(1.0, math.ceil(top * 10 + 0.2) / 10)
        axes.set_xlim(0, end)
        axes.set_ylim(0, end)
        axes.set_xlabel("mean predicted probability (share)")
        axes.set_ylabel("observed rate (share)")

    words = f"{len(bins)} bins; the dashed diagonal is perfect calibration."
    return draw(name, title, words, 3.0, paint)


def curves(
    name: str,
    title: str,
    x: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
    *,
    axis: str,
    value_axis: str,
    diagonal: bool = False,
) -> str:
    """Return lines over a common axis, told apart by colour and by dash.

    Args:
        name: prefix of ids.
        title: of the figure.
        x: common positions, rising.
        series: name to values; None is left out.
        axis: what x is, with unit.
        value_axis: what the values are, with unit.
        diagonal: draw y = x for guessing, both axes from 0 to 1.
    """

    def paint(axes: Axes) -> None:
        axes.grid()
        for index, (label, values) in enumerate(series.items()):
            points = [(at, v) for at, v in zip(x, values, strict=True) if v is not None]
            axes.plot(
                [at for at, _ in points], [v for _, v in points], _DASHES[index % 4],
                color=_SERIES[index % 4], linewidth=1.4, label=plain(label),
                marker="o" if len(points) <= 12 else None, markersize=4,
            )  # fmt: skip
        if diagonal:
            axes.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1, label="guessing")
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
        if len(series) > 1 or diagonal:
            axes.legend(loc="best")
        axes.set_xlabel(plain(axis))
        axes.set_ylabel(plain(value_axis))

    words = f"{', '.join(series)} over {axis}."
    return draw(name, title, words, 2.6, paint)


def banded(
    name: str,
    title: str,
    x: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
    *,
    band: tuple[Sequence[float | None], Sequence[float | None]],
    axis: str,
    value_axis: str,
    mark: float | None,
    labels: Sequence[str] | None = None,
) -> str:
    """Return lines over a common axis with a shaded band, as `curves` draws them.

    Args:
        name: prefix of ids.
        title: of the figure.
        x: common positions, rising.
        series: name to values; None is a gap.
        band: lower and upper end at each position; None is a gap.
        axis: what x is, with unit.
        value_axis: what the values are, with unit.
        mark: a horizontal line to compare with; None for none.
        labels: what stands at each position in place of its number.
    """

    def paint(axes: Axes) -> None:
        axes.grid()
        ends = [(at, a, b) for at, a, b in zip(x, *band, strict=True) if None not in (a, b)]
        if ends:
            at, low, high = (list(part) for part in zip(*ends, strict=True))
            axes.fill_between(at, low, high, color=ACCENT, alpha=0.18, linewidth=0)
        for index, (label, values) in enumerate(series.items()):
            shown = [math.nan if v is None else v for v in values]
            axes.plot(x, shown, _DASHES[index % 4], color=_SERIES[index % 4], linewidth=1.4,
                      label=plain(label))  # fmt: skip
        if mark is not None:
            axes.axhline(mark, color=BAD, linestyle="--", linewidth=1)
        if labels is not None:
            axes.set_xticks(list(x), [plain(label, 10) for label in labels])
        if len(series) > 1:
            # Above the axes: a band leaves no room among the lines.
            columns = 3 if max(map(len, series)) <= _SHORT_LABEL else 1
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2)
        axes.set_xlabel(plain(axis))
        axes.set_ylabel(plain(value_axis))

    words = f"{', '.join(series)} over {axis}; a shaded band."
    return draw(name, title, words, 2.6 + 0.15 * len(series), paint)


def most_found(false_positive_rate: float, epsilon: float, delta: float) -> float:
    """Return the largest true positive rate of a membership attack under (epsilon, delta).

    Example:
        >>> most_found(0.0, 3.0, 0.0)
        0.0
        >>> round(most_found(0.01, 3.0, 1e-6), 4)
        0.2009
    """
    if epsilon > 50:
        return 1.0
    a = false_positive_rate
    low = max(0.0, 1 - delta - math.exp(epsilon) * a, math.exp(-epsilon) * (1 - delta - a))
    return 1 - low
