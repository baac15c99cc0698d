"""What is predicted, and the groups that are compared."""

from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.recipe import DataConfig, SensitiveFeature
from tasks.table.cells import RowError, canonical_scalar, numbers, texts
from tasks.table.channels import scale
from tasks.table.people import cells_of, group

UNKNOWN = "unknown"


def encode_targets(
    frame: pl.DataFrame, data: DataConfig
) -> NDArray[np.int64] | NDArray[np.float32]:
    """Return what is to be predicted, in the order of `encode`.

    Args:
        frame: raw rows, or the table that `group` made of them.
        data: the recipe's data block.

    Returns:
        int64 [N], index in target.classes; or float32 [N], -1..1 between target.bounds.

    Raises:
        UserError: a target is missing, is no declared class, or is not a number.
    """
    target = data.target
    cells = cells_of(group(frame, data).table, data, target.column, "data.target").present()
    if target.kind == "regression":
        assert target.bounds is not None
        return scale(numbers(cells).to_numpy(), target.bounds, "linear").astype(np.float32)
    known = [canonical_scalar(value) for value in target.classes]
    text = texts(cells)
    cells.refuse(~text.is_in(known), f"{{}} is not among target.classes {list(target.classes)}")
    index = text.replace_strict(known, list(range(len(known))), return_dtype=pl.Int64)
    return index.to_numpy()


def encode_sensitive(frame: pl.DataFrame, data: DataConfig) -> pl.DataFrame:
    """Return one text column a sensitive feature, in the order of `encode`.

    Args:
        frame: raw rows, or the table that `group` made of them.
        data: the recipe's data block.

    Returns:
        Labels; "unknown" where the cell is missing or matches no label or bin.

    Raises:
        UserError: a column is missing, or a binned cell is not a number.
    """
    persons = group(frame, data).table
    return pl.DataFrame(
        [label_of(persons, data, feature).alias(feature.name) for feature in data.sensitive]
    )


def known_labels(feature: SensitiveFeature) -> list[str]:
    """Return the labels that a recipe declares, in its order; none where cells are the labels."""
    if feature.bins:
        return _bin_labels(feature.bins)
    return list(dict.fromkeys([*feature.labels.values(), *feature.one_hot.values()]))


def _bin_labels(edges: tuple[float, ...]) -> list[str]:
    """21-25 for whole edges 21 and 26; 1.5 to 2 where an edge is not whole; the last is open."""
    if all(float(edge).is_integer() for edge in edges):
        whole = [int(edge) for edge in edges]
        closed = [
            f"{low}-{after - 1}" if after - low > 1 else f"{low}" for low, after in pairwise(whole)
        ]
        return [*closed, f"{whole[-1]}+"]
    closed = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [*closed, f"{edges[-1]:g}+"]


def label_of(persons: pl.DataFrame, data: DataConfig, feature: SensitiveFeature) -> pl.Series:
    """Labels of one sensitive feature, "unknown" where there is none."""
    field = f"data.sensitive.{feature.name}"
    if feature.one_hot:
        return _decoded(persons, data, feature, field)
    assert feature.column is not None
    cells = cells_of(persons, data, feature.column, field)
    if feature.bins:
        labels = np.array([UNKNOWN, *_bin_labels(feature.bins)], dtype=object)
        values = numbers(cells).fill_null(float("-inf")).to_numpy()
        return pl.Series(
            labels[np.searchsorted(feature.bins, values, side="right")], dtype=pl.String
        )
    text = texts(cells)
    if feature.labels:
        known = {canonical_scalar(value): label for value, label in feature.labels.items()}
        text = text.replace_strict(known, default=None, return_dtype=pl.String)
    return text.fill_null(UNKNOWN)


def training_labels(data: DataConfig) -> list[str]:
    """Return the labels of the feature that training reads, "unknown" last; none where none is.

    They are those that the recipe declares: a label that was found in the rows would be a fact
    about people.
    """
    if data.training_groups is None:
        return []
    (feature,) = (s for s in data.sensitive if s.name == data.training_groups)
    return [*(label for label in known_labels(feature) if label != UNKNOWN), UNKNOWN]


def group_codes(sensitive: pl.DataFrame, data: DataConfig) -> NDArray[np.int64]:
    """Return the number of each person's label among `training_labels`, int64 [N].

    Args:
        sensitive: from `encode_sensitive`.
        data: with training_groups.
    """
    assert data.training_groups is not None
    labels = training_labels(data)
    codes = sensitive[data.training_groups].replace_strict(
        labels, list(range(len(labels))), default=len(labels) - 1, return_dtype=pl.Int64
    )
    return codes.to_numpy()


def _decoded(
    persons: pl.DataFrame, data: DataConfig, feature: SensitiveFeature, field: str
) -> pl.Series:
    """The label of the column that holds 1."""
    label = pl.Series([UNKNOWN], dtype=pl.String).new_from_index(0, len(persons))
    for name, value in feature.one_hot.items():
        cells = cells_of(persons, data, name, field)
        hit = texts(cells).is_in(["1", "true"]).fill_null(False)
        twice = hit & (label != UNKNOWN)
        if twice.any():
            row = cells.number(int(twice.arg_true()[0]))
            raise RowError(cells.where, row, "a second column of one_hot is 1")
        label = label.set(hit, value)
    return label
