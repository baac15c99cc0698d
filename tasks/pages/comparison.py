"""A version beside the champion, as a section of its report and of its model card."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.pages.exhibits import COUNTS, SHARES, Table, name_of, shown
from tasks.pages.html import number, percent, render

Json = dict[str, Any]

# Where a report and a card keep the place of this section; only registering knows the champion.
BEGIN, END = "<!-- beside the champion -->", "<!-- end: beside the champion -->"
HEADING = "## Beside the champion"
# Figures of everybody stand in one table, those of groups and of features in folded ones.
FOLDED = {"Groups": "By group", "Attribution": "By feature"}
NOT_THERE = "–"


def side(name: str, found: Json | None) -> str:
    """Return one version's figure with its interval and verdict."""
    if found is None:
        return NOT_THERE
    figure = shown(name, found) if found.get("value") is not None else ""
    return ": ".join(filter(None, (found.get("verdict"), figure)))


def difference(name: str, value: float | None) -> str:
    """Return a signed difference, of shares in points of a hundred.

    Example:
        >>> difference("accuracy", 0.0123), difference("loss", -0.5), difference("loss", None)
        ('+1.2 points', '−0.500', '–')
    """
    if value is None:
        return NOT_THERE
    sign = "+" if value > 0 else ""
    if name in SHARES:
        return f"{sign}{percent(value).removesuffix(' %')} points"
    return sign + number(round(value) if name in COUNTS else float(value))


def apart(row: Json) -> str:
    """Return whether the intervals overlap, and which version is better where they do not."""
    if row["intervals"] != "apart":
        return row["intervals"] or NOT_THERE
    return {None: "apart", True: "apart, better", False: "apart, worse"}[row["better"]]


def cells(row: Json, label: str) -> tuple[str, ...]:
    """Return one row of a table."""
    name = row["name"]
    return (
        label,
        side(name, row["version"]),
        side(name, row["champion"]),
        difference(name, row["difference"]),
        apart(row),
    )


def tables(rows: Sequence[Json], champion: str) -> tuple[Table, list[tuple[str, Table]]]:
    """Return the table of figures of everybody, and those by group and by feature.

    Args:
        rows: from `tasks.evidence.champion.beside`.
        champion: number of its version.
    """
    headers = ("Figure", "This version", f"Champion, version {champion}", "Difference", "Intervals")
    main: list[tuple[str, ...]] = []
    folded: dict[str, list[tuple[str, ...]]] = {title: [] for title in FOLDED.values()}
    for row in rows:
        name, about = name_of(row["name"]), row["about"]
        if about and row["section"] in FOLDED:
            label = f"{about}, {name}"
            folded[FOLDED[row["section"]]].append(cells(row, label))
        else:
            label = f"{row['section']}: {name}" + (f", {about}" if about else "")
            main.append(cells(row, label))
    found = [(title, Table(headers, tuple(some))) for title, some in folded.items() if some]
    return Table(headers, tuple(main)), found


def section(compared: Json | None) -> str:
    """Return the section's inside as HTML.

    Args:
        compared: champion, same_data, figures and settings; None where no champion stands.
    """
    if compared is None:
        return render("comparison.html.jinja", {"champion": None})
    return render("comparison.html.jinja", _context(compared))


def _context(compared: Json) -> Json:
    """What both templates need."""
    main, folded = tables(compared["figures"], compared["champion"])
    settings = compared["settings"]
    headers = ("Setting", "This version", f"Champion, version {compared['champion']}")
    return {
        **compared,
        "main": main,
        "folded": folded,
        "settings": settings and Table(headers, tuple(map(tuple, settings))),
        "kept": settings is not None,
    }


def card_section(compared: Json | None) -> str:
    """Return the same as a section of the model card; arguments as in `section`."""
    context = {"champion": None} if compared is None else _context(compared)
    return render("comparison.md.jinja", context)


def filled(page: str, inside: str) -> str:
    """Return a report with its place for the comparison filled; a report without one as it is.

    Example:
        >>> filled(f"a {BEGIN}later{END} b", "now")
        'a <!-- beside the champion -->now<!-- end: beside the champion --> b'
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{BEGIN}{inside}{END}{after}" if begin and end else page


def headlines(compared: Mapping[str, Any]) -> list[Json]:
    """Return rows of everybody's figures as text, for a flow's page."""
    main, _ = tables(compared["figures"], compared["champion"])
    return [dict(zip(main.headers, row, strict=True)) for row in main.rows]
