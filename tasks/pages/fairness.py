"""Tables and figures of the audit, for the publishable page and for the internal one.

An audit is read as the stage wrote it: from one noised table, or exact with groups withheld.
"""

from collections.abc import Sequence

from tasks.pages import exhibits
from tasks.pages.called import titled
from tasks.pages.exhibits import Json, Table, name_of, shown
from tasks.pages.html import interval, number, percent
from tasks.pages.score_curves import along_the_score

COUNTED = ("n", "positives", "base_rate", "selection_rate", "tpr", "fpr", "fnr", "ppv", "accuracy")
SCORED = (
    "recall", "auc", "brier", "ece", "calibration_slope", "skill", "loss", "perplexity",
    "mae", "bias", "r2",
)  # fmt: skip
DRAWN = ("selection_rate", "accuracy", "recall", "mae", "bias")
TESTED = (
    "selection_rate", "tpr", "fpr", "ppv", "auc", "skill", "accuracy", "recall", "loss", "mae",
    "bias", "r2",
)  # fmt: skip
# p-values below are not told apart.
LEAST_P = 0.001


def missing_word(audit: Json) -> str:
    """Return what stands where a figure is withheld."""
    noised = audit.get("source", {}).get("kind") == "noised"
    return "too few" if noised else "suppressed"


def cell(metric: str, figure: Json | None, missing: str) -> str:
    """Return a figure's text, or why there is none."""
    return shown(metric, figure) if figure is not None else missing


def group_table(feature: Json, metrics: Sequence[str], missing: str) -> Table:
    """Return some figures of every group of a feature."""
    rows = [
        (g["label"], *(cell(m, g["metrics"].get(m), missing) for m in metrics))
        for g in feature["groups"]
    ]
    return Table(("Group", *map(name_of, metrics)), tuple(rows))


def tables_of(feature: Json, missing: str) -> list[tuple[str, Table]]:
    """Return a feature's tables with captions: counts, scores, comparisons."""
    name = feature["name"]
    metrics = {m for g in feature["groups"] for m in g["metrics"]}
    own = feature.get("figures", [])
    # Without a count of people among them, rates stand with the other figures.
    counted = [m for m in COUNTED if m in metrics] if "n" in metrics else []
    scored = own or [m for m in (*COUNTED, *SCORED) if m in metrics and m not in counted]
    found = []
    if counted:
        found.append(
            (f"{titled()} and decisions by {name}", group_table(feature, counted, missing))
        )
    if scored:
        title = "Scores" if counted else "Figures"
        table = group_table(feature, scored, missing)
        if not counted:
            people = {g["label"]: _people(g, missing) for g in feature["groups"]}
            rows = tuple((row[0], people[row[0]], *row[1:]) for row in table.rows)
            table = Table(("Group", titled(), *table.headers[1:]), rows)
        found.append((f"{title} by {name}", table))
    compared = feature["comparisons"]["to_reference"]
    if compared:
        title = f"Differences by {name}, from {feature['reference']}"
        found.append((title, differences(compared, missing, own or TESTED)))
    if feature["comparisons"].get("to_highest"):
        table = to_highest(feature["comparisons"]["to_highest"], missing)
        found.append((f"Selection rates by {name}, against the highest", table))
    if feature["comparisons"]["summary"]:
        title = f"Largest gaps and smallest ratios by {name}; no coverage is claimed"
        found.append((title, summary(feature["comparisons"]["summary"])))
    return found


def _people(group: Json, missing: str) -> str:
    """How many people, or why that is not shown."""
    return number(group["n"]) if group["n"] is not None else missing


def differences(rows: Sequence[Json], missing: str, tested: Sequence[str] = TESTED) -> Table:
    """Return signed differences to the reference, ratios, and what could have been seen."""
    metrics = [m for m in tested if f"{m}_difference" in rows[0]]
    ratio = "impact_ratio" in rows[0]
    headers = ["Group", *(f"{name_of(m)}, difference" for m in metrics)]
    if ratio:
        headers += ["Impact ratio", "Within four fifths", "Smallest gap it could have shown"]
    headers.append("Smallest adjusted p")
    found = []
    for row in rows:
        texts = [row["group"], *(cell(m, row[f"{m}_difference"], missing) for m in metrics)]
        if ratio:
            gap = row["detectable_gap"]
            texts += [
                cell("impact_ratio", row["impact_ratio"], missing),
                row["verdict"] or missing,
                percent(gap) if gap is not None else missing,
            ]
        adjusted = {m: p for m, p in row["p_adjusted"].items() if p is not None}
        least = min(adjusted, key=lambda m: adjusted[m], default=None)
        texts.append(p_text(adjusted[least], least) if least else missing)
        found.append(tuple(texts))
    return Table(tuple(headers), tuple(found))


