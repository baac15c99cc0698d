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

import numpy as np
import pytest
from safetensors.numpy import save_file

from rnn.config import ModelConfig, TrainConfig
from tasks import artifacts, lineage, report, sbom
from tasks.evidence.profiles import read_profiles
from tasks.pages.claims import claims, privacy_words
from tasks.pages.exhibits import spread
from tasks.pages.html import TEMPLATES, interval, markdown
from tasks.params import UserError
from tasks.recipe import AuditConfig, ReportConfig
from tests.fake import ledger, null_block
from tests.reading import attributions, figure, local

RECIPE = "small"
TRAIN = TrainConfig(steps=240, expected_batch_size=100)
SHAPE = {"input_size": 3, "vocabulary_size": 0, "static_size": 2, "output_size": 1,
         "quantiles": [], "task": "binary"}  # fmt: skip
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


def audit(label: str, exact: bool = False) -> dict[str, Any]:
    """One sensitive feature with a shown, a compared and a suppressed group."""
    value = figure(0.123456) if exact else None
    small = {
        "label": "small", "n": 3 if exact else None, "people": "3" if exact else "withheld",
        "suppressed": None if exact else "fewer than 30 people, or withheld",
        "metrics": {"n": value, "selection_rate": value, "auc": value}, "withheld": {},
    }  # fmt: skip
    shown = [
        {"label": name, "n": 400, "people": "400", "suppressed": None, "withheld": {},
         "metrics": {"n": {"value": 400.0, "low": 400.0, "high": 400.0},
                     "selection_rate": figure(rate), "auc": figure(0.7)}}
        for name, rate in ((label, 0.8), ("men", 0.75))
    ]  # fmt: skip
    ratio = {"group": "men", "reference": label, "impact_ratio": figure(0.9375),
             "selection_rate_difference": figure(-0.05), "verdict": "pass",
             "detectable_gap": 0.0771, "p_values": {"selection_rate": 0.02},
             "p_adjusted": {"selection_rate": 0.04}}  # fmt: skip
    withheld = {**ratio, "group": "small", "impact_ratio": None, "verdict": None,
                "selection_rate_difference": None, "detectable_gap": None,
                "p_values": {"selection_rate": None},
                "p_adjusted": {"selection_rate": None}}  # fmt: skip
    highest = [
        {"group": name, "highest": label, "selection_rate_difference": figure(0.0),
         "impact_ratio": figure(1.0), "below_four_fifths": False, "verdict": "pass"}
        for name in (label, "men")
    ]  # fmt: skip
    comparisons = {"to_reference": [ratio, withheld], "to_highest": highest,
                   "summary": {"demographic_parity_difference": figure(0.05)}}  # fmt: skip
    feature = {"name": label, "reference": label, "groups": [*shown, small], "crosses": [],
               "control": False, "comparisons": comparisons}  # fmt: skip
    crossing = {**feature, "name": f"{label} x age", "crosses": [label, "age"]}
    swept = {"feature": label, "label": "men", "selection_rate": figure(0.5), "tpr": figure(0.5),
             "fpr": figure(0.2), "ppv": figure(0.5)}  # fmt: skip
    curve = {"label": "men", "roc": [[0.0, 0.0], [0.2, 0.7], [1.0, 1.0]],
             "calibration": [{"low": 0.0, "high": 1.0, "n": 400, "mean_score": 0.4,
                              "rate": figure(0.5)}]}  # fmt: skip
    return {
        "task": "binary", "confidence": 0.95, "min_people": 30, "min_events": 10,
        "favourable": "pays",
        "features": [feature, crossing],
        "control": [{"feature": label, "control": "age", "level": label, "rows": [ratio]}],
        "exploratory": {"comparisons": 12, "called": 1, "false_discovery_rate": 0.05},
        "sweep": {"points": [{"approval_rate": 0.5, "share": 0.49, "threshold": 0.3,
                              "groups": [swept], "smallest_ratio": 0.9}]},
        "curves": [{"feature": label, "groups": [curve]}],
        "gate": {"feature": label, "group": "men", "reference": label,
                 "impact_ratio": figure(0.9375), "pairs": 1, "confidence": 0.95},
        "not_judged": [{"feature": label, "group": "small", "reason": "too few"}],
        "source": {"kind": "suppressed"},
    }  # fmt: skip


