"""Figures: the same bytes, text as text, colours that follow the page."""

import math
import re
from xml.etree import ElementTree

import pytest

from tasks import figures
from tasks.figures import Interval

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}",
    "$\\frac{1}{$",
    "]]>&amp;<!--",
    "a\x00b\x1bc",
    "名前 🙂",
)
ROWS = [Interval("a", 0.9, 0.8, 1.0), Interval("b", None), Interval("c", 0.7)]


def every_figure(label: str) -> dict[str, str]:
    """One of each form, with `label` wherever a user's word can stand."""
    rows = [Interval(label, 0.9, 0.8, 1.0), *ROWS]
    bins = [{"low": 0.0, "high": 1.0, "n": 40, "mean_score": 0.3, "rate": 0.2}]
    return {
        "forest": figures.forest("f", label, rows, axis=label, bar=0.8, bar_name=label),
        "bars": figures.bars("b", label, rows, axis=label),
        "steps": figures.steps("s", label, rows, axis=label, value_axis=label),
        "heat": figures.heat("h", label, [label], [label, "x"], [[0.5, None]], axis=label),
        "calibration": figures.calibration("c", label, bins),
        "curves": figures.curves(
            "l", label, [1, 2], {label: [1.0, None]}, axis="x", value_axis="y"
        ),
    }


def test_the_same_values_give_the_same_bytes() -> None:
    assert every_figure("a") == every_figure("a")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    for svg in every_figure(text).values():
        root = ElementTree.fromstring(svg)
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= {"svg", "title", "desc", "g", "path", "text", "tspan", "defs", "use",
                        "clipPath", "rect"}  # fmt: skip
        assert not any(key.startswith("on") for e in root.iter() for key in e.attrib)
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None
        assert title.text == " ".join(re.sub("[\x00\x1b]", "\ufffd", text).split())


def test_a_label_is_drawn_as_it_was_written() -> None:
    svg = figures.bars("b", "t", [Interval("<b>$x$</b>", 1.0)], axis="share")
    texts = [e.text for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}text")]
    assert "<b>$x$</b>" in texts


def test_colours_follow_the_page() -> None:
    for svg in every_figure("a").values():
        fixed = re.sub(r"var\([^)]*\)", "", svg)
        assert not re.search(r"#[0-9a-fA-F]{3,6}\b", re.sub(r'"(url\(#|#)[^"]*"', "", fixed))
        assert "#10000" not in svg
        assert "var(--" in svg


def test_ids_carry_the_name_and_references_resolve() -> None:
    svg = figures.forest("group-1", "t", ROWS, axis="x")
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert all(i.startswith("group-1-") for i in ids)
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(ids)
    assert set(re.findall(r'href="#([^"]+)"', svg)) <= set(ids)


def test_it_says_what_it_shows_to_a_screen_reader() -> None:
    svg = figures.forest("f", "Impact ratio", ROWS, axis="ratio")
    assert 'role="img"' in svg
    assert 'aria-labelledby="f-title f-desc"' in svg
    assert "3 rows, 1 suppressed" in svg


def test_a_suppressed_row_is_marked_and_has_no_point() -> None:
    svg = figures.forest("f", "t", [Interval("b", None)], axis="x", limits=(0, 1))
    assert ">suppressed<" in svg
    assert "<use" not in svg.partition("suppressed")[0].rpartition("clip-path")[2]


def test_nothing_dates_a_figure() -> None:
    for svg in every_figure("a").values():
        assert "metadata" not in svg
        assert not re.search(r"20\d\d-\d\d", svg)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0, 8.0])
def test_the_trade_off_is_the_theorem(epsilon: float) -> None:
    """Kairouz et al.: beta >= max(0, 1 - delta - e^eps a, e^-eps (1 - delta - a))."""
    delta = 1e-3
    for a in (0.0, 0.01, 0.2, 0.5, 0.99):
        found = figures.most_found(a, epsilon, delta)
        assert found <= math.exp(epsilon) * a + delta + 1e-12
        assert 1 - a <= math.exp(epsilon) * (1 - found) + delta + 1e-12 or found == 1.0
        # One of the two bounds is met: a smaller figure would be wrong.
        first = math.exp(epsilon) * a + delta
        second = 1 - math.exp(-epsilon) * (1 - delta - a)
        assert found == pytest.approx(min(1.0, first, second))


def test_a_huge_epsilon_promises_nothing() -> None:
    assert figures.most_found(0.0, 1000.0, 0.0) == 1.0
