"""The model card's facts, for Markdown and JSON alike."""

from typing import Any

from tasks.pages import privacy
from tasks.pages.called import many, one
from tasks.settings.report import ORIGIN, USE, Question, ReportConfig

Json = dict[str, Any]

UNSIGNED = (
    "Not signed yet. Who approves, rejects or overrides a registered version is written under "
    "Approval on the registry's copy of this card, with date and reason."
)


def answered(report: ReportConfig, questions: tuple[Question, ...]) -> list[Json]:
    """Return questions with the owner's answers, None for an empty one.

    Example:
        >>> from tasks.settings.report import USE
        >>> answered(ReportConfig(title="t", purpose=" "), USE[:1])[0]["answer"] is None
        True
    """
    return [
        {
            "field": asked.field,
            "question": asked.label,
            "prompt": asked.prompt,
            "answer": getattr(report, asked.field).strip() or None,
        }
        for asked in questions
    ]


def answers(report: ReportConfig) -> tuple[list[Json], list[Json]]:
    """Return what the owner says of the model's use, and of its data."""
    return answered(report, USE), answered(report, ORIGIN)


def signer(decision: Json) -> Json:
    """Return who answered for this model before it was registered; nobody where nobody did."""
    override = decision.get("override") or {}
    if override.get("status") != "applied":
        return {"name": None, "words": UNSIGNED}
    words = f"{override['approver']} answers for this model by an override. {override['reason']}"
    return {"name": override["approver"], "words": words}


def card(context: Json) -> Json:
    """Return the facts of the model card.

    Args:
        context: of the published page.
    """
    decision = context["decision"]
    return {
        "title": context["report"].title,
        "recipe": context["summary"]["recipe"],
        "verdict": decision["verdict"],
        "verdict_words": context["verdict_words"],
        "insecure": decision["insecure"],
        "model": decision.get("model"),
        "signer": context["signer"],
        "override": decision.get("override"),
        "bars_changed": decision.get("bars", {}).get("changed", []),
        "profiles": context["evaluated"],
        "lists": [
            {key: found[key] for key in ("title", "as_of", "answered", "partly")}
            | {"items": len(found["rows"])}
            for found in context["lists"]
        ],
        "claims": [
            {k: c[k] for k in ("name", "verdict", "value", "range", "words")}
            for c in context["claims"]
        ],
        "answers": context["answers"],
        "data": context["origin"],
        "confidence": context["metrics"]["confidence"],
        "performance": context["performance"].rows,
        "checks": decision["checks"],
        "privacy_words": context["privacy"]["words"],
        "privacy": context["privacy"]["table"].rows,
        **privacy.card(context["privacy"], context["attack"]),
        "lineage": context["lineage"],
        "started": context.get("started", []),
        "network": context["network"].rows,
        "files": dict(context["digests"]),
        "versions": dict(context["versions"].rows),
        "limits": context["limits"],
        "settings": context["settings"],
        # What a row is called, and several.
        "rows": [one(), many()],
    }