def noised(label: str) -> dict[str, Any]:
    """The same audit as if made from a noised histogram."""
    source = {"kind": "noised", "cells": 380, "noise": 3.33, "decision_noise": 2.72,
              "unit": "person", "epsilon": 2.99, "delta": 1e-6, "releases": 2,
              "epsilon_together": 5.98, "left_out": [label]}  # fmt: skip
    overall = {"n": figure(5790.6), "selection_rate": figure(0.7654), "auc": figure(0.7777)}
    curve = [{"low": 0.0, "high": 1.0, "n": 40, "mean_score": 0.3, "rate": figure(0.4321)}]
    more = {"overall": overall, "calibration": curve, "confidence": 0.9}
    return {**audit(label), **more, "source": source}


def cost(label: str) -> list[dict[str, Any]]:
    """What privacy cost two groups."""
    first = {"label": label, "n": 400, "loss": figure(0.01), "skill": figure(-0.01),
             "accuracy": figure(0.0), "disagreement": figure(0.123456)}  # fmt: skip
    second = {**first, "label": "men", "loss_disparity": figure(0.02),
              "skill_disparity": figure(0.0), "accuracy_disparity": figure(0.0)}  # fmt: skip
    return [{"name": label, "reference": label, "groups": [first, second]}]


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


def summary(label: str) -> dict[str, Any]:
    feature = {"name": label, "unit": label, "bounds": [0, 1e6], "transform": "log", "values": []}
    return {
        "recipe": RECIPE,
        "settings": {"train": artifacts.as_json(TRAIN), "note": label, "unset": None},
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


def write(root: Path, label: str = "sex", marker: str = "MARK") -> None:
    """Write every input of the stage; `marker` and 0.123456 stand in internal files alone."""
    numbers = {"auc": figure(0.78), "accuracy": figure(0.81), "loss": figure(0.43)}
    attack = {"auc": figure(0.5), "tpr": [{"false_positive_rate": 0.1, **figure(0.1)}],
              "epsilon_lower_bound": {"value": 0.123456, "confidence": 0.999},
              "by_group": [{"name": label, "groups": [
                  {"label": label, "members": 60, "non_members": 50, "auc": figure(0.5),
                   "advantage": figure(0.01)},
                  {"label": "small", "members": 3, "non_members": 2, "auc": None,
                   "advantage": None}],
                  "disparity": {"auc": {"value": 0.02, "control_median": 0.03,
                                        "control_low": 0.01, "control_high": 0.05,
                                        "p_value": 0.5, "adjusted_p_value": 0.7},
                                "advantage": None}}]}  # fmt: skip
    attacked = {"loss": attack, "rmia": attack}
    point = {"false_positive_rate": 0.1, "true_positive_rate": 0.123456, "low": 0.1, "high": 0.2}
    run = {"canaries": 500, "points": [point],
           "verdict": marker, "lower_bound": {"epsilon": 0.123456}}  # fmt: skip
    curve = {"step": [1, 2], "loss": [0.123456, 0.5], "gradient_norm_median": [1.0, None]}
    files: dict[str, Any] = {
        "plan/report.json": {
            **artifacts.as_json(ReportConfig(title=label)), "purpose": label, "data_source": label,
        },
        "plan/summary.json": summary(label),
        "plan/profiles.json": artifacts.as_json(read_profiles(AuditConfig().profiles)),
        "model/privacy_spent.json": SPENT,
        "model/config.json": {"model": artifacts.as_json(ModelConfig()), "shape": SHAPE},
        "model/ledger.json": ledger(),
        "model/null_block.json": null_block(),
        "raw/manifest.json": {"files": [{"path": "a.csv", "sha256": "5ec7e7" * 10, "size": 9}]},
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
            "model": numbers, "n": 5786,
        },
        "audit/internal/audit.json": {
            "model": audit(marker, True), "twin": audit("x", True), "privacy_cost": cost(marker),
            "checked_with_fairlearn": 51},
        "attack/internal/attack.json": {
            "claim": 2.5, "delta": 1e-6, "note": marker, "run": run,
            "membership": {"members": 5786, "non_members": 5786, "references": 4,
                           "model": attacked, "twin": attacked},
        },
        "attributions/internal/people.json": local(marker, label),
    }  # fmt: skip
    for name, value in files.items():
        artifacts.write_json(root / "data" / RECIPE / name, value)
    weights = {"cell": np.zeros((3, 4), np.float32), "head": np.zeros(5, np.float32)}
    save_file(weights, root / "data" / RECIPE / "model" / "weights.safetensors")


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
    context = report.published_context(report.read_published(RECIPE), sbom.environment())
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
    assert '<td class="hidden">suppressed</td>' in page
    assert "is suppressed, and so is another" in page
    exact = internal[internal.index('id="audit"') :]
    # The comparisons of the fixture stay withheld, the figures do not.
    assert "0.123" in exact


