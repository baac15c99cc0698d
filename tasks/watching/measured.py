"""What is measured of each new person: numbers in 0..1, NaN where nobody knows yet.

N people.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.recipe import DataConfig
from tasks.table.encode import Encoded, encode_sensitive, schema
from tasks.table.labels import known_labels
from tasks.table.people import sensitive_columns

Array = NDArray[np.float64]
Measures = dict[str, Array]

DECISION, SCORE, CALIBRATION, ERROR = "favourable decision", "score", "calibration", "error"
# Measures that wait for an outcome.
LATE = (CALIBRATION, ERROR)


def of_answers(data: DataConfig, answers: Mapping[str, Any], truth: Array | None) -> Measures:
    """Return measures of scores, decisions and, where they are known, outcomes.

    Args:
        data: target and decision of the recipe.
        answers: of the scorer, one value a person.
        truth: class numbers, or values in the target's unit, float64 [N]; NaN: not known yet.

    Returns:
        binary: favourable decision, score (probability of the event), calibration (0.5 + half of
        outcome minus score), error. multiclass: share of each class, error. regression: score
        and error as shares of the target's range.
    """
    target = data.target
    names = list(target.names or map(str, target.classes))
    if target.kind == "regression":
        low, high = target.bounds or (0.0, 1.0)
        score = (np.asarray(answers["score"], dtype=np.float64) - low) / (high - low)
        found = {SCORE: score.clip(0, 1)}
        if truth is not None:
            found[ERROR] = np.abs((truth - low) / (high - low) - score).clip(0, 1)
        return found
    chosen = np.array([names.index(str(name)) for name in answers["decision"]], dtype=np.float64)
    if target.kind == "binary":
        assert data.decision is not None
        wanted = target.classes.index(data.decision.favourable)
        score = np.asarray(answers["score"], dtype=np.float64)
        found = {DECISION: (chosen == wanted).astype(np.float64), SCORE: score}
        if truth is not None:
            found[CALIBRATION] = (1 + truth - score) / 2
    else:
        found = {f"share of {name}": (chosen == i) * 1.0 for i, name in enumerate(names)}
    if truth is not None:
        found[ERROR] = np.where(np.isnan(truth), np.nan, chosen != truth)
    return found


def of_inputs(data: DataConfig, encoded: Encoded) -> Measures:
    """Return measures of what the model reads: each channel's mean over a person's steps.

    A channel of numbers is read from -1..1 to 0..1, a category's is 0 or 1 already; of a feature
    that is read twice the first reading counts. Of texts: the share of unknown tokens.

    Args:
        data: of the recipe.
        encoded: the people.
    """
    sizes = np.maximum(np.diff(encoded.offsets), 1)
    starts = encoded.offsets[:-1]
    if encoded.missing is None:
        unknown = np.add.reduceat((encoded.sequences == 1).astype(np.float64), starts) / sizes
        return {"input: unknown tokens": unknown}
    known = schema(data)
    found: Measures = {}
    here = 1.0 - encoded.missing
    counts = np.add.reduceat(here, starts, axis=0)
    values = np.asarray(encoded.sequences, dtype=np.float64)
    for index, channel in enumerate(known["channels"]):
        name = _named(channel)
        if f"input: {name}" in found:
            continue
        scaled = values[:, index] if channel["value"] is not None else (values[:, index] + 1) / 2
        total = np.add.reduceat(scaled * here[:, index], starts)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[f"input: {name}"] = (total / counts[:, index]).clip(0, 1)
        if channel["value"] is None and known["missing_indicators"]:
            found[f"missing: {name}"] = 1 - counts[:, index] / sizes
    for index, channel in enumerate(known["static"]):
        column = encoded.static[:, index].astype(np.float64)
        scaled = column if channel["value"] is not None else (column + 1) / 2
        found.setdefault(f"input: {_named(channel)}", scaled.clip(0, 1))
    return found


def _named(channel: Mapping[str, Any]) -> str:
    """A channel in words."""
    value = channel["value"]
    return str(channel["feature"]) if value is None else f"{channel['feature']} = {value}"


def groups_of(data: DataConfig, table: pl.DataFrame) -> dict[str, list[str]]:
    """Return each sensitive feature's label of each person, of features whose columns are there.

    Only features with declared labels: others would make groups of whatever stands in a cell.

    Args:
        data: of the recipe.
        table: one row a person, in the order of the answers.
    """
    there = tuple(
        feature
        for feature in data.sensitive
        if known_labels(feature) and set(sensitive_columns(feature)) <= set(table.columns)
    )
    if not there:
        return {}
    from dataclasses import replace

    labels = encode_sensitive(table, replace(data, sensitive=there))
    return {name: labels[name].to_list() for name in labels.columns}
