"""What is predicted, as arrays: a class, a number, or tokens of any length.

A new kind is one function here and one line in KINDS. N people.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.recipe import DataConfig
from tasks.table.cells import canonical_scalar, texts
from tasks.table.labels import encode_targets
from tasks.table.people import Grouping, cells_of
from tasks.table.tokens import codec_of


@dataclass(frozen=True)
class Targets:
    """What is to be predicted of some people, in the order of `encode`.

    Attributes:
        values: [N, ...] a row a person, or int32 [all targets] tokens end to end.
        lengths: int64 [N], tokens of each person; None where every target is one row.
    """

    values: NDArray[np.generic]
    lengths: NDArray[np.int64] | None = None


def _one(frame: pl.DataFrame, data: DataConfig, grouping: Grouping) -> Targets:
    """A class or a number."""
    return Targets(encode_targets(grouping.table, data))


def _next_token(frame: pl.DataFrame, data: DataConfig, grouping: Grouping) -> Targets:
    """The text is its own target: one zero a person, which nobody reads."""
    return Targets(np.zeros(len(grouping.table), dtype=np.int32))


def _symbols(frame: pl.DataFrame, data: DataConfig, grouping: Grouping) -> Targets:
    """Symbols with spaces between, class k as k + 1: 0 is the blank."""
    known = [canonical_scalar(value) for value in data.target.classes]
    cells = cells_of(grouping.table, data, data.target.column, "data.target").present()
    parts = texts(cells).str.split(" ").list.eval(pl.element().filter(pl.element() != ""))
    wrong = parts.list.eval(~pl.element().is_in(known)).list.any()
    cells.refuse(wrong, f"{{}} has a symbol that is not among target.classes {known}")
    ids = parts.explode().replace_strict(
        known, list(range(1, len(known) + 1)), return_dtype=pl.Int32
    )
    return Targets(ids.to_numpy(), parts.list.len().cast(pl.Int64).to_numpy())


def _text(frame: pl.DataFrame, data: DataConfig, grouping: Grouping) -> Targets:
    """Tokens of a text between <start> and <end>."""
    assert data.target.text is not None
    cells = cells_of(grouping.table, data, data.target.column, "data.target").present()
    ids, offsets = codec_of(data.target.text, ends=True).ids(texts(cells))
    return Targets(ids, np.diff(offsets))


KINDS: dict[str, Callable[[pl.DataFrame, DataConfig, Grouping], Targets]] = {
    "binary": _one,
    "multiclass": _one,
    "regression": _one,
    "next_token": _next_token,
    "ctc": _symbols,
    "seq2seq": _text,
}


def targets_of(frame: pl.DataFrame, data: DataConfig, grouping: Grouping) -> Targets:
    """Return what is to be predicted.

    Args:
        frame: raw rows.
        data: the recipe's data block.
        grouping: of the same frame.

    Raises:
        UserError: a target is missing or cannot be read.
    """
    return KINDS[data.target.kind](frame, data, grouping)
