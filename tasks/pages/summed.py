"""Figures of targets that are sequences themselves, by the titles that their kind gives them.

Stages name a figure by a short key. Pages name it by its title: these functions put titles in
place of keys, so that no page knows a kind.
"""

from collections.abc import Mapping
from typing import Any

from tasks.evidence.overall import Json

# It has a name of its own on every page.
_LOSS = "loss"


def titles(figures: list[Json]) -> dict[str, str]:
    """Return what pages call each figure, the first first.

    Args:
        figures: name, title and unit of each, as metrics.json has them.

    Example:
        >>> titles([{"name": "bits", "title": "Cross-entropy a token", "unit": "bits"}])
        {'bits': 'Cross-entropy a token, bits'}
    """
    return {
        one["name"]: one["name"]
        if one["name"] == _LOSS
        else ", ".join(filter(None, (one["title"], one["unit"])))
        for one in figures
    }


def retitled(found: Json) -> Json:
    """Return what a report read, with titles; the same where no figure has one.

    Args:
        found: with metrics and audit, published or internal.
    """
    figures = found["metrics"].get("figures")
    if not figures:
        return found
    named, digits = titles(figures), {one["name"]: one["digits"] for one in figures}
    audits = {name: _audit(part, named, digits) for name, part in _parts(found["audit"]).items()}
    cost = [_cost(table, named, digits) for table in found["audit"].get("privacy_cost", [])]
    return {
        **found,
        "metrics": _metrics(found["metrics"], named, digits),
        "audit": {**found["audit"], **audits.pop("", {}), **audits, "privacy_cost": cost},
    }


def _parts(audit: Json) -> dict[str, Json]:
    """The audits of an audit.json by model; that of a published one is nameless."""
    if "features" in audit:
        return {"": audit}
    return {name: audit[name] for name in ("model", "twin", "baseline") if name in audit}


def _titled(
    figures: Mapping[str, Any], named: Mapping[str, str], digits: Mapping[str, int], end: str = ""
) -> Json:
    """Figures in the order of their kind; `end` stands behind each key."""
    return {
        f"{title}{end}": None if figure is None else {**figure, "digits": digits[name]}
        for name, title in named.items()
        if f"{name}{end}" in figures
        for figure in (figures[f"{name}{end}"],)
    }


def _metrics(metrics: Json, named: Mapping[str, str], digits: Mapping[str, int]) -> Json:
    """Figures of models, and paired differences."""
    found = dict(metrics)
    for name in ("model", "twin", "baseline"):
        if name in metrics:
            found[name] = _titled(metrics[name], named, digits)
    if "paired" in metrics:
        pairs = [("", "twin"), ("", "baseline"), ("twin_", "baseline")]
        found["paired"] = {
            f"{a}{title}_minus_{b}": metrics["paired"][f"{a}{name}_minus_{b}"]
            for a, b in pairs
            for name, title in named.items()
            if f"{a}{name}_minus_{b}" in metrics["paired"]
        }
    return found


def _audit(audit: Json, named: Mapping[str, str], digits: Mapping[str, int]) -> Json:
    """One audit's features."""
    return {**audit, "features": [_feature(f, named, digits) for f in audit["features"]]}


def _feature(feature: Json, named: Mapping[str, str], digits: Mapping[str, int]) -> Json:
    """Groups and comparisons of one feature, and which figures they have."""
    groups = [{**g, "metrics": _titled(g["metrics"], named, digits)} for g in feature["groups"]]
    rows = []
    for row in feature["comparisons"]["to_reference"]:
        p = {named[name]: value for name, value in row["p_adjusted"].items()}
        rows.append({**row, **_titled(row, named, digits, "_difference"), "p_adjusted": p})
    compared = {**feature["comparisons"], "to_reference": rows}
    return {**feature, "groups": groups, "comparisons": compared, "figures": list(named.values())}


def _cost(table: Json, named: Mapping[str, str], digits: Mapping[str, int]) -> Json:
    """What privacy cost the groups of one feature."""
    groups = [
        {**g, **_titled(g, named, digits), **_titled(g, named, digits, "_disparity")}
        for g in table["groups"]
    ]
    return {**table, "groups": groups, "figures": list(named.values())}
