"""The files of a recipe's table: which they are, and their columns, unread."""

import glob
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import polars as pl

from tasks.artifacts import digest_file, replacing_file
from tasks.params import UserError
from tasks.readers import READERS
from tasks.recipe import PathSource, ReaderSource, Source, SourceFile
from tasks.table.cells import missing_column

Format = Literal["csv", "parquet", "ndjson"]

# Outside data/, so that a wiped data folder costs no second digest and no second download.
STATE = Path(".sordino")
# What fetch makes of the files of a reader.
TABLE = "table.parquet"

_PIECE = 1 << 20
_COMPRESSED = (".gz", ".zst")
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
_NDJSON_SAMPLE = 10_000


def resolve(source: Source) -> tuple[SourceFile, ...]:
    """Return the files that a plan can already see.

    Args:
        source: the recipe's source block.

    Returns:
        Every file of a path's glob, sorted, with its digest; nothing for what is still to be
        downloaded.

    Raises:
        UserError: no file matches, or there is no such reader.
    """
    if isinstance(source, ReaderSource) and source.reader not in READERS:
        known = ", ".join(READERS) or "none"
        raise UserError(f"data.source.reader = {source.reader!r}: known readers: {known}")
    if not isinstance(source, PathSource):
        return ()
    found = sorted(p for p in glob.glob(source.path, recursive=True) if Path(p).is_file())  # noqa: PTH207
    if not found:
        raise UserError(f"data.source.path = {source.path!r}: no file matches")
    return tuple(_described(Path(name)) for name in found)


def _described(path: Path) -> SourceFile:
    """A file's name, digest and size."""
    return SourceFile(path=str(path), sha256=cached_digest(path), size=path.stat().st_size)


def cached_digest(path: Path) -> str:
    """Return a file's SHA-256, remembered while its size and time of change stay the same."""
    store = STATE / "digests.json"
    stat = path.stat()
    key = f"{path.absolute()}|{stat.st_size}|{stat.st_mtime_ns}"
    known = _read_store(store)
    if key not in known:
        # Nothing of files that are gone, nor of what a file was before.
        of = {name: Path(name.rsplit("|", 2)[0]) for name in known}
        known = {
            name: digest
            for name, digest in known.items()
            if of[name] != path.absolute() and of[name].exists()
        }
        known[key] = digest_file(path)
        with replacing_file(store) as draft:
            draft.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
    return known[key]


def _read_store(store: Path) -> dict[str, str]:
    """Remembered digests; a damaged store is an empty one."""
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def verify(files: Iterable[SourceFile]) -> None:
    """Make sure that local files are still those that the plan saw.

    Raises:
        UserError: a file is gone or has changed.
    """
    for file in files:
        path = Path(file.path)
        if not path.is_file():
            raise UserError(f"data.source.path: {file.path} is gone since the plan was made")
        if path.stat().st_size != file.size or cached_digest(path) != file.sha256:
            raise UserError(
                f"data.source.path: {file.path} has changed since the plan was made: run it again"
            )


def format_of(source: Source, path: Path) -> Format:
    """Return a file's format: as stated, or by its suffix.

    Raises:
        UserError: the suffix says nothing.
    """
    if source.format != "auto":
        return source.format
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in _COMPRESSED]
    known = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if known is None:
        raise UserError(
            f"data.source.format = 'auto': {path.name} tells none; state csv, parquet or ndjson"
        )
    return known


def scan(source: Source, path: Path, wanted: dict[str, str]) -> pl.LazyFrame:
    """Return some columns of one file, unread: text of CSV and NDJSON, as typed of Parquet.

    Args:
        source: the recipe's source block.
        path: the file.
        wanted: column -> field of the recipe that names it.

    Raises:
        UserError: the file has another format, or lacks a column.
    """
    kind = format_of(source, path)
    with reading(source, path):
        if kind == "csv":
            frame = pl.scan_csv(path, infer_schema=False, glob=False)
        elif kind == "parquet":
            frame = pl.scan_parquet(path, glob=False)
        else:
            frame = pl.scan_ndjson(path, infer_schema_length=_NDJSON_SAMPLE)
        there = frame.collect_schema().names()
    for name, field in wanted.items():
        if name not in there:
            raise UserError(f"{field}: {missing_column(name, there)}: {path}")
    if kind == "ndjson":
        # Text, because a type that is guessed from the first rows may not fit the later ones.
        frame = pl.scan_ndjson(path, schema=dict.fromkeys(wanted or there, pl.String))
    return frame.select(list(wanted)) if wanted else frame


def about_rows(source: Source, path: Path) -> int:
    """Return how many rows a file has, or somewhat more: lines, where it is text.

    Args:
        source: the recipe's source block.
        path: the file.
    """
    kind = format_of(source, path)
    if kind == "parquet" or path.suffix in _COMPRESSED:
        frame = scan(source, path, {})
        return int(frame.select(pl.len()).collect(engine="streaming").item())
    with path.open("rb") as file:
        pieces = iter(lambda: file.read(_PIECE), b"")
        return sum(piece.count(b"\n") for piece in pieces) + 1


@contextmanager
def reading(source: Source, path: Path) -> Iterator[None]:
    """Turn a reader's complaint into one line that names file and format.

    Raises:
        UserError: the file is not what its format says.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"data.source: {path} cannot be read as {format_of(source, path)}: {reason}"
        ) from None


def local_paths(source: Source, files: Iterable[SourceFile], raw: Path) -> list[Path]:
    """Return where the files of a manifest lie.

    Args:
        source: the recipe's source block.
        files: of raw/manifest.json.
        raw: the folder of the manifest.
    """
    if isinstance(source, PathSource):
        return [Path(file.path) for file in files]
    return [raw / file.path for file in files]
