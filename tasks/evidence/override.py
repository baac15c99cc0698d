"""Who answers for a model that did not pass, and what nobody can answer for."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.params import UserError, validate
from tasks.recipe import OverrideConfig

Json = dict[str, Any]

# A broken promise to the people in the data is not the approver's to waive.
PRIVACY = ("epsilon", "held_out_epsilon", "noise", "attack", "null_block", "privacy")
UNPAID = ("epsilon", "held_out_epsilon")


def broken_promises(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the privacy checks that failed; an epsilon that nobody accounted for has failed."""
    return [
        check["name"]
        for check in checks
        if check["name"] in PRIVACY
        and (check["verdict"] == "fail" or (check["name"] in UNPAID and check["verdict"] != "pass"))
    ]


def answered_for(
    override: OverrideConfig | None, verdict: str, checks: Sequence[Mapping[str, Any]], model: str
) -> Json | None:
    """Return what an override comes to, for decision.json; None where none was written.

    Args:
        override: from the recipe.
        verdict: of the gate over all checks; an override never changes it.
        checks: of the gate.
        model: first 12 hex digits of the model that was judged.
    """
    if override is None:
        return None
    broken = broken_promises(checks)
    if override.model != model:
        status, words = "other model", f"It speaks of the model {override.model}, not of {model}."
    elif verdict == "pass":
        status, words = "not needed", "Every bar is met without it."
    elif broken:
        status = "refused"
        words = f"Nobody can override a privacy check that is not met: {', '.join(broken)}."
    else:
        status = "applied"
        missed = [c["name"].replace("_", " ") for c in checks if c["verdict"] != "pass"]
        words = f"The gate's verdict stays {verdict}. Answered for: {', '.join(missed)}."
    return {
        "approver": " ".join(override.approver.split()),
        "reason": " ".join(override.reason.split()),
        "model": override.model,
        "status": status,
        "words": words,
        "verdict": verdict,
    }


def overridden(decision: Mapping[str, Any], model: str) -> Json | None:
    """Return the override that lets a model be registered for use, judged anew; else None.

    Args:
        decision: decision.json.
        model: first 12 hex digits of the model that is to be registered.
    """
    written = decision.get("override")
    if not isinstance(written, dict) or decision.get("model") != model:
        return None
    try:
        values = {key: written.get(key) for key in ("approver", "reason", "model")}
        override = validate(OverrideConfig, values, "decision.json: override")
    except UserError:
        return None
    found = answered_for(override, decision["verdict"], decision.get("checks", []), model)
    return found if found and found["status"] == "applied" else None
