"""What may be published about the quality of attributions, and the verdict on a method.

B people, P cells of a person.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.evidence.agreement import rank_correlation, top_overlap
from tasks.evidence.attributions import CONFIDENCE, MIN_PEOPLE
from tasks.stats import NOTHING, mean

Floats = NDArray[np.float64]
Json = dict[str, Any]

# Methods whose shares add up to the change of the output; of the others no error is shown.
COMPLETE = ("integrated_gradients", "gradient_shap", "shapley_sampling", "kernel_shap")
# Attributions that keep this much of their ranks when weights are shuffled show the data, not
# the model.
SAME_RANKS = 0.8
TOP = 3


@dataclass(frozen=True)
class Tried:
    """A method on some people.

    Attributes:
        shares: float64 [B, P].
        real: bool [B, P], false for padding.
        change: float64 [B], the output with all cells less that with none.
        infidelity: float64 [B], share of random changes of the output that is left open.
        infidelity_random: the same of the shares in random order.
        max_sensitivity: float64 [B], largest relative change when inputs move a little.
        insertion: float64 [B], area under the curve in units of the output; high is good.
        insertion_random: of random orders.
        deletion: float64 [B]; low is good.
        deletion_random: of random orders.
        randomised: float64 [B], rank correlation with shares of a model with shuffled weights.
    """

    shares: Floats
    real: NDArray[np.bool_]
    change: Floats
    infidelity: Floats
    infidelity_random: Floats
    max_sensitivity: Floats
    insertion: Floats
    insertion_random: Floats
    deletion: Floats
    deletion_random: Floats
    randomised: Floats


def shown(values: Floats) -> dict[str, float | None]:
    """Return the mean with its normal interval, NaN left out; nulls where people are few."""
    known = values[np.isfinite(values)]
    return (mean(known, CONFIDENCE) if len(known) >= MIN_PEOPLE else NOTHING).as_dict()


def _completeness(method: str, tried: Tried) -> Json:
    """Relative errors of the sum, of methods that promise one."""
    if method not in COMPLETE or len(tried.change) < MIN_PEOPLE:
        return {"p50": None, "p95": None}
    size = np.maximum(np.abs(tried.change), 1e-6)
    error = np.abs(tried.shares.sum(1) - tried.change) / size
    return {"p50": float(np.quantile(error, 0.5)), "p95": float(np.quantile(error, 0.95))}


def verdict(row: Json) -> Json:
    """Return verdict, reason and better_than_random of a method's figures.

    Args:
        row: insertion_gain, deletion_gain and randomised as `shown` gives them.
    """
    gains = {name: row[f"{name}_gain"] for name in ("insertion", "deletion")}
    if any(g["low"] is None for g in gains.values()) or row["randomised"]["high"] is None:
        reason = f"fewer than {MIN_PEOPLE} whose output and ranks can change"
        return {"verdict": "inconclusive", "reason": reason, "better_than_random": None}
    weak = [
        f"{name} is no better than a random order (gain {g['value']:.3f}, interval "
        f"{g['low']:.3f} to {g['high']:.3f})"
        for name, g in gains.items()
        if g["low"] <= 0
    ]
    better = not weak
    if row["randomised"]["high"] >= SAME_RANKS:
        weak.append(
            f"ranks hardly change when the model's weights are shuffled (correlation "
            f"{row['randomised']['value']:.2f}, bar {SAME_RANKS:g})"
        )
    words = "insertion and deletion beat random orders, and shuffled weights change the ranks"
    return {
        "verdict": "fail" if weak else "pass",
        "reason": "; ".join(weak) or words,
        "better_than_random": better,
    }


def method_row(method: str, tried: Tried, default: bool) -> Json:
    """Return one method's figures; insertion and deletion as shares of the mean change."""
    unit = max(float(np.abs(tried.change).mean()), 1e-12)
    areas = {
        name: getattr(tried, name) / unit
        for name in ("insertion", "insertion_random", "deletion", "deletion_random")
    }
    areas["insertion_gain"] = areas["insertion"] - areas["insertion_random"]
    areas["deletion_gain"] = areas["deletion_random"] - areas["deletion"]
    names = ("infidelity", "infidelity_random", "max_sensitivity", "randomised")
    row: Json = {
        "method": method,
        "default": default,
        "people": len(tried.change),
        "completeness": _completeness(method, tried),
        **{name: shown(getattr(tried, name)) for name in names},
        **{name: shown(values) for name, values in areas.items()},
    }
    return {**row, **verdict(row)}


def _agreement(first: str, second: str, tried: dict[str, Tried]) -> Json:
    """How far two methods agree."""
    one, two = tried[first], tried[second]
    overlap, chance = top_overlap(one.shares, two.shares, one.real, TOP)
    return {
        "first": first,
        "second": second,
        "rank_correlation": shown(rank_correlation(one.shares, two.shares, one.real)),
        "top_k": TOP,
        "top_k_overlap": shown(overlap),
        "top_k_by_chance": shown(chance),
    }


def published(tried: dict[str, Tried], draws: dict[str, int]) -> Json:
    """Return the section `quality`: aggregates alone.

    Args:
        tried: methods by name, that of the pictures first; all on the same people.
        draws: how many random draws are behind the figures.
    """
    names = list(tried)
    return {
        "people": len(tried[names[0]].change),
        "min_people": MIN_PEOPLE,
        "confidence": CONFIDENCE,
        "draws": draws,
        "methods": [method_row(name, tried[name], name == names[0]) for name in names],
        "agreement": [_agreement(a, b, tried) for a, b in combinations(names, 2)],
    }
