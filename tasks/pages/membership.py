"""Membership by group, drawn: whom an attack finds most easily, beside groups dealt by lot."""

from collections.abc import Iterator
from typing import Any

from tasks import figures
from tasks.pages.exhibits import Exhibit, Json, exhibit, row_of, spread
from tasks.pages.html import interval, number

MODELS = {"model": "private", "twin": "twin"}
STATISTICS = {"auc": "AUC", "advantage": "advantage"}


def strongest(found: Json) -> str:
    """Return the attack that by group is shown of: the ratio where there is one."""
    return "rmia" if "rmia" in found else "loss"


def _features(membership: Json) -> Iterator[tuple[str, dict[str, Json]]]:
    """Each feature's name, and its figures by model."""
    models = [name for name in MODELS if membership.get(name)]
    found = {n: membership[n][strongest(membership[n])].get("by_group", []) for n in models}
    for at, feature in enumerate(found[models[0]] if models else []):
        yield feature["name"], {name: features[at] for name, features in found.items()}


def by_group(membership: Json) -> list[Exhibit]:
    """Return for each sensitive feature the attack's AUC by group, private model and twin.

    Args:
        membership: of attack/internal/attack.json.
    """
    drawn = []
    for position, (name, models) in enumerate(_features(membership)):
        rows: list[tuple[str, str, Json]] = [
            (group["label"], MODELS[model], group)
            for groups in zip(*(models[m]["groups"] for m in models), strict=True)
            for model, group in zip(models, groups, strict=True)
        ]
        title = f"AUC of the attack by {name}"
        svg = figures.forest(
            f"member-{position}", title, [row_of(f"{x}, {m}", g["auc"]) for x, m, g in rows],
            axis="AUC of members against others of the group", bar=0.5, bar_name="guessing",
            limits=spread([g["auc"] for _, _, g in rows], 0.5), missing="too few",
        )  # fmt: skip
        table = [
            (f"{label}, {model}", number(group["members"]), number(group["non_members"]),
             interval(group["auc"]) if group["auc"] else "too few")
            for label, model, group in rows
        ]  # fmt: skip
        headers = ("Group and model", "Members", "Others", "AUC")
        note = "Members are told from others of the same group; below 0.5 is no attack."
        drawn.append(exhibit(title, note, svg, headers, table))
    return drawn


def _tests(membership: Json, statistic: str) -> Iterator[tuple[str, Json]]:
    """Each feature and model with the test of its largest difference."""
    for name, models in _features(membership):
        for model, feature in models.items():
            if test := feature["disparity"][statistic]:
                yield f"{name}, {MODELS[model]}", test


def disparities(membership: Json) -> list[Exhibit]:
    """Return how far groups differ, beside groups of the same sizes with shuffled labels.

    Args:
        membership: of attack/internal/attack.json.
    """
    drawn = []
    for statistic, words in STATISTICS.items():
        tests = list(_tests(membership, statistic))
        if not tests:
            continue
        title = f"Largest difference between groups, {words}"
        rows = [row for name, test in tests for row in _pair(name, test)]
        svg = figures.forest(
            f"disparity-{statistic}", title, rows, axis=f"largest less smallest {words}",
            limits=(0.0, 1.05 * max(r.high or r.value or 0.0 for r in rows) or 0.1),
        )  # fmt: skip
        table = [
            (name, number(t["value"]),
             f"{number(t['control_median'])} ({number(t['control_low'])} to "
             f"{number(t['control_high'])})", number(t["p_value"]), number(t["adjusted_p_value"]))
            for name, t in tests
        ]  # fmt: skip
        headers = ("Feature and model", "Groups", "Shuffled labels, 5 % to 95 %", "p", "Adjusted p")
        note = (
            "Groups always differ. A point to the right of the bar below it is more than chance: "
            "the bar is the middle 90 % of the same figure with labels shuffled."
        )
        drawn.append(exhibit(title, note, svg, headers, table))
    return drawn


def _pair(name: str, test: dict[str, Any]) -> tuple[figures.Interval, figures.Interval]:
    """A difference, and what shuffled labels give."""
    control = (test["control_median"], test["control_low"], test["control_high"])
    return figures.Interval(name, test["value"]), figures.Interval("shuffled labels", *control)


def drawn(membership: Json) -> list[Exhibit]:
    """Return all figures by group: the differences first.

    Args:
        membership: of attack/internal/attack.json; empty where there was none.
    """
    return [*disparities(membership), *by_group(membership)]
