"""Two versions side by side, by hand."""

import json
from typing import Any

from tasks.evidence.champion import Read, beside


def files(auc: tuple[float, float, float], epsilon: float, extra: bool = False) -> Read:
    """Published files of a version."""
    value, low, high = auc
    shown = {"value": value, "low": low, "high": high}
    group = {"label": "men", "metrics": {"n": None, "selection_rate": shown}}
    told: dict[str, Any] = {
        "decision/decision.json": {
            "epsilon": epsilon, "delta": 1e-6,
            "checks": [{"name": "auc", **shown, "verdict": "pass"}],
        },
        "predictions/metrics.json": {
            "model": {"auc": shown, **({"brier": {"value": 0.2}} if extra else {})},
            "decision": None,
        },
        "audit/audit.json": {
            "gate": None, "features": [{"name": "sex", "groups": [group]}],
        },
        "attack/attack.json": {"verdict": "consistent"},
        "attributions/attributions.json": {
            "completeness": {"p95": 0.001},
            "by_feature": [{"feature": "debt", "value": 1.0, "low": 0.5, "high": 1.5}],
        },
    }  # fmt: skip

    def read(path: str) -> str | None:
        return json.dumps(told[path]) if path in told else None

    return read


def row(rows: list[dict[str, Any]], section: str, name: str, about: str = "") -> dict[str, Any]:
    """The one row of a figure."""
    (found,) = [r for r in rows if (r["section"], r["name"], r["about"]) == (section, name, about)]
    return found


def test_difference_and_intervals_by_hand() -> None:
    rows = beside(files((0.8, 0.78, 0.82), 3.0), files((0.7, 0.68, 0.75), 8.0))
    auc = row(rows, "Performance", "auc")
    assert round(auc["difference"], 9) == 0.1
    assert (auc["intervals"], auc["better"]) == ("apart", True)
    back = beside(files((0.7, 0.68, 0.75), 8.0), files((0.8, 0.78, 0.82), 3.0))
    assert row(back, "Performance", "auc")["better"] is False
    # Nobody says which way a rate is better.
    rate = row(rows, "Groups", "selection_rate", "sex: men")
    assert (rate["intervals"], rate["better"]) == ("apart", None)
    epsilon = row(rows, "Privacy", "epsilon")
    assert (epsilon["difference"], epsilon["intervals"]) == (-5.0, None)
    assert row(rows, "Gate", "auc")["version"]["verdict"] == "pass"
    assert row(rows, "Attack", "attack")["champion"]["verdict"] == "consistent"
    assert row(rows, "Attribution", "mean attribution", "debt")["intervals"] == "overlap"


def test_intervals_that_touch_overlap() -> None:
    rows = beside(files((0.8, 0.75, 0.82), 3.0), files((0.7, 0.68, 0.75), 3.0))
    assert row(rows, "Performance", "auc")["intervals"] == "overlap"


def test_what_only_one_of_them_published_has_no_difference() -> None:
    ours, theirs = files((0.8, 0.7, 0.9), 3.0, extra=True), files((0.8, 0.7, 0.9), 3.0)
    brier = row(beside(ours, theirs), "Performance", "brier")
    assert brier["champion"] is None and brier["difference"] is None
    assert row(beside(theirs, ours), "Performance", "brier")["version"] is None
    # A champion of another time may have kept none of these files.
    rows = beside(ours, lambda _: None)
    assert rows and all(r["champion"] is None and r["difference"] is None for r in rows)


def test_a_withheld_figure_is_no_figure() -> None:
    rows = beside(files((0.8, 0.7, 0.9), 3.0), files((0.8, 0.7, 0.9), 3.0))
    assert not [r for r in rows if r["name"] == "n"]
