"""Reports: two audiences that never mix, text that stays text, one page that needs nothing."""

import html
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tasks import artifacts, report
from tasks.pages.claims import claims, privacy_words
from tasks.pages.exhibits import spread
from tasks.pages.html import TEMPLATES, interval, markdown
from tasks.params import UserError
from tasks.recipe import ReportConfig

RECIPE = "small"
HOSTILE = "<script>alert('x')</script>\"'{{ 7*7 }}|`"
SPENT = {
    "epsilon": 2.5,
    "delta": 1e-6,
    "unit": "person",
    "adjacency": "zero-out",
    "sampling": "Poisson",
    "population": 24000,
    "sample_rate": 0.1,
    "steps": 240,
    "noise_multiplier": 2.2,
    "max_grad_norm": 1.0,
    "accountant": "PRV",
    "accountant_version": "opacus 1.6.0",
    "noise_source": "operating system",
}


def figure(value: float) -> dict[str, float]:
    """An estimate between ends."""
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def audit(label: str, exact: bool = False) -> dict[str, Any]:
    """One sensitive feature with a shown, a compared and a suppressed group."""
    small = {
        "label": "small", "n": 3 if exact else None, "people": "<30",
        "suppressed": None if exact else "fewer than 30 people",
        "metrics": {"selection_rate": figure(0.123456) if exact else None}, "withheld": {},
    }  # fmt: skip
    shown = [
        {"label": name, "n": 400, "people": "400", "suppressed": None,
         "metrics": {"selection_rate": figure(rate)}, "withheld": {}}
        for name, rate in ((label, 0.8), ("men", 0.75))
    ]  # fmt: skip
    ratio = {"group": "men", "reference": label, "impact_ratio": figure(0.9375),
             "impact_ratio_to_highest": figure(0.9375)}  # fmt: skip
    withheld = {**ratio, "group": "small", "impact_ratio": None, "impact_ratio_to_highest": None}
    return {
        "task": "binary", "confidence": 0.95, "min_people": 30, "min_events": 10,
        "favourable": "pays",
        "features": [{"name": label, "reference": label, "groups": [*shown, small],
                      "comparisons": {"to_reference": [ratio, withheld], "summary": {}}}],
        "gate": {"feature": label, "group": "men", "reference": label,
                 "impact_ratio": figure(0.9375), "pairs": 1, "confidence": 0.95},
    }  # fmt: skip


def decision() -> dict[str, Any]:
    check = {"value": None, "low": None, "high": None, "bar": None, "verdict": "pass"}
    return {
        "verdict": "pass", "epsilon": 2.5, "delta": 1e-6, "insecure": False,
        "checks": [
            {**check, "name": "epsilon", "value": 2.5, "bar": 3.0, "reason": "Fine."},
            {**check, "name": "noise", "reason": "Fine."},
            {**check, "name": "attack", "reason": "Fine."},
            {**check, "name": "group_ratio", **figure(0.9375), "bar": 0.8, "reason": "Fine."},
        ],
    }  # fmt: skip


def attributions(label: str) -> dict[str, Any]:
    return {
        "method": "integrated_gradients", "rule": "gausslegendre", "n_steps": 20, "people": 2000,
        "min_people": 30, "confidence": 0.95, "completeness": {"p50": 1e-8, "p95": 1e-7},
        "explained": f"log-odds of {label}", "unit": "log-odds", "step_axis": "step",
        "by_feature": [{"feature": label, "kind": "sequence", **figure(1.5)},
                       {"feature": "bill", "kind": "sequence", **figure(0.5)}],
        "by_step": [{"step": label, **figure(1.2)}, {"step": "June", **figure(0.8)}],
        "sequence_features": [label, "bill"], "by_feature_and_step": [[0.9, 0.6], [0.3, None]],
    }  # fmt: skip


def summary(label: str) -> dict[str, Any]:
    feature = {"name": label, "unit": label, "bounds": [0, 1e6], "transform": "log", "values": []}
    return {
        "recipe": RECIPE,
        "settings": {"train": {"steps": 240}, "note": label, "unset": None},
        "data": {
            "person": "id",
            "sequence": {"layout": "wide", "steps": [label, "June"], "features": [feature]},
            "static": [{**feature, "bounds": None, "values": [1, label]}],
            "target": {"column": "y", "kind": "binary", "classes": [0, 1],
                       "names": ["pays", label], "bounds": None},
            "decision": {"favourable": 0, "threshold": None, "approval_rate": 0.8},
            "sensitive": [{"name": label, "feed": False}],
            "split": {"salt": "split-key-7731", "train": 0.8, "column": None, "as_of": None},
        },
    }  # fmt: skip


