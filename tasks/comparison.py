"""Puts a version beside the champion in its own report and card, when it is registered.

No earlier stage knows a champion: its report keeps a place, which is filled in the registry's copy.
"""

import json
from pathlib import Path
from typing import Any

from tasks.artifacts import write_json
from tasks.evidence.champion import Read, beside, changed, read_json
from tasks.pages.called import called
from tasks.pages.comparison import card_section, filled, section
from tasks.registry import Store

Json = dict[str, Any]
FILE = "comparison.json"
PAGE, CARD, FACTS = "report.html", "model_card.md", "model_card.json"
PEOPLE = ["person", "people"]


def compared(ours: Read, theirs: Read, champion: str) -> Json:
    """Return what the section shows.

    Args:
        ours: published files of the version that is looked at.
        theirs: of the champion.
        champion: number of its version.

    Returns:
        champion, same_data, figures, and settings: those that differ, None where the champion
        kept none.
    """
    facts, other = read_json(ours, FACTS), read_json(theirs, FACTS)
    settings = None
    if "settings" in facts and "settings" in other:
        settings = changed(facts["settings"], other["settings"])
    return {
        "champion": champion,
        "same_data": bool(facts.get("lineage")) and facts.get("lineage") == other.get("lineage"),
        "figures": beside(ours, theirs),
        "settings": settings,
    }


def beside_champion(store: Store, name: str, ours: Read) -> Json | None:
    """Return a version beside the champion of now; None where no version is champion.

    Args:
        store: of registered models.
        name: of the model.
        ours: published files of the version.
    """
    champion = store.holder(name, "champion") if store.numbers(name) else None
    if champion is None:
        return None
    run = store.run_of(champion)
    return compared(ours, lambda path: store.read_text(run, f"published/{path}"), champion.number)


def fill(published: Path, found: Json | None) -> None:
    """Write the comparison into a folder of published files: report, card, and a file of its own.

    Args:
        published: the registry's copy, not the recipe's own folder.
        found: from `beside_champion`.
    """
    facts = json.loads((published / FACTS).read_text(encoding="utf-8"))
    one, many = facts.get("rows", PEOPLE)
    with called((one, many)):
        page, card = published / PAGE, published / CARD
        text = filled(page.read_text(encoding="utf-8"), section(found))
        page.write_text(text, encoding="utf-8")
        before = card.read_text(encoding="utf-8").rstrip()
        card.write_text(f"{before}\n\n{card_section(found)}", encoding="utf-8")
    write_json(published / FILE, found or {"champion": None})


def files_of(published: Path) -> Read:
    """Return how to read the published files of a folder."""

    def read(path: str) -> str | None:
        file = published / path
        return file.read_text(encoding="utf-8") if file.is_file() else None

    return read


def compare_and_fill(store: Store, name: str, published: Path) -> None:
    """Put what is about to be registered beside the champion; see `fill`."""
    if all((published / name).exists() for name in (PAGE, CARD, FACTS)):
        fill(published, beside_champion(store, name, files_of(published)))
