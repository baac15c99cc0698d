"""Downloads are checked, kept for the next time, and leave nothing when they are wrong."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tasks import artifacts, fetch
from tasks.params import UserError
from tasks.recipe import (
    PackageFile,
    PathSource,
    PypiSource,
    ReaderSource,
    Source,
    SourceFile,
    SourcePlan,
    UrlSource,
)
from tasks.table import packages
from tests import toy_reader

CONTENT = b"a,b\n1,2\n"
MEMBER = "toy/data/t.csv"
SHA = hashlib.sha256(CONTENT).hexdigest()
OTHER = b"a,b\n3,4\n"
OTHER_SHA = hashlib.sha256(OTHER).hexdigest()


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for pip that writes a small wheel; returns what it was asked for."""
    asked: list[str] = []

    def download(package: str, folder: Path) -> Path:
        asked.append(package)
        wheel = folder / "toy-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("toy/data/t.csv", CONTENT)
            archive.writestr("toy/other/t.csv", OTHER)
        return wheel

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(packages, "pip_download", download)
    return asked


JOIN = """
def read(files, options):
    assert [f.name for f in files] == ["t.csv", "t.csv"]
    return pl.concat(pl.read_csv(f) for f in files).select(options["order"]) * options["times"]
"""


def pypi(sha256: str = SHA, member: str = MEMBER, package: str = "toy==1.0") -> PypiSource:
    """A member of the toy wheel."""
    return PypiSource(kind="pypi", package=package, member=member, sha256=sha256)


@pytest.fixture
def readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Installs the toy reader with a given body."""
    return lambda body: toy_reader.install(tmp_path / "checkout", monkeypatch, body)


def member(name: str | None, sha256: str = SHA) -> PackageFile:
    """A file of the toy wheel; None is the wheel itself."""
    return PackageFile(package="toy==1.0", member=name, sha256=sha256)


def by_reader(
    files: tuple[PackageFile, ...] = (member(MEMBER), member("toy/other/t.csv", OTHER_SHA)),
    reader: str = "toy",
    **more: object,
) -> ReaderSource:
    """Two members of the toy wheel, read by a reader."""
    return ReaderSource(kind="reader", reader=reader, files=files, **more)  # type: ignore[arg-type]


def plan(source: Source, files: tuple[SourceFile, ...] = ()) -> None:
    """Write what fetch reads."""
    artifacts.write_section("toy", "source", SourcePlan(source=source, files=files))


def raw() -> Path:
    """The stage's folder."""
    return artifacts.folder("toy", "raw")


def test_a_member_is_read_and_written_down(wheels: list[str]) -> None:
    plan(pypi())
    fetch.main(["toy"])
    assert (raw() / "t.csv").read_bytes() == CONTENT
    manifest = artifacts.read_json(raw() / "manifest.json")
    assert manifest == {"files": [{"path": "t.csv", "sha256": SHA, "size": len(CONTENT)}]}
    assert sorted(p.name for p in raw().iterdir()) == ["manifest.json", "t.csv"]
    assert wheels == ["toy==1.0"]
    assert not list(Path(".sordino").glob("wheel-*"))


def test_a_second_fetch_needs_no_network(wheels: list[str]) -> None:
    plan(pypi())
    fetch.main(["toy"])
    fetch.main(["toy"])
    assert len(wheels) == 1
    kept = Path(".sordino/downloads") / SHA
    kept.write_bytes(b"damaged")
    fetch.main(["toy"])
    assert len(wheels) == 2 and kept.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            pypi(sha256="0" * 64),
            f"data.source.sha256: {MEMBER} has {SHA}, expected {'0' * 64}",
        ),
        (pypi(sha256="xyz"), "data.source.sha256 = 'xyz': 64 hexadecimal digits are needed"),
        (
            pypi(member="toy/data/u.csv"),
            "'toy/data/u.csv' is not in toy-1.0-py3-none-any.whl (near",
        ),
        (pypi(package="--pre"), "data.source.package = '--pre': name==version is needed"),
        (
            by_reader(files=(member("toy/data/t.csv"), member("toy/none"))),
            "data.source.files.1.member = 'toy/none' is not in toy-1.0-py3-none-any.whl",
        ),
        (
            by_reader(files=(member("toy/data/t.csv"), member(None))),
            "data.source.files.1.sha256: toy-1.0-py3-none-any.whl has ",
        ),
        (
            by_reader(files=(member("toy/data/t.csv", sha256="1"),)),
            "data.source.files.0.sha256 = '1': 64 hexadecimal digits are needed",
        ),
        (by_reader(reader="none"), "data.source.reader = 'none': known readers: "),
        (UrlSource(kind="url", url="file:///no/such.csv"), "there is no such file"),
        (UrlSource(kind="url", url="nowhere://x/t.csv"), "data.source.url = 'nowhere://x/t.csv'"),
    ],
)
def test_a_wrong_source_is_one_line_and_leaves_what_was_there(source: Source, message: str) -> None:
    plan(pypi())
    fetch.main(["toy"])
    before = artifacts.digest_folder(raw())
    Path(".sordino/downloads", SHA).unlink()
    plan(source)
    with pytest.raises(UserError) as caught:
        fetch.main(["toy"])
    assert str(caught.value).startswith("recipes.toy.data.source.")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert artifacts.digest_folder(raw()) == before
    assert [p.name for p in raw().parent.iterdir() if p.name.startswith(".")] == []


def test_a_url_is_copied(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(CONTENT)
    plan(UrlSource(kind="url", url=f"file://{tmp_path}/t.csv", sha256=SHA))
    fetch.main(["toy"])
    assert (raw() / "t.csv").read_bytes() == CONTENT


def test_local_files_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(CONTENT)
    file = SourceFile(path="mine.csv", sha256=SHA, size=len(CONTENT))
    plan(PathSource(kind="path", path="mine.csv"), (file,))
    fetch.main(["toy"])
    assert artifacts.read_json(raw() / "manifest.json")["files"][0]["path"] == "mine.csv"
    assert [p.name for p in raw().iterdir()] == ["manifest.json"]
    (tmp_path / "mine.csv").write_bytes(b"changed")
    with pytest.raises(UserError, match=r"recipes.toy.data.source.path: mine.csv has changed"):
        fetch.main(["toy"])


def test_a_reader_makes_one_table_of_all_files(
    wheels: list[str], readers: Callable[[str], None]
) -> None:
    readers(JOIN)
    plan(by_reader(options={"order": ["b", "a"], "times": 2}))
    fetch.main(["toy"])
    assert sorted(p.name for p in raw().iterdir()) == ["manifest.json", "table.parquet"]
    assert wheels == ["toy==1.0"], "one download for two members"
    table = pl.read_parquet(raw() / "table.parquet")
    assert table.to_dict(as_series=False) == {"b": [4, 8], "a": [2, 6]}
    before = artifacts.digest_folder(raw())
    fetch.main(["toy"])
    assert artifacts.digest_folder(raw()) == before
    assert wheels == ["toy==1.0"]
    assert not list(Path(".sordino").glob("wheel-*"))