def local(marker: str, label: str) -> dict[str, Any]:
    """One person of numbers and one of text."""
    both = {"outcome": marker, "predicted": "pays", "score": 0.5, "output": 1.0,
            "baseline_output": 0.0, "completeness_error": 0.0, "static": []}  # fmt: skip
    feature = {"feature": label, "unit": "EUR", "values": [marker], "attributions": [-0.5]}
    text = [{"text": "<", "attribution": 0.5}, {"text": marker, "attribution": 0.1}]
    return {
        "explained": "log-odds",
        "people": [
            {**both, "id": "person 1", "rule": marker, "steps": [label], "features": [feature]},
            {**both, "id": "person 2", "rule": "r", "steps": [], "characters": text},
        ],
    }


def write(root: Path, label: str = "sex", marker: str = "MARK") -> None:
    """Write every input of the stage; `marker` and 0.123456 stand in internal files alone."""
    numbers = {"auc": figure(0.78), "accuracy": figure(0.81), "loss": figure(0.43)}
    attack = {"auc": figure(0.5), "tpr": [{"false_positive_rate": 0.1, **figure(0.1)}],
              "epsilon_lower_bound": {"value": 0.123456, "confidence": 0.999}}  # fmt: skip
    curve = {"step": [1, 2], "loss": [0.123456, 0.5], "gradient_norm_median": [1.0, None]}
    files: dict[str, Any] = {
        "plan/report.json": {
            **artifacts.as_json(ReportConfig(title=label)), "purpose": label, "data_source": label,
        },
        "plan/summary.json": summary(label),
        "model/privacy_spent.json": SPENT,
        "predictions/published/metrics.json": {
            "task": "binary", "n": 5786, "confidence": 0.95, "model": numbers,
            "decision": {"threshold": 0.3, "approval_rate": figure(0.8), "favourable": label},
            "calibration": [{"low": 0, "high": 1, "n": 40, "mean_score": 0.3, "rate": 0.2}],
        },
        "audit/published/audit.json": audit(label),
        "attributions/published/attributions.json": attributions(label),
        "attack/published/attack.json": {
            "verdict": "consistent", "method": label, "claim": 2.5, "note": label,
        },
        "decision/decision.json": decision(),
        "training/curve.json": {**curve, "note": marker},
        "twin/curve.json": {**curve, "note": marker},
        "predictions/internal/metrics.json": {
            "twin": {"auc": figure(0.123456), "note": marker} | {"accuracy": figure(0.8)},
            "baseline": {"auc": figure(0.79)},
            "paired": {f"auc_minus_{marker}": figure(0.0)},
        },
        "audit/internal/audit.json": {"model": audit(marker, True), "twin": audit("x", True)},
        "attack/internal/attack.json": {
            "members": 5786, "non_members": 5786, "model": attack, "twin": attack, "note": marker,
        },
        "attributions/internal/people.json": local(marker, label),
    }  # fmt: skip
    for name, value in files.items():
        artifacts.write_json(root / "data" / RECIPE / name, value)


# The report of the plain inputs, made once: most tests only read it.
WRITTEN: list[Path] = []


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, str, str]]:
    """Write inputs, run the stage, and return published page, card and internal page."""
    monkeypatch.chdir(tmp_path)

    def make(fresh: bool = False, **options: str) -> tuple[str, str, str]:
        write(tmp_path, **options)
        root = tmp_path / "data" / RECIPE / "report"
        if fresh or options or not WRITTEN:
            report.main([RECIPE])
        else:
            shutil.copytree(WRITTEN[0], root, dirs_exist_ok=True)
        if not options and not WRITTEN:
            WRITTEN.append(Path(shutil.copytree(root, tmp_path / "written")))
        names = ("published/report.html", "published/model_card.md", "internal/internal.html")
        page, card, internal = ((root / name).read_text(encoding="utf-8") for name in names)
        return page, card, internal

    return make


