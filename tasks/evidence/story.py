"""What the registry's pages say of a model and of its versions: verdict, reasons, links, decisions.

Markdown, as MLflow shows it. Links stand for themselves on whatever server shows them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tasks.registry import Store

CHAMPION, CHALLENGER = "champion", "challenger"
# On a version that became champion: whose place it took.
REPLACED = "replaced"
# What follows belongs to the pipeline; what a person wrote before it stays.
STANDS, DECISIONS = "### Where it stands", "### Decisions"
REPORTS = (
    ("Report", "published/report.html"),
    ("Internal report", "internal/internal.html"),
    ("Model card", "published/model_card.md"),
)
# For programs; on the page of a version alone.
FILES = (
    ("card as JSON", "published/model_card.json"),
    ("comparison as JSON", "published/comparison.json"),
    ("packages (SBOM)", "published/sbom.json"),
)


def escaped(text: object) -> str:
    """Return text in one line that is no markup.

    Example:
        >>> escaped("a|b  <c>")
        'a\\\\|b \\\\<c\\\\>'
    """
    words = str(text)
    for mark in "\\|<>`*_[]":
        words = words.replace(mark, f"\\{mark}")
    return " ".join(words.split())


def report_links(experiment: str, run: str, files: Sequence[tuple[str, str]] = REPORTS) -> str:
    """Return links that open a run's reports with one click.

    Args:
        experiment: id.
        run: id.
        files: words and place of each.
    """
    place = f"#/experiments/{experiment}/runs/{run}/artifacts"
    # Without the parameter the page opens in a mode that hides the registry.
    return " | ".join(
        f"[{label}]({place}/{path}?workflowType=machine_learning)" for label, path in files
    )


def version_story(
    headline: str, checks: Sequence[Mapping[str, Any]], experiment: str, run: str
) -> str:
    """Return the description of a version; its first line stands in the list of versions.

    Args:
        headline: verdict and privacy, in one line.
        checks: of the gate.
        experiment: id.
        run: id of the version's run.
    """
    lines = [
        f"- **{check['verdict']}**: {escaped(check.get('reason') or check['name'])}"
        for check in checks
    ]
    links = report_links(experiment, run, (*REPORTS, *FILES))
    return "\n".join([headline, "", links, "", *lines])


def decided_story(before: str, decisions: Sequence[Mapping[str, Any]]) -> str:
    """Return a version's description with what people decided about it.

    Args:
        before: the description so far.
        decisions: published/approval.json.
    """
    lines = [
        f"- {entry['date']}: **{escaped(entry['choice'])}** by {escaped(entry['approver'])}: "
        f"{escaped(entry['reason'])}"
        for entry in decisions
    ]
    return "\n".join([_before(before, DECISIONS), "", DECISIONS, "", *lines])


def model_story(before: str, holders: Mapping[str, Mapping[str, str]]) -> str:
    """Return a model's description with who holds which alias.

    Args:
        before: the description so far.
        holders: by alias: name, number, status, by (who decided, may be empty), experiment and
            run of the version.
    """
    lines = []
    for alias, held in holders.items():
        page = f"#/models/{held['name']}/versions/{held['number']}"
        decided = f", decided by {escaped(held['by'])}" if held["by"] else ""
        links = report_links(held["experiment"], held["run"])
        lines.append(
            f"- **{alias}**: [version {held['number']}]({page}) "
            f"({escaped(held['status'])}{decided}): {links}"
        )
    if len(holders) > 1:
        lines.append(f"- [Compare the two]({_comparison(list(holders.values()))})")
    return "\n".join([_before(before, STANDS), "", STANDS, "", *(lines or ["- nobody"])])


def _comparison(holders: Sequence[Mapping[str, str]]) -> str:
    """The address of MLflow's page that shows runs side by side; its page of versions may fail."""
    runs = json.dumps([held["run"] for held in holders], separators=(",", ":"))
    places = json.dumps(sorted({held["experiment"] for held in holders}), separators=(",", ":"))
    return f"#/compare-runs?runs={quote(runs)}&experiments={quote(places)}"


def _before(text: str, heading: str) -> str:
    """What stands before a heading."""
    return f"\n{text}".partition(f"\n{heading}")[0].strip()


def retell(store: Store, name: str) -> None:
    """Bring the model's page up to date: who holds which alias, and where the reports are."""
    holders = {}
    for alias in (CHAMPION, CHALLENGER):
        held = store.holder(name, alias)
        if held is not None:
            run = store.run_of(held)
            holders[alias] = {
                "name": name,
                "number": held.number,
                "status": held.tags.get("status", "not judged"),
                "by": held.tags.get("approver") or held.tags.get("override_approver", ""),
                "experiment": store.experiment_of(run),
                "run": run,
            }
    store.describe(name, model_story(store.description(name), holders))
