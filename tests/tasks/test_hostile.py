"""Fifty hostile strings, wherever a user's word may stand, arrive in both reports as text."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tasks import report
from tests.hostile import MARK, RUN, STRINGS
from tests.tasks.test_report import RECIPE, write

PAGES = ("published/report.html", "internal/internal.html")
ALL = "\n".join(STRINGS)
NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium on PATH: apt-get install chromium"
)
# What our own templates and drawings are made of.
TAGS = {
    "html", "head", "meta", "title", "style", "body", "script", "a", "nav", "header", "main",
    "footer", "section", "article", "h1", "h2", "h3", "p", "div", "span", "strong", "small", "ul",
    "li", "dl", "dt", "dd", "pre", "figure", "figcaption", "details", "summary", "table",
    "caption", "thead", "tbody", "tr", "th", "td", "svg", "g", "path", "defs", "clippath", "use",
    "rect", "desc", "text", "b", "aside",
}  # fmt: skip


def _each(entry: dict[str, Any], **named: str) -> list[dict[str, Any]]:
    """One copy of an entry for each hostile string, under the given keys."""
    return [{**entry, **{k: v.format(text) if v != "{}" else text for k, v in named.items()}}
            for text in STRINGS]  # fmt: skip


def _plan(root: Path) -> None:
    """Titles, answers, columns, features, categories, classes."""

    def answers(found: dict[str, Any]) -> None:
        found |= {**dict.fromkeys(found, ALL), "rows": [ALL, ALL]}

    def summary(found: dict[str, Any]) -> None:
        data, sequence = found["data"], found["data"]["sequence"]
        found["settings"] |= dict.fromkeys(STRINGS, ALL)
        sequence["features"] = _each(sequence["features"][0], name="{}", unit="{}")
        sequence["steps"] = list(STRINGS)
        data["static"] = _each({**data["static"][0], "values": list(STRINGS)}, name="{}")
        data["target"] |= {"names": list(STRINGS), "classes": list(range(50)), "column": ALL}
        data["sensitive"] = _each(data["sensitive"][0], name="{}")

    _change(root / "plan/report.json", answers)
    _change(root / "plan/summary.json", summary)


def _attributions(root: Path) -> None:
    """Features, steps, groups, methods, reasons, tokens."""

    def published(found: dict[str, Any]) -> None:
        found["by_feature"] = _each(found["by_feature"][0], feature="{}")
        found["by_step"] = _each(found["by_step"][0], step="{}")
        found["sequence_features"] = list(STRINGS)
        found["by_feature_and_step"] = [[0.5] * 50] * 50
        found |= {"explained": ALL, "unit": ALL, "step_axis": ALL, "method": STRINGS[0]}
        quality = found["quality"]
        quality["methods"] = _each(quality["methods"][1], method="{}", reason="{}")
        quality["agreement"] = _each(quality["agreement"][0], first="{}", second="{}")
        read(found)

    def read(found: dict[str, Any]) -> None:
        groups, proxies, reasons = found["groups"], found["proxies"], found["reasons"]
        one = groups["sensitive"][0]
        cells = one["groups"][0]["shares"][:1] * 50
        one |= {"name": ALL, "groups": _each({"shares": cells, "n": 1}, label="{}")}
        groups["features"] = list(STRINGS)
        one = proxies["sensitive"][0]
        one["probe"] = _each(one["probe"][0], label="{}")
        one["carriers"] = _each(one["carriers"][0], feature="{}")
        one["ablations"][0] |= {"features": list(STRINGS), "reference": ALL}
        one["ablations"][0]["groups"] = _each(one["ablations"][0]["groups"][0], label="{}")
        reasons["reasons"] = _each(reasons["reasons"][0], feature="{}")
        reasons["other_method"] = STRINGS[1]
        groups = reasons["groups"]
        groups["features"] = list(STRINGS)
        one = groups["sensitive"][0]
        one["groups"] = _each({**one["groups"][0], "reasons": [None] * 50}, label="{}")

    def people(found: dict[str, Any]) -> None:
        first, second = found["people"]
        first["features"] = _each(first["features"][0], feature="{}", unit="{}")
        first["features"] += [{**f, "values": [t]} for f, t in
                              zip(first["features"], STRINGS, strict=True)]  # fmt: skip
        first["static"] = _each(first["static"][0], feature="{}", unit="{}")
        first |= {"outcome": ALL, "predicted": ALL, "rule": ALL, "id": ALL}
        second["characters"] = _each({"attribution": -0.1}, text="{}")
        found["explained"] = ALL
        found["gradient_flow"]["cells"] = {text: [0.0, 0.0] for text in STRINGS}
        read(found)

    _change(root / "attributions/published/attributions.json", published)
    _change(root / "attributions/internal/people.json", people)


def _decisions(root: Path) -> None:
    """Labels of groups, names of checks, what people wrote when they overrode them."""

    def audit(found: dict[str, Any]) -> None:
        feature = found["features"][0]
        feature["groups"] = _each(feature["groups"][0], label="{}")
        feature |= {"name": ALL, "reference": STRINGS[0]}
        found["favourable"] = ALL

    def decided(found: dict[str, Any]) -> None:
        found["checks"] = found["checks"] + _each(found["checks"][0], name="{}", reason="{}")
        found["override"] = {
            "approver": ALL, "reason": ALL, "words": ALL, "status": "applied", "verdict": "fail",
            "model": "0123456789ab",
        }  # fmt: skip

    def metrics(found: dict[str, Any]) -> None:
        found["decision"]["favourable"] = ALL

    def attack(found: dict[str, Any]) -> None:
        found |= {"method": ALL, "note": ALL}

    def ledger(found: dict[str, Any]) -> None:
        found["events"] = _each(found["events"][1], released="{}")
        found |= {"parallel": ALL, "accountant": ALL}
        found["cross_check"] |= {"accountant": ALL, "of": ALL}

    def run(found: dict[str, Any]) -> None:
        group = found["membership"]["model"]["loss"]["by_group"][0]
        group["groups"] = _each(group["groups"][0], label="{}")
        found["run"] |= {text: text for text in STRINGS}

    _change(root / "audit/published/audit.json", audit)
    _change(root / "audit/internal/audit.json", lambda found: audit(found["model"]))
    _change(root / "decision/decision.json", decided)
    _change(root / "predictions/published/metrics.json", metrics)
    _change(root / "attack/published/attack.json", attack)
    _change(root / "attack/internal/attack.json", run)
    _change(root / "model/ledger.json", ledger)
    _change(root / "model/null_block.json", lambda found: found.update(note=ALL))


def _change(path: Path, how: Any) -> None:
    """Rewrite a JSON file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    how(found)
    path.write_text(json.dumps(found), encoding="utf-8")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of both reports, made of hostile strings throughout."""
    root = tmp_path_factory.mktemp("hostile")
    before = Path.cwd()
    os.chdir(root)
    try:
        write(root)
        for put in (_plan, _attributions, _decisions):
            put(root / "data" / RECIPE)
        report.main([RECIPE])
    finally:
        os.chdir(before)
    yield root / "data" / RECIPE / "report"


class Page(HTMLParser):
    """Elements, attributes and visible text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def flat(text: str) -> str:
    """Text without what browsers may drop: white space and what is no character."""
    return re.sub("[\\s\\x00-\\x1f\\ufffd\\ufffe]+", "", text)


