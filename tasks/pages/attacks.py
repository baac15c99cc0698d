"""Every attack's figures, which stay inside: they are computed from training rows."""

from collections.abc import Iterator, Mapping
from typing import Any

from tasks import figures
from tasks.pages import membership as groups
from tasks.pages.exhibits import Exhibit, Json, Table, exhibit, row_of
from tasks.pages.html import interval, number, percent
from tasks.pages.trade_off import Promise, trade_off

MODELS = ("model", "twin")
ATTACKS = {"loss": "loss threshold", "rmia": "RMIA"}
NAMES = {"model": "private model", "twin": "twin"}


def _each(membership: Json) -> Iterator[tuple[str, Json]]:
    """Each attack on each model: its name in words and its figures."""
    for model in MODELS:
        for attack, words in ATTACKS.items():
            if attack in membership.get(model, {}):
                yield f"{words}, {NAMES[model]}", membership[model][attack]


def membership_table(membership: Json) -> Table:
    """Return AUC and lower bound of each attack on each model."""
    rows = []
    for name, found in _each(membership):
        bound = found["epsilon_lower_bound"]
        proven = f"{number(bound['value'])} at {bound['confidence']:g}"
        rows.append((name, interval(found["auc"]), proven))
    return Table(("Attack", "AUC", "Lower bound on epsilon"), tuple(rows))


def rates(membership: Json) -> Exhibit | None:
    """Return true positive rates of each attack at fixed false positive rates."""
    points = [(name, p["false_positive_rate"], p) for name, f in _each(membership)
              for p in f["tpr"]]  # fmt: skip
    if not points:
        return None
    title = "Members found at fixed rates of false alarms"
    rows = [row_of(f"{name}, {100 * rate:g} %", f) for name, rate, f in points]
    svg = figures.forest("membership", title, rows, axis="true positive rate (share)")
    headers = ("Attack", "False positive rate", "True positive rate")
    table = [(name, percent(rate), interval(f, "percent")) for name, rate, f in points]
    note = "An attack that guesses finds the same share of members as of the others."
    return exhibit(title, note, svg, headers, table)


def by_group(membership: Json) -> list[Json]:
    """Return each attack's figures by group, and how far groups differ beside shuffled labels."""
    found = []
    for name, attack in _each(membership):
        for feature in attack.get("by_group", ()):
            rows = [
                (g["label"], number(g["members"]), number(g["non_members"]),
                 interval(g["auc"]) if g["auc"] else "too few",
                 interval(g["advantage"], "percent") if g["advantage"] else "too few")
                for g in feature["groups"]
            ]  # fmt: skip
            headers = ("Group", "Members", "Others", "AUC", "Advantage")
            found.append(
                {
                    "name": f"{name}, by {feature['name']}",
                    "table": Table(headers, tuple(rows)),
                    "words": _disparity(feature.get("disparity") or {}),
                }
            )
    return found


def _disparity(found: Mapping[str, Json | None]) -> str:
    """How far groups differ, and how far they would by chance."""
    said = [
        f"{name}: {test['value']:.3f} (shuffled labels {test['control_median']:.3f}, 95 % below "
        f"{test['control_high']:.3f}; adjusted p {test['adjusted_p_value']:.2g})"
        for name, test in found.items()
        if test
    ]
    if not said:
        return "Too few people to compare groups."
    return f"Largest difference between groups, {'; '.join(said)}."


def _cells(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every single figure of an attack run in words."""
    for key, value in found.items():
        words = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping) and {"value", "low", "high"} <= set(value):
            claimed = f"; claimed {number(value['claimed'], 4)}" if "claimed" in value else ""
            yield words, interval(value, digits=4) + claimed
        elif isinstance(value, Mapping):
            yield from _cells(value, f"{words}, ")
        elif isinstance(value, str | bool):
            yield words, str(value)
        elif isinstance(value, int | float):
            yield words, number(value, 4)


def run_table(run: Json | None) -> Table | None:
    """Return what the discarded attack run found; None where there was none."""
    if not run:
        return None
    return Table(("Figure", "Value"), tuple(_cells(run)))


def secrets_table(found: Json | None) -> Table | None:
    """Return how far secrets in invented text were given away; None where there were none."""
    if not found:
        return None
    rows = [
        (name, number(one["secrets"]), interval(one["mean"], digits=2),
         interval(one["highest"], digits=1), number(one["p_value"]), number(one["fit_p_value"]))
        for name, one in (("as the recipe trains", found["private"]),
                          ("without privacy", found["plain"]))
    ]  # fmt: skip
    headers = ("Training", "Secrets put in", "Mean exposure, bits", "Highest", "p of no memory",
               "p of the fit")  # fmt: skip
    return Table(headers, tuple(rows))


def section(found: Json, attack: Json) -> Json:
    """Return what the internal section shows.

    Args:
        found: what was read of published files, and the ledger's promise.
        attack: attack/internal/attack.json.
    """
    membership, run = attack.get("membership") or {}, attack.get("run")
    promise: Promise = found["promise"]
    points = {
        "null block": (found["null_block"] or {}).get("points") or [],
        "attack run": (run or {}).get("points") or [],
        **{name: one["tpr"] for name, one in _each(membership)},
    }
    return {
        "members": membership.get("members"),
        "non_members": membership.get("non_members"),
        "references": membership.get("references", 0),
        "picture": trade_off("attacks", promise, points),
        "table": membership_table(membership),
        "rates": rates(membership),
        "drawn": groups.drawn(membership),
        "by_group": by_group(membership),
        "run": run_table(run),
        "no_run": attack.get("no_run"),
        "secrets": secrets_table(attack.get("secrets")),
        "secret": attack.get("secrets"),
    }
