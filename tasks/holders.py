"""Where a person stands: in sources, caches and books that this checkout owns."""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from tasks.artifacts import folder
from tasks.params import UserError, load_recipe
from tasks.recipe import DataConfig, PathSource, PypiSource, ReaderSource, Recipe, Source
from tasks.table import sources
from tasks.table.cells import column, identifiers

# Computed from people one by one, or a digest of all of them, at which what one of them was can be
# guessed; what is published of a recipe is not among it.
INTERNAL = (
    "plan/source.json", "raw", "prepared", "twin", "training", "predictions/internal",
    "audit/internal", "attributions/internal", "attack/internal", "report/internal",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """Where a person stands.

    Attributes:
        recipes: that read the person's table.
        rows: file -> number of the person's rows; only files of the checkout.
        elsewhere: sources that are not this checkout's, in words.
        caches: files and folders to delete.
        waiting: watch books that hold the person.
    """

    recipes: tuple[str, ...]
    rows: dict[Path, int]
    elsewhere: tuple[str, ...]
    caches: tuple[Path, ...]
    waiting: tuple[Path, ...]


def find(name: str, person: str, root: Path) -> Found:
    """Return where a person of a recipe stands in the checkout.

    Args:
        name: recipe.
        person: id, as the table has it.
        root: the checkout.

    Raises:
        UserError: the table has no person column, or nobody has this id.
    """
    recipes = _readers_of(name, root)
    data = recipes[name].data
    rows, elsewhere = _in_sources(data, person, root)
    prepared = folder(name, "prepared", "arrays", "people.parquet")
    known = prepared.exists() and person in pl.read_parquet(prepared)["person_id"]
    waiting = tuple(_books(recipes, person))
    if not rows and not known and not waiting:
        raise UserError(f"{name}: nobody with {data.person} = {person!r} stands in the table")
    return Found(tuple(recipes), rows, elsewhere, tuple(_caches(recipes, root)), waiting)


def _readers_of(name: str, root: Path) -> dict[str, Recipe]:
    """The recipe and all others that read one of its files, whose caches hold the same people."""
    params = root / "params.yaml"
    own = load_recipe(params, name)
    if own.data.person is None:
        raise UserError(
            f"recipes.{name}.data.person is not set: records without an id cannot be found again; "
            "remove the rows in the table and run the recipe"
        )
    known = yaml.safe_load(params.read_text(encoding="utf-8"))["recipes"]
    files = _files(own.data.source)
    found = {name: own}
    for other in known:
        recipe = load_recipe(params, other)
        if files & _files(recipe.data.source):
            found[other] = recipe
    return found


def _files(source: Source) -> set[str]:
    """What a source reads: paths, an address, or digests of what is downloaded."""
    if isinstance(source, PathSource):
        return {source.path, *(str(Path(p).resolve()) for p in _matches(source.path))}
    if isinstance(source, ReaderSource):
        return {file.sha256 for file in source.files}
    if isinstance(source, PypiSource):
        return {source.sha256}
    return {source.url, *filter(None, [source.sha256])}


def _matches(pattern: str) -> list[str]:
    """Files that a path's glob names."""
    return glob.glob(pattern, recursive=True)  # noqa: PTH207


def _in_sources(data: DataConfig, person: str, root: Path) -> tuple[dict[Path, int], Any]:
    """Rows of the person in files of the checkout, and what is not the checkout's."""
    if not isinstance(data.source, PathSource):
        where = getattr(data.source, "package", None) or getattr(data.source, "url", None)
        return {}, (f"{data.source.kind} source {where or ''}".strip(),)
    found, elsewhere = {}, []
    for file in sources.resolve(data.source):
        path = Path(file.path)
        count = _count(data, path, person)
        if count and root.resolve() not in path.resolve().parents:
            elsewhere.append(f"{path} ({count} rows)")
        elif count:
            found[path] = count
    return found, tuple(elsewhere)


def is_person(data: DataConfig, person: str, frame: pl.DataFrame) -> pl.Series:
    """Return which rows are the person's.

    Args:
        data: names the person's column.
        person: id.
        frame: rows with that column.

    Returns:
        bool, one a row.
    """
    assert data.person is not None
    cells = column(frame, data.person, "data.person", data.source.null_values)
    return identifiers(cells) == person


def _count(data: DataConfig, path: Path, person: str) -> int:
    """Number of the person's rows in a file."""
    assert data.person is not None
    frame = sources.scan(data.source, path, {data.person: "data.person"})
    with sources.reading(data.source, path):
        batches = frame.collect_batches(chunk_size=250_000, engine="streaming")
        return sum(int(is_person(data, person, batch).sum()) for batch in batches)


def _books(recipes: Iterable[str], person: str) -> Iterable[Path]:
    """Watch books in which the person waits for an outcome."""
    for recipe in recipes:
        for path in Path(".sordino", "watch", recipe).glob("*/pending.parquet"):
            table = pl.read_parquet(path)
            if "__person__" in table.columns and person in table["__person__"]:
                yield path


def _caches(recipes: dict[str, Recipe], root: Path) -> Iterable[Path]:
    """What was computed from people one by one, and can be computed again."""
    for recipe in recipes:
        yield from (
            p for p in (folder(recipe, *part.split("/")) for part in INTERNAL) if p.exists()
        )
        for kept in ("checkpoints", "live"):
            yield from sorted(Path(".sordino", kept).glob(f"{recipe}-*"))
    # Of every recipe: it is a cache, and paths are all that it goes by.
    yield from filter(Path.exists, [sources.STATE / "digests.json"])
    yield from _downloads(recipes, root)


def _downloads(recipes: dict[str, Recipe], root: Path) -> list[Path]:
    """Downloads that are not known to be of others alone: earlier versions hold people too."""
    known = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))["recipes"]
    own: set[str] = set()
    for recipe in recipes.values():
        if not isinstance(recipe.data.source, PathSource):
            own |= _files(recipe.data.source)
    if not own:
        return []
    others = set(_digests([block for name, block in known.items() if name not in recipes]))
    # Public lists of these recipes: nobody stands in them.
    for name in recipes:
        block = {**known[name], "data": {**known[name]["data"], "source": None}}
        others |= set(_digests(block))
    files = sorted(Path(".sordino", "downloads").glob("*"))
    return [file for file in files if file.name in own or file.name not in others]


def _digests(value: Any) -> Iterator[str]:
    """Every SHA-256 that some settings name."""
    if isinstance(value, dict):
        if isinstance(value.get("sha256"), str):
            yield value["sha256"]
        for inner in value.values():
            yield from _digests(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _digests(inner)
