"""Verdicts from intervals; what is missing never passes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks import artifacts, gate
from tasks.evidence.override import broken_promises
from tasks.evidence.promises import check_epsilon
from tasks.params import UserError
from tasks.recipe import GateConfig, OverrideConfig, OverridePlan
from tests import fake
from tests.heldout import RECIPE, SPENT, write_tree
from tests.test_architecture import ROOT

CONFIG = GateConfig(max_epsilon=3, min_auc=0.7, min_group_ratio=0.8)
ATTACK = {"verdict": "consistent", "claim": SPENT.epsilon}
BLOCK = {"verdict": "consistent"}


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
        "config": CONFIG, "spent": SPENT, "metrics": METRICS, "audit": AUDIT, "attack": ATTACK,
        "null_block": BLOCK,
    }  # fmt: skip
    given |= changes
    return gate.decide(**{"before": given["config"], **given})


def _check(decision: dict[str, Any], name: str) -> dict[str, Any]:
    """One check by name."""
    return next(check for check in decision["checks"] if check["name"] == name)


def test_all_well_passes() -> None:
    decision = _decide()
    assert decision["verdict"] == "pass"
    assert [check["name"] for check in decision["checks"]] == [
        "epsilon", "noise", "attack", "null_block", "auc", "group_ratio", "bars"
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
    assert [check["name"] for check in decision["checks"]] == [
        "epsilon", "noise", "attack", "null_block", "bars"
    ]  # fmt: skip


def test_accuracy_is_checked_where_a_bar_is_set() -> None:
    config = GateConfig(max_epsilon=3, min_accuracy=0.7)
    assert _check(_decide(config=config), "accuracy")["verdict"] == "fail"


def test_too_much_epsilon_fails() -> None:
    spent = replace(SPENT, epsilon=3.01)
    decision = _decide(spent=spent, attack={**ATTACK, "claim": 3.01})
    assert decision["verdict"] == _check(decision, "epsilon")["verdict"] == "fail"
    assert check_epsilon(float("nan"), 3)["verdict"] == "inconclusive"
    assert check_epsilon(float("inf"), 3)["verdict"] == "inconclusive"


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


@pytest.mark.parametrize(
    ("block", "verdict"),
    [
        (fake.null_block(), "pass"),
        (fake.null_block("violated"), "fail"),
        ({"verdict": "fine"}, "inconclusive"),
        ({}, "inconclusive"),
        (None, "inconclusive"),
    ],
)
def test_a_run_that_nothing_measured_is_no_pass(block: Any, verdict: str) -> None:
    decision = _decide(null_block=block)
    assert decision["verdict"] == _check(decision, "null_block")["verdict"] == verdict
    assert ("Nothing measured" in _check(decision, "null_block")["reason"]) == (
        verdict == "inconclusive"
    )


@pytest.mark.parametrize(
    ("epsilon", "verdict"), [(2.9, "pass"), (3.1, "fail"), (None, "inconclusive")]
)
def test_the_bar_of_epsilon_holds_for_held_out_people_too(epsilon: Any, verdict: str) -> None:
    for source in (
        {"kind": "noised", "epsilon": epsilon},
        {"kind": "suppressed", "interval": {"account": {"epsilon": epsilon, "unit": "person"}}},
    ):
        decision = _decide(audit={**AUDIT, "source": source})
        check = _check(decision, "held_out_epsilon")
        assert decision["verdict"] == check["verdict"] == verdict
        assert (check["value"], check["bar"]) == (epsilon, 3)
        # Neither of the two alone passes the bar, and their sum is nobody's.
        assert _check(decision, "epsilon")["verdict"] == "pass"
        assert bool(broken_promises(decision["checks"])) == (verdict != "pass")
    assert (
        _check(
            _decide(audit={**AUDIT, "source": {"kind": "noised", "epsilon": 3.1}}),
            "held_out_epsilon",
        )["reason"]
        == "The held-out people's epsilon is 3.100: above 3."
    )


def test_exact_figures_promise_no_epsilon_and_are_not_checked_for_one() -> None:
    for source in ({"kind": "suppressed"}, {"kind": "suppressed", "interval": None}):
        names = {check["name"] for check in _decide(audit={**AUDIT, "source": source})["checks"]}
        assert "held_out_epsilon" not in names


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
    assert decision["model"] == artifacts.digest_folder(artifacts.folder(RECIPE, "model"))[:12]
    assert decision["override"] is None
    said = capsys.readouterr().out
    assert said.startswith("small: pass\n  pass: The training people's epsilon")
    assert said.endswith(f"small: model {decision['model']}\n")


def test_an_end_that_rounds_to_the_bar_is_printed_in_full() -> None:
    figure = {"value": 0.872, "low": 0.79968, "high": 0.9394}
    check = gate.check_at_least("group_ratio", "The ratio", figure, 0.8)
    assert check["verdict"] == "inconclusive"
    assert "between 0.79968 and 0.93940" in check["reason"]


LOOSER = replace(CONFIG, min_auc=0.6)
UNSURE = {"model": {"auc": _figure(0.7, 0.65, 0.75)}}


def test_a_bar_that_was_lowered_after_training_is_no_pass() -> None:
    decision = _decide(config=LOOSER, before=CONFIG, metrics=UNSURE)
    assert _check(decision, "auc")["verdict"] == "pass"
    assert decision["verdict"] == _check(decision, "bars")["verdict"] == "inconclusive"
    assert _check(decision, "bars")["reason"] == (
        "Bars changed after training: min auc 0.7 to 0.6. By those that stood when training began "
        "the verdict is inconclusive."
    )
    assert decision["bars"] == {"kept": True, "changed": ["min auc 0.7 to 0.6"]}


def test_a_model_that_meets_the_old_bars_too_passes_and_says_that_they_changed() -> None:
    decision = _decide(config=LOOSER, before=CONFIG)
    assert decision["verdict"] == "pass"
    assert "Bars changed after training: min auc 0.7 to 0.6." in _check(decision, "bars")["reason"]


def test_a_bar_that_is_dropped_after_training_is_a_change() -> None:
    dropped = replace(CONFIG, min_group_ratio=None)
    audit = {"gate": {**AUDIT["gate"], "impact_ratio": _figure(0.6, 0.5, 0.7)}}
    decision = _decide(config=dropped, before=CONFIG, audit=audit)
    assert [check["name"] for check in decision["checks"]][-1] == "bars"
    assert decision["verdict"] == "inconclusive"
    assert _check(decision, "bars")["reason"].endswith("the verdict is fail.")


def test_the_bar_of_epsilon_cannot_be_loosened_after_training() -> None:
    spent = replace(SPENT, epsilon=5.0)
    attack = {**ATTACK, "claim": 5.0}
    wide = replace(CONFIG, max_epsilon=8)
    assert _decide(config=wide, spent=spent, attack=attack)["verdict"] == "pass"
    decision = _decide(config=wide, before=CONFIG, spent=spent, attack=attack)
    assert _check(decision, "epsilon")["verdict"] == "fail"
    assert _check(decision, "epsilon")["bar"] == 3
    tight = _decide(config=CONFIG, before=wide, spent=spent, attack=attack)
    assert _check(tight, "epsilon")["verdict"] == "fail"


def test_bars_that_were_not_kept_are_no_pass() -> None:
    decision = _decide(before=None)
    assert decision["verdict"] == "inconclusive"
    assert decision["bars"] == {"kept": False, "changed": []}


def test_what_a_failed_gate_ends_with_is_no_bar() -> None:
    assert gate.bars_changed(CONFIG, replace(CONFIG, on_fail="exit_1")) == []


def _tree(metrics: dict[str, Any] = UNSURE, **attack: Any) -> str:
    """A tree whose model is not sure to reach its AUC; return the model's digits."""
    write_tree("binary", people=20)
    for name, folder, value in (
        ("metrics", "predictions", metrics),
        ("audit", "audit", AUDIT),
        ("attack", "attack", {**ATTACK, **attack}),
    ):
        artifacts.write_json(artifacts.folder(RECIPE, folder, "published", f"{name}.json"), value)
    for config, parts in ((CONFIG, ("plan", "gate.json")), (CONFIG, ("model", "bars.json"))):
        artifacts.write_json(artifacts.folder(RECIPE, *parts), vars(config))
    return artifacts.digest_folder(artifacts.folder(RECIPE, "model"))[:12]


