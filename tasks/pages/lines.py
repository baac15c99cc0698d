"""A figure of lines whose points are their own, as SVG text."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from tasks.pages.svg import ACCENT, BAD, MUTED, SECOND, draw, plain

SERIES = (ACCENT, SECOND, MUTED, BAD)
DASHES = ("-", "--", ":", "-.")
CHARACTERS = 26


def paths(
    name: str,
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    axis: str,
    value_axis: str,
    unit: bool = False,
) -> str:
    """Return lines through points of their own, told apart by colour and by dash.

    Args:
        name: prefix of ids.
        title: of the figure.
        series: name to points (x, y), joined in their order.
        axis: what x is, with unit.
        value_axis: what y is, with unit.
        unit: both axes run from 0 to 1, with the diagonal; else a line is drawn at 0.
    """

    def paint(axes: Axes) -> None:
        axes.grid()
        for index, (label, points) in enumerate(series.items()):
            axes.plot(
                [x for x, _ in points], [y for _, y in points],
                DASHES[(index + index // 4) % 4], color=SERIES[index % 4], linewidth=1.3,
                label=plain(label, CHARACTERS), marker="o", markersize=3,
            )  # fmt: skip
        if unit:
            axes.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1)
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
        else:
            axes.axhline(0, color=MUTED, linestyle=":", linewidth=1)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
        axes.set_xlabel(plain(axis))
        axes.set_ylabel(plain(value_axis))

    height = 2.7 + 0.2 * math.ceil(len(series) / 2)
    return draw(name, title, f"{', '.join(series)} over {axis}.", height, paint)