def check(page: Page) -> None:
    """Nothing but our own elements and attributes, and every string as text."""
    assert {tag for tag, _ in page.tags} <= TAGS
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert [tag for tag, _ in page.tags].count("style") == 1
    for tag, attributes in page.tags:
        assert not any(key.startswith("on") for key in attributes), (tag, attributes)
        assert not {"src", "srcdoc", "action", "autofocus", "http-equiv"} & set(attributes), tag
        for key in ("href", "xlink:href"):
            assert (attributes.get(key) or "#").startswith("#")
        if "style" in attributes:
            assert "url(" not in re.sub(r"url\(\"?#[\w-]+\"?\)", "", attributes["style"] or "")
    shown = flat("".join(page.text))
    missing = [text for text in STRINGS if flat(text) not in shown]
    assert not missing


@pytest.mark.parametrize("name", PAGES)
def test_hostile_strings_are_text_to_a_parser(reports: Path, name: str) -> None:
    check(Page((reports / name).read_text(encoding="utf-8")))


def test_there_are_fifty_and_each_is_another() -> None:
    assert len(set(STRINGS)) == 50


def test_the_card_has_no_element_and_no_link(reports: Path) -> None:
    card = (reports / "published/model_card.md").read_text(encoding="utf-8")
    assert not re.search(r"<[a-zA-Z/!]", card)
    assert not re.search(r"(?<!\\)\]\(", card)


def _browse(page: Path, scratch: Path) -> str:
    """The document as headless Chromium has it after scripts ran."""
    assert BROWSER is not None
    # Chromium refuses to sandbox itself for root.
    rights = ["--no-sandbox"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [
            BROWSER, "--headless", *rights, "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", f"--user-data-dir={scratch}",
            "--virtual-time-budget=3000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout.decode("utf-8", errors="replace")


@needs_browser
def test_the_browser_would_run_them(tmp_path: Path) -> None:
    """So that the next test can fail: unescaped, one string is enough."""
    for number in (0, 12, 17, 27):
        page = tmp_path / f"{number}.html"
        page.write_text(f"<!doctype html><title>t</title><p>{STRINGS[number]}</p>", "utf-8")
        root = Page(_browse(page, tmp_path / "profile")).tags[0]
        assert root[0] == "html"
        assert MARK in root[1], STRINGS[number]


@needs_browser
@pytest.mark.parametrize("name", PAGES)
def test_hostile_strings_are_text_to_a_browser(reports: Path, name: str, tmp_path: Path) -> None:
    page = Page(_browse(reports / name, tmp_path / "profile"))
    root = page.tags[0]
    assert root[0] == "html"
    assert MARK not in root[1], f"{RUN} ran"
    check(page)
