"""Verdicts from intervals; what is missing never passes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import artifacts, gate
from tasks.params import UserError
from tasks.recipe import GateConfig
from tests.heldout import RECIPE, SPENT, write_tree

CONFIG = GateConfig(max_epsilon=3, min_auc=0.7, min_group_ratio=0.8)
ATTACK = {"verdict": "consistent", "claim": SPENT.epsilon}


def _figure(value: float, low: float, high: float) -> dict[str, float]:
    """As stats.Interval writes it."""
    return {"value": value, "low": low, "high": high}


METRICS = {"model": {"auc": _figure(0.75, 0.72, 0.78), "accuracy": _figure(0.6, 0.55, 0.65)}}
AUDIT = {
    "gate": {
        "feature": "sex",
        "group": "women",
        "reference": "men",
        "impact_ratio": _figure(0.9, 0.85, 0.95),
    }
}


def _decide(**changes: Any) -> dict[str, Any]:
    """The decision where everything is well but for the changes."""
    given = {
        "config": CONFIG, "spent": SPENT, "metrics": METRICS, "audit": AUDIT, "attack": ATTACK
    }  # fmt: skip
    return gate.decide(**{**given, **changes})


def _check(decision: dict[str, Any], name: str) -> dict[str, Any]:
    """One check by name."""
    return next(check for check in decision["checks"] if check["name"] == name)


def test_all_well_passes() -> None:
    decision = _decide()
    assert decision["verdict"] == "pass"
    assert [check["name"] for check in decision["checks"]] == [
        "epsilon", "noise", "attack", "auc", "group_ratio"
    ]  # fmt: skip
    assert (decision["epsilon"], decision["delta"], decision["insecure"]) == (2.0, 1e-4, False)
    for check in decision["checks"]:
        assert set(check) == {"name", "value", "low", "high", "bar", "verdict", "reason"}
        assert check["reason"].endswith(".")
    assert _check(decision, "auc")["reason"] == (
        "The AUC is 0.750, between 0.720 and 0.780: at least 0.7."
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.7, 0.8, "pass"),
        (0.69, 0.8, "inconclusive"),
        (0.6, 0.7, "inconclusive"),
        (0.6, 0.69, "fail"),
    ],
)
def test_the_interval_decides_not_the_value(low: float, high: float, verdict: str) -> None:
    metrics = {"model": {"auc": _figure(0.75, low, high)}}
    assert _decide(metrics=metrics)["verdict"] == verdict


@pytest.mark.parametrize(
    "figure",
    [
        None,
        {},
        {"value": None, "low": None, "high": None},
        {"value": 0.9, "low": None, "high": 0.95},
        {"value": 0.9, "low": 0.8, "high": None},
        _figure(float("nan"), 0.8, 0.95),
        {"value": "0.9", "low": "0.8", "high": "0.95"},
    ],
)
def test_an_absent_figure_is_never_a_pass(figure: Any) -> None:
    auc = _decide(metrics={"model": {"auc": figure}})
    assert _check(auc, "auc")["verdict"] == auc["verdict"] == "inconclusive"
    assert "could not be measured" in _check(auc, "auc")["reason"]
    groups = _decide(audit={"gate": {**AUDIT["gate"], "impact_ratio": figure}})
    assert groups["verdict"] == "inconclusive"


@pytest.mark.parametrize("audit", [{}, {"gate": None}])
def test_groups_that_cannot_be_compared_are_no_pass(audit: dict[str, Any]) -> None:
    decision = _decide(audit=audit)
    assert decision["verdict"] == "inconclusive"
    assert "No two groups" in _check(decision, "group_ratio")["reason"]


def test_no_bar_is_no_check() -> None:
    config = GateConfig(max_epsilon=3, min_group_ratio=None)
    decision = _decide(config=config, metrics={}, audit={"gate": None})
    assert decision["verdict"] == "pass"
    assert len(decision["checks"]) == 3


def test_accuracy_is_checked_where_a_bar_is_set() -> None:
    config = GateConfig(max_epsilon=3, min_accuracy=0.7)
    assert _check(_decide(config=config), "accuracy")["verdict"] == "fail"


def test_too_much_epsilon_fails() -> None:
    spent = replace(SPENT, epsilon=3.01)
    decision = _decide(spent=spent, attack={**ATTACK, "claim": 3.01})
    assert decision["verdict"] == _check(decision, "epsilon")["verdict"] == "fail"
    assert gate.check_epsilon(float("nan"), 3)["verdict"] == "inconclusive"
    assert gate.check_epsilon(float("inf"), 3)["verdict"] == "inconclusive"


def test_repeatable_noise_fails() -> None:
    decision = _decide(spent=replace(SPENT, noise_source="insecure seed"))
    assert (decision["verdict"], decision["insecure"]) == ("fail", True)
    assert "insecure seed" in _check(decision, "noise")["reason"]


@pytest.mark.parametrize(
    ("attack", "verdict"),
    [
        ({"verdict": "violated", "claim": 2.0}, "fail"),
        ({"verdict": "violated"}, "fail"),
        ({"verdict": "consistent", "claim": 1.0}, "inconclusive"),
        ({}, "inconclusive"),
        ({"verdict": "fine", "claim": 2.0}, "inconclusive"),
    ],
)
def test_the_attack_speaks_of_this_claim(attack: dict[str, Any], verdict: str) -> None:
    assert _decide(attack=attack)["verdict"] == verdict


def test_a_failure_outweighs_what_is_unclear() -> None:
    decision = _decide(metrics={}, spent=replace(SPENT, epsilon=9.0))
    assert decision["verdict"] == "fail"


def test_the_group_behind_a_low_end_is_named() -> None:
    found = {
        **AUDIT["gate"],
        "impact_ratio": _figure(0.9, 0.6, 0.95),
        "low_from": {"feature": "age", "group": "61+", "reference": "31-40"},
    }
    reason = _check(_decide(audit={"gate": found}), "group_ratio")["reason"]
    assert reason.endswith("The low end is that of age 61+ over 31-40.")


def test_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree("binary", people=20)
    for parts, value in (
        (("predictions", "published", "metrics.json"), METRICS),
        (("audit", "published", "audit.json"), AUDIT),
    ):
        artifacts.write_json(artifacts.folder(RECIPE, *parts), value)
    with pytest.raises(UserError, match=r"attack\.json is missing"):
        gate.main([RECIPE])
    artifacts.write_json(artifacts.folder(RECIPE, "attack", "published", "attack.json"), ATTACK)
    gate.main([RECIPE])
    decision = artifacts.read_json(artifacts.folder(RECIPE, "decision", "decision.json"))
    assert decision["verdict"] == "pass"
    assert capsys.readouterr().out.startswith("small: pass\n  pass: The training people's epsilon")


def test_an_end_that_rounds_to_the_bar_is_printed_in_full() -> None:
    figure = {"value": 0.872, "low": 0.79968, "high": 0.9394}
    check = gate.check_at_least("group_ratio", "The ratio", figure, 0.8)
    assert check["verdict"] == "inconclusive"
    assert "between 0.79968 and 0.93940" in check["reason"]
