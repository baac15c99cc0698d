"""What is drawn of targets that are sequences: figures by step with intervals, and some rows.

n held-out rows.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn.model import SequenceModel
from tasks.artifacts import Prepared
from tasks.evidence.audited import numbered
from tasks.evidence.summed import drawn, everyone
from tasks.kinds.base import Array, Judged
from tasks.kinds.drawn import DRAWN, Curve, Drawing
from tasks.recipe import PredictConfig

Json = dict[str, Any]
Rows = NDArray[np.int64]
EMPTY: Json = {"curves": [], "examples": []}


def chosen(losses: Array, count: int) -> Rows:
    """Return rows from well done to badly done: evenly along the losses, without the extremes.

    Args:
        losses: float64 [n].
        count: of rows.

    Example:
        >>> chosen(np.arange(11.0), 3).tolist()
        [1, 5, 9]
    """
    order = np.argsort(losses, kind="stable")
    if not count or not len(order):
        return np.zeros(0, dtype=np.int64)
    at = np.linspace(0.1, 0.9, count) if count > 1 else np.array([0.5])
    return order[np.unique(np.round(at * (len(order) - 1)).astype(np.int64))]


def pictured(
    model: SequenceModel,
    prepared: Prepared,
    rows: Rows,
    found: Mapping[str, Judged],
    plan: PredictConfig,
) -> Json:
    """Return pictures.json with everything in it: internal.

    Args:
        model: the released one.
        prepared: of all rows.
        rows: int64 [n], held out.
        found: what they say of each model, the released one first.
        plan: intervals, and how many rows are shown.
    """
    drawing = DRAWN.get(prepared.schema["task"])
    places = chosen(found["model"].losses, plan.examples)
    examples = _texts(found, places)
    if drawing is None:
        return {"curves": [], "examples": examples}
    if len(places):
        examples = drawing.examples(model, prepared, rows[places])
    persons = numbered(prepared.people["person_id"].gather(rows))
    sums = {"model": drawing.sums(model, prepared, rows)}
    sums |= {name: drawing.of_another(one) for name, one in found.items() if name != "model"}
    made = {name: _figures(drawing, one, persons, plan) for name, one in sums.items() if one}
    curves = [_curve(curve, made) for curve in drawing.curves(prepared.schema)]
    return {"curves": curves, "examples": examples}


def published(pictures: Json, things: bool, plan: PredictConfig) -> Json:
    """Return what of the pictures may be shown outside.

    Args:
        pictures: from `pictured`.
        things: no privacy is promised, for the data are about things.
        plan: whether single rows may be shown then.
    """
    if not things:
        return EMPTY
    curves = [
        {**curve, "lines": [line for line in curve["lines"] if line["of"] == "model"]}
        for curve in pictures["curves"]
    ]
    return {"curves": curves, "examples": pictures["examples"] if plan.publish_examples else []}


def _texts(found: Mapping[str, Judged], places: Rows) -> list[Json]:
    """What was to be said and what was said, of kinds that say text."""
    model = found["model"]
    if model.truth is None or model.said is None:
        return []
    rows = []
    for place in places.tolist():
        said = {n: one.said[place] for n, one in found.items() if one.said is not None}
        rows.append({"truth": model.truth[place], "said": said})
    return rows


def _figures(
    drawing: Drawing, sums: Mapping[str, Array], persons: Rows, plan: PredictConfig
) -> dict[str, list[Json]]:
    """Each line's figures by step, with intervals."""

    def summary(totals: Mapping[str, Array]) -> dict[str, Array]:
        lines = drawing.lines(totals)
        return {
            f"{name}/{step}": values[..., step]
            for name, values in lines.items()
            for step in range(values.shape[-1])
        }

    losses = np.zeros(len(persons))
    made = drawn(
        losses, sums, summary, everyone(len(persons)), persons,
        bootstraps=plan.bootstraps, seed=plan.seed, confidence=plan.confidence,
    )  # fmt: skip
    found: dict[str, list[Json]] = {}
    for key in made.value:
        name, _, step = key.partition("/")
        if step:
            found.setdefault(name, []).append(made.at(key, 0).as_dict())
    return found


def _curve(curve: Curve, made: Mapping[str, Mapping[str, list[Json]]]) -> Json:
    """One picture with the lines of every model that has them."""
    first = curve.lines[0][0]
    lines = [
        {"of": "model", "label": label, "figures": made["model"][key]} for key, label in curve.lines
    ]
    lines += [
        {"of": name, "label": name, "figures": figures[first]}
        for name, figures in made.items()
        if name != "model" and first in figures
    ]
    return {
        "name": curve.name,
        "title": curve.title,
        "axis": curve.axis,
        "value_axis": curve.value_axis,
        "mark": curve.mark,
        "steps": list(curve.steps),
        "lines": lines,
    }
