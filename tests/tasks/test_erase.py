"""A person is removed from sources and caches, and nobody else is."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml

from tasks import erase
from tasks.params import UserError, validate
from tasks.recipe import DataConfig, PathSource
from tests import tiny


def data_of(path: Path) -> DataConfig:
    """The small recipe's data block on another file."""
    data = validate(DataConfig, tiny.RECIPE["data"], "data")
    return replace(data, source=PathSource(kind="path", path=str(path)))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".ndjson"])
def test_a_file_is_rewritten_without_one_person_and_nothing_else_changes(tmp_path, suffix):
    table = tiny.raw_rows(30).with_columns(
        note=pl.Series(['a "b", c', "", None, "line\nbreak", " x "] * 6, dtype=pl.String)
    )
    path = tmp_path / f"people{suffix}"
    {".csv": table.write_csv, ".parquet": table.write_parquet, ".ndjson": table.write_ndjson}[
        suffix
    ](path)
    assert erase.without(data_of(path), path, "7") == 29
    read = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".ndjson": pl.read_ndjson}[suffix]
    wanted = table.filter(pl.col("id") != 7)
    found = read(path)
    if suffix == ".csv":
        # An empty cell is a missing one, quoted or not.
        found, wanted = (t.with_columns(pl.col("note").fill_null("")) for t in (found, wanted))
    assert found.equals(wanted)
    assert list(tmp_path.iterdir()) == [path]


def test_compressed_text_is_refused(tmp_path):
    path = tmp_path / "people.csv.gz"
    tiny.raw_rows(10).write_csv(path, compression="gzip")
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"people\.csv\.gz is compressed: unpack it"):
        erase.without(data_of(path), path, "7")
    assert path.read_bytes() == before


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A checkout whose recipe is prepared by DVC, and a second recipe of the same table."""
    root = tiny.copy_checkout(tmp_path_factory.mktemp("erase") / "check out")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["recipes"]["other"] = params["recipes"]["tiny"]
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    done = tiny.run(root, "dvc", "repro", "prepare@tiny")
    assert done.returncode == 0, done.stdout[-2000:]
    return root


def holders(root: Path, person: str) -> list[Path]:
    """Files of the checkout that name the person, DVC's copies included."""
    found = []
    for path in sorted(root.rglob("*")):
        if not path.is_file() or "tasks" in path.parts:
            continue
        if path.read_bytes()[:4] == b"PAR1":
            table = pl.read_parquet(path)
            if "person_id" in table.columns and person in table["person_id"].cast(pl.String):
                found.append(path)
        elif path.suffix == ".csv" and f"\n{person}," in path.read_text():
            found.append(path)
    return found


def test_every_copy_is_removed_and_what_is_left_to_do_is_said(built):
    root = built
    before = holders(root, "7")
    assert {path.name for path in before} >= {"people.csv", "people.parquet"}
    assert any(".dvc" in path.parts for path in before)
    told = tiny.run(root, "tasks.erase", "tiny", "7")
    assert told.returncode == 0 and "nothing was changed: add --yes" in told.stdout
    assert holders(root, "7") == before
    done = tiny.run(root, "tasks.erase", "tiny", "7", "--yes")
    assert done.returncode == 0, done.stdout
    assert "people.csv: 1 rows removed" in done.stdout
    assert "dvc repro register@tiny" in done.stdout and "register@other" in done.stdout
    assert holders(root, "7") == []
    # The others are still in the table, and the table can be built again.
    assert len(pl.read_csv(root / "people.csv")) == 599
    (line,) = (root / ".sordino" / "erasures.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["recipe"] == "tiny" and len(record["person"]) == 32
    assert record["rebuild"] == ["tiny", "other"] and record["rows"] == {"people.csv": 1}
    again = tiny.run(root, "tasks.erase", "tiny", "7", "--yes")
    assert again.returncode == 1
    assert "nobody with id = '7' stands in the table" in again.stdout
    rebuilt = tiny.run(root, "dvc", "repro", "prepare@tiny")
    assert rebuilt.returncode == 0, rebuilt.stdout[-2000:]
    people = pl.read_parquet(root / "data/tiny/prepared/arrays/people.parquet")
    assert len(people) == 599


def test_records_without_an_id_cannot_be_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = json.loads(json.dumps(tiny.RECIPE))
    recipe["data"] |= {
        "person": None,
        "sequence": {"layout": "text", "columns": ["a"], "alphabet": "ab"},
        "static": [],
    }
    Path("params.yaml").write_text(yaml.safe_dump({"run": ["t"], "recipes": {"t": recipe}}))
    with pytest.raises(UserError, match=r"recipes\.t\.data\.person is not set"):
        erase.main(["t", "7"])
