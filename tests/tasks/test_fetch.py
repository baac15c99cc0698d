"""Downloads are checked, kept for the next time, and leave nothing when they are wrong."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from tasks import artifacts, fetch
from tasks.params import UserError
from tasks.recipe import PathSource, PypiSource, Source, SourceFile, SourcePlan, UrlSource
from tasks.table import downloads

CONTENT = b"a,b\n1,2\n"
MEMBER = "toy/data/t.csv"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for pip that writes a small wheel; returns what it was asked for."""
    asked: list[str] = []

    def download(package: str, folder: Path) -> Path:
        asked.append(package)
        wheel = folder / "toy-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("toy/data/t.csv", CONTENT)
        return wheel

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(downloads, "pip_download", download)
    return asked


def pypi(sha256: str = SHA, member: str = MEMBER, package: str = "toy==1.0") -> PypiSource:
    """A member of the toy wheel."""
    return PypiSource(kind="pypi", package=package, member=member, sha256=sha256)


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


def test_pip_is_asked_for_a_wheel_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    seen: list[list[str]] = []

    def run(arguments: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append(arguments)
        return subprocess.CompletedProcess(arguments, 1, "", "WARNING: x\nERROR: No match\n\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UserError, match=r"'toy==9' \(only wheels are supported\): No match$"):
        downloads.pip_download("toy==9", tmp_path)
    assert "--no-deps" in seen[0] and "--only-binary=:all:" in seen[0] and "download" in seen[0]
