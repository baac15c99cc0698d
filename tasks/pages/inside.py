"""Figures and tables that stay inside: computed from private rows, the twin, or single people."""

from collections.abc import Sequence

from tasks import figures
from tasks.pages import fairness
from tasks.pages.called import many, one, titled
from tasks.pages.exhibits import Exhibit, Json, Table, exhibit, name_of, row_of, shown
from tasks.pages.html import interval, number

# Characters that fit below a figure.
LONGEST_AXIS = 44
COST = ("loss", "skill", "accuracy", "mae")


def training(curves: dict[str, Json]) -> list[Exhibit]:
    """Return training curves of model and twin.

    Args:
        curves: "model" and perhaps "twin", each with step and equally long lists.
    """
    wanted = (
        ("loss", "Training loss", "loss"),
        ("gradient_norm_median", f"Median norm of a {one()}'s gradient", "norm"),
        ("clipped_share", "Share of clipped gradients", "share"),
        ("epsilon", "Epsilon so far", "epsilon"),
    )
    found = []
    for key, title, unit in wanted:
        for name, curve in curves.items():
            values = curve.get(key) or []
            if not any(v is not None for v in values):
                continue
            whole = f"{title}, {name}"
            svg = figures.curves(
                f"{name}-{key.replace('_', '-')}", whole, curve["step"], {name: values},
                axis="step", value_axis=unit,
            )  # fmt: skip
            some = range(0, len(values), max(1, len(values) // 12))
            rows = [(curve["step"][i], number(values[i])) for i in some]
            found.append(exhibit(whole, "Some steps in the table.", svg, ("Step", unit), rows))
    return found


def pair_name(key: str) -> str:
    """Return the words of a key of paired differences.

    Example:
        >>> pair_name("auc_minus_twin"), pair_name("twin_auc_minus_baseline")
        ('AUC, model − twin', 'AUC, twin − baseline')
    """
    left, _, other = key.partition("_minus_")
    one, _, metric = left.rpartition("_")
    return f"{name_of(metric)}, {one or 'model'} − {other}"


def paired(differences: Json, own: Sequence[str] = ()) -> Exhibit | None:
    """Return paired differences between models.

    Args:
        differences: by key.
        own: figures of the kind of target, which have scales of their own: the first is drawn.
    """
    wanted = {pair_name(k): v for k, v in differences.items()}
    if not wanted:
        return None
    title = f"Paired differences on the same {many()}"
    drawn = [n for n in wanted if (n.startswith(name_of(own[0])) if own else "Loss" not in n)]
    # One figure is drawn: its name stands at the axis, and each row says which models.
    head = f"{name_of(own[0])}, " if own else ""
    rows = [row_of(name.removeprefix(head), wanted[name]) for name in drawn]
    axis = f"{head}difference" if len(head) < LONGEST_AXIS else "difference"
    svg = figures.forest("paired", title, rows, axis=axis, bar=0.0, bar_name="equal")
    table = [(name, interval(f, digits=4)) for name, f in wanted.items()]
    return exhibit(title, "Left of 0 the first named is lower.", svg, ("Pair", "Difference"), table)


def exact_groups(audits: Json, decision: Json) -> list[Json]:
    """Return the exact audit of model, twin and baseline; curves of the model alone."""
    found = []
    for name in ("model", "twin", "baseline"):
        if name in audits:
            whole = fairness.section(audits[name], decision, f"exact-{name}")
            if name != "model":
                bare = [{**f, "exhibits": [], "curves": []} for f in whole["features"]]
                whole = {**whole, "features": bare}
            found.append({"name": name, **whole})
    return found


def privacy_cost(tables: Sequence[Json]) -> list[Json]:
    """Return for each feature what privacy cost each group, private minus twin."""
    found = []
    for position, feature in enumerate(tables):
        groups = feature["groups"]
        title = f"Loss, private − twin, by {feature['name']}"
        svg = figures.forest(
            f"cost-{position}", title, [row_of(g["label"], g["loss"]) for g in groups],
            axis="mean loss, difference", bar=0.0, bar_name="no cost",
        )  # fmt: skip
        rows = [(g["label"], interval(g["loss"], digits=4)) for g in groups]
        note = "Right of 0 privacy costs the group."
        drawn = exhibit(title, note, svg, ("Group", "Loss, private − twin"), rows)
        table = _cost_table(groups, feature["reference"], feature.get("figures", COST))
        found.append({"exhibit": drawn, "table": table, "name": feature["name"]})
    return found


def _cost_table(groups: Sequence[Json], reference: str, named: Sequence[str]) -> Table:
    """Every figure of privacy's cost by group."""
    metrics = [m for m in named if m in groups[0]]
    headers = ["Group", titled(), *(f"{name_of(m)}, private − twin" for m in metrics)]
    headers += [f"{name_of(m)}, beyond that of {reference}" for m in metrics]
    headers += ["Decided otherwise by the twin"] if "disagreement" in groups[0] else []
    rows = []
    for group in groups:
        texts = [group["label"], number(group["n"])]
        texts += [interval(group[m], digits=4) for m in metrics]
        apart = (group.get(f"{m}_disparity") for m in metrics)
        texts += [interval(f, digits=4) if f else "reference" for f in apart]
        if "disagreement" in group:
            texts.append(shown("disagreement", group["disagreement"]))
        rows.append(tuple(texts))
    return Table(tuple(headers), tuple(rows))
