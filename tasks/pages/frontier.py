"""Alternatives against each other along two axes, as SVG text."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from tasks.pages.svg import ACCENT, SECOND, draw, plain


@dataclass(frozen=True)
class Point:
    """One alternative: low end, value and high end along both axes."""

    label: str
    x: tuple[float | None, float, float | None]
    y: tuple[float | None, float, float | None]


def frontier(name: str, title: str, points: Sequence[Point], *, axis: str, value_axis: str) -> str:
    """Return alternatives with intervals along both axes, numbered, named in a legend.

    Args:
        name: prefix of ids.
        title: of the figure.
        points: the first is drawn in the accent colour.
        axis: what is along, with unit.
        value_axis: what is up, with unit.
    """

    def paint(axes: Axes) -> None:
        axes.grid()
        for number, point in enumerate(points, start=1):
            colour = ACCENT if number == 1 else SECOND
            (left, x, right), (low, y, high) = point.x, point.y
            if left is not None and right is not None:
                axes.plot([left, right], [y, y], color=colour, linewidth=1, alpha=0.5)
            if low is not None and high is not None:
                axes.plot([x, x], [low, high], color=colour, linewidth=1, alpha=0.5)
            axes.plot([x], [y], "o", color=colour, markersize=4.5,
                      label=f"{number} {plain(point.label)}")  # fmt: skip
            axes.annotate(
                str(number), (x, y), xytext=(3, 3), textcoords="offset points", fontsize=7.5
            )
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=1, handlelength=0)
        axes.set_xlabel(plain(axis))
        axes.set_ylabel(plain(value_axis))

    words = f"{len(points)} alternatives by {axis} and {value_axis}."
    return draw(name, title, words, 2.8 + 0.2 * len(points), paint)
