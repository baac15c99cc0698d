"""Figures along the score by group: sweep of the threshold, ROC curves, calibration."""

from collections.abc import Sequence

from tasks.pages.called import many, titled
from tasks.pages.exhibits import Exhibit, Json, exhibit, name_of
from tasks.pages.html import interval, number, percent
from tasks.pages.lines import paths

# So many groups at most are told apart in one figure of lines.
LINES = 8


def along_the_score(audit: Json, feature: str, prefix: str) -> list[Exhibit]:
    """Return sweep, ROC and calibration of one feature's groups; none where nothing was drawn."""
    curves = next((c for c in audit["curves"] if c["feature"] == feature), None)
    found = [_sweep(audit["sweep"]["points"], feature, prefix)]
    if curves and curves["groups"]:
        found += [_roc(curves, feature, prefix), _calibration(curves, feature, prefix)]
    return [one for one in found if one is not None]


def _sweep(points: Sequence[Json], feature: str, prefix: str) -> Exhibit | None:
    """Selection rates by group as one threshold for all moves."""
    rows = [
        (point["share"], g) for point in points for g in point["groups"] if g["feature"] == feature
    ]
    drawn = [
        (share, g) for share, g in rows if (g["selection_rate"] or {}).get("value") is not None
    ]
    if not drawn:
        return None
    lines: dict[str, list[tuple[float, float]]] = {}
    for share, group in drawn:
        apart = group["selection_rate"]["value"] - share
        lines.setdefault(group["label"], []).append((share, apart))
    title = f"One threshold for all, moved, by {feature}"
    svg = paths(
        f"{prefix}-sweep", title, dict(list(lines.items())[:LINES]),
        axis="approved, of everybody (share)", value_axis="group's rate − everybody's",
    )  # fmt: skip
    swept = ("selection_rate", "tpr", "fpr")
    headers = ("Approved of everybody", "Group", *map(name_of, swept))
    table = [
        (percent(share), g["label"], *(interval(g[m], "percent") for m in swept))
        for share, g in drawn
    ]
    note = "How far each group's selection rate is from everybody's, at other thresholds."
    return exhibit(title, note, svg, headers, table)


def _roc(curves: Json, feature: str, prefix: str) -> Exhibit:
    """ROC curves of the groups of a feature."""
    groups = curves["groups"][:LINES]
    title = f"ROC curves by {feature}"
    svg = paths(
        f"{prefix}-roc", title, {g["label"]: [tuple(p) for p in g["roc"]] for g in groups},
        axis="false positive rate", value_axis="true positive rate", unit=True,
    )  # fmt: skip
    rows = [
        (g["label"], percent(fpr), percent(tpr)) for g in curves["groups"] for fpr, tpr in g["roc"]
    ]
    note = f"Few points a group: each stands for at least ten {many()}. Dotted: guessing."
    headers = ("Group", name_of("fpr"), name_of("tpr"))
    return exhibit(title, note, svg, headers, rows)


def _calibration(curves: Json, feature: str, prefix: str) -> Exhibit:
    """Calibration of the groups of a feature."""
    groups = curves["groups"][:LINES]
    title = f"Calibration by {feature}"
    lines = {
        g["label"]: [(b["mean_score"], b["rate"]["value"]) for b in g["calibration"]]
        for g in groups
    }
    svg = paths(
        f"{prefix}-calibration", title, lines,
        axis="mean predicted probability", value_axis="observed rate", unit=True,
    )  # fmt: skip
    rows = [
        (g["label"], f"{b['low']:.3f} to {b['high']:.3f}", number(b["n"]),
         percent(b["mean_score"]), interval(b["rate"], "percent"))
        for g in curves["groups"] for b in g["calibration"]
    ]  # fmt: skip
    note = "Of the favourable outcome. On the dotted line the prediction is the observed rate."
    headers = ("Group", "Predicted", titled(), "Mean prediction", "Observed rate")
    return exhibit(title, note, svg, headers, rows)
