"""Figures by step, and some rows beside what the model said of them."""

from collections.abc import Sequence
from typing import Any

from tasks import figures
from tasks.pages.called import one
from tasks.pages.exhibits import Exhibit, Table, exhibit
from tasks.pages.html import interval, number

Json = dict[str, Any]
NAMES = {"model": "This model", "twin": "Without privacy", "baseline": "Baseline"}
HOW = ("done well", "in the middle", "done badly")


def curve(prefix: str, found: Json) -> Exhibit:
    """Return one picture of figures by step.

    Args:
        prefix: of ids.
        found: name, title, axes, mark, and lines with figures by step.
    """
    model = found["lines"][0]["figures"]
    # Steps beyond the longest row have no figure.
    count = max((i + 1 for i, f in enumerate(model) if f["value"] is not None), default=0)
    series = {line["label"]: [f["value"] for f in line["figures"][:count]]
              for line in found["lines"]}  # fmt: skip
    names = (found["steps"] or [str(i + 1) for i in range(len(model))])[:count]
    svg = figures.banded(
        f"{prefix}-{found['name']}", found["title"], list(range(1, count + 1)), series,
        band=([f["low"] for f in model[:count]], [f["high"] for f in model[:count]]),
        axis=found["axis"], value_axis=found["value_axis"], mark=found["mark"],
        labels=names if found["steps"] else None,
    )  # fmt: skip
    rows = [
        (name, *(interval(line["figures"][i]) for line in found["lines"]))
        for i, name in enumerate(names)
    ]
    note = "Shaded: the interval of this model."
    if found["mark"] is not None:
        note += f" Dashed: {found['mark']:g}, which it aims at."
    return exhibit(found["title"], note, svg, ("Step", *series), rows)


def _how(position: int, count: int) -> str:
    """Where a row stands among those shown, which are in order of their losses."""
    if count < 2:
        return HOW[1]
    return HOW[min(2, round(2 * position / (count - 1)))]


def window(prefix: str, position: int, count: int, found: Json) -> Exhibit:
    """Return one forecast beside what came."""
    before, came = found["before"], found["came"]
    title = f"{one()[:1].upper()}{one()[1:]} {position + 1}, {_how(position, count)}"
    at = list(range(1 - len(before), 1))
    to = list(range(1, len(came) + 1))
    series = {
        "forecast": [*[None] * len(at), *found["middle"]],
        "came": [*[None] * len(at), *came],
        "before": [*before, *[None] * len(to)],
    }
    gap: list[float | None] = [None] * len(at)
    svg = figures.banded(
        f"{prefix}-window-{position}", title, at + to, series,
        band=([*gap, *found["low"]], [*gap, *found["high"]]),
        axis="steps from now", value_axis="target", mark=None,
    )  # fmt: skip
    rows = [
        (step, number(came[i]), number(found["middle"][i]),
         f"{number(found['low'][i])} to {number(found['high'][i])}")
        for i, step in enumerate(to)
    ]  # fmt: skip
    note = "Shaded: between the outer quantiles."
    return exhibit(title, note, svg, ("Step", "Came", "Median", "Outer quantiles"), rows)


def texts(found: Sequence[Json]) -> Table | None:
    """Return what was to be said and what was said."""
    if not found:
        return None
    said = [name for name in NAMES if name in found[0]["said"]]
    headers = ("Row", "To be said", *(NAMES[name] for name in said))
    rows = [
        (_how(position, len(found)), row["truth"], *(row["said"][name] or "–" for name in said))
        for position, row in enumerate(found)
    ]
    return Table(headers, tuple(rows))


def section(prefix: str, found: Json | None) -> Json:
    """Return what a page shows of pictures.json.

    Args:
        prefix: of ids.
        found: None where the kind of target has one answer a row.
    """
    curves, examples = (found or {}).get("curves", []), (found or {}).get("examples", [])
    windows = [row for row in examples if "came" in row]
    return {
        "curves": [curve(prefix, one_) for one_ in curves],
        "windows": [window(prefix, i, len(windows), row) for i, row in enumerate(windows)],
        "texts": texts([row for row in examples if "said" in row]),
    }
