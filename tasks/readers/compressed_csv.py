"""CSV files that were compressed with xz, bzip2 or gzip; columns may be joined into one.

Options: `join`, columns that are joined with a space between; `into`, the name of what they make
(time). All cells stay text, as in a CSV that is read as it is.
"""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from tasks.params import UserError

_OPENERS: dict[str, Callable[[Path], Any]] = {".xz": lzma.open, ".bz2": bz2.open, ".gz": gzip.open}
_OPTIONS = ("join", "into")


def read(files: list[Path], options: dict[str, Any]) -> pl.DataFrame:
    """Return the rows of all files, one after the other.

    Args:
        files: with the same columns.
        options: see the module's first lines.

    Raises:
        UserError: an option is not known, or a file is not what its name says.
    """
    for name in options:
        if name not in _OPTIONS:
            raise UserError(f"options.{name}: allowed are {', '.join(_OPTIONS)}")
    frames = [_read(file) for file in files]
    for file, frame in zip(files, frames, strict=True):
        if frame.columns != frames[0].columns:
            raise UserError(f"files: {file.name} has other columns than {files[0].name}")
    table = pl.concat(frames)
    join = list(options.get("join", ()))
    missing = [name for name in join if name not in table.columns]
    if missing:
        raise UserError(f"options.join: column {missing[0]} is not among {table.columns}")
    if not join:
        return table
    into = str(options.get("into", "time"))
    joined = pl.concat_str(join, separator=" ").alias(into)
    return table.select(joined, pl.exclude(*join, into))


def _read(file: Path) -> pl.DataFrame:
    """One file as text."""
    opener = _OPENERS.get(file.suffix, Path.open)
    try:
        with opener(file, "rb") as handle:
            content = handle.read()
        return pl.read_csv(io.BytesIO(content), infer_schema=False)
    except (OSError, EOFError, lzma.LZMAError, pl.exceptions.PolarsError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"files: {file.name} cannot be read: {reason}") from None
