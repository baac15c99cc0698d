"""The table that make run prints."""

from pathlib import Path

import pytest

from tasks import artifacts, show
from tests import fake


def test_a_table_says_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fake.write_recipe(verdict="fail")
    spent = {"epsilon": 2.9876, "delta": 1e-6, "unit": "person"}
    artifacts.write_json(Path("data/tiny/model/privacy_spent.json"), spent)
    told = {"name": "tiny", "version": "3", "aliases": [], "status": "rejected", "reasons": "x"}
    artifacts.write_json(Path(".sordino/registered/tiny.json"), told)
    Path("params.yaml").write_text("run: [tiny]\n")
    show.main([])
    text = capsys.readouterr().out
    for part in (
        "epsilon 2.988 at delta 1e-06 a person",
        "AUC              0.800  [0.790, 0.810]",
        "0.900  [0.890, 0.910]  women to men, by sex",
        "gate             fail; AUC is below its bar",
        "tiny version 3, no alias (rejected)",
        "data/tiny/report/published/report.html",
        "make up",
    ):
        assert part in text, text


def test_gaps_are_shown_by_feature() -> None:
    gap = {"value": 0.05, "low": 0.01, "high": 0.1}
    summary = {"summary": {"demographic_parity_difference": gap}}
    audit = {"features": [{"name": "sex", "comparisons": summary}, {"name": "age"}], "gate": None}
    assert show.group_rows(audit) == [("gap by sex", "0.050  [0.010, 0.100]")]


def test_without_an_interval_or_a_value() -> None:
    assert show.interval({"value": 1.0, "low": None, "high": None}) == "1.000"
    assert show.interval(None) == "not measured"
