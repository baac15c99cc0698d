"""The page of a watched model: what is claimed, how much speaks against it, batch by batch."""

import math
from typing import Any

from tasks import figures
from tasks.pages.exhibits import Table
from tasks.pages.html import number, percent, render
from tasks.recipe import Recipe
from tasks.watching.book import Book
from tasks.watching.claims import SEPARATOR, Claim
from tasks.watching.measured import CALIBRATION, DECISION

# Groups in one picture.
LINES = 4
SHOWN = 60
# A batch's mean of fewer people is not drawn.
FEW = 10


def page(book: Book, recipe: Recipe) -> str:
    """Return the page as self-contained HTML.

    Args:
        book: with at least its reference.
        recipe: whose model is watched.
    """
    config = recipe.watch
    return render(
        "watch.html.jinja",
        {
            "title": recipe.report.title,
            "model": book.model,
            "reference": book.reference,
            "batches": len(book.batches),
            "people": sum(entry["people"] for entry in book.batches),
            "waiting": len(book.pending),
            "false_alarms": percent(config.false_alarms),
            "holds": percent(1 - config.false_alarms),
            "alarms": [_alarm(claim, book) for claim in book.alarms],
            "gates": [c for c in book.alarms if c.kind == "gate"],
            "pictures": pictures(book),
            "claims": claims_table(book),
            "figures": means_table(book, config.false_alarms),
            "files": files_table(book),
        },
    )


def _alarm(claim: Claim, book: Book) -> dict[str, Any]:
    """An alarm in words."""
    assert claim.raised is not None
    name = book.batches[claim.raised - 1]["name"]
    return {"kind": claim.kind, "words": claim.words, "batch": claim.raised, "name": name}


def strength(claim: Claim) -> float:
    """Return evidence against a claim as a share of what raises an alarm, on a log scale, 0..1."""
    return min(1.0, max(0.0, claim.bet.highest) / math.log(1 / claim.alpha))


def claims_table(book: Book) -> Table:
    """Return every claim, the weakest first."""
    ranked = sorted(book.claims, key=lambda claim: (-strength(claim), claim.words))
    rows = tuple(
        (
            claim.words,
            claim.kind,
            number(claim.bet.values),
            "ALARM" if claim.raised else percent(strength(claim), 0),
        )
        for claim in ranked[:SHOWN]
    )
    return Table(("Claim", "Kind", "People so far", "Evidence against it"), rows)


def means_table(book: Book, alpha: float) -> Table:
    """Return every mean since the beginning, with intervals that hold at all times together."""
    rows = []
    for found in book.so_far(alpha):
        mean, low, high = found["mean"], found["low"], found["high"]
        if found["measure"] == CALIBRATION:
            mean, low, high = 2 * mean - 1, 2 * low - 1, 2 * high - 1
        name = "outcome minus score" if found["measure"] == CALIBRATION else found["measure"]
        rows.append(
            (
                name,
                found["group"] or "everybody",
                number(found["count"]),
                f"{number(mean)} ({number(low)} to {number(high)})",
            )
        )
    return Table(("Figure", "Group", "People", "Mean since the beginning"), tuple(rows))


def files_table(book: Book) -> Table:
    """Return the files that were read."""
    rows = tuple(
        (number(at + 1), entry["name"], number(entry["people"]), "; ".join(entry["alarms"]) or "–")
        for at, entry in enumerate(book.batches)
    )
    return Table(("Batch", "File", "People", "Alarms raised"), rows)


def pictures(book: Book) -> list[dict[str, str]]:
    """Return favourable decisions and calibration over the batches, a picture a feature, as SVG."""
    if len(book.batches) < 2:
        return []
    found: list[dict[str, str]] = []
    for measure, title, unit in (
        (DECISION, "Favourable decisions", "share of people"),
        (CALIBRATION, "Outcome minus score", "difference of shares"),
    ):
        for feature, groups in _features(book, measure).items():
            series = {group or "everybody": _means(book, measure, group) for group in groups}
            for part in range(0, len(series), LINES):
                some = dict(list(series.items())[part : part + LINES])
                # One line has no legend.
                one = feature and len(some) == 1
                who = f", {next(iter(some))}" if one else f", by {feature}" if feature else ""
                drawn = figures.curves(
                    f"watch-{len(found)}", title + who, list(range(1, len(book.batches) + 1)),
                    some, axis="batch", value_axis=unit,
                )  # fmt: skip
                found.append({"title": f"{title}{who}, batch by batch", "svg": drawn})
    return found


def _features(book: Book, measure: str) -> dict[str, list[str]]:
    """Watched groups of a measure by feature; everybody stands alone."""
    found: dict[str, list[str]] = {}
    for claim in book.claims:
        if claim.measure == measure:
            groups = found.setdefault(claim.group.partition(SEPARATOR)[0], [])
            if claim.group not in groups:
                groups.append(claim.group)
    return found


def _means(book: Book, measure: str, group: str) -> list[float | None]:
    """The mean of each batch; None where too few were there to mean anything."""
    values: list[float | None] = []
    for entry in book.batches:
        count, mean = entry["means"].get(f"{measure}|{group}", [0, None])
        if mean is not None and measure == CALIBRATION:
            mean = 2 * mean - 1
        values.append(mean if count >= FEW else None)
    return values
