"""New rows, late outcomes and held-out people, as what is watched."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks import artifacts
from tasks.params import UserError
from tasks.recipe import DataConfig
from tasks.serving.answers import answered, sequences_of, threshold_of
from tasks.serving.scorer import Scorer
from tasks.table import sources
from tasks.table.cells import canonical_scalar, column, numbers, texts
from tasks.table.encode import Encoded, columns, encode
from tasks.table.people import PERSON, group
from tasks.table.rows import Table, gather
from tasks.watching.claims import People
from tasks.watching.measured import CALIBRATION, ERROR, groups_of, of_answers, of_inputs

Array = NDArray[np.float64]

KINDS = ("binary", "multiclass", "regression")


class NewRows(Table):
    """A table of new rows: what the model reads must be there, the rest is read where it is."""

    def __init__(self, data: DataConfig, path: Path) -> None:
        """Open the header alone."""
        self.data, self.paths = data, [path]
        there = sources.scan(data.source, path, {}).collect_schema().names()
        wanted = columns(data, training=False)
        for name, field in columns(data).items():
            if name in there:
                wanted.setdefault(name, field)
        self.frames = [sources.scan(data.source, path, wanted)]
        self.starts = []


def truths(table: pl.DataFrame, data: DataConfig) -> Array | None:
    """Return outcomes float64 [N], NaN where a cell is empty; None where the column is missing.

    Raises:
        UserError: a cell is neither empty nor an outcome.
    """
    target = data.target
    if target.column not in table.columns:
        return None
    cells = column(table, target.column, "data.target", data.source.null_values)
    if target.kind == "regression":
        return numbers(cells).cast(pl.Float64).fill_null(float("nan")).to_numpy()
    known = [canonical_scalar(value) for value in target.classes]
    text = texts(cells)
    wrong = ~text.is_in(known) & text.is_not_null()
    cells.refuse(wrong, f"{{}} is not among target.classes {list(target.classes)}")
    index = text.replace_strict(
        known, list(range(len(known))), default=None, return_dtype=pl.Float64
    )
    return index.fill_null(float("nan")).to_numpy()


def read_new(scorer: Scorer, path: Path, work: Path) -> Iterator[tuple[People, pl.DataFrame]]:
    """Yield the people of a file, part by part, and those of them whose outcome is to come.

    Args:
        scorer: the model that is watched.
        path: raw rows.
        work: an empty folder for what does not fit into memory.
    """
    for frame in gather(NewRows(scorer.data, path), work):
        yield measured(scorer, frame)


def measured(scorer: Scorer, frame: pl.DataFrame) -> tuple[People, pl.DataFrame]:
    """Return the people of some rows, and those whose outcome is not known yet."""
    data = scorer.data
    grouping = group(frame, data)
    encoded = encode(frame, data, grouping)
    threshold = threshold_of(frame, data, scorer.threshold, scorer.by_group)
    persons = encoded.person_ids.to_list()
    logits = scorer.logits(sequences_of(encoded, data))
    answers = answered(persons, logits, data, threshold, scorer.half_width)
    truth = truths(grouping.table, data)
    groups = groups_of(data, grouping.table)
    people = People(
        {**of_answers(data, answers, truth), **of_inputs(data, encoded)},
        groups,
        *ranking(data, answers, truth),
    )
    waiting = np.ones(len(persons), dtype=bool) if truth is None else np.isnan(truth)
    kept = {PERSON: persons, "score": answers.get("score"), "decision": answers.get("decision")}
    table = pl.DataFrame({k: v for k, v in kept.items() if v is not None})
    labels = [pl.Series(f"group {name}", values, pl.String) for name, values in groups.items()]
    return people, table.with_columns(labels).filter(pl.Series(waiting))


def ranking(data: DataConfig, answers: Mapping[str, Any], truth: Array | None) -> tuple[Any, Any]:
    """Return events and their scores where both are known, for the AUC."""
    if truth is None or data.target.kind != "binary":
        return np.zeros(0), np.zeros(0)
    known = ~np.isnan(truth)
    return truth[known], np.asarray(answers["score"], dtype=np.float64)[known]


def read_outcomes(
    data: DataConfig, path: Path, pending: pl.DataFrame
) -> tuple[People | None, pl.DataFrame]:
    """Return what late outcomes say of people who were scored before, and who still waits.

    Args:
        data: of the recipe.
        path: a table with the person's id and the target.
        pending: people who wait.

    Raises:
        UserError: the table has no person or no target, or an outcome cannot be read.
    """
    if data.person is None:
        raise UserError("data.person is not set: outcomes that come later need an id to be joined")
    wanted = {data.person: "data.person", data.target.column: "data.target"}
    with sources.reading(data.source, path):
        table = sources.scan(data.source, path, wanted).collect()
    truth = truths(table, data)
    assert truth is not None
    told = pl.DataFrame({PERSON: texts(column(table, data.person, "data.person")), "truth": truth})
    told = told.filter(pl.col("truth").is_not_nan()).unique(PERSON, keep="last")
    if pending.is_empty():
        return None, pending
    both = pending.join(told, on=PERSON, how="inner", maintain_order="left")
    rest = pending.join(told, on=PERSON, how="anti", maintain_order="left")
    if both.is_empty():
        return None, rest
    answers = {name: both[name].to_numpy() for name in ("score", "decision") if name in both}
    known = both["truth"].to_numpy()
    measures = of_answers(data, answers, known)
    late = {name: measures[name] for name in (CALIBRATION, ERROR) if name in measures}
    groups = {
        name.removeprefix("group "): both[name].to_list()
        for name in both.columns
        if name.startswith("group ")
    }
    return People(late, groups, *ranking(data, answers, known)), rest


def held_out(recipe: str, data: DataConfig) -> People:
    """Return the held-out people of this checkout: internal, like all that is watched."""
    prepared = artifacts.read_prepared(recipe)
    table = artifacts.read_predictions(recipe)
    rows = table["row"].to_numpy()
    names = list(data.target.names or map(str, data.target.classes))
    if data.target.kind == "regression":
        name = "y_pred" if "y_pred" in table.columns else "y_score"
        answers = {"score": table[name].to_numpy()}
    else:
        answers = {"decision": np.array(names)[table["y_pred"].to_numpy()]}
        if "y_score" in table.columns:
            answers["score"] = table["y_score"].to_numpy()
    truth = table["y_true"].cast(pl.Float64).to_numpy()
    sensitive = artifacts.read_sensitive_features(recipe)
    declared = [feature.name for feature in data.sensitive if feature.name in sensitive.columns]
    groups = {name: sensitive[name].gather(rows).to_list() for name in declared}
    encoded = _encoded(prepared, rows)
    return People(
        {**of_answers(data, answers, truth), **of_inputs(data, encoded)},
        groups,
        *ranking(data, answers, truth),
    )


def _encoded(prepared: Any, rows: NDArray[np.int64]) -> Encoded:
    """Some rows of the prepared arrays as `encode` would give them."""
    source = prepared.sequences
    sizes = source.offsets[rows + 1] - source.offsets[rows]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    where = np.repeat(source.offsets[rows] - offsets[:-1], sizes) + np.arange(offsets[-1])
    missing = None if source.missing is None else np.asarray(source.missing[where])
    people = prepared.people["person_id"].gather(rows)
    static = np.asarray(source.static[rows])
    return Encoded(people, np.asarray(source.sequences[where]), missing, offsets, static)
