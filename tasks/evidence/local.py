"""A few people by rule, with their real values: internal, and under no name."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rnn.config import SCORED_TASKS
from tasks.artifacts import Prepared
from tasks.evidence.attributions import Attributions, Floats, token_kind
from tasks.recipe import DataConfig, TargetPlan
from tasks.table.channels import unscale

# 0 is padding and 1 stands for every token outside the alphabet or vocabulary.
FIRST_TOKEN_ID = 2
UNTOLD = "□"
# One person a group, of so many groups.
MOST_GROUPS = 50
# float32 cannot tell what is nearer to a bound from the bound.
_EDGE = 1e-6


def _class_scores(predictions: pl.DataFrame) -> Floats:
    """float [people, C] of a multiclass model."""
    names = [name for name in predictions.columns if name.startswith("score_")]
    names.sort(key=lambda name: int(name.removeprefix("score_")))
    return predictions.select(names).to_numpy().astype(np.float64)


def _orders(predictions: pl.DataFrame, kind: str) -> dict[str, NDArray[np.int64]]:
    """For each rule, positions of people, the best example first."""
    if kind not in SCORED_TASKS:
        loss = predictions["loss"].to_numpy()
        return {
            "smallest loss": np.argsort(loss, kind="stable"),
            "largest loss": np.argsort(-loss, kind="stable"),
            "middle loss": np.argsort(np.abs(loss - np.median(loss)), kind="stable"),
        }
    truth = predictions["y_true"].to_numpy()
    if kind == "regression":
        score = predictions["y_score"].to_numpy()
        error = np.abs(score - truth)
        return {
            "nearest prediction": np.argsort(error, kind="stable"),
            "farthest prediction": np.argsort(-error, kind="stable"),
            "nearest to the middle prediction": np.argsort(
                np.abs(score - np.median(score)), kind="stable"
            ),
        }
    decided = predictions["y_pred"].to_numpy()
    if kind == "binary":
        score = predictions["y_score"].to_numpy()
        predicted, rest = score[decided == 1], score[decided == 0]
        edge = (predicted.min(initial=1.0) + rest.max(initial=0.0)) / 2
        # The two people beside the threshold are equally near: rounding must not choose.
        sure = np.abs(score - edge).round(12)
        close = "nearest to the threshold"
    else:
        scores = np.sort(_class_scores(predictions), axis=1)
        sure = scores[:, -1] - scores[:, -2]
        close = "nearest to another class"
    order = np.argsort(-sure, kind="stable")
    right = (truth == decided)[order]
    return {
        "most confident and right": order[right],
        "most confident and wrong": order[~right],
        close: np.argsort(sure, kind="stable"),
    }


def choose(
    predictions: pl.DataFrame,
    kind: str,
    count: int,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> list[tuple[str, dict[str, Any]]]:
    """Return distinct people: the rules taking turns, then one of each group.

    Args:
        predictions: one row a held-out person.
        kind: of the target.
        count: how many by the rules at most; 0 chooses nobody.
        groups: label of each of these people by sensitive feature.

    Returns:
        Rule and row of predictions of each.
    """
    queues = {rule: list(order) for rule, order in _orders(predictions, kind).items()}
    chosen: dict[int, str] = {}
    while len(chosen) < min(count, len(predictions)):
        for rule, queue in queues.items():
            while queue and int(queue[0]) in chosen:
                queue.pop(0)
            if queue and len(chosen) < count:
                chosen[int(queue.pop(0))] = rule
    if count:
        _add_groups(chosen, _middling(predictions, kind), groups or {}, kind)
    return [(rule, predictions.row(at, named=True)) for at, rule in chosen.items()]


def _middling(predictions: pl.DataFrame, kind: str) -> Floats:
    """A score of each person by which the middle one of a group is found, float64 [people]."""
    if kind == "multiclass":
        return np.asarray(_class_scores(predictions).max(1))
    if kind not in SCORED_TASKS:
        return predictions["loss"].to_numpy().astype(np.float64)
    return predictions["y_score"].to_numpy().astype(np.float64)


def _add_groups(
    chosen: dict[int, str], score: Floats, groups: Mapping[str, Sequence[str]], kind: str
) -> None:
    """Add the person with the middle score of each group, groups in order, at most MOST_GROUPS."""
    what = "score" if kind in SCORED_TASKS else "loss"
    pairs = [(f, label) for f, labels in groups.items() for label in sorted(set(labels))]
    for feature, label in pairs[:MOST_GROUPS]:
        member = np.flatnonzero(np.asarray(groups[feature]) == label)
        far = np.abs(score[member] - np.median(score[member]))
        for at in member[np.argsort(far, kind="stable")].tolist():
            if at not in chosen:
                chosen[at] = f"middle {what} of {feature} {label}"
                break


def shown(value: float) -> str:
    """Return a number as a person reads it; what float32 cannot tell from zero is zero."""
    if abs(value) < 1e-6:
        return "0"
    return (f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.4g}").replace("-", "−")


def value_of(
    config: DataConfig, kind: str, name: str, channels: list[dict[str, Any]], numbers: Floats
) -> str:
    """Return one feature's value in the user's units.

    A number is cut off at its public bounds before the model sees it: at a bound it says so,
    unless another reading of the same feature knows better.

    Args:
        config: bounds and transforms.
        kind: "static", or else of the sequence.
        name: of the feature.
        channels: its channels, in the order of the schema.
        numbers: float [channels].
    """
    at = [i for i, channel in enumerate(channels) if channel["value"] is None]
    if not at:
        named = [(str(c["value"]), float(x)) for c, x in zip(channels, numbers, strict=True)]
        if any(x not in (0.0, 1.0) for _, x in named):
            # Shares of a category in a step's rows, or waves of a calendar.
            return ", ".join(f"{value} {shown(x)}" for value, x in named if x) or "other"
        set_ = [value for value, x in named if x]
        return set_[0] if set_ else "other"
    features = config.static if kind == "static" else config.sequence.features  # type: ignore[union-attr]
    words = []
    own = [f for f in features if f.name == name and f.bounds is not None]
    if not own and config.target.bounds is not None:
        # What is usual of a series stands beside its features, in the target's unit.
        return shown(float(unscale(numbers[at[:1]], config.target.bounds)[0]))
    for channel, feature in zip(at, own, strict=True):
        assert feature.bounds is not None
        x = numbers[channel]
        said = shown(
            float(unscale(numbers[channel : channel + 1], feature.bounds, feature.transform)[0])
        )
        cut = "" if abs(x) < 1 - _EDGE else "or more" if x > 0 else "or less"
        # Nothing lies below a bound of zero that nobody would expect there.
        if not cut or (cut == "or less" and feature.bounds[0] == 0):
            return said
        words.append(f"{said} {cut}")
    return words[0]


def _features(
    config: DataConfig,
    kind: str,
    channels: list[dict[str, Any]],
    values: Floats,
    missing: NDArray[np.uint8] | None,
    shares: Floats,
) -> list[dict[str, Any]]:
    """Each feature's values and attributions over T steps; values float [T, D]."""
    rows = []
    for name in dict.fromkeys(c["feature"] for c in channels):
        own = [i for i, c in enumerate(channels) if c["feature"] == name]
        mine = [channels[i] for i in own]
        # Indicators of missing values stand after the channels, in the same order.
        also = [i + len(channels) for i in own if i + len(channels) < shares.shape[1]]
        words = [
            "missing" if missing is not None and missing[t, own].any()
            else value_of(config, kind, name, mine, values[t, own])
            for t in range(len(values))
        ]  # fmt: skip
        rows.append(
            {
                "feature": name,
                "unit": mine[0].get("unit") or "",
                "values": words,
                "attributions": [float(x) for x in shares[:, own + also].sum(1)],
            }
        )
    return rows


