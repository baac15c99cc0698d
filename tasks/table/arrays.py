"""Writing prepared arrays piece by piece, so that no array is ever whole in memory."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks import artifacts
from tasks.params import UserError
from tasks.recipe import DataConfig, LongLayout, SeriesLayout
from tasks.table.cells import ROW, row_numbers
from tasks.table.encode import Encoded, encode, of_windows, schema
from tasks.table.labels import encode_sensitive, group_codes
from tasks.table.people import PERSON, Grouping, content_ids, event_persons, group, number_repeats
from tasks.table.series import begins_of, prepared, scaled_by, sides_of
from tasks.table.split import SIDE, marks, of_people, refuse_useless, sides
from tasks.table.targets import targets_of

_LENGTH = "length"


@dataclass(frozen=True)
class People:
    """How many were prepared.

    Attributes:
        count: people, or records.
        train: of them in train.
        steps: of all sequences together.
        longest: steps of the longest sequence.
    """

    count: int
    train: int
    steps: int
    longest: int


class GrowingArray:
    """A .npy file that grows along its first axis."""

    def __init__(self, path: Path) -> None:
        """Create the file; dtype and other axes are those of the first piece."""
        self._file = path.open("w+b")
        self._dtype: np.dtype[Any] | None = None
        self._shape: tuple[int, ...] = ()
        self._rows = 0

    def append(self, piece: NDArray[np.generic]) -> None:
        """Add rows.

        Args:
            piece: [n, ...], the same dtype and further axes each time.
        """
        if self._dtype is None:
            self._dtype, self._shape = piece.dtype, piece.shape[1:]
            self._header()
        if (piece.dtype, piece.shape[1:]) != (self._dtype, self._shape):
            raise ValueError(f"piece is {piece.dtype} {piece.shape}, array {self._dtype}")
        self._file.write(np.ascontiguousarray(piece).data)
        self._rows += len(piece)

    def close(self) -> None:
        """Write how many rows there are."""
        if self._dtype is not None:
            # NumPy leaves room for the first axis to grow, so the header keeps its size.
            self._file.seek(0)
            self._header()
        self._file.close()

    def _header(self) -> None:
        """The header for the rows so far."""
        assert self._dtype is not None
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self._rows, *self._shape),
            },
        )


class ArraysWriter:
    """The prepared folder of one recipe, written frame by frame."""

    def __init__(
        self,
        root: Path,
        data: DataConfig,
        watch: Callable[[pl.DataFrame, Grouping], None] | None = None,
    ) -> None:
        """Open the arrays.

        Args:
            root: an empty folder.
            data: the recipe's data block, with bounds, values and alphabet.
            watch: is also shown every frame, and which of its rows are whose.
        """
        self._root, self._data, self._watch = root, data, watch
        self._arrays = root / "arrays"
        self._arrays.mkdir()
        self._files: dict[str, GrowingArray] = {}
        self._stack = ExitStack()
        self._people: list[pl.DataFrame] = []
        self._sensitive: list[pl.DataFrame] = []
        self._target_lengths: list[NDArray[np.int64]] = []
        self._errors = (0.0, 0)

    def __enter__(self) -> "ArraysWriter":
        """Nothing more to open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what is open."""
        self._stack.close()

    def append(self, frame: pl.DataFrame) -> None:
        """Encode and write some raw rows; of `long`, all rows of each of their people.

        Raises:
            UserError: a cell cannot be read, or a person is described twice.
        """
        data = self._data
        if isinstance(data.sequence, SeriesLayout):
            self._append_series(frame)
            return
        if data.person is None:
            # Repeats are numbered at the end, over all rows.
            frame = frame.with_columns(content_ids(frame, data).alias(PERSON))
        grouping = group(frame, data)
        persons = grouping.table
        if self._watch is not None:
            self._watch(frame, grouping)
        encoded = encode(frame, data, grouping)
        self._inputs(encoded)
        targets = targets_of(frame, data, grouping)
        self._write("targets", targets.values)
        if targets.lengths is not None:
            self._target_lengths.append(targets.lengths)
        self._groups(encode_sensitive(persons, data))
        lengths = pl.Series(_LENGTH, np.diff(encoded.offsets))
        self._people.append(
            pl.DataFrame([persons[PERSON], persons[ROW], lengths, *self._marks(frame, persons)])
        )

    def _append_series(self, frame: pl.DataFrame) -> None:
        """Cut some whole series into windows, and write those of training and of the test."""
        grouping = group(frame, self._data)
        windows, (total, count) = prepared(frame, self._data, grouping)
        self._errors = (self._errors[0] + total, self._errors[1] + count)
        encoded = of_windows(windows, self._data, grouping)
        self._inputs(encoded)
        self._write("targets", windows.targets)
        sensitive = encode_sensitive(grouping.table, self._data)
        self._groups(sensitive.select(pl.all().gather(windows.series)))
        self._people.append(
            pl.DataFrame(
                [
                    encoded.person_ids.alias(PERSON),
                    grouping.table[ROW].gather(windows.series),
                    pl.Series(_LENGTH, np.diff(encoded.offsets)),
                    sides_of(windows).alias(SIDE),
                    begins_of(windows, self._data),
                ]
            )
        )

    def _inputs(self, encoded: Encoded) -> None:
        """Write what the model reads of some people."""
        self._write("sequences", encoded.sequences)
        if encoded.missing is not None:
            self._write("missing", encoded.missing)
        self._write("static", encoded.static)

    def _groups(self, sensitive: pl.DataFrame) -> None:
        """Write the groups of some people."""
        self._sensitive.append(sensitive)
        if self._data.training_groups is not None:
            self._write("groups", group_codes(sensitive, self._data))

    def _marks(self, frame: pl.DataFrame, persons: pl.DataFrame) -> list[pl.Series]:
        """What the rows say of the split, one value a person; late once is late."""
        found = marks(frame, self._data)
        if not isinstance(self._data.sequence, LongLayout):
            return found
        events = [event_persons(frame, self._data), row_numbers(frame).cast(pl.Int64).alias(ROW)]
        return of_people(pl.DataFrame([*events, *found]))

    def _write(self, name: str, piece: NDArray[np.generic]) -> None:
        """Append to one array."""
        if name not in self._files:
            array = GrowingArray(self._arrays / f"{name}.npy")
            self._stack.callback(array.close)
            self._files[name] = array
        self._files[name].append(piece)

    def finish(self) -> People:
        """Write people, sensitive features and schema; return how many people there are.

        Raises:
            UserError: there is nobody, a person stands twice, or a side of the split is useless.
        """
        if not self._people:
            raise UserError("data.source: the table has no rows")
        table = pl.concat(self._people)
        if not len(table):
            raise UserError(
                "data.sequence.window: no series is long enough for one window with its target, or "
                "known enough (sequence.known)"
            )
        if self._data.person is None:
            table = table.with_columns(number_repeats(table[PERSON]))
        if self._data.sequence.layout == "wide":
            _refuse_twice(table, self._data.person)
        side = sides(table, self._data.split)
        self._stack.close()
        targets = np.load(self._arrays / "targets.npy", mmap_mode="r", allow_pickle=False)
        refuse_useless(targets, side, self._data)
        steps = _save_offsets(self._arrays / "offsets.npy", table[_LENGTH].to_numpy())
        if self._target_lengths:
            lengths = np.concatenate(self._target_lengths)
            _save_offsets(self._arrays / "target_offsets.npy", lengths)
        artifacts.write_json(self._arrays / "schema.json", self._schema())
        people_table = table.select(
            pl.col(PERSON).alias("person_id"),
            side.alias("split"),
            pl.col(_LENGTH),
            *(name for name in ("time",) if SIDE in table.columns),
        )
        people_table.write_parquet(self._arrays / "people.parquet")
        pl.concat(self._sensitive).write_parquet(self._root / "sensitive_features.parquet")
        return People(
            count=len(table),
            train=int((side == "train").sum()),
            steps=steps,
            longest=int(table[_LENGTH].max()),  # type: ignore[arg-type]
        )

    def _schema(self) -> dict[str, Any]:
        """What schema.json says."""
        known, layout = schema(self._data), self._data.sequence
        if isinstance(layout, SeriesLayout) and layout.scale == "training":
            return scaled_by(known, self._errors)
        return known


def _save_offsets(path: Path, lengths: NDArray[np.int64]) -> int:
    """Write where each of some pieces starts and the last ends; return their length together."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    np.save(path, offsets, allow_pickle=False)
    return int(offsets[-1])


def _refuse_twice(table: pl.DataFrame, person: str | None) -> None:
    """Raise for the first person with a second row."""
    again = (~table[PERSON].is_first_distinct()).arg_true()
    if len(again):
        who, row = table[PERSON][int(again[0])], table[ROW][int(again[0])]
        first = table.filter(pl.col(PERSON) == who)[ROW][0]
        raise UserError(
            f"data.person: person {person} = {who} stands in rows {first} and {row}: "
            "layout wide takes one row a person"
        )