def _override(model: str) -> None:
    config = OverrideConfig(
        approver="Ada  Lovelace", reason="A second sample settled it.\n", model=model
    )
    artifacts.write_section(RECIPE, "override", OverridePlan(override=config))


def _gate() -> dict[str, Any]:
    gate.main([RECIPE])
    return dict(artifacts.read_json(artifacts.folder(RECIPE, "decision", "decision.json")))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("here")
def test_the_stage_prints_what_an_override_needs(capsys: pytest.CaptureFixture[str]) -> None:
    model = _tree()
    assert _gate()["override"] is None
    assert f"add override: {{approver, reason, model: '{model}'}}" in capsys.readouterr().out
    _override(model)
    decision = _gate()
    assert decision["verdict"] == "inconclusive", "an override changes no verdict"
    assert decision["override"] == {
        "approver": "Ada Lovelace",
        "reason": "A second sample settled it.",
        "model": model,
        "status": "applied",
        "verdict": "inconclusive",
        "words": "The gate's verdict stays inconclusive. Answered for: auc.",
    }
    assert "override by Ada Lovelace: applied" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_an_override_does_not_carry_over_to_another_model() -> None:
    _override(_tree())
    assert _gate()["override"]["status"] == "applied"
    spent = artifacts.folder(RECIPE, "model", "privacy_spent.json")
    artifacts.write_json(spent, {**vars(SPENT), "steps": 11})
    assert _gate()["override"]["status"] == "other model"


