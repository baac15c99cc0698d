"""What register knows of a model, and what of it stands in MLflow: status, tags, figures."""

import json
import re
from collections.abc import Mapping, Sequence
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
    def no_privacy(self) -> str | None:
        """Why no privacy is claimed; None where it is."""
        reason = self.decision.get("no_privacy")
        return None if reason is None else str(reason)

    @property
    def privacy_words(self) -> str:
        """Epsilon and delta, or that none is claimed."""
        if self.no_privacy is not None:
            return "no privacy is claimed"
        return f"epsilon {self.decision['epsilon']:.3g}, delta {self.decision['delta']:g}"

    @property
    def epsilon_tags(self) -> dict[str, str]:
        """Epsilon and delta; nothing where no privacy is claimed."""
        if self.no_privacy is not None:
            return {}
        return {name: repr(self.decision[name]) for name in ("epsilon", "delta")}

    @property
    def attack_tags(self) -> dict[str, str]:
        """What attacks on the claim came to; where none is made, that and why."""
        if self.no_privacy is not None:
            return {"privacy": f"none: {self.no_privacy}"}
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
    """Return publishable figures as MLflow shows them; as in `figures_of`."""
    return figures_of(evidence.metrics, evidence.decision, evidence.audit, evidence.null_block)


def figures_of(
    metrics: Mapping[str, Any],
    decision: Mapping[str, Any],
    audit: Mapping[str, Any],
    null_block: Mapping[str, Any] | None,
) -> dict[str, float]:
    """Return publishable figures, each with _low and _high where it has an interval.

    MLflow and DVC show the same, by the same names.

    Args:
        metrics: of all held-out people, as they may be shown.
        decision: decision.json.
        audit: audit/published/audit.json.
        null_block: model/null_block.json; None where nothing measured the run.
    """
    figures: dict[str, Any] = dict(metrics.get("model", {}))
    decided = metrics.get("decision") or {}
    figures |= {name: decided[name] for name in ("threshold", "approval_rate") if name in decided}
    gate = audit.get("gate") or {}
    figures["impact_ratio"] = gate.get("impact_ratio")
    figures |= gaps_of(audit)
    figures["epsilon"], figures["delta"] = (decision[n] for n in ("epsilon", "delta"))
    figures |= null_block_figures(null_block)
    flat: dict[str, float] = {}
    for name, figure in figures.items():
        parts = figure if isinstance(figure, dict) else {"value": figure}
        for part, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
            if isinstance(parts.get(part), int | float):
                flat[f"{name}{suffix}"] = float(parts[part])
    return flat


def gaps_of(audit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the largest gap in favourable decisions of every sensitive feature, by its name.

    Example:
        >>> summary = {"demographic_parity_difference": {"value": 0.1, "low": 0.0, "high": 0.2}}
        >>> gaps_of({"features": [{"name": "age band", "comparisons": {"summary": summary}}]})
        {'gap_by_age_band': {'value': 0.1, 'low': 0.0, 'high': 0.2}}
    """
    found = {}
    for feature in audit.get("features") or []:
        summary = (feature.get("comparisons") or {}).get("summary") or {}
        name = re.sub(r"\W+", "_", feature["name"])
        found[f"gap_by_{name}"] = summary.get("demographic_parity_difference")
    return found


def null_block_figures(block: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the training run measured of itself; it hangs on coins alone, not on people."""
    if not block:
        return {}
    bound = (block.get("lower_bound") or {}).get("epsilon")
    return {
        "null_block_noise_scale": block.get("noise_scale"),
        "null_block_epsilon_lower_bound": bound,
    }


def score_of(
    metrics: Mapping[str, float], task: str, figures: Sequence[Mapping[str, Any]] = ()
) -> float:
    """Return the one figure by which two versions are compared; higher is better.

    Args:
        metrics: figures by name.
        task: kind of target.
        figures: of a kind that is a sequence itself, the most telling first.
    """
    for first in figures[:1]:
        sign = 1.0 if first["better"] == "higher" else -1.0
        return sign * metrics.get(first["name"], sign * float("-inf"))
    if task == "regression":
        return -metrics.get("mae", float("inf"))
    return metrics.get("auc" if task == "binary" else "accuracy", float("-inf"))