def _characters(
    prepared: Prepared, tokens: NDArray[np.generic], shares: Floats
) -> list[dict[str, Any]]:
    """Each token with its attribution; one outside the vocabulary is shown as a box."""
    vocabulary, kind = prepared.schema["input"]["vocabulary"], token_kind(prepared.schema)
    between = "" if kind == "characters" else " "
    return [
        {
            "text": (vocabulary[token] if token >= FIRST_TOKEN_ID else UNTOLD) + between,
            "attribution": float(share),
        }
        for token, share in zip(map(int, tokens), shares, strict=True)
    ]


def words_of(schema: dict[str, Any], symbols: Sequence[int]) -> str:
    """Return the symbols that a model says, in the user's words.

    Args:
        schema: of the prepared data.
        symbols: ids of tokens, or numbers of classes from 1.
    """
    target = schema["target"]
    if schema["task"] == "ctc":
        return " ".join(str(target["names"][symbol - 1]) for symbol in symbols)
    known = target.get("vocabulary") or schema["input"].get("vocabulary") or []
    return " ".join(known[s] if s >= FIRST_TOKEN_ID else UNTOLD for s in symbols)


def describe(
    prepared: Prepared,
    person: dict[str, Any],
    found: Attributions,
    data: DataConfig,
    target: TargetPlan,
) -> dict[str, Any]:
    """Return one person's explanation in the user's own words and units.

    Args:
        prepared: the data.
        person: the row of predictions.
        found: the person's attributions.
        data: bounds and transforms.
        target: names of classes.
    """
    row = person["row"]
    arrays, schema = prepared.sequences, prepared.schema
    start, end = int(arrays.offsets[row]), int(arrays.offsets[row + 1])
    # Of a text whose next token is asked for, the last one is read by nobody.
    values = np.asarray(arrays.sequences[start:end])[: int(found.lengths[0])]
    shares = found.inputs[0, : len(values)]
    entry: dict[str, Any] = {
        **_outcome(person, target),
        "output": float(found.outputs[0]),
        "baseline_output": float(found.baseline_outputs[0]),
        "completeness_error": float(found.completeness_errors()[0]),
        "steps": list(schema["steps"]) or [str(t - (end - start) + 1) for t in range(end - start)],
        "static": [],
    }
    if schema["static"]:
        fixed = np.asarray(arrays.static[row], dtype=np.float64)[None]
        entry["static"] = _features(data, "static", schema["static"], fixed, None, found.static)
    if arrays.is_tokens:
        return {**entry, "steps": [], "characters": _characters(prepared, values, shares)}
    missing = None if arrays.missing is None else np.asarray(arrays.missing[start:end])
    numbers = values.astype(np.float64)
    features = _features(data, "sequence", schema["channels"], numbers, missing, shares)
    return {**entry, "features": features}


def _outcome(person: dict[str, Any], target: TargetPlan) -> dict[str, Any]:
    """What happened and what was predicted, in the target's names."""
    if target.target.kind not in SCORED_TASKS:
        told = (person.get(name) for name in ("y_true", "y_pred"))
        outcome, said = ("–" if value is None else str(value) for value in told)
        return {"outcome": outcome, "predicted": said, "loss": float(person["loss"])}
    if target.target.kind == "regression":
        return {"outcome": shown(person["y_true"]), "predicted": shown(person["y_score"])}
    names = target.target.names or tuple(str(c) for c in target.target.classes)
    predicted = int(person["y_pred"])
    score = person["y_score"] if target.target.kind == "binary" else person[f"score_{predicted}"]
    return {
        "outcome": names[int(person["y_true"])],
        "predicted": names[predicted],
        "score": float(score),
    }
