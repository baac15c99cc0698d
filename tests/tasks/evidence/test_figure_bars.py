"""Bars for any figure: judged by the interval, on the right side."""

import pytest

from tasks.evidence.figure_bars import check_figure, check_figures, limits
from tasks.gate import bars_changed
from tasks.params import UserError, validate
from tasks.recipe import GateConfig
from tasks.settings.bars import FigureBar

FIGURE = {"value": 0.30, "low": 0.25, "high": 0.36}


@pytest.mark.parametrize(
    ("bar", "verdict"),
    [
        (FigureBar(at_most=0.36), "pass"),
        (FigureBar(at_most=0.359), "inconclusive"),
        (FigureBar(at_most=0.25), "inconclusive"),
        (FigureBar(at_most=0.249), "fail"),
        (FigureBar(at_least=0.25), "pass"),
        (FigureBar(at_least=0.251), "inconclusive"),
        (FigureBar(at_least=0.36), "inconclusive"),
        (FigureBar(at_least=0.361), "fail"),
    ],
)
def test_the_interval_decides(bar: FigureBar, verdict: str) -> None:
    found = check_figure("error_rate", "Error rate", FIGURE, bar)
    assert found["verdict"] == verdict
    assert bar.words in found["reason"] and found["reason"].startswith("Error rate: 0.3, between")


@pytest.mark.parametrize("figure", [None, {"value": 0.3, "low": None, "high": None}])
def test_what_has_no_interval_settles_nothing(figure: dict[str, float | None] | None) -> None:
    found = check_figure("bleu", "BLEU", figure, FigureBar(at_least=0.1))
    assert found["verdict"] == "inconclusive" and "could not be measured" in found["reason"]


def test_titles_come_with_the_figures() -> None:
    metrics = {
        "model": {"wer": FIGURE},
        "figures": [{"name": "wer", "title": "Word error rate", "unit": "", "better": "lower"}],
    }
    bars = {"wer": FigureBar(at_most=0.5), "gone": FigureBar(at_most=1)}
    first, second = check_figures(bars, metrics)
    assert first["reason"].startswith("Word error rate") and first["verdict"] == "pass"
    assert second["verdict"] == "inconclusive"


def test_a_bar_has_one_side() -> None:
    for sides in ({}, {"at_least": 1, "at_most": 2}, {"at_most": float("inf")}):
        with pytest.raises(UserError, match=r"figures\.wer.*exactly one"):
            validate(GateConfig, {"max_epsilon": 3, "figures": {"wer": sides}}, "gate")


def test_a_changed_bar_is_told() -> None:
    before = GateConfig(max_epsilon=3, figures={"wer": FigureBar(at_most=0.2)})
    now = GateConfig(max_epsilon=3, figures={"wer": FigureBar(at_most=0.4)})
    assert bars_changed(before, now) == ["wer at most 0.2 to 0.4"]
    gone = GateConfig(max_epsilon=3)
    assert bars_changed(before, gone) == ["wer at most 0.2 to none"]
    assert bars_changed(gone, before) == ["wer at most none to 0.2"]
    assert limits(now.figures) == {"wer at most": 0.4}
