"""Which files a source means, and how their columns are read."""

import gzip
import hashlib
from pathlib import Path

import polars as pl
import pytest

from tasks.params import UserError
from tasks.recipe import PathSource, PypiSource
from tasks.table import sources

WANTED = {"a": "data.person", "b": "data.target.column"}


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def source(path: str, form: str = "auto") -> PathSource:
    """A path."""
    return PathSource(kind="path", path=path, format=form)


def test_a_glob_gives_sorted_files_with_digests(checkout: Path) -> None:
    (checkout / "b.csv").write_text("x")
    (checkout / "a.csv").write_text("yy")
    found = sources.resolve(source("*.csv"))
    assert [(f.path, f.size) for f in found] == [("a.csv", 2), ("b.csv", 1)]
    assert found[0].sha256 == hashlib.sha256(b"yy").hexdigest()


def test_no_match_is_an_error() -> None:
    with pytest.raises(UserError, match=r"data.source.path = 'no/\*.csv': no file matches"):
        sources.resolve(source("no/*.csv"))


def test_what_is_to_be_downloaded_has_no_files_yet() -> None:
    pypi = PypiSource(kind="pypi", package="a==1", member="a.csv", sha256="0" * 64)
    assert sources.resolve(pypi) == ()


def test_a_remembered_digest_notices_a_change(checkout: Path) -> None:
    path = checkout / "a.csv"
    path.write_text("one")
    before = sources.cached_digest(path)
    assert sources.cached_digest(path) == before
    path.write_text("other")
    assert sources.cached_digest(path) == hashlib.sha256(b"other").hexdigest()
    # With the digest of what was there before, a guess at a person who is gone could be tried.
    assert before not in Path(".sordino/digests.json").read_text()
    Path(".sordino/digests.json").write_text("{broken")
    assert sources.cached_digest(path) == hashlib.sha256(b"other").hexdigest()


def test_verify_notices_a_changed_and_a_missing_file(checkout: Path) -> None:
    path = checkout / "a.csv"
    path.write_text("one")
    found = sources.resolve(source("a.csv"))
    sources.verify(found)
    path.write_text("longer")
    with pytest.raises(UserError, match=r"a.csv has changed since the plan"):
        sources.verify(found)
    path.unlink()
    with pytest.raises(UserError, match=r"a.csv is gone"):
        sources.verify(found)


def test_every_format_gives_the_same_cells(checkout: Path) -> None:
    frame = pl.DataFrame({"a": ["1", "2"], "b": ["x", None], "c": ["0", "0"]})
    frame.write_csv("t.csv")
    frame.write_parquet("t.parquet")
    frame.write_ndjson("t.jsonl")
    (checkout / "t.csv.gz").write_bytes(gzip.compress(Path("t.csv").read_bytes()))
    for name in ("t.csv", "t.parquet", "t.jsonl", "t.csv.gz"):
        path, read = Path(name), source(name)
        got = sources.scan(read, path, WANTED).collect()
        assert got.equals(frame.select("a", "b")), name
        assert 2 <= sources.about_rows(read, path) <= 4


def test_ndjson_numbers_become_text(checkout: Path) -> None:
    Path("t.ndjson").write_text('{"a": 1, "b": 2.5}\n{"a": "x", "b": null}\n')
    got = sources.scan(source("t.ndjson"), Path("t.ndjson"), WANTED).collect()
    assert got.rows() == [("1", "2.5"), ("x", None)]


def test_a_missing_column_names_field_and_file(checkout: Path) -> None:
    Path("t.csv").write_text("a,bb\n1,2\n")
    with pytest.raises(UserError, match=r"data.target.column: column b is not .*near: bb\): t.csv"):
        sources.scan(source("t.csv"), Path("t.csv"), WANTED)


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_a_wrong_format_is_one_line(form: str) -> None:
    Path("t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=f"t.csv cannot be read as {form}") as caught:
        sources.scan(source("t.csv", form), Path("t.csv"), WANTED)
    assert "\n" not in str(caught.value)


def test_a_suffix_that_tells_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"t.xlsx tells none; state csv, parquet or ndjson"):
        sources.format_of(source("t.xlsx"), Path("t.xlsx"))
