"""What reviewers' lists ask and what swapped terms change, in words and tables."""

from datetime import date
from typing import Any

from tasks.pages.exhibits import Table
from tasks.pages.html import interval, number

Json = dict[str, Any]

# More than these are counted, not listed.
LISTED = 8


def day(text: str) -> str:
    """Return a date as people write it.

    Example:
        >>> day("2024-07-12")
        '12 July 2024'
    """
    found = date.fromisoformat(text)
    return f"{found.day} {found:%B %Y}"


def figure_text(figure: Json, show: str) -> str:
    """Return one figure with its name; a name that says the same is left out."""
    label = figure["label"]
    if "text" in figure:
        text = str(figure["text"])
        return text if label.endswith(text) or not label else f"{label}: {text}"
    # A count has no decimals.
    whole = isinstance(figure["value"], int)
    kind = "percent" if show == "percent" else "number"
    text = number(figure["value"]) if whole else interval(figure, kind)
    return f"{label}: {text}" if label else text


def answer_text(answer: Json) -> str:
    """Return the figures of one answer in a line."""
    texts = list(dict.fromkeys(figure_text(f, answer["show"]) for f in answer["figures"]))
    line = "; ".join(texts[:LISTED])
    if len(texts) > LISTED:
        line += f"; and {len(texts) - LISTED} more"
    if answer["pick"] in ("smallest", "largest") and answer["of"] > 1:
        line += f" ({answer['pick']} of {answer['of'] - answer['withheld']})"
    return line


def profile(evaluated: Json) -> Json:
    """Return a list's rows for the page.

    Args:
        evaluated: from tasks.evidence.profiles.evaluate.
    """
    rows = [
        {
            "id": row["id"],
            "asks": row["asks"],
            "answers": [(a["what"], answer_text(a)) for a in row["answers"]],
            "missing": row["missing"],
        }
        for row in evaluated["rows"]
    ]
    return {**evaluated, "as_of": day(evaluated["as_of"]), "rows": rows}


def _swap_row(name: str, row: Json) -> tuple[str, ...]:
    """One row of a table of swaps."""
    if row["suppressed"]:
        return (name, f"suppressed: {row['suppressed']}", "suppressed", "suppressed", "suppressed")
    return (
        name,
        number(row["n"]),
        interval(row["flip_rate"], "percent"),
        interval(row["mean_change"]),
        interval(row["mean_absolute_change"]),
    )


def swaps(found: Json | None) -> Json | None:
    """Return the tables of swapped terms; None where the recipe reads no text.

    Args:
        found: `swaps` of an audit, published or internal.
    """
    if not found:
        return None
    if not found["groups"]:
        return {**found, "tables": []}
    headers = ("Swapped", "Texts", "Decision changes", "Mean change", "Mean absolute change")
    rows = [_swap_row("all terms at once", found["overall"])]
    rows += [_swap_row(group["name"], group) for group in found["groups"]]
    pairs = [
        _swap_row(f"{pair['first']} / {pair['second']}", pair)
        for group in found["groups"]
        for pair in group["pairs"]
    ]
    return {
        **found,
        "sides": [f"{g['name']}: from {g['sides'][0]} to {g['sides'][1]}" for g in found["groups"]],
        "unwritten": [
            " / ".join(pair) for group in found["groups"] for pair in group["not_in_alphabet"]
        ],
        "tables": [Table(headers, tuple(rows)), Table(headers, tuple(pairs))],
    }
