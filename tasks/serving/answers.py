"""What a user reads about each person: score, decision, interval."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rnn.batch import PreparedSequences
from tasks.evidence.scoring import scores_of
from tasks.recipe import DataConfig
from tasks.table.encode import Encoded, unscale
from tasks.table.labels import encode_sensitive


def sequences_of(encoded: Encoded, data: DataConfig) -> PreparedSequences:
    """Return encoded people as the model's batches are made of."""
    return PreparedSequences(
        sequences=encoded.sequences,
        missing=encoded.missing,
        offsets=encoded.offsets,
        static=encoded.static,
        targets=np.zeros(len(encoded), dtype=np.int64),
        missing_indicators=data.missing_indicators and encoded.missing is not None,
        next_token=data.target.kind == "next_token",
    )


def threshold_of(
    rows: pl.DataFrame,
    data: DataConfig,
    threshold: float | None,
    by_group: Mapping[str, Any] | None,
) -> float | NDArray[np.float64] | None:
    """Return from which P(event) on the event is decided: of everybody, or of each person [N].

    Args:
        rows: raw, as they are encoded.
        data: of the recipe; `decision_groups` names the feature that a decision reads.
        threshold: of whoever has no other.
        by_group: label -> threshold; None where nobody has another.

    Raises:
        UserError: a column of the feature is missing.
    """
    if by_group is None:
        return threshold
    (feature,) = (s for s in data.sensitive if s.name == data.decision_groups)
    labels = encode_sensitive(rows, replace(data, sensitive=(feature,)))[feature.name]
    return np.array([by_group.get(label, threshold) for label in labels], dtype=np.float64)


def answered(
    persons: list[str],
    logits: np.ndarray[Any, Any],
    data: DataConfig,
    threshold: float | NDArray[np.float64] | None,
    half_width: float | None = None,
) -> dict[str, Any]:
    """Return the columns of an answer, one value a person.

    Args:
        persons: ids [N].
        logits: float64 [N, C].
        data: target and its names.
        threshold: of a binary decision, on P(event); of everybody, or of each person [N].
        half_width: of a regression's intervals; None without them.

    Returns:
        person_id; score and decision (binary), score_0.. and decision (multiclass), or score, low
        and high in the target's unit (regression). Scores are float64 [N], the rest lists.
    """
    target = data.target
    scores = scores_of(logits, target.kind)
    columns: dict[str, Any] = {"person_id": persons}
    if target.kind == "regression":
        assert target.bounds is not None
        score = unscale(scores, target.bounds)
        columns["score"] = score
        if half_width is not None:
            columns["low"] = np.clip(score - half_width, *target.bounds)
            columns["high"] = np.clip(score + half_width, *target.bounds)
        return columns
    if target.kind == "binary":
        columns["score"] = scores
        chosen = (scores >= (0.5 if threshold is None else threshold)).astype(int)
    else:
        for index in range(scores.shape[1]):
            columns[f"score_{index}"] = scores[:, index]
        chosen = scores.argmax(1)
    names = target.names or tuple(map(str, target.classes))
    columns["decision"] = [names[index] for index in chosen]
    return columns


def unfavourable(columns: Mapping[str, Any], data: DataConfig) -> NDArray[np.int64]:
    """Return whose decision is unfavourable, rising; everybody where nothing is decided.

    Args:
        columns: what `answered` returns.
        data: with or without a decision.
    """
    if data.decision is None:
        return np.arange(len(columns["person_id"]))
    target = data.target
    names = target.names or tuple(map(str, target.classes))
    favourable = names[target.classes.index(data.decision.favourable)]
    return np.flatnonzero([said != favourable for said in columns["decision"]])
