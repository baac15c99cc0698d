"""Figures and tables that stay inside: computed from private rows, the twin, or single people."""

from collections.abc import Sequence
from typing import Any

from tasks import figures
from tasks.pages.exhibits import Exhibit, Json, Table, exhibit, group_table, name_of, row_of
from tasks.pages.html import interval, number


def training(curves: dict[str, Json]) -> list[Exhibit]:
    """Return training curves of model and twin.

    Args:
        curves: "model" and perhaps "twin", each with step and equally long lists.
    """
    wanted = (
        ("loss", "Training loss", "loss"),
        ("gradient_norm_median", "Median norm of a person's gradient", "norm"),
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


def paired(differences: Json) -> Exhibit | None:
    """Return paired differences between models."""
    wanted = {pair_name(k): v for k, v in differences.items()}
    if not wanted:
        return None
    title = "Paired differences on the same people"
    rows = [row_of(name, figure) for name, figure in wanted.items() if "Loss" not in name]
    svg = figures.forest("paired", title, rows, axis="difference", bar=0.0, bar_name="equal")
    table = [(name, interval(f, digits=4)) for name, f in wanted.items()]
    return exhibit(title, "Left of 0 the first named is lower.", svg, ("Pair", "Difference"), table)


def attack_table(attack: dict[str, Json]) -> Table:
    """Return membership figures of each attacked model."""
    rows = []
    for name, found in attack.items():
        bound = found["epsilon_lower_bound"]
        rows.append(
            (name, interval(found["auc"]), f"{number(bound['value'])} at {bound['confidence']:g}")
        )
    return Table(("Model", "AUC of the attack", "Lower bound on epsilon"), tuple(rows))


def membership(rates: dict[str, Sequence[Json]]) -> Exhibit | None:
    """Return true against false positive rates of the attack.

    Args:
        rates: for each model, entries with false_positive_rate and the true one with interval.
    """
    points = [(name, f"{f['false_positive_rate']:g}", f) for name, fs in rates.items() for f in fs]
    if not points:
        return None
    title = "Members found at fixed rates of false alarms"
    rows = [row_of(f"{name} at {rate}", f) for name, rate, f in points]
    svg = figures.forest("membership", title, rows, axis="true positive rate (share)")
    headers = ("Model", "False positive rate", "True positive rate")
    table = [(name, rate, interval(f, digits=4)) for name, rate, f in points]
    note = "An attack that guesses finds the same share of members as of the others."
    return exhibit(title, note, svg, headers, table)


def exact_groups(audits: dict[str, Any]) -> list[Json]:
    """Return group tables of every audited model."""
    return [
        {"title": f"{feature['name']}, {name}", "table": group_table(feature)}
        for name, audit in ((n, audits.get(n)) for n in ("model", "twin", "baseline"))
        if isinstance(audit, dict)
        for feature in audit["features"]
    ]


def people(local: Json) -> Json:
    """Return local explanations with what shading needs."""
    shown = []
    for person in local["people"]:
        features = person.get("features", []) + person["static"]
        sizes = [abs(a) for feature in features for a in feature["attributions"]]
        characters = person.get("characters", [])
        sizes += [abs(c["attribution"]) for c in characters]
        table = Table(
            ("Character", "Attribution"),
            tuple((c["text"], number(c["attribution"])) for c in characters),
        )
        shown.append({**person, "largest": max(sizes, default=0.0) or 1.0, "table": table})
    return {**local, "people": shown}
