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

# What one token of a text is called, by the recipe's `tokens`.
TOKENS = {
    "characters": "character", "bigrams": "pair of characters", "words": "word",
    "subwords": "subword", "symbols": "symbol",
}  # fmt: skip
MIN_PEOPLE = 30
MAX_STEPS = 60
CONFIDENCE = 0.95
# Relative error of completeness that 95 % of people must be under.
BAR = 0.001
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
        points: int64 [B], points of the path, where there is one.
    """

    inputs: Floats
    static: Floats
    lengths: NDArray[np.int64]
    outputs: Floats
    baseline_outputs: Floats
    points: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[np.int64]) -> "Attributions":
        """Return some people, in the order given."""
        points = None if self.points is None else self.points[rows]
        return Attributions(
            self.inputs[rows], self.static[rows], self.lengths[rows], self.outputs[rows],
            self.baseline_outputs[rows], points,
        )  # fmt: skip

    def completeness_errors(self) -> Floats:
        """Return float64 [B]: |sum of attributions - change of output| over |change of output|."""
        total = self.inputs.reshape(len(self.lengths), -1).sum(1) + self.static.sum(1)
        change = self.outputs - self.baseline_outputs
        return np.asarray(np.abs(total - change) / np.maximum(np.abs(change), _TINY))


def joined(parts: Sequence[Attributions]) -> Attributions:
    """Return several parts as one, padded to the longest.

    Args:
        parts: of the same model and method, at least one.
    """
    longest = max(part.inputs.shape[1] for part in parts)
    inputs = [
        np.pad(p.inputs, [(0, 0), (0, longest - p.inputs.shape[1]), (0, 0)][: p.inputs.ndim])
        for p in parts
    ]
    names = ("static", "lengths", "outputs", "baseline_outputs")
    rest = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    points = [part.points for part in parts if part.points is not None]
    return Attributions(
        np.concatenate(inputs), **rest, points=np.concatenate(points) if points else None
    )


def _completeness(found: Attributions) -> dict[str, Any]:
    """How far attributions miss the change of the output, and whether the bar is reached."""
    errors = found.completeness_errors()
    if len(errors) < MIN_PEOPLE:
        reason = f"fewer than {MIN_PEOPLE} people"
        return {"p50": None, "p95": None, "bar": BAR, "reached": None, "reason": reason}
    p50, p95 = (float(np.quantile(errors, q)) for q in (0.5, 0.95))
    reached = p95 <= BAR
    reason = "" if reached else (
        f"95 % of relative errors reach {p95:.2g}, above {BAR:g}: raise explain.max_steps, or "
        "choose a method that adds up"
    )  # fmt: skip
    return {"p50": p50, "p95": p95, "bar": BAR, "reached": reached, "reason": reason}


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


def token_kind(schema: dict[str, Any]) -> str:
    """Return what the tokens of a text are: characters, words, subwords or symbols."""
    return str(schema.get("input", {}).get("tokens", "characters"))


def step_labels(schema: dict[str, Any], lengths: NDArray[np.int64]) -> tuple[list[str], str]:
    """Return the steps to show, oldest first, and what the axis is called.

    Declared steps are public and all are shown. Otherwise a position is shown if at least
    MIN_PEOPLE reach it, so that nobody's length can be read off: tokens count from the first,
    events back from the latest.
    """
    if schema["layout"] == "wide":
        return [str(label) for label in schema["steps"]], "step"
    longest = int(lengths.max(initial=0))
    reached = [k for k in range(min(longest, MAX_STEPS)) if (lengths > k).sum() >= MIN_PEOPLE]
    if schema["layout"] == "text":
        return [str(k + 1) for k in reached], TOKENS[token_kind(schema)]
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
    channels = [{"feature": token_kind(schema)}] if tokens else schema["channels"]
    values = found.inputs[..., None] if tokens else found.inputs
    names, sequence = by_features(values, channels)
    static_names, static = by_features(found.static, schema["static"])
    size = np.abs(sequence)
    rows = _feature_rows("sequence", names, size.sum(1))
    rows += _feature_rows("static", static_names, np.abs(static))
    labels, axis = step_labels(schema, found.lengths)
    at_steps = _at_steps(size, found.lengths, len(labels), axis)
    points = found.points
    return {
        "method": config.method,
        "rule": "gausslegendre",
        "n_steps": config.n_steps,
        "max_steps": config.max_steps,
        "mean_steps": None if points is None else float(points.mean()),
        "orders": config.orders,
        "people": len(found.lengths),
        "min_people": MIN_PEOPLE,
        "confidence": CONFIDENCE,
        "completeness": _completeness(found),
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
    """Undo the scaling of a regression or a forecast; all else stays as it is."""
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
        found.points,
    )
