"""Held-out figures of the model, its twin and a baseline where targets are sequences themselves.

n rows of held-out people.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks import artifacts
from tasks.evidence.audited import numbered
from tasks.evidence.pictured import pictured
from tasks.evidence.pictured import published as published_pictures
from tasks.evidence.summed import Drawn, drawn, everyone
from tasks.kinds.base import Figure, Judged, Kind
from tasks.kinds.table import KINDS
from tasks.recipe import NoPrivacy, PredictConfig

Json = dict[str, Any]
LOSS = Figure("loss", "Loss, as training counts it", "", "lower")


@dataclass(frozen=True)
class Predicted:
    """What predict writes.

    Attributes:
        published: metrics.json to publish.
        internal: metrics.json that stays inside.
        table: test.parquet, a row a held-out row.
        pictures: pictures.json to publish and that stays inside; None for targets with one answer.
    """

    published: Json
    internal: Json
    table: pl.DataFrame
    pictures: tuple[Json, Json] | None = None


def judge_all(
    recipe: str, plan: PredictConfig, prepared: artifacts.Prepared, rows: NDArray[np.int64]
) -> dict[str, Judged]:
    """Return what held-out people say of model, twin and baseline."""
    kind = KINDS[prepared.schema["task"]]
    found = {
        name: kind.judge(artifacts.read_model(artifacts.folder(recipe, name)), prepared, rows)
        for name in artifacts.models_of(recipe)
    }
    wanted = plan.baseline or next(iter(kind.baselines), "none")
    if wanted != "none":
        found["baseline"] = kind.baselines[wanted](prepared, plan.seed).judge(prepared, rows)
    return found


def predicted(
    recipe: str, plan: PredictConfig, prepared: artifacts.Prepared, rows: NDArray[np.int64]
) -> Predicted:
    """Return figures and statistics of some held-out rows."""
    found = judge_all(recipe, plan, prepared, rows)
    people = prepared.people["person_id"].gather(rows)
    published, internal = figures_of(KINDS[prepared.schema["task"]], found, people, plan)
    published["task"] = prepared.schema["task"]
    model = artifacts.read_model(artifacts.folder(recipe, "model"))
    inside = pictured(model, prepared, rows, found, plan)
    things = isinstance(artifacts.read_spent(recipe), NoPrivacy)
    pictures = (published_pictures(inside, things, plan), inside)
    return Predicted(published, internal, table(rows, people, found), pictures)


def figures_of(
    kind: Kind, found: dict[str, Judged], people: pl.Series, plan: PredictConfig
) -> tuple[Json, Json]:
    """Return the published and the internal metrics.

    Args:
        kind: of target.
        found: by model, the private one first.
        people: id of each row's person.
        plan: confidence, resamples and seed.
    """
    persons = numbered(people)
    made = {
        name: drawn(
            one.losses,
            one.sums,
            kind.summary,
            everyone(len(people)),
            persons,
            bootstraps=plan.bootstraps,
            seed=plan.seed,
            confidence=plan.confidence,
        )
        for name, one in found.items()
    }
    named = [figure.as_dict() for figure in (*kind.figures, LOSS)]
    shared: Json = {"n": len(people), "calibration": [], "figures": named}
    internal = {**shared, **{name: _shown(one, kind) for name, one in made.items()}}
    internal["paired"] = _paired(made, kind)
    published = {
        **shared,
        "confidence": plan.confidence,
        "model": internal["model"],
        "decision": None,
        "interval": None,
        "threshold_draw": None,
    }
    return published, internal


def _shown(made: Drawn, kind: Kind) -> Json:
    """Each figure of everyone."""
    return {figure.name: made.at(figure.name, 0).as_dict() for figure in (*kind.figures, LOSS)}


def _paired(made: dict[str, Drawn], kind: Kind) -> Json:
    """Differences between models on the same people."""
    found = {}
    for a, b in (("model", "twin"), ("model", "baseline"), ("twin", "baseline")):
        if a in made and b in made:
            prefix = "" if a == "model" else f"{a}_"
            for name, figure in _shown(made[a].minus(made[b]), kind).items():
                found[f"{prefix}{name}_minus_{b}"] = figure
    return found


def table(rows: NDArray[np.int64], people: pl.Series, found: dict[str, Judged]) -> pl.DataFrame:
    """Return one row a held-out row; columns of other models carry their name as prefix."""
    columns: Json = {"row": rows, "person_id": people}
    columns["y_true"] = pl.Series(found["model"].truth or [None] * len(rows), dtype=pl.String)
    for name, one in found.items():
        y, short = ("y_", "") if name == "model" else (f"{name}_", f"{name}_")
        columns[f"{y}pred"] = pl.Series(one.said or [None] * len(rows), dtype=pl.String)
        columns[f"{short}loss"] = one.losses
        for key, values in one.sums.items():
            columns[f"{short}sum_{key}"] = values if values.ndim == 1 else values.tolist()
    return pl.DataFrame(columns)


def judged(predictions: pl.DataFrame, prefix: str = "") -> Judged | None:
    """Return what held-out people said of a model, as `table` wrote it; None without that model.

    Args:
        predictions: predictions/internal/test.parquet.
        prefix: "" for the model, else twin_ or baseline_.
    """
    if f"{prefix}loss" not in predictions.columns:
        return None
    head = f"{prefix}sum_"
    sums = {
        name.removeprefix(head): _numbers(predictions[name])
        for name in predictions.columns
        if name.startswith(head)
    }
    return Judged(predictions[f"{prefix}loss"].to_numpy(), sums)


def _numbers(column: pl.Series) -> NDArray[np.float64]:
    """A column of numbers, or of lists of the same length."""
    if column.dtype != pl.List:
        return column.to_numpy()
    return np.array(column.to_list(), dtype=np.float64).reshape(len(column), -1)