@pytest.mark.usefixtures("here")
def test_nobody_overrides_a_violated_attack(capsys: pytest.CaptureFixture[str]) -> None:
    model = _tree(verdict="violated")
    _gate()
    assert "nobody can override a privacy check: attack" in capsys.readouterr().out
    _override(model)
    decision = _gate()
    assert (decision["verdict"], decision["override"]["status"]) == ("fail", "refused")


@pytest.mark.usefixtures("here")
def test_nobody_overrides_a_violated_null_block(capsys: pytest.CaptureFixture[str]) -> None:
    _tree(METRICS)
    block = artifacts.folder(RECIPE, "model", "null_block.json")
    artifacts.write_json(block, fake.null_block("violated"))
    model = artifacts.digest_folder(artifacts.folder(RECIPE, "model"))[:12]
    _override(model)
    decision = _gate()
    assert (decision["verdict"], decision["override"]["status"]) == ("fail", "refused")
    assert "null_block" in decision["override"]["words"]
    block.unlink()
    _override(artifacts.digest_folder(artifacts.folder(RECIPE, "model"))[:12])
    assert (_gate()["verdict"], _gate()["override"]["status"]) == ("inconclusive", "applied")
    artifacts.write_json(block, None)
    assert _gate()["verdict"] == "inconclusive"


@pytest.mark.usefixtures("here")
def test_no_environment_variable_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _tree()
    before = _gate()
    for prefix in ("", "SORDINO_", "GATE_", "MLFLOW_", "DVC_"):
        for name, value in (
            ("OVERRIDE", "1"),
            ("OVERRIDE_APPROVER", "Ada Lovelace"),
            ("OVERRIDE_REASON", "A second sample settled it."),
            ("OVERRIDE_MODEL", model),
            ("APPROVER", "Ada Lovelace"),
            ("SKIP_GATE", "true"),
            ("FORCE", "true"),
        ):
            monkeypatch.setenv(prefix + name, value)
    assert _gate() == before


def test_another_bar_trains_nothing_again_and_an_override_judges_again_alone() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

    def readers(section: str) -> set[str]:
        path = f"data/${{item}}/plan/{section}.json"
        return {name for name, does in stages.items() if path in does["do"]["deps"]}

    assert readers("gate") == {"gate", "register"}
    assert readers("override") == {"gate"}
    assert readers("profiles") == {"report"}
