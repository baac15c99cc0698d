"""Remove a person from the sources and caches that this checkout owns, and say what is left to do.

    python -m tasks.erase RECIPE PERSON [--yes]

Without --yes it only says what it would do. Models that were trained with privacy stay: what they
tell of any one person is bounded by their epsilon, which the answer names. The record in
.sordino/erasures.jsonl holds the person under a key alone.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from tasks.artifacts import replacing_file
from tasks.checkout import checkout
from tasks.holders import Found, find, is_person
from tasks.lineage import key_of, keyed
from tasks.params import UserError, command, load_recipe
from tasks.recipe import DataConfig
from tasks.serving.options import Parser
from tasks.table import sources

RECORD = Path(".sordino", "erasures.jsonl")


def without(data: DataConfig, path: Path, person: str) -> int:
    """Rewrite a file without a person's rows, whole or not at all; return how many are left.

    The cells of the others stay as they are; quotation marks of a CSV may not.

    Raises:
        UserError: the file is compressed text, which is not rewritten.
    """
    kind = sources.format_of(data.source, path)
    if kind != "parquet" and path.suffix in (".gz", ".zst"):
        raise UserError(f"{path} is compressed: unpack it, or remove the rows where it is made")
    if kind == "ndjson":
        return _without_lines(data, path, person)
    read = pl.read_parquet if kind == "parquet" else _read_csv
    table = read(path)
    kept = table.filter(~is_person(data, person, table))
    with replacing_file(path) as draft:
        if kind == "parquet":
            kept.write_parquet(draft)
        else:
            kept.write_csv(draft)
    return len(kept)


def _read_csv(path: Path) -> pl.DataFrame:
    """All cells as text, empty ones as such."""
    return pl.read_csv(path, infer_schema=False, empty_string_is_null=False)


def _without_lines(data: DataConfig, path: Path, person: str) -> int:
    """Copy the lines of the others, byte by byte."""
    kept = 0
    with replacing_file(path) as draft, path.open("rb") as lines, draft.open("wb") as out:
        for line in lines:
            if line.strip():
                cell = pl.DataFrame({data.person or "": [json.loads(line).get(data.person)]})
                if bool(is_person(data, person, cell)[0]):
                    continue
                kept += 1
            out.write(line)
    return kept


def forget(found: Found, root: Path) -> None:
    """Delete caches, DVC's copies among them."""
    for path in found.caches:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    lock = root / "dvc.lock"
    if lock.exists():
        locked = yaml.safe_load(lock.read_text(encoding="utf-8"))
        stages = locked.get("stages", {})
        kept = {n: s for n, s in stages.items() if n.partition("@")[2] not in found.recipes}
        with replacing_file(lock) as draft:
            draft.write_text(yaml.safe_dump({**locked, "stages": kept}), encoding="utf-8")
    cache = root / ".dvc" / "cache"
    if cache.exists():
        shutil.rmtree(cache / "runs", ignore_errors=True)
        # Copies that no stage in the lock file refers to; those of other recipes stay.
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "gc", "--workspace", "--force", "--quiet"],
            cwd=root, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode:
            reason = " ".join(done.stderr.split())[-300:]
            raise UserError(f"DVC's cache still holds copies: dvc gc --workspace: {reason}")


def forget_waiting(found: Found, person: str) -> None:
    """Take the person out of watch books."""
    for path in found.waiting:
        rest = pl.read_parquet(path).filter(pl.col("__person__") != person)
        with replacing_file(path) as draft:
            rest.write_parquet(draft)


def released(recipes: Iterable[str], root: Path) -> list[dict[str, str]]:
    """Return the registered versions of some recipes, with their epsilon as registered."""
    from tasks.registry import open_store

    found = []
    store = open_store(root)
    for recipe in recipes:
        name = load_recipe(root / "params.yaml", recipe).register.model_name or recipe
        for number in store.numbers(name):
            tags = store.version(name, number).tags
            found.append(
                {"model": name, "version": number, "epsilon": str(tags.get("epsilon", "unknown"))}
            )
    return found


def _say(found: Found, versions: list[dict[str, str]], done: bool) -> list[str]:
    """What was done, and what is left to do."""
    was = "removed" if done else "would be removed"
    lines = [f"{path}: {count} rows {was}" for path, count in found.rows.items()]
    lines += [f"{path}: {was}" for path in (*found.caches, *found.waiting)]
    lines += [f"NOT this checkout's, remove the person there: {where}" for where in found.elsewhere]
    lines += [f"to build again: dvc repro register@{recipe}" for recipe in found.recipes]
    for version in versions:
        lines.append(
            f"{version['model']} version {version['version']} stays: with epsilon "
            f"{version['epsilon']} it would look nearly the same had the person not been in the "
            "data; what any reader can learn about the person from it is bounded by that"
        )
    lines.append("kept: .sordino/audits (ids of held-out people whose groups were shown, so that")
    lines.append("  published tables cannot be subtracted); backups and copies elsewhere are yours")
    return lines


def record(root: Path, name: str, person: str, found: Found, versions: Any) -> None:
    """Add one line to the record of erasures; the person stands in it under a key."""
    told = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": name, "person": keyed(key_of(root), "person", person),
        "rows": {str(path): count for path, count in found.rows.items()},
        "elsewhere": list(found.elsewhere), "rebuild": list(found.recipes), "released": versions,
    }  # fmt: skip
    place = root / RECORD
    before = place.read_text(encoding="utf-8") if place.exists() else ""
    with replacing_file(place) as draft:
        draft.write_text(before + json.dumps(told, sort_keys=True) + "\n", encoding="utf-8")


def main(argv: list[str]) -> None:
    """Erase a person, or say what that would do."""
    parser = Parser("tasks.erase", description="Remove a person from sources and caches.")
    parser.add_argument("recipe")
    parser.add_argument("person")
    parser.add_argument("--yes", action="store_true")
    wanted: argparse.Namespace = parser.parse_args(argv)
    root = checkout()
    data = load_recipe(root / "params.yaml", wanted.recipe).data
    found = find(wanted.recipe, wanted.person, root)
    versions = released(found.recipes, root)
    if wanted.yes:
        # The table last: a call that was cut short finds the person again.
        forget_waiting(found, wanted.person)
        forget(found, root)
        for path in found.rows:
            without(data, path, wanted.person)
        record(root, wanted.recipe, wanted.person, found, versions)
    print("\n".join(_say(found, versions, wanted.yes)))
    if not wanted.yes:
        print("nothing was changed: add --yes")


if __name__ == "__main__":
    command(main)
