"""Data frames out of pickles that somebody else wrote, without running what is in them.

This is the one place that opens a pickle: some public tables exist in no other form. A pickle is
a program, so none of what it names is ever looked up. It may name these eleven objects of pandas,
NumPy and builtins, each of which stands here for an inert record, and whatever else it names ends
the reading. Decompression is bounded, and `tasks.readers` runs in a process with limits that
opens no connection and starts no program.
"""

import lzma
import math
import pickle
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tasks.params import UserError

MAX_BYTES = 1 << 28
# The kinds of values that a table of numbers and text needs.
_TYPES = {"i8": "<i8", "i4": "<i4", "f8": "<f8", "f4": "<f4", "O8": "O"}


class _Record:
    """What stands for an object: its arguments, and the state that it was given."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any) -> None:
        """Keep the arguments."""
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        """Keep the state."""
        self.state = state


class _Frame(_Record):
    """pandas.DataFrame."""


class _Manager(_Record):
    """Its columns, in blocks of one type each."""


class _Block(_Record):
    """Values, which columns they are, and the number of axes."""


class _Axis(_Record):
    """Names of columns, or numbers of rows."""


class _Buffer(_Record):
    """Values as bytes."""


class _Array(_Record):
    """An array, its state apart."""


class _Type(_Record):
    """The type of an array's values."""


class _Slice(_Record):
    """Columns that follow each other."""


class _Kind(_Record):
    """The name of a class, as an argument."""


ALLOWED: dict[tuple[str, str], Callable[..., _Record]] = {
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.internals.managers", "BlockManager"): _Manager,
    ("pandas._libs.internals", "_unpickle_block"): _Block,
    ("pandas.core.indexes.base", "_new_Index"): _Axis,
    ("pandas.core.indexes.base", "Index"): _Kind,
    ("pandas.core.indexes.range", "RangeIndex"): _Kind,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Kind,
    ("numpy", "dtype"): _Type,
    ("builtins", "slice"): _Slice,
}


class _Refused(Exception):
    """The pickle names something else, or is built otherwise."""


class _Inert(pickle.Unpickler):
    """Reads the plain values of a pickle, and records of what it would have called."""

    def find_class(self, module: str, name: str) -> Callable[..., _Record]:
        """Return the record that stands for a name."""
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"it names {module}.{name}") from None

    def persistent_load(self, _key: object) -> Any:
        """There is no store behind it."""
        raise _Refused("it names an object outside itself")


def read_frame(path: Path) -> pl.DataFrame:
    """Return the data frame of an xz-compressed pickle.

    Args:
        path: a file that pandas wrote; nobody needs to trust it.

    Returns:
        Its columns: whole numbers, numbers and text; NaN and None are null.

    Raises:
        UserError: it is damaged, holds something else, or names anything beyond `ALLOWED`.
    """
    try:
        return _columns(_Inert(BytesIO(_decompressed(path))).load())
    except _Refused as error:
        raise UserError(f"{path.name} is refused: {error}") from None
    except Exception as error:
        # A pickle can be wrong in as many ways as a program.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{path.name} holds no data frame: {reason}") from None


def _decompressed(path: Path) -> bytes:
    """The bytes of an xz file, as many as may be."""
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    found = reader.decompress(path.read_bytes(), max_length=MAX_BYTES)
    if not reader.eof:
        raise _Refused(f"it is cut off, or larger than {MAX_BYTES} bytes when unpacked")
    return found


def _expect(found: Any, kind: type[_Record]) -> Any:
    """The record, if it is of the kind that belongs there."""
    if type(found) is not kind:
        raise _Refused(f"it has {type(found).__name__} where {kind.__name__} belongs")
    return found


def _columns(frame: Any) -> pl.DataFrame:
    """Columns of a frame's record."""
    manager = _expect(_expect(frame, _Frame).state["_mgr"], _Manager)
    blocks, axes = manager.arguments
    names = _names(axes[0])
    found: dict[str, pl.Series] = {}
    for block in blocks:
        values, which, _ = _expect(block, _Block).arguments
        for place, row in zip(_places(which), _values(values), strict=True):
            found[names[place]] = _column(names[place], row)
    return pl.DataFrame([found[name] for name in names])


def _column(name: str, row: Any) -> pl.Series:
    """Numbers, whole numbers or text; NaN and None are null."""
    if row.dtype.kind == "f":
        return pl.Series(name, row.astype(np.float64)).fill_nan(None)
    if row.dtype.kind == "i":
        return pl.Series(name, row.astype(np.int64))
    texts = [None if isinstance(v, float) and math.isnan(v) else v for v in row.tolist()]
    return pl.Series(name, texts, dtype=pl.String, strict=True)


def _names(axis: Any) -> list[str]:
    """The names of an axis."""
    _, settings = _expect(axis, _Axis).arguments
    names = _values(settings["data"]).tolist()
    if not all(type(name) is str for name in names) or len(set(names)) != len(names):
        raise _Refused("its columns have no names of their own")
    return names


def _places(which: Any) -> list[int]:
    """The columns of a block, as a slice or as numbers."""
    if type(which) is _Slice:
        return list(range(*(int(n) for n in which.arguments)))
    return [int(n) for n in _values(which).tolist()]


def _values(array: Any) -> Any:
    """An array of a record, made anew from its bytes or from its list of texts."""
    if type(array) is _Buffer:
        raw, of_type, shape, order = array.arguments
    else:
        _, shape, of_type, fortran, raw = _expect(array, _Array).state
        order = "F" if fortran else "C"
    name = _expect(of_type, _Type).arguments[0]
    if name not in _TYPES:
        raise _Refused(f"it has values of type {name!r}, allowed are {sorted(_TYPES)}")
    if name == "O8":
        values: Any = np.empty(len(raw), dtype=object)
        values[:] = list(raw)
    else:
        values = np.frombuffer(bytes(raw), _TYPES[name])
    return values.reshape([int(n) for n in shape], order=order)
