"""An override speaks of one model, needs a name and a reason, and cannot waive privacy."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tasks.evidence.override import answered_for, broken_promises, overridden
from tasks.params import UserError, validate
from tasks.recipe import OverrideConfig
from tests.test_architecture import ROOT, closure

MODEL = "0123456789ab"
WORDS = {"approver": "Ada Lovelace", "reason": "A second sample settled it.", "model": MODEL}


def _checks(**verdicts: str) -> list[dict[str, Any]]:
    passed = dict.fromkeys(("epsilon", "noise", "attack", "auc", "group_ratio"), "pass")
    return [{"name": n, "verdict": v} for n, v in {**passed, **verdicts}.items()]


def _config(**changes: str) -> OverrideConfig:
    return validate(OverrideConfig, {**WORDS, **changes}, "override")


@pytest.mark.parametrize(
    "approver", ["Ada Lovelace", "Ñandú Ó Súilleabháin", "李 小龙", "ada@example.org", "A. B. C"]
)
def test_who_may_approve(approver: str) -> None:
    assert _config(approver=approver).approver == approver


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("approver", ""),
        ("approver", "   "),
        ("approver", "Ada"),
        ("approver", "ada@"),
        ("approver", "1 2"),
        ("approver", "- -"),
        ("approver", f"Ada {'L' * 300}"),
        ("reason", ""),
        ("reason", "fine"),
        ("reason", "ok" + " " * 40),
        ("reason", "x" * 2001),
        ("model", ""),
        ("model", "0123456789AB"),
        ("model", "0123456789a"),
        ("model", "*"),
        ("model", 123456789012),
    ],
)
def test_half_an_override_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"override.*{field}") as caught:
        _config(**{field: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["approver", "reason", "model"])
def test_nothing_may_be_left_out(field: str) -> None:
    with pytest.raises(UserError, match=f"override.{field}: is required"):
        validate(OverrideConfig, {k: v for k, v in WORDS.items() if k != field}, "override")


@pytest.mark.parametrize(
    ("verdicts", "verdict", "model", "status"),
    [
        ({"auc": "inconclusive"}, "inconclusive", MODEL, "applied"),
        ({"auc": "fail", "group_ratio": "fail"}, "fail", MODEL, "applied"),
        ({"attack": "inconclusive"}, "inconclusive", MODEL, "applied"),
        ({"auc": "fail"}, "fail", "ba9876543210", "other model"),
        ({}, "pass", MODEL, "not needed"),
        ({"epsilon": "fail"}, "fail", MODEL, "refused"),
        ({"epsilon": "inconclusive"}, "inconclusive", MODEL, "refused"),
        ({"noise": "fail"}, "fail", MODEL, "refused"),
        ({"attack": "fail", "auc": "fail"}, "fail", MODEL, "refused"),
    ],
)
def test_what_it_comes_to(verdicts: dict[str, str], verdict: str, model: str, status: str) -> None:
    checks = _checks(**verdicts)
    found = answered_for(_config(), verdict, checks, model)
    assert found is not None and found["status"] == status
    decision = {"verdict": verdict, "checks": checks, "model": model, "override": found}
    assert (overridden(decision, model) is not None) == (status == "applied")


def test_none_is_none() -> None:
    assert answered_for(None, "fail", _checks(auc="fail"), MODEL) is None
    assert broken_promises(_checks()) == []


def test_a_decision_that_was_edited_lets_nothing_through() -> None:
    checks = _checks(auc="fail")
    good = answered_for(_config(), "fail", checks, MODEL)
    assert good is not None
    decision = {"verdict": "fail", "checks": checks, "model": MODEL, "override": good}
    assert overridden(decision, MODEL) == good
    assert overridden(decision, "ba9876543210") is None
    assert overridden({**decision, "override": True}, MODEL) is None
    assert overridden({**decision, "override": {**good, "approver": "x"}}, MODEL) is None
    assert overridden({**decision, "override": {**good, "reason": None}}, MODEL) is None
    # A word that says applied is not believed.
    broken = {**decision, "checks": _checks(attack="fail")}
    assert overridden(broken, MODEL) is None


# What registering may read from the environment: where things are, never what is decided.
PLACES = {"DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"}


def _reads(file: Path) -> set[str]:
    """Names that a file reads from the environment; "?" where the name is no literal."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"):
            found.add("?")
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            found |= {"?" for alias in node.names if alias.name in ("environ", "getenv")}
    return found


@pytest.mark.parametrize("stage", ["plan", "gate", "report"])
def test_what_decides_reads_no_environment(stage: str) -> None:
    users = {f.name for f in closure(ROOT / "tasks" / f"{stage}.py") if _reads(f)}
    # Where the checkout is decides nothing, and nothing else is asked there.
    assert users <= {"checkout.py"}
    asked = re.findall(
        r"os\.environ.*", (ROOT / "tasks" / "checkout.py").read_text(encoding="utf-8")
    )
    assert len(asked) == 1 and '"DVC_ROOT"' in asked[0]
    assert _reads(ROOT / "tasks" / "registry.py"), "the search finds what there is"


def test_what_registers_reads_places_alone() -> None:
    names = set()
    for file in closure(ROOT / "tasks" / "register.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            text = ast.unparse(node) if isinstance(node, ast.Call | ast.Subscript) else ""
            if text.startswith("os.environ"):
                names |= {
                    n.value
                    for n in ast.walk(node)
                    if isinstance(n, ast.Constant) and isinstance(n.value, str)
                }
    assert names <= PLACES
    assert {"DVC_ROOT", "MLFLOW_TRACKING_URI"} <= names
