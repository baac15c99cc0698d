"""Figures of all held-out people together, as they may be shown.

Where a release is noised, predict's exact figures are internal, and what is shown of everyone is
made from the noised tables of the audit, as the figures of groups are.
"""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

# What of the audit's figures of everyone stands among the model's.
MODEL = ("loss", "accuracy", "auc", "brier", "ece", "calibration_slope", "calibration_intercept")
TURNED = ("value", "high", "low")


def published_figures(metrics: Mapping[str, Any], audit: Mapping[str, Any]) -> Json:
    """Return predict's published metrics, with those of everyone from the audit where they stand.

    Args:
        metrics: predictions/published/metrics.json.
        audit: audit/published/audit.json, whose figures are of the favourable outcome.

    Returns:
        n, confidence, model, decision and calibration, the last of the event's probability.
    """
    overall = audit.get("overall")
    if "model" in metrics or not overall:
        return dict(metrics)
    decision = dict(metrics.get("decision") or {})
    favoured = decision.get("event") == decision.get("favourable")
    model = {name: overall[name] for name in MODEL if name in overall}
    bins = list(audit.get("calibration") or [])
    if not favoured:
        if "calibration_intercept" in model:
            model["calibration_intercept"] = _turned(model["calibration_intercept"], 0.0)
        bins = [_of_event(row) for row in reversed(bins)]
    return {
        **metrics,
        "n": round(overall["n"]["value"]),
        "confidence": audit["confidence"],
        "model": model,
        "decision": {**decision, "approval_rate": overall["selection_rate"]},
        "calibration": bins,
    }


def _turned(figure: Mapping[str, float | None], of: float) -> Json:
    """A figure and its interval subtracted from a number: low and high change places."""
    ends = zip(("value", "low", "high"), TURNED, strict=True)
    values = {to: figure[at] for to, at in ends}
    return {to: None if value is None else of - value for to, value in values.items()}


def _of_event(row: Mapping[str, Any]) -> Json:
    """A calibration bin of the favourable outcome as one of the other outcome."""
    return {
        "low": 1 - row["high"],
        "high": 1 - row["low"],
        "n": row["n"],
        "mean_score": 1 - row["mean_score"],
        "rate": _turned(row["rate"], 1.0),
    }
