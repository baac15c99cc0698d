"""Stage prepare: raw rows to memory-mapped arrays, a table of people and their sensitive features.

Only public settings shape the arrays, and what the recipe asks to be drawn from training people
by private mechanisms, which is charged before it is drawn and drawn once. The same files then give
the same bytes.
"""

import os

# What polars reads ahead is most of the memory: 0.4 GB on two threads without these, and as much
# again for every four threads more. It looks at them once, when it is imported.
os.environ.setdefault("POLARS_MAX_THREADS", "2")
os.environ.setdefault("POLARS_CSV_CHUNK_SIZE", "4000000")
os.environ.setdefault("POLARS_NDJSON_CHUNK_SIZE", "4000000")

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tasks import artifacts
from tasks.params import UserError, command, validate
from tasks.recipe import DataConfig, PathSource, SourceFile
from tasks.settings.preparation import PreparationPlan, drawn_of
from tasks.starting.convert import write_start, write_vectors
from tasks.table import sources
from tasks.table.arrays import ArraysWriter, People
from tasks.table.cells import RowError
from tasks.table.contributions import Contributions, placeholder
from tasks.table.released import FILE, group_sizes, resolved
from tasks.table.rows import Table, gather
from tasks.table.split import cutoff
from tasks.table.vectors import vectors_of
from tasks.table.vocabulary import FILE as VOCABULARIES
from tasks.table.vocabulary import Seen, filled_in, stand_in, uncounted, with_lists, with_values


def prepare(
    data: DataConfig, paths: list[Path], draft: Path, watch: Contributions | Seen | None = None
) -> People:
    """Write a whole prepared folder.

    Args:
        data: the recipe's data block, with nothing left to be drawn.
        paths: the source's files.
        draft: an empty folder.
        watch: also collects what every row would contribute to what is drawn or counted.

    Returns:
        The people, as they stand in people.parquet.

    Raises:
        UserError: a cell, a person or a side is not what the recipe says.
    """
    cutoff(data.split)
    table = Table(data, paths)
    scratch = draft / "scratch"
    scratch.mkdir()
    try:
        with ArraysWriter(draft, data, watch.add if watch else None) as writer:
            for frame in gather(table, scratch):
                writer.append(frame)
            return writer.finish()
    except RowError as error:
        raise table.explain(error) from None
    finally:
        shutil.rmtree(scratch)


def _rehearsed(
    data: DataConfig, paths: list[Path], draft: Path, watch: Contributions | Seen
) -> pl.DataFrame:
    """Prepare once to show every row to `watch`; return who is in training, and keep nothing."""
    rehearsal = draft / "rehearsal"
    rehearsal.mkdir()
    try:
        prepare(data, paths, rehearsal, watch)
        return pl.read_parquet(rehearsal / "arrays" / "people.parquet")
    finally:
        shutil.rmtree(rehearsal)


def counted(data: DataConfig, paths: list[Path], draft: Path) -> DataConfig:
    """Return the data block with the vocabularies that training rows are counted for.

    Args:
        data: the recipe's data block.
        paths: the source's files.
        draft: a folder to work in; it is empty again afterwards.

    Raises:
        UserError: the table is wrong, or there is no token.
    """
    if not uncounted(data):
        return data
    seen = Seen(data)
    people = _rehearsed(stand_in(data), paths, draft, seen)
    return with_values(data, seen.of_training(people))


def drawn(
    recipe: str, data: DataConfig, files: list[SourceFile], paths: list[Path], draft: Path
) -> tuple[DataConfig, list[dict[str, Any]]]:
    """Return the data block with all that is drawn from training people, and what that was.

    The table is first prepared with public stand-ins: every mistake in it is found, and whoever
    is in training is known, before anything is charged or drawn.

    Args:
        recipe: name under data/.
        data: the recipe's data block.
        files: of the source.
        paths: where they are.
        draft: a folder to work in; it is empty again afterwards.

    Raises:
        UserError: the table is wrong, or the population cannot pay.
    """
    if not drawn_of(data):
        return data, []
    plan = artifacts.read_section(recipe, "preparation", PreparationPlan)
    everyone = Contributions(data)
    people = _rehearsed(placeholder(data), paths, draft, everyone)
    # It brings torch along, which preparing a table does not need.
    from tasks.table.release import release

    releases = release(recipe, data, plan, files, everyone.of_training(people, plan.unit))
    return resolved(data, [found["value"] for found in releases]), releases


def _write_drawn(arrays: Path, data: DataConfig, releases: list[dict[str, Any]]) -> None:
    """Write down what was drawn, and beside the groups' labels how many people they have."""
    artifacts.write_json(arrays / FILE, {"releases": releases})
    sizes = group_sizes(data, releases)
    if sizes:
        known = artifacts.read_json(arrays / "schema.json")
        known["groups"] |= sizes
        artifacts.write_json(arrays / "schema.json", known)


def _manifest(recipe: str, what: str = "files") -> list[SourceFile]:
    """The files that fetch wrote down: of the source, or public lists."""
    path = artifacts.folder(recipe, "raw", "manifest.json")
    values: Any = artifacts.read_json(path)
    return [validate(SourceFile, file, str(path)) for file in values.get(what, ())]


def main(argv: list[str]) -> None:
    """Write data/RECIPE/prepared."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.prepare RECIPE")
    recipe = argv[0]
    data = artifacts.read_section(recipe, "data", DataConfig)
    raw = artifacts.folder(recipe, "raw")
    files = _manifest(recipe)
    lists = [raw / file.path for file in _manifest(recipe, "lists")]
    paths = sources.local_paths(data.source, files, raw)
    with artifacts.replacing(artifacts.folder(recipe, "prepared")) as draft:
        try:
            if isinstance(data.source, PathSource):
                sources.verify(files)
            listed = with_lists(data, lists)
            known, releases = drawn(recipe, listed, files, paths, draft)
            filled = counted(known, paths, draft)
            people = prepare(filled, paths, draft)
            vectors = vectors_of(data, filled, lists)
            if vectors is not None:
                np.save(draft / "arrays" / "vectors.npy", vectors, allow_pickle=False)
                write_vectors(data, draft / "arrays")
            write_start(raw, filled, draft / "arrays")
            stated = filled_in(data, filled)
            if stated:
                artifacts.write_json(draft / "arrays" / VOCABULARIES, stated)
            if releases:
                _write_drawn(draft / "arrays", data, releases)
        except UserError as error:
            raise UserError(f"recipes.{recipe}.{error}") from None
    print(
        f"{recipe}: {people.count:,} people, {people.train:,} of them in train; "
        f"{people.steps:,} steps, {people.longest} at most"
    )


if __name__ == "__main__":
    command(main)