def test_a_noised_audit_tells_its_noise_and_its_price(made: Make, tmp_path: Path) -> None:
    made()
    root = tmp_path / "data" / RECIPE
    artifacts.write_json(root / "audit/published/audit.json", noised("sex"))
    path = root / "predictions/published/metrics.json"
    metrics = json.loads(path.read_text())
    # As predict writes it then: what is exact of everybody is internal.
    bare = {k: v for k, v in metrics.items() if k not in ("n", "model", "calibration")}
    del bare["decision"]["approval_rate"]
    artifacts.write_json(path, {**bare, "interval": None})
    report.main([RECIPE])
    page = (root / "report/published/report.html").read_text()
    # The calibration curve is of the event, which is not the favourable outcome here.
    performance = page[page.index('id="performance"') : page.index('id="fairness"')]
    for text in ("On about 5,791 held-out people", "with 90 % intervals", "0.778", "56.8 %",
                 "76.5 %"):  # fmt: skip
        assert text in performance, text
    assert "0.780" not in performance
    internal = (root / "report/internal/internal.html").read_text()
    assert "same 5,786 held-out people" in internal and "0.780" in internal
    assert "score (standard deviation 3.33) and by group, outcome and decision (2.72)" in page
    assert "A held-out person&#39;s epsilon is 2.99 at delta 1e−6" in page
    assert "the larger of training&#39;s and this one" in page
    assert "number 2 of this recipe" in page
    assert "at most 5.98" in page
    assert "Left out: sex" in page
    assert '<td class="hidden">too few</td>' in page
    groups = page[page.index('id="fairness"') : page.index('id="attribution"')]
    assert ">suppressed<" not in groups
    card = (root / "report/published/model_card.md").read_text()
    assert "Figures of held-out people have noise" in card
    assert "no differential privacy" not in card


def test_the_audits_sections_are_on_both_pages(made: Make) -> None:
    page, _, internal = made()
    for text in (page, internal):
        for title in (
            "Intersections",
            "Within control features",
            "Other thresholds, ROC",
            "Differences by",
            "Largest gaps and smallest ratios",
        ):
            assert title in text
    assert "7.7 %" in page
    assert "1 are called different" in page
    assert "Who loses under privacy" in internal
    assert "Who loses" not in page
    assert "gave the same 51 point values" in internal


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
    assert page.count('class="unanswered">unanswered') == 12
    assert card.count("*unanswered*") == 12


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
    found["attributions"]["completeness"]["p95"] = 0.0
    found["attributions"]["quality"]["methods"][0] |= {"verdict": "fail", "reason": "By chance."}
    assert [(c["verdict"], c["words"]) for c in claims(found)][3] == ("fail", "By chance.")
    # By epsilon and delta alone it would be e^2.5 of 1 in 100, which is 12.2 %.
    assert "at most 3.7 %" in privacy_words(found["spent"], found["promise"])


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


