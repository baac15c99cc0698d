"""Score a file of any size with a registered model, in bounded memory.

    python -m tasks.score RECIPE FILE [--out FILE] [--alias champion] [--threads 2] [--reasons 0]

FILE is CSV, Parquet or NDJSON in the recipe's own layout; the answer is written beside it as
FILE.scores.parquet, or where --out says (.parquet or .csv): one row a person, the same scores,
decisions and, where asked for, reasons as serving gives. In a CSV lists are JSON.
"""

import argparse
import os

# As in prepare: what polars reads ahead is most of the memory.
os.environ.setdefault("POLARS_MAX_THREADS", "2")
os.environ.setdefault("POLARS_CSV_CHUNK_SIZE", "4000000")
os.environ.setdefault("POLARS_NDJSON_CHUNK_SIZE", "4000000")

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from tqdm import tqdm

from tasks.artifacts import replacing_file
from tasks.checkout import checkout
from tasks.params import UserError, command, load_recipe
from tasks.serving.options import MOST_REASONS, Parser
from tasks.serving.reasons import REASONS
from tasks.serving.scorer import Scorer
from tasks.table import sources
from tasks.table.cells import RowError
from tasks.table.rows import Table, gather

WRITERS = (".parquet", ".csv")


class _Watched(Table):
    """A table that says how far it was read."""

    seen: Callable[[int], Any] = staticmethod(lambda _: None)

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield the rows as the table does."""
        for batch in super().batches():
            self.seen(len(batch))
            yield batch


class _Writer:
    """One table, written piece by piece."""

    def __init__(self, path: Path, kind: str) -> None:
        """Open nothing yet: the first piece says which columns there are."""
        self.path, self.kind = path, kind
        self.file: Any = None
        self.count = 0

    def add(self, piece: pl.DataFrame) -> None:
        """Write some people."""
        self.count += len(piece)
        if self.kind == ".csv":
            self.file = self.file or self.path.open("w", encoding="utf-8", newline="")
            flat(piece).write_csv(self.file, include_header=self.count == len(piece))
            return
        table = piece.to_arrow()
        if self.file is None:
            from pyarrow.parquet import ParquetWriter

            self.file = ParquetWriter(self.path, table.schema, compression="zstd")
        self.file.write_table(table)

    def close(self) -> None:
        """Finish the file."""
        if self.file is not None:
            self.file.close()


def flat(piece: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose lists are JSON text."""
    nested = [name for name, kind in piece.schema.items() if kind.is_nested()]
    told = {name: piece[name].to_list() for name in nested}
    return piece.with_columns(
        pl.Series(name, [json.dumps(x, ensure_ascii=False) for x in values], dtype=pl.String)
        for name, values in told.items()
    )


def table_of(columns: dict[str, Any]) -> pl.DataFrame:
    """Return an answer as a table; reasons have one type, whoever has none."""
    kinds = {"reasons": REASONS} if "reasons" in columns else {}
    return pl.DataFrame(columns, schema_overrides=kinds)


def score(scorer: Scorer, path: Path, out: Path, work: Path, reasons: int = 0) -> int:
    """Write the answer for everybody in a file; return how many people that is.

    Args:
        scorer: the model.
        path: raw rows.
        out: .parquet or .csv; written whole or not at all.
        work: an empty folder for what does not fit into memory.
        reasons: of one person at most; with 0 there is no such column.

    Raises:
        UserError: the file is not there, or a row cannot be read.
    """
    table = _Watched(scorer.data, [path], training=False)
    rows = sources.about_rows(scorer.data.source, path)
    with replacing_file(out) as draft, tqdm(total=rows, unit="row", disable=None) as bar:
        bar.set_description("reading")
        table.seen = bar.update
        writer = _Writer(draft, out.suffix)
        try:
            for frame in gather(table, work):
                writer.add(table_of(scorer.score(frame, reasons)))
                bar.set_description(f"{writer.count:,} people scored")
        except RowError as error:
            raise table.explain(error) from None
        finally:
            writer.close()
        if not writer.count:
            raise UserError(f"{path} has no rows")
    return writer.count


def target(path: Path, wanted: str | None) -> Path:
    """Return where the answer goes.

    Raises:
        UserError: the name says no format, or is the input itself.
    """
    out = Path(wanted) if wanted else path.with_name(f"{path.name}.scores.parquet")
    if out.suffix not in WRITERS:
        raise UserError(f"--out {out}: the name must end in {' or '.join(WRITERS)}")
    if out.resolve() == path.resolve():
        raise UserError(f"--out {out} is the file that is read")
    return out


def main(argv: list[str]) -> None:
    """Score one file."""
    parser = Parser("tasks.score", description="Score a file with a registered model.")
    parser.add_argument("recipe")
    parser.add_argument("file", type=Path)
    parser.add_argument("--out")
    parser.add_argument("--alias", default="champion")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reasons", type=int, default=0)
    wanted: argparse.Namespace = parser.parse_args(argv)
    if not 0 <= wanted.reasons <= MOST_REASONS:
        raise UserError(f"--reasons {wanted.reasons} must be 0 to {MOST_REASONS}")
    root = checkout()
    recipe = load_recipe(root / "params.yaml", wanted.recipe)
    if not wanted.file.is_file():
        raise UserError(f"{wanted.file} is not there")
    out = target(wanted.file, wanted.out)
    import torch

    from tasks.registry import open_store
    from tasks.serving.live import Live

    name = recipe.register.model_name or wanted.recipe
    torch.set_num_threads(max(1, wanted.threads))
    live = Live(open_store(root), name, wanted.alias, max(1, wanted.threads))
    live.refresh()
    scorer = live.current()
    assert scorer is not None
    with tempfile.TemporaryDirectory(prefix=".sordino-score-", dir=out.parent or Path()) as work:
        count = score(scorer, wanted.file, out, Path(work), wanted.reasons)
    print(f"{live.described()}: {count:,} people scored, {out}")


if __name__ == "__main__":
    command(main)