def p_text(p: float, metric: str) -> str:
    """Return a p-value and what it is of."""
    text = number(p) if p >= LEAST_P else f"below {LEAST_P:g}"
    return f"{text}, {name_of(metric)}"


def to_highest(rows: Sequence[Json], missing: str) -> Table:
    """Return difference and ratio of selection rates to the highest."""
    found = [
        (
            row["group"],
            row["highest"] or missing,
            cell("selection_rate", row["selection_rate_difference"], missing),
            cell("impact_ratio", row["impact_ratio"], missing),
            {None: missing, True: "below", False: "not below"}[row["below_four_fifths"]],
        )
        for row in rows
    ]
    headers = ("Group", "Highest", "Difference", "Impact ratio", "Value against four fifths")
    return Table(headers, tuple(found))


def summary(found: Json) -> Table:
    """Return unsigned extremes with the spread of resampled values."""
    rows = [(name_of(name), interval(figure)) for name, figure in found.items()]
    return Table(("Figure", "Value (spread of resampling)"), tuple(rows))


def _over(audit: Json, metric: str) -> tuple[float, float] | None:
    """The axis that all single features share, so that their figures compare by eye."""
    singles = [f for f in audit["features"] if not f["crosses"]]
    return exhibits.spread([g["metrics"].get(metric) for f in singles for g in f["groups"]])


def features(audit: Json, bar: float | None, prefix: str = "group") -> list[Json]:
    """Return figures and tables of each single feature.

    Args:
        audit: of one model.
        bar: of the gate on impact ratios.
        prefix: of the figures' ids.
    """
    missing = missing_word(audit)
    singles = [f for f in audit["features"] if not f["crosses"]]
    compared = [c["impact_ratio"] for f in singles
                for c in f["comparisons"]["to_reference"] if "impact_ratio" in c]  # fmt: skip
    ratios_over = exhibits.spread(compared, exhibits.FOUR_FIFTHS if bar is None else bar, 1.0)
    found = []
    for position, feature in enumerate(singles):
        name = f"{prefix}-{position}"
        metrics = dict.fromkeys(m for g in feature["groups"] for m in g["metrics"])
        own = feature.get("figures", [])
        wanted = own[:1] or [m for m in DRAWN if m in metrics] or list(metrics)[:1]
        if "selection_rate" in wanted:
            wanted = ["selection_rate"]
        drawn = [exhibits.group_rates(name, feature, m, _over(audit, m), missing) for m in wanted]
        ratios = exhibits.impact_ratios(name, feature, bar, ratios_over, missing)
        found.append(
            {
                "name": feature["name"],
                "control": feature.get("control", False),
                "exhibits": [ratios, *drawn],
                "tables": tables_of(feature, missing),
                "curves": along_the_score(audit, feature["name"], name),
            }
        )
    return found


def crossings(audit: Json) -> list[Json]:
    """Return tables of each intersection of features."""
    missing = missing_word(audit)
    return [
        {"name": feature["name"], "tables": tables_of(feature, missing)}
        for feature in audit["features"]
        if feature["crosses"]
    ]


def controlled(audit: Json) -> list[Json]:
    """Return comparisons within each level of a control feature."""
    missing = missing_word(audit)
    return [
        {
            "title": f"Differences by {part['feature']} where {part['control']} is {part['level']}",
            "table": differences(part["rows"], missing),
        }
        for part in audit.get("control", [])
        if part["rows"]
    ]


def classes(audit: Json) -> list[Json]:
    """Return one table a class: its figures against all others."""
    missing = missing_word(audit)
    found = []
    for one in audit.get("classes", []):
        first = one["groups"][0]["metrics"] if one["groups"] else {}
        metrics = [m for m in (*COUNTED, *SCORED) if m in first]
        rows = tuple(
            (f"{g['feature']}: {g['label']}",
             *(cell(m, g["metrics"][m], missing) for m in metrics))
            for g in one["groups"]
        )  # fmt: skip
        headers = ("Group", *map(name_of, metrics))
        found.append({"title": f"{one['class']} against the rest", "table": Table(headers, rows)})
    return found


def section(audit: Json, decision: Json, prefix: str = "group") -> Json:
    """Return all that a page shows of one audit.

    Args:
        audit: published, or of one model internally.
        decision: for the gate's bar.
        prefix: of the figures' ids.
    """
    bars = [c["bar"] for c in decision["checks"] if c["name"] == "group_ratio"]
    return {
        "features": features(audit, bars[0] if bars else None, prefix),
        "crossings": crossings(audit),
        "controlled": controlled(audit),
        "classes": classes(audit),
        "exploratory": audit.get("exploratory") or {},
        "left_out": audit.get("left_out") or {},
        "not_judged": audit.get("not_judged", []),
    }