class Elements(HTMLParser):
    """Every start tag with its attributes, and all text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


Make = Callable[..., tuple[str, str, str]]


def test_nothing_internal_is_published(made: Make, tmp_path: Path) -> None:
    page, card, internal = made(marker="MARK-90210")
    facts = (tmp_path / "data" / RECIPE / "report/published/model_card.json").read_text("utf-8")
    for text in (page, card, facts):
        assert "MARK-90210" not in text
        assert "0.123" not in text
    assert "MARK-90210" in internal
    assert "0.123" in internal


def test_the_published_page_opens_no_internal_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    for path in (tmp_path / "data" / RECIPE).rglob("*.json"):
        if {"internal", "training", "twin"} & set(path.parts):
            path.unlink()
    context = report.published_context(report.read_published(RECIPE))
    assert "impact ratio" in report.render("report.html.jinja", context)


def test_the_key_of_the_split_stays_out(made: Make) -> None:
    assert not any("split-key-7731" in text for text in made())


@pytest.mark.parametrize(
    "label", [HOSTILE, "</title></style><img src=x onerror=alert(1)>", "a\x00"]
)
def test_hostile_words_arrive_as_text(made: Make, label: str) -> None:
    page, card, internal = made(label=label)
    for text in (page, internal):
        found = Elements(text)
        tags = [tag for tag, _ in found.tags]
        assert not {"img", "iframe", "object", "link"} & set(tags)
        assert tags.count("script") == 1
        assert not any(k.startswith("on") for _, attributes in found.tags for k in attributes)
        assert "{{ 7*7 }}" in "".join(found.text) or label != HOSTILE
        if label == HOSTILE:
            assert "".join(found.text).count(HOSTILE) >= 3
    assert "<script" not in card
    assert "<img" not in card


def test_hostile_words_cannot_break_the_cards_tables(made: Make) -> None:
    _, card, _ = made(label="a | b\n# c `d` [e](http://f)")
    assert "\n# c" not in card
    for line in card.splitlines():
        if line.startswith("| Fairness"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5
    assert "[e](" not in card


def test_the_only_script_is_our_own(made: Make) -> None:
    ours = (TEMPLATES / "links.js").read_text(encoding="utf-8").strip()
    for page in (made()[0], made()[2]):
        assert [s.strip() for s in re.findall(r"<script>(.*?)</script>", page, re.S)] == [ours]


def test_a_page_needs_nothing_from_outside(made: Make) -> None:
    for page in (made()[0], made()[2]):
        assert len(page.encode()) < 5_000_000
        for tag, attributes in Elements(page).tags:
            assert tag not in ("link", "img", "iframe")
            assert "src" not in attributes
            for key in ("href", "xlink:href"):
                assert (attributes.get(key) or "#").startswith("#")
        assert not re.search(r"url\((?!#)|@import|localStorage", page)


def test_links_and_labels_lead_somewhere_and_ids_are_unique(made: Make) -> None:
    for page in (made()[0], made()[2]):
        tags = Elements(page).tags
        ids = [a["id"] for _, a in tags if "id" in a]
        assert len(ids) == len(set(ids))
        for tag, attributes in tags:
            if tag == "a":
                assert (attributes["href"] or "")[1:] in ids
            for target in (attributes.get("aria-labelledby") or "").split():
                assert target in ids


def test_headings_do_not_skip_a_level(made: Make) -> None:
    for page in (made()[0], made()[2]):
        levels = [int(t[1]) for t, _ in Elements(page).tags if re.fullmatch(r"h[1-6]", t)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))


def test_each_figure_has_its_table(made: Make) -> None:
    for page in (made()[0], made()[2]):
        for block in re.findall(r'<figure class="exhibit">.*?</figure>', page, re.S):
            assert "<svg" in block
            assert "<details>" in block
            assert "<table" in block


def test_what_is_suppressed_is_shown_as_suppressed(made: Make) -> None:
    page, _, internal = made()
    assert "suppressed: fewer than 30 people" in page
    assert ">suppressed</td>" in page
    assert "suppressed: fewer" not in internal


def test_the_first_screen_has_verdict_and_claims_with_links(made: Make) -> None:
    page, card, _ = made()
    head = page.partition("</header>")[0]
    assert ">pass</span>" in head
    for name, value, section in (
        ("Privacy", "ε 2.50", "privacy"),
        ("Attack", "Consistent", "attack"),
        ("Fairness", "0.938", "fairness"),
        ("Attribution", "1.0e−7", "attribution"),
    ):
        assert name in head
        assert value in head
        assert f'href="#{section}"' in head
        assert value in html.unescape(card)
    assert "0.887 to 0.988, bar 0.8" in head or "0.888 to 0.988, bar 0.8" in head


def test_unanswered_questions_are_shown(made: Make) -> None:
    page, card, _ = made()
    assert page.count('class="unanswered">unanswered') == 7
    assert card.count("*unanswered*") == 7


def test_it_never_says_compliant_and_carries_no_date(made: Make) -> None:
    for text in made():
        assert "complian" not in text.lower()
        assert not re.search(r"\b20\d\d-\d\d-\d\d\b|\d\d:\d\d:\d\d", text)


def test_the_internal_page_says_so_on_top(made: Make) -> None:
    page, _, internal = made()
    assert internal.partition("<header>")[0].count("INTERNAL") >= 2
    assert "INTERNAL" not in page


def test_the_same_inputs_give_the_same_bytes(made: Make) -> None:
    assert made(fresh=True) == made(fresh=True)


@pytest.mark.parametrize(
    "name", ["decision/decision.json", "audit/internal/audit.json", "model/privacy_spent.json"]
)
def test_a_missing_file_is_one_line_and_leaves_the_old_report(
    made: Make, tmp_path: Path, name: str
) -> None:
    before = made()[0]
    (tmp_path / "data" / RECIPE / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        report.main([RECIPE])
    assert (tmp_path / "data" / RECIPE / "report/published/report.html").read_text() == before


def test_a_file_of_another_shape_is_one_line(made: Make, tmp_path: Path) -> None:
    made()
    path = tmp_path / "data" / RECIPE / "audit/published/audit.json"
    artifacts.write_json(path, {"features": []})
    with pytest.raises(UserError, match=r"small: an earlier stage's file has another shape \("):
        report.main([RECIPE])


def test_an_insecure_model_says_so(made: Make, tmp_path: Path) -> None:
    made()
    path = tmp_path / "data" / RECIPE / "decision/decision.json"
    bad = decision() | {"insecure": True, "verdict": "fail"}
    bad["checks"][1]["verdict"] = "fail"
    artifacts.write_json(path, bad)
    report.main([RECIPE])
    page = (tmp_path / "data" / RECIPE / "report/published/report.html").read_text()
    assert "protects nobody" in page
    assert "A bar that was set before training is missed: noise." in page


def test_a_recipe_without_groups_or_decision_still_reports(made: Make, tmp_path: Path) -> None:
    made()
    root = tmp_path / "data" / RECIPE
    empty = audit("x") | {"features": [], "gate": None, "favourable": None}
    artifacts.write_json(root / "audit/published/audit.json", empty)
    metrics = json.loads((root / "predictions/published/metrics.json").read_text())
    metrics |= {"decision": None, "calibration": []}
    artifacts.write_json(root / "predictions/published/metrics.json", metrics)
    artifacts.write_json(
        root / "decision/decision.json",
        decision() | {"checks": [c for c in decision()["checks"] if c["name"] != "group_ratio"]},
    )
    report.main([RECIPE])
    page = (root / "report/published/report.html").read_text()
    assert "names no sensitive features" in page
    assert "not judged" in page


def test_claims_follow_the_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    found = report.read_published(RECIPE)
    assert [c["verdict"] for c in claims(found)] == ["pass"] * 4
    found["attack"]["verdict"] = "violated"
    found["attributions"]["completeness"]["p95"] = 0.0011
    found["decision"]["checks"][1]["verdict"] = "fail"
    found["decision"]["checks"][3]["verdict"] = "inconclusive"
    assert [c["verdict"] for c in claims(found)] == ["fail", "fail", "inconclusive", "fail"]
    # e^2.5 of 1 in 100 is 12.2 %.
    assert "at most 12.2 %" in privacy_words(found["spent"])


def test_an_end_beside_the_bar_gets_more_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    found = report.read_published(RECIPE)
    found["audit"]["gate"]["impact_ratio"]["low"] = 0.79967
    assert claims(found)[2]["range"].startswith("0.79967 to")


def test_words_of_numbers() -> None:
    assert interval({"value": 0.5, "low": None, "high": None}, "percent") == "50.0 %"
    assert interval({"value": 0.5, "low": 0.25, "high": 0.75}, "percent") == "50.0 % (25.0 to 75.0)"
    assert markdown("# a_b <c>\n| d") == r"\# a\_b &lt;c&gt; \| d"
    assert markdown("- a") == r"\- a"
    assert markdown("1. a") == r"\1. a" or markdown("1. a").startswith("1\\.")
    assert spread([None, {"value": 1.0, "low": None, "high": 2.0}], 0.0) == (-0.08, 2.08)
    assert spread([None]) is None
