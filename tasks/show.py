"""A short table of what stands in data/ for the recipes that params.yaml lists.

python -m tasks.show
"""

import json
from pathlib import Path
from typing import Any

from tasks.evidence.overall import published_figures
from tasks.params import UserError, command, read_yaml

Row = tuple[str, str]


def folder(recipe: str, *parts: str) -> Path:
    """Return data/RECIPE/...; tasks.artifacts has the same, and takes a second to import."""
    return Path("data").joinpath(recipe, *parts)


def read_json(path: Path) -> Any:
    """Return a JSON file's value."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the stage that writes it with dvc repro") from None


def interval(figure: dict[str, Any] | None, digits: int = 3) -> str:
    """Return a value with its interval as text.

    Example:
        >>> interval({"value": 0.7712, "low": 0.76, "high": 0.782})
        '0.771  [0.760, 0.782]'
    """
    if not figure or figure.get("value") is None:
        return "not measured"
    text = f"{figure['value']:.{digits}f}"
    if figure.get("low") is None or figure.get("high") is None:
        return text
    return f"{text}  [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"


def privacy_row(recipe: str) -> Row:
    """What the model cost its people."""
    spent = read_json(folder(recipe, "model", "privacy_spent.json"))
    if spent["epsilon"] is None:
        return "privacy", f"none is claimed: {spent['none']}"
    return (
        "privacy",
        f"epsilon {spent['epsilon']:.3f} at delta {spent['delta']:g} a {spent['unit']}",
    )


def quality_row(metrics: dict[str, Any]) -> Row:
    """The one figure that a reader asks for first."""
    name, label = {
        "binary": ("auc", "AUC"),
        "multiclass": ("accuracy", "accuracy"),
        "regression": ("mae", "mean error"),
    }[metrics["task"]]
    return label, interval(metrics["model"].get(name))


def group_rows(audit: dict[str, Any]) -> list[Row]:
    """The gap in the favourable outcome by feature, and the smallest ratio of all."""
    rows = []
    for feature in audit.get("features", []):
        summary = (feature.get("comparisons") or {}).get("summary") or {}
        figure = summary.get("demographic_parity_difference")
        if figure:
            rows.append((f"gap by {feature['name']}", interval(figure)))
    gate = audit.get("gate") or {}
    if gate.get("impact_ratio"):
        pair = f"{gate.get('group')} to {gate.get('reference')}, by {gate.get('feature')}"
        rows.append(("smallest ratio", f"{interval(gate['impact_ratio'])}  {pair}"))
    return rows


def gate_row(decision: dict[str, Any]) -> Row:
    """The verdict, and why where it is not a pass."""
    reasons = [
        str(check.get("reason") or check["name"])
        for check in decision.get("checks", [])
        if check.get("verdict") != "pass"
    ]
    override = decision.get("override")
    if override:
        reasons.append(f"override by {override['approver']}: {override['status']}")
    return "gate", "; ".join([decision["verdict"], *reasons])


def model_row(recipe: str) -> Row:
    """Name, version and alias in the registry, as the last run of register found them."""
    told = read_json(Path(".sordino") / "registered" / f"{recipe}.json")
    if told["version"] is None:
        return "model", f"not registered: {told['reasons']}"
    alias = ", ".join(told["aliases"]) or "no alias"
    return "model", f"{told['name']} version {told['version']}, {alias} ({told['status']})"


def rows_of(recipe: str) -> list[Row]:
    """Return the table of one recipe."""
    published = folder(recipe, "report", "published", "report.html")
    internal = folder(recipe, "report", "internal", "internal.html")
    metrics = read_json(folder(recipe, "predictions", "published", "metrics.json"))
    audit = read_json(folder(recipe, "audit", "published", "audit.json"))
    return [
        privacy_row(recipe),
        quality_row(published_figures(metrics, audit)),
        *group_rows(audit),
        gate_row(read_json(folder(recipe, "decision", "decision.json"))),
        model_row(recipe),
        ("report", str(published)),
        ("internal report", f"{internal}  (not covered by epsilon: keep it in the house)"),
    ]


def table(title: str, rows: list[Row]) -> str:
    """Return rows under a title, the second column aligned."""
    width = max(len(label) for label, _ in rows)
    return "\n".join([title, *(f"  {label:<{width}}  {text}" for label, text in rows)])


def main(_arguments: list[str]) -> None:
    """Print every recipe's table and how to open the reports."""
    for recipe in read_yaml(Path("params.yaml")).get("run") or []:
        print(f"\n{table(recipe, rows_of(recipe))}")
    print("\nmake up   opens Prefect and the MLflow pages with reports, figures and versions")


if __name__ == "__main__":
    command(main)
