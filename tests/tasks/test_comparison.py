"""The registry's copy of a report says what the champion says, and stays one page."""

import json
from pathlib import Path

import pytest

from tasks import artifacts, comparison
from tasks.approval import HEADING
from tasks.pages.comparison import BEGIN, END, headlines
from tasks.registry import Version
from tests.tasks.evidence.test_champion import files

HOSTILE = "<script>alert(1)</script>|"


class Registry:
    """What is asked of a store."""

    def __init__(self, champion: str | None, lineage: str = "same", steps: int = 3):
        self.champion = champion
        self.kept = files((0.7, 0.68, 0.75), 8.0)
        self.facts = {"lineage": lineage, "settings": {"train": {"steps": steps}, "note": HOSTILE}}

    def numbers(self, name: str) -> list[str]:
        return [self.champion] if self.champion else []

    def holder(self, name: str, alias: str) -> Version | None:
        assert (name, alias) == ("m", "champion") and self.champion
        return Version(name, self.champion, (alias,), {})

    def run_of(self, version: Version) -> str:
        return f"run of {version.number}"

    def read_text(self, run_id: str, path: str) -> str | None:
        assert run_id == "run of 4"
        inner = path.removeprefix("published/")
        assert inner != path, "internal files of the champion are not asked for"
        return json.dumps(self.facts) if inner == "model_card.json" else self.kept(inner)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A copy of published files, as register makes it."""
    ours = files((0.8, 0.78, 0.82), 3.0)
    for path in ("decision/decision", "predictions/metrics", "audit/audit", "attack/attack",
                 "attributions/attributions"):  # fmt: skip
        artifacts.write_json(tmp_path / f"{path}.json", json.loads(ours(f"{path}.json") or ""))
    (tmp_path / "report.html").write_text(f"<main>{BEGIN}later{END}</main>")
    (tmp_path / "model_card.md").write_text("# Card\n")
    settings = {"train": {"steps": 2}, "note": "same"}
    facts = {"lineage": "same", "settings": settings, "rows": ["window", "windows"]}
    artifacts.write_json(tmp_path / "model_card.json", facts)
    return tmp_path


def test_the_place_is_filled_on_page_card_and_file(published: Path) -> None:
    comparison.compare_and_fill(Registry("4"), "m", published)  # type: ignore[arg-type]
    page, card = ((published / n).read_text() for n in ("report.html", "model_card.md"))
    assert "later" not in page and page.endswith(f"{END}</main>")
    assert "version 4, the champion" in page and "from the same raw data" in page
    assert "+0.100" in page and "apart, better" in page and "the same windows" in page
    assert "train.steps" in page and "<script>" not in page
    assert card.startswith("# Card\n\n## Beside the champion\n") and "| +0.100 |" in card
    assert HEADING not in card
    found = json.loads((published / "comparison.json").read_text())
    assert found["champion"] == "4" and found["settings"][-1] == ["train.steps", "2", "3"]
    shown = {row["Figure"]: row for row in headlines(found)}
    assert shown["Performance: AUC"]["Champion, version 4"] == "0.700 (0.680 to 0.750)"
    assert "Groups: Selection rate, sex: men" not in shown, "groups have a table of their own"


def test_other_data_are_said(published: Path) -> None:
    comparison.compare_and_fill(Registry("4", lineage="other"), "m", published)  # type: ignore[arg-type]
    assert "made from other raw data" in (published / "report.html").read_text()


def test_without_a_champion_nothing_is_compared(published: Path) -> None:
    comparison.compare_and_fill(Registry(None), "m", published)  # type: ignore[arg-type]
    assert "No champion stood" in (published / "report.html").read_text()
    assert json.loads((published / "comparison.json").read_text()) == {"champion": None}


def test_a_report_of_another_time_keeps_its_bytes(published: Path) -> None:
    (published / "report.html").write_text("<main>old</main>")
    comparison.compare_and_fill(Registry("4"), "m", published)  # type: ignore[arg-type]
    assert (published / "report.html").read_text() == "<main>old</main>"
