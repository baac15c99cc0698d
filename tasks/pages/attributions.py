"""What the model listens to, as a reader sees it: figures, the table behind each, and words."""

from typing import Any

from tasks import figures
from tasks.pages.attributions_read import (
    ablations,
    carriers,
    groups,
    method_name,
    probes,
    reasons,
)
from tasks.pages.called import many, one
from tasks.pages.exhibits import Exhibit, Json, Table, enough, exhibit, row_of
from tasks.pages.html import interval, number


def means(found: Json) -> list[Exhibit]:
    """Return importance by feature, by step, and by both."""
    unit = f"mean |attribution| ({found['unit']})"
    rows = [row_of(f["feature"], f) for f in found["by_feature"]]
    by_feature = exhibit(
        "By feature", f"Summed over the steps of each {one()}, then averaged over {many()}.",
        figures.bars("by-feature", "Mean absolute attribution by feature", rows, axis=unit),
        ("Feature", "Kind", "Mean absolute attribution"),
        [(f["feature"], f["kind"], interval(enough(f))) for f in found["by_feature"]],
    )  # fmt: skip
    steps = found["by_step"]
    if not steps:
        return [by_feature]
    axis = found["step_axis"]
    by_step = exhibit(
        f"By {axis}", "Summed over features.",
        figures.steps("by-step", f"Mean absolute attribution by {axis}",
                      [row_of(s["step"], s) for s in steps], axis=axis, value_axis=unit),
        (axis.capitalize(), "Mean absolute attribution"),
        [(s["step"], interval(enough(s))) for s in steps],
    )  # fmt: skip
    names, labels = found["sequence_features"], [s["step"] for s in steps]
    if len(names) < 2:
        return [by_feature, by_step]
    both = exhibit(
        f"By feature and {axis}", "The darker, the larger the mean absolute attribution.",
        figures.heat("by-both", f"Mean absolute attribution by feature and {axis}", names, labels,
                     found["by_feature_and_step"], axis=axis),
        ("Feature", *labels),
        [(n, *map(number, row))
         for n, row in zip(names, found["by_feature_and_step"], strict=True)],
    )  # fmt: skip
    return [by_feature, by_step, both]


def quality(found: Json | None) -> Json | None:
    """Return how good each method is: a line for beside the pictures, words, and tables."""
    if not found or not found["methods"]:
        return None
    methods = found["methods"]
    main = next((m for m in methods if m.get("default")), methods[0])
    return {
        "people": found["people"],
        "line": _line(main),
        "methods": [_line(m) for m in methods],
        "table": Table(
            ("Method", "Verdict", "Error of sums, 95 %", "Infidelity", "at random",
             "Max-sensitivity", "Insertion", "better than random by", "Deletion",
             "better than random by", "Shuffled weights"),
            tuple(_quality_row(m) for m in methods),
        ),
        "agreement": Table(
            ("Methods", "Rank correlation", "Top features in common", "by chance"),
            tuple(
                (f"{method_name(a['first'])}, {method_name(a['second'])}",
                 _figure(a["rank_correlation"]), _figure(a["top_k_overlap"]),
                 _figure(a["top_k_by_chance"]))
                for a in found.get("agreement", [])
            ),
        ),
    }  # fmt: skip


def _figure(figure: Json | None) -> str:
    """A quality figure; a dash where the method has none."""
    return "–" if not figure or figure.get("value") is None else interval(figure)


def _quality_row(method: Json) -> tuple[str, ...]:
    """One method's figures as text."""
    completeness = method.get("completeness") or {}
    keys = (
        "infidelity", "infidelity_random", "max_sensitivity", "insertion", "insertion_gain",
        "deletion", "deletion_gain", "randomised",
    )  # fmt: skip
    return (
        method_name(method["method"]),
        method["verdict"],
        number(completeness.get("p95"), 4),
        *(_figure(method.get(key)) for key in keys),
    )


def _line(method: Json) -> Json:
    """One method's verdict in words; one no better than random says so."""
    name, verdict = method_name(method["method"]), method["verdict"]
    said = method.get("reason") or ""
    if method.get("better_than_random") is False:
        said = f"No better than random attributions. {said}"
    elif verdict == "pass":
        gains = [
            f"{kind} {_figure(method.get(f'{kind}_gain'))}" for kind in ("insertion", "deletion")
        ]
        said = f"Better than random attributions: {', '.join(gains)}."
    return {"name": name, "verdict": verdict, "words": said.strip()}


def published(found: Json) -> dict[str, Any]:
    """Return what the published section needs.

    Args:
        found: attributions.json.
    """
    return {
        "exhibits": means(found),
        "method": method_name(found["method"]),
        "quality": quality(found["quality"]),
        "groups": groups(found["groups"]),
        "probes": probes(found["proxies"]),
        "carriers": carriers(found["proxies"]),
        "ablations": ablations(found["proxies"]),
        "reasons": reasons(found["reasons"]),
        "not_applicable": found.get("not_applicable") or {},
    }
