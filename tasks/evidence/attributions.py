"""Attributions of many people, and what of them may be published.

B people, T the longest sequence among them, D channels, S static channels, F features; a feature
may own several channels (a category has one a value).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.recipe import ExplainConfig, TargetPlan
from tasks.stats import NOTHING, mean

MIN_PEOPLE = 30
MAX_STEPS = 60
CONFIDENCE = 0.95
_TINY = 1e-6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attributions:
    """Signed shares of the output's distance from its baseline.

    Attributes:
        inputs: float64 [B, T, D], or [B, T] for tokens; exactly 0 after each length.
        static: float64 [B, S].
        lengths: int64 [B].
        outputs: float64 [B], what is explained.
        baseline_outputs: float64 [B], the same for the baseline.
    """

    inputs: Floats
    static: Floats
    lengths: NDArray[np.int64]
    outputs: Floats
    baseline_outputs: Floats

    def completeness_errors(self) -> Floats:
        """Return float64 [B]: |sum of attributions - change of output| over |change of output|."""
        total = self.inputs.reshape(len(self.lengths), -1).sum(1) + self.static.sum(1)
        change = self.outputs - self.baseline_outputs
        return np.asarray(np.abs(total - change) / np.maximum(np.abs(change), _TINY))


def by_features(values: Floats, channels: Sequence[dict[str, Any]]) -> tuple[list[str], Floats]:
    """Sum the channels of each feature.

    Args:
        values: float [..., D]; indicators of missing values, if any, follow in the same order.
        channels: D or D / 2 entries with the name of their feature.

    Returns:
        F names in the order of their first channel, and float [..., F].
    """
    owners = [str(channel["feature"]) for channel in channels]
    owners *= values.shape[-1] // len(owners) if owners else 1
    names = list(dict.fromkeys(owners))
    summed = np.zeros((*values.shape[:-1], len(names)))
    for position, owner in enumerate(owners):
        summed[..., names.index(owner)] += values[..., position]
    return names, summed


def mean_interval(values: Floats) -> dict[str, float | None]:
    """Return the mean with its normal interval; nulls where there are fewer than MIN_PEOPLE.

    Args:
        values: float [people], none negative.
    """
    if len(values) < MIN_PEOPLE:
        return NOTHING.as_dict()
    return mean(values, CONFIDENCE).clip(0, math.inf).as_dict()


def step_labels(schema: dict[str, Any], lengths: NDArray[np.int64]) -> tuple[list[str], str]:
    """Return the steps to show, oldest first, and what the axis is called.

    Declared steps are public and all are shown. Otherwise a position is shown if at least
    MIN_PEOPLE reach it, so that nobody's length can be read off: characters count from the
    first, events back from the latest.
    """
    if schema["layout"] == "wide":
        return [str(label) for label in schema["steps"]], "step"
    longest = int(lengths.max(initial=0))
    reached = [k for k in range(min(longest, MAX_STEPS)) if (lengths > k).sum() >= MIN_PEOPLE]
    if schema["layout"] == "text":
        return [str(k + 1) for k in reached], "character"
    return [str(-k) for k in reversed(reached)], "events after the latest"


def _at_steps(values: Floats, lengths: NDArray[np.int64], shown: int, axis: str) -> list[Floats]:
    """For each shown step, float [people who have it, F]."""
    if axis == "events after the latest":
        return [values[lengths > k, lengths[lengths > k] - 1 - k] for k in reversed(range(shown))]
    return [values[lengths > k, k] if k < values.shape[1] else values[:0, 0] for k in range(shown)]


def _feature_rows(kind: str, names: Sequence[str], sizes: Floats) -> list[dict[str, Any]]:
    """Mean of each feature; sizes float [people, F]."""
    return [
        {"feature": name, "kind": kind, **mean_interval(sizes[:, f])}
        for f, name in enumerate(names)
    ]


def summarise(found: Attributions, schema: dict[str, Any], config: ExplainConfig) -> dict[str, Any]:
    """Return what may be published: means over people, suppressed where they are few.

    Args:
        found: attributions of a sample of held-out people.
        schema: of the prepared data.
        config: as used.
    """
    tokens = schema["input"]["kind"] == "tokens"
    channels = [{"feature": "characters"}] if tokens else schema["channels"]
    values = found.inputs[..., None] if tokens else found.inputs
    names, sequence = by_features(values, channels)
    static_names, static = by_features(found.static, schema["static"])
    size = np.abs(sequence)
    rows = _feature_rows("sequence", names, size.sum(1))
    rows += _feature_rows("static", static_names, np.abs(static))
    labels, axis = step_labels(schema, found.lengths)
    at_steps = _at_steps(size, found.lengths, len(labels), axis)
    errors = found.completeness_errors()
    enough = len(errors) >= MIN_PEOPLE
    return {
        "method": config.method,
        "rule": "gausslegendre",
        "n_steps": config.n_steps,
        "people": len(errors),
        "min_people": MIN_PEOPLE,
        "confidence": CONFIDENCE,
        "completeness": {
            "p50": float(np.quantile(errors, 0.5)) if enough else None,
            "p95": float(np.quantile(errors, 0.95)) if enough else None,
        },
        "by_feature": sorted(rows, key=lambda row: -(row["value"] or 0.0)),
        "step_axis": axis,
        "by_step": [
            {"step": label, **mean_interval(a.sum(1))}
            for label, a in zip(labels, at_steps, strict=True)
        ],
        "sequence_features": names,
        "by_feature_and_step": [
            [mean_interval(a[:, f])["value"] for a in at_steps] for f in range(len(names))
        ],
    }


def in_target_units(found: Attributions, target: TargetPlan) -> Attributions:
    """Undo the scaling of a regression target; logits stay as they are."""
    if target.target.bounds is None:
        return found
    low, high = target.target.bounds
    factor = (high - low) / 2
    return Attributions(
        found.inputs * factor,
        found.static * factor,
        found.lengths,
        low + (found.outputs + 1) * factor,
        low + (found.baseline_outputs + 1) * factor,
    )


UNITS = {"binary": "log-odds", "multiclass": "logit", "regression": "target's units"}


def explained_words(target: TargetPlan) -> str:
    """Return what the attributions add up to."""
    if target.target.kind == "regression":
        return f"prediction of {target.target.column}, in its units"
    if target.target.kind == "multiclass":
        return "logit of the predicted class"
    names = target.target.names or tuple(str(c) for c in target.target.classes)
    return f"log-odds of {names[1]}"
