"""Figures of everyone: exact where nothing is promised, from the noised tables where it is."""

from typing import Any

from tasks.evidence.overall import MODEL, published_figures

METRICS: dict[str, Any] = {
    "task": "binary",
    "confidence": 0.9,
    "decision": {"threshold": 0.3, "event": "default", "favourable": "pays"},
    "interval": None,
}


def _figure(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def _audit() -> dict[str, Any]:
    """As audit.json of a noised release has it: of the favourable outcome."""
    overall = {name: _figure(0.5, 0.4, 0.6) for name in MODEL}
    overall |= {"n": _figure(5786.4, 5770, 5800), "selection_rate": _figure(0.8, 0.79, 0.81)}
    overall |= {"calibration_intercept": _figure(0.1, -0.1, 0.4), "tpr": _figure(0.9, 0.8, 0.95)}
    bins = [
        {"low": 0.0, "high": 0.7, "n": 100, "mean_score": 0.6, "rate": _figure(0.5, 0.4, 0.65)},
        {"low": 0.7, "high": 1.0, "n": 200, "mean_score": 0.9, "rate": _figure(0.95, 0.9, 0.97)},
    ]
    return {"confidence": 0.95, "overall": overall, "calibration": bins}


def test_exact_figures_stand_as_they_are() -> None:
    metrics = {**METRICS, "n": 40, "model": {"auc": _figure(0.7, 0.6, 0.8)}}
    assert published_figures(metrics, _audit()) == metrics
    assert published_figures(METRICS, {"overall": None}) == METRICS
    assert published_figures({}, {}) == {}


def test_withheld_figures_come_from_the_audit() -> None:
    found = published_figures(METRICS, _audit())
    assert (found["n"], found["confidence"]) == (5786, 0.95)
    assert set(found["model"]) == set(MODEL)
    assert found["model"]["auc"] == _figure(0.5, 0.4, 0.6)
    assert found["decision"] == {
        **METRICS["decision"], "approval_rate": _figure(0.8, 0.79, 0.81)
    }  # fmt: skip


def test_what_has_a_direction_is_turned_to_the_event() -> None:
    found = published_figures(METRICS, _audit())
    assert found["model"]["calibration_intercept"] == _figure(-0.1, -0.4, 0.1)
    first, last = found["calibration"]
    assert (round(first["low"], 9), first["high"], first["n"]) == (0.0, 1 - 0.7, 200)
    assert last["rate"] == _figure(0.5, 1 - 0.65, 0.6)
    assert round(last["mean_score"], 9) == 0.4
    same = {**METRICS, "decision": {**METRICS["decision"], "favourable": "default"}}
    straight = published_figures(same, _audit())
    assert straight["calibration"] == _audit()["calibration"]
    assert straight["model"]["calibration_intercept"] == _figure(0.1, -0.1, 0.4)
    nothing = _audit()
    nothing["overall"]["calibration_intercept"] = {"value": None, "low": None, "high": None}
    turned = published_figures(METRICS, nothing)["model"]["calibration_intercept"]
    assert set(turned.values()) == {None}