OVERRIDE = {
    "approver": HOSTILE, "reason": f"Because of May. {HOSTILE}", "model": "0123456789ab",
    "status": "applied", "verdict": "fail",
    "words": "The gate's verdict stays fail. Answered for: auc.",
}  # fmt: skip


def _with_decision(root: Path, **changes: Any) -> tuple[str, str, str]:
    """Page, card and internal page of a decision that says more."""
    write(root)
    folder = root / "data" / RECIPE
    artifacts.write_json(folder / "decision/decision.json", decision() | changes)
    report.main([RECIPE])
    names = ("published/report.html", "published/model_card.md", "internal/internal.html")
    page, card, internal = ((folder / "report" / name).read_text("utf-8") for name in names)
    return page, card, internal


def test_an_override_is_on_the_first_screen_of_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page, card, internal = _with_decision(
        tmp_path, override=OVERRIDE, model="0123456789ab", verdict="fail"
    )
    for text in (page, internal):
        head = text.partition("</header>")[0]
        words = "".join(Elements(head).text)
        assert f"Overridden by {HOSTILE}." in words
        assert f"Reason given: Because of May. {HOSTILE}" in words
        assert "verdict stays fail" in words and "model 0123456789ab" in words
        assert ">fail</span>" in head, "the verdict is not changed"
        assert "<script>alert" not in text
    top = card.partition("## ")[0]
    assert "**Overridden by " in top and "Reason given: Because of May" in top
    assert "<script>" not in card
    facts = json.loads((tmp_path / f"data/{RECIPE}/report/published/model_card.json").read_text())
    assert facts["override"] == OVERRIDE and facts["model"] == "0123456789ab"


@pytest.mark.parametrize("status", ["refused", "other model", "not needed"])
def test_an_override_that_does_nothing_is_not_called_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = _with_decision(tmp_path, override={**OVERRIDE, "status": status})
    for text in texts:
        assert f"Override {status}: " in text and "Overridden" not in text


def test_bars_that_changed_after_training_are_said_on_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bars = {"kept": True, "changed": ["min auc 0.7 to 0.6"]}
    check = {**decision()["checks"][1], "name": "bars", "verdict": "inconclusive"}
    changes = {"verdict": "inconclusive", "checks": [*decision()["checks"], check], "bars": bars}
    page, card, internal = _with_decision(tmp_path, **changes)
    for text in (page.partition("</header>")[0], card.partition("## ")[0], internal):
        assert "Bars changed after training" in text and "min auc 0.7 to 0.6" in text
    assert "Bars were set before training. " not in page
    assert "needs a person to say" in page and "cannot settle" not in page


def test_lists_are_folded_with_what_answers_and_what_is_missing(made: Make, tmp_path: Path) -> None:
    page, card, _ = made()
    section = page.partition('<section aria-labelledby="lists">')[2].partition("</section>")[0]
    assert section.count('<details class="list">') == 4
    assert "as of 12 July 2024" in section
    # The only other group of the list's feature, its interval with it.
    assert "smallest ratio between two groups" in section
    assert "0.938 (0.887 to 0.988)" in section or "0.938 (0.888 to 0.988)" in section
    assert "nothing here" in section
    assert "race or ethnic group (not in this report)" in section
    assert "## What reviewers' lists ask" in card and "12 July 2024" in card
    facts = json.loads(
        (tmp_path / f"data/{RECIPE}/report/published/model_card.json").read_text("utf-8")
    )
    assert [p["as_of"] for p in facts["profiles"]] == [
        "2008-07-01", "2023-07-05", "2024-07-12", "2023-01-26"
    ]  # fmt: skip
    assert all(row["answers"] or row["missing"] for p in facts["profiles"] for row in p["rows"])


def _swap_row(n: int | None, change: float | None = 0.125) -> dict[str, Any]:
    return {
        "n": n, "suppressed": None if n else "fewer than 30 texts",
        "flip_rate": figure(0.25) if n else None,
        "mean_change": None if change is None else figure(change),
        "mean_absolute_change": figure(0.2) if n else None,
    }  # fmt: skip


