"""The rows of a user's files, in batches, each person's rows together, in little memory."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tasks.params import UserError
from tasks.recipe import DataConfig, LongLayout, SeriesLayout
from tasks.table import sources
from tasks.table.cells import ROW, RowError, column, numbers, times
from tasks.table.people import columns, event_persons, person_columns
from tasks.table.scatter import scatter

# Rows in memory at once; neither changes a byte of the arrays but for the order of people in
# `long`, which follows the parts.
BATCH_ROWS = 250_000
PART_ROWS = 500_000


class Table:
    """The rows of some files, in batches, each row with its number."""

    def __init__(self, data: DataConfig, paths: list[Path], *, training: bool = True) -> None:
        """Open nothing but the headers.

        Args:
            data: the recipe's data block.
            paths: of the files.
            training: read also what only training needs: target, split, sensitive features.

        Raises:
            UserError: a file has another format, or lacks a column.
        """
        self.data, self.paths = data, paths
        wanted = columns(data, training=training)
        self.frames = [sources.scan(data.source, path, wanted) for path in paths]
        self.starts: list[int] = []

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of all files in their order, with a column ROW that counts from 1."""
        row, self.starts = 1, []
        for path, frame in zip(self.paths, self.frames, strict=True):
            self.starts.append(row)
            with sources.reading(self.data.source, path):
                for batch in frame.collect_batches(chunk_size=BATCH_ROWS, engine="streaming"):
                    numbers = pl.int_range(row, row + len(batch), eager=True).alias(ROW)
                    yield batch.with_columns(numbers)
                    row += len(batch)

    def explain(self, error: RowError) -> UserError:
        """Return the error with the row's number in its own file, where there are several."""
        if len(self.paths) == 1:
            return error
        at = max(i for i, start in enumerate(self.starts) if start <= error.row)
        row = error.row - self.starts[at] + 1
        return UserError(f"{error.where}, {self.paths[at]} row {row}: {error.reason}")


def gather(table: Table, folder: Path) -> Iterator[pl.DataFrame]:
    """Yield frames that hold all rows of each of their people.

    Args:
        table: the raw rows.
        folder: an empty folder for what does not fit into memory.
    """
    if not isinstance(table.data.sequence, LongLayout | SeriesLayout):
        yield from table.batches()
        return
    rows = sum(sources.about_rows(table.data.source, path) for path in table.paths)
    parts = -(-rows // PART_ROWS)
    # One series that is nobody's stays whole.
    if parts > 1 and table.data.person is not None:
        yield from scatter(_typed(table), table.data.person or "", parts, folder)
        return
    batches = list(table.batches())
    if batches:
        yield pl.concat(batches)


def _typed(table: Table) -> Iterator[pl.DataFrame]:
    """Batches with the person's id as text, and numbers and times as such: less to carry."""
    data, layout = table.data, table.data.sequence
    assert isinstance(layout, LongLayout | SeriesLayout)
    nulls = data.source.null_values
    uses = Counter([*(f.column for f in layout.features), layout.time, *person_columns(data)])
    plain = [f for f in layout.features if f.is_number and uses[f.column] == 1]
    for batch in table.batches():
        found = [event_persons(batch, data).alias(data.person or "")]
        for feature in plain:
            field = f"data.sequence.features.{feature.name}"
            found.append(numbers(column(batch, feature.column, field, nulls)))
        if uses[layout.time] == 1 and isinstance(layout, LongLayout):
            cells = column(batch, layout.time, "data.sequence.time", nulls)
            found.append(times(cells, layout.time_format).alias(layout.time))
        yield batch.with_columns(found)
