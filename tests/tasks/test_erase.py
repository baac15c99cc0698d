"""A person is removed from sources and caches, and nobody else is."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml

from tasks import erase
from tasks.artifacts import digest_file
from tasks.holders import find
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


@pytest.fixture
def built(tmp_path, tmp_path_factory, monkeypatch):
    """A checkout whose recipe is prepared by DVC, and a second recipe of the same table."""
    root = tiny.prepared(tmp_path_factory, tmp_path / "check out")
    params = yaml.safe_load((root / "params.yaml").read_text())
    other = json.loads(json.dumps(params["recipes"]["tiny"]))
    # The same file by another name, in other words.
    other["data"]["source"] |= {"path": str(root / "people.csv"), "null_values": ["", "NA"]}
    params["recipes"]["other"] = other
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(root)
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_copy_is_removed_and_what_is_left_to_do_is_said(built, capsys):
    root = built
    feed = root / ".sordino" / "live" / "tiny-train.jsonl"
    feed.parent.mkdir()
    feed.write_text("losses of people")
    digest = digest_file(root / "people.csv")
    Path(".sordino", "digests.json").write_text(json.dumps({f"{root}/people.csv|1|2": digest}))
    assert digest in (root / "data/tiny/plan/source.json").read_text()
    before = holders(root, "7")
    assert {path.name for path in before} >= {"people.csv", "people.parquet"}
    assert any(".dvc" in path.parts for path in before)
    erase.main(["tiny", "7"])
    assert "nothing was changed: add --yes" in capsys.readouterr().out
    assert holders(root, "7") == before and feed.exists()
    erase.main(["tiny", "7", "--yes"])
    said = capsys.readouterr().out
    assert "people.csv: 1 rows removed" in said
    assert "dvc repro register@tiny" in said and "register@other" in said
    assert holders(root, "7") == [] and not feed.exists()
    texts = {p for p in root.rglob("*.json") if digest in p.read_text()} | {root / "dvc.lock"}
    # The checkout's digests of the table as it was are gone: a guess could be held against them.
    assert texts == {root / "dvc.lock"} and digest not in (root / "dvc.lock").read_text()
    # The others are still in the table, and the table can be built again.
    assert len(pl.read_csv(root / "people.csv")) == 599
    (line,) = (root / ".sordino" / "erasures.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["recipe"] == "tiny" and len(record["person"]) == 32
    assert record["rebuild"] == ["tiny", "other"] and record["rows"] == {"people.csv": 1}
    with pytest.raises(UserError, match="nobody with id = '7' stands in the table"):
        erase.main(["tiny", "7", "--yes"])
    rebuilt = tiny.run(root, "dvc", "repro", "prepare@tiny")
    assert rebuilt.returncode == 0, rebuilt.stdout[-2000:]
    people = pl.read_parquet(root / "data/tiny/prepared/arrays/people.parquet")
    assert len(people) == 599


def _fetched(sha256, **source):
    """The small recipe with a source of a package."""
    recipe = json.loads(json.dumps(tiny.RECIPE))
    recipe["data"]["source"] = {
        "kind": "pypi", "package": "people==1", "member": "people.csv", "sha256": sha256, **source,
    }  # fmt: skip
    return recipe


def test_downloads_of_other_people_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own, earlier, others, public = (letter * 64 for letter in "abcd")
    text = _fetched(others)
    text["data"] |= {
        "sequence": {
            "layout": "text",
            "columns": ["a"],
            "tokens": "words",
            "vocabulary": {
                "package": {
                    "package": "names==1", "member": "names.txt", "sha256": public, "size": 9,
                }
            },
        },
        "static": [],
    }  # fmt: skip
    recipes = {"t": _fetched(own), "same": _fetched(own, null_values=["NA"]), "text": text}
    Path("params.yaml").write_text(yaml.safe_dump({"run": ["t"], "recipes": recipes}))
    kept = Path(".sordino", "downloads")
    kept.mkdir(parents=True)
    for name in (own, earlier, others, public):
        (kept / name).write_text("rows")
    people = Path("data/same/prepared/arrays")
    people.mkdir(parents=True)
    Path("data/t/prepared/arrays").mkdir(parents=True)
    pl.DataFrame({"person_id": ["7"]}).write_parquet("data/t/prepared/arrays/people.parquet")
    found = find("t", "7", tmp_path)
    assert found.recipes == ("t", "same")
    assert [str(path) for path in found.caches] == [
        "data/t/prepared", "data/same/prepared", str(kept / own), str(kept / earlier),
    ]  # fmt: skip
    # A local table has no downloads, whatever lies there.
    (tmp_path / "people.csv").write_text("id\n7\n")
    recipes["t"] = json.loads(json.dumps(tiny.RECIPE))
    Path("params.yaml").write_text(yaml.safe_dump({"run": ["t"], "recipes": recipes}))
    assert [str(path) for path in find("t", "7", tmp_path).caches] == [
        "data/t/prepared", ".sordino/digests.json",
    ]  # fmt: skip


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
