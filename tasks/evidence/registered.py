"""What register knows of a model, and what of it stands in MLflow: status, tags, figures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.evidence.override import overridden
from tasks.recipe import GateConfig, RegisterPlan

OVERRIDE = ("approver", "reason", "verdict")
# Checks that contradict the promise itself.
EVIDENT = ("attack", "null_block")


@dataclass(frozen=True)
class Evidence:
    """What earlier stages found.

    Attributes:
        recipe: name under data/.
        plan: names in MLflow.
        gate: its settings.
        decision: decision.json.
        metrics: of all held-out people, as they may be shown.
        attack: attack/published/attack.json.
        audit: audit/published/audit.json.
        content: keyed digest of all that is registered, internal evidence included.
        lineage: keyed digest of the raw data.
        null_block: model/null_block.json; None where nothing measured the run.
        model: first 12 hex digits of the model's own digest.
    """

    recipe: str
    plan: RegisterPlan
    gate: GateConfig
    decision: dict[str, Any]
    metrics: dict[str, Any]
    attack: dict[str, Any]
    audit: dict[str, Any]
    content: str
    lineage: str
    model: str = ""
    null_block: dict[str, Any] | None = None

    @property
    def insecure(self) -> bool:
        """Noise that can be repeated protects nobody."""
        return self.plan.insecure or bool(self.decision.get("insecure"))

    @property
    def status(self) -> str:
        """accepted, overridden, needs_review, rejected or not_registered."""
        if self.insecure:
            return "not_registered"
        if self.override is not None:
            return "overridden"
        by_verdict = {"pass": "accepted", "inconclusive": "needs_review"}
        return by_verdict.get(self.decision["verdict"], "rejected")

    @property
    def override(self) -> dict[str, Any] | None:
        """Who answered for this very model, where that is allowed."""
        return None if self.insecure else overridden(self.decision, self.model)

    @property
    def override_tags(self) -> dict[str, str]:
        """The same as tags."""
        return {f"override_{k}": self.override[k] for k in OVERRIDE} if self.override else {}

    @property
    def attack_tags(self) -> dict[str, str]:
        """What attacks on the claim came to."""
        block = (self.null_block or {}).get("verdict", "not measured")
        return {"attack": str(self.attack.get("verdict", "none")), "null_block": str(block)}

    @property
    def has_weights(self) -> bool:
        """Weights that broke their promise, or never made one, are not given out."""
        found = (self.attack.get("verdict"), (self.null_block or {}).get("verdict"))
        failed = {c["name"] for c in self.decision.get("checks", []) if c.get("verdict") == "fail"}
        return not self.insecure and "violated" not in found and not failed & set(EVIDENT)

    @property
    def reasons(self) -> str:
        """Why it did not pass, in one line."""
        if self.insecure:
            return "insecure_seed: the noise can be repeated"
        checks = [c for c in self.decision.get("checks", []) if c.get("verdict") != "pass"]
        return "; ".join(str(c.get("reason") or c["name"]) for c in checks)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted names; what is not set is left out.

    Example:
        >>> flatten({"train": {"steps": 2, "seed": None}})
        {'train.steps': '2'}
    """
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def metrics_of(evidence: Evidence) -> dict[str, float]:
    """Return publishable figures, each with _low and _high where it has an interval."""
    figures: dict[str, Any] = dict(evidence.metrics.get("model", {}))
    decided = evidence.metrics.get("decision") or {}
    figures |= {name: decided[name] for name in ("threshold", "approval_rate") if name in decided}
    gate = evidence.audit.get("gate") or {}
    figures["impact_ratio"] = gate.get("impact_ratio")
    figures["epsilon"], figures["delta"] = (evidence.decision[n] for n in ("epsilon", "delta"))
    figures |= null_block_figures(evidence.null_block)
    flat: dict[str, float] = {}
    for name, figure in figures.items():
        parts = figure if isinstance(figure, dict) else {"value": figure}
        for part, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
            if isinstance(parts.get(part), int | float):
                flat[f"{name}{suffix}"] = float(parts[part])
    return flat


def null_block_figures(block: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the training run measured of itself; it hangs on coins alone, not on people."""
    if not block:
        return {}
    bound = (block.get("lower_bound") or {}).get("epsilon")
    return {
        "null_block_noise_scale": block.get("noise_scale"),
        "null_block_epsilon_lower_bound": bound,
    }


def score_of(metrics: Mapping[str, float], task: str) -> float:
    """Return the one figure by which two versions are compared; higher is better."""
    if task == "regression":
        return -metrics.get("mae", float("inf"))
    return metrics.get("auc" if task == "binary" else "accuracy", float("-inf"))