SWAPS = {
    "what": "the probability of pays", "task": "binary", "confidence": 0.95, "min_people": 30,
    "min_events": 10, "texts": 5786, "overall": _swap_row(400),
    "groups": [{
        "name": "pronouns", "sides": ["he", "she"], "where": "anywhere", **_swap_row(300),
        "not_in_alphabet": [["él", "ella"]],
        "pairs": [{"first": "he", "second": HOSTILE, **_swap_row(270)},
                  {"first": "his", "second": "her", **_swap_row(None, None)}],
    }],
}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            SWAPS,
            ["pronouns: from he to she", "25.0 % (20.0 to 30.0)", "él / ella", "fewer than 30"],
        ),
        ({**SWAPS, "overall": None, "groups": [], "no_hits": True}, ["nothing could be swapped"]),
        (
            {"withheld": "Exact figures are internal.", "groups": []},
            ["Exact figures are internal."],
        ),
    ],
)
def test_swapped_terms_have_a_section_where_there_is_text(
    made: Make, tmp_path: Path, found: Any, said: list[str]
) -> None:
    assert "The same text with other terms" not in made()[0]
    path = tmp_path / "data" / RECIPE / "audit/published/audit.json"
    artifacts.write_json(path, {**audit("sex"), "swaps": found})
    report.main([RECIPE])
    page = (tmp_path / "data" / RECIPE / "report/published/report.html").read_text()
    assert "The same text with other terms" in page and "<script>alert" not in page
    for part in said:
        assert part in page


def test_the_path_of_a_second_model_stays_out() -> None:
    from tasks.pages.words import settings

    given = summary("x")
    given["settings"]["explain"] = {"orders": 24, "second_model": "/home/somebody/other"}
    assert settings(given)["explain"] == {"orders": 24}


@pytest.mark.parametrize("there", [True, False])
def test_a_run_that_nothing_measured_is_said_on_page_and_card(
    made: Make, tmp_path: Path, there: bool
) -> None:
    page, card, _ = made()
    assert "1,000 parameters that are connected to nothing" in page
    assert "| Null block in the training run | consistent | From 141 right guesses" in card
    block = tmp_path / "data" / RECIPE / "model/null_block.json"
    if there:
        artifacts.write_json(block, None)
    else:
        block.unlink()
    report.main([RECIPE])
    root = tmp_path / "data" / RECIPE / "report/published"
    page = (root / "report.html").read_text()
    assert "Nothing measured this run&#39;s noise" in page or "Nothing measured this run's" in page
    assert "nothing measured the noise of the training run." in page.partition("</header>")[0]
    assert "| not measured |" in (root / "model_card.md").read_text()


def test_page_and_card_tie_the_model_to_its_data_by_a_keyed_digest(
    made: Make, tmp_path: Path
) -> None:
    page, card, internal = made(fresh=True)
    digest = lineage.lineage(RECIPE, tmp_path)
    facts = json.loads(
        (tmp_path / "data" / RECIPE / "report/published/model_card.json").read_text()
    )
    assert facts["lineage"] == digest
    assert digest in page and digest in card
    assert not any("5ec7e7" in text for text in (page, card, internal, json.dumps(facts)))


def test_the_ledger_stands_on_page_and_card(made: Make, tmp_path: Path) -> None:
    page, card, internal = made()
    facts = json.loads(
        (tmp_path / "data" / RECIPE / "report/published/model_card.json").read_text()
    )
    for text in (page, card, json.dumps(facts)):
        assert "quantiles of debt" in text and "noised sums of clipped gradients" in text
    assert "A second accountant" in page and "A second accountant" in card
    assert "What an attacker gains at most" in page
    # The curve's own points are published, those of attacks on people are not.
    assert "null block" in page and "RMIA" not in page and "attack run" not in page
    assert "RMIA, twin" in internal and "attack run" in internal
