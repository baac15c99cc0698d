"""Wheels and source archives: read, never installed or built."""

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tasks.params import UserError
from tasks.table import packages

MEMBER = b"in the beginning\n"


def source_archive(path: Path, *, traps: bool = False) -> Path:
    """Write a small source archive; with traps, names that would lead outside, and a link."""
    with tarfile.open(path, "w:gz") as whole:
        for name, content in [("toy-1.0/toy/data/t.txt", MEMBER), ("toy-1.0/setup.py", b"1 / 0")]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            whole.addfile(info, io.BytesIO(content))
        if traps:
            link = tarfile.TarInfo("toy-1.0/link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            whole.addfile(link)
    return path


def pip_that_says(monkeypatch: pytest.MonkeyPatch, said: str) -> list[list[str]]:
    """Replace pip by one that finds no wheel; returns what it was asked."""
    seen: list[list[str]] = []

    def run(arguments: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append(arguments)
        return subprocess.CompletedProcess(arguments, 1, said, "ERROR: No match\n")

    monkeypatch.setattr(subprocess, "run", run)
    return seen


def test_pip_is_asked_for_a_wheel_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = pip_that_says(monkeypatch, "")
    with pytest.raises(UserError, match=r"^\(a wheel or a source .* is needed\): No match$"):
        packages.pip_download("toy==9", tmp_path)
    assert "--no-deps" in seen[0] and "--only-binary=:all:" in seen[0] and "download" in seen[0]


def test_a_source_archive_is_taken_from_where_pip_saw_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    right = source_archive(shelf / "toy_things-1.0.tar.gz")
    (shelf / "toy-things-1.0.1.tar.gz").write_bytes(b"another version")
    pip_that_says(
        monkeypatch,
        "".join(
            f"  Skipping link: No sources permitted for toy-things: {link.as_uri()} (from x)\n"
            for link in sorted(shelf.iterdir())
        ),
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    found = packages.pip_download("toy-things==1.0", folder)
    assert found.parent == folder and found.read_bytes() == right.read_bytes()
    with pytest.raises(UserError, match="No match"):
        packages.pip_download("toy-things==1.0.2", folder)


def test_a_member_of_a_source_archive_has_no_first_folder(tmp_path: Path) -> None:
    found = source_archive(tmp_path / "toy-1.0.tar.gz", traps=True)
    with packages.opened(found, "toy/data/t.txt", "x") as handle:
        assert handle.read() == MEMBER
    for name in ("link", "toy-1.0/toy/data/t.txt", "../../etc/passwd"):
        with (
            pytest.raises(UserError, match=r"^x.member = .* is not in toy-1.0.tar.gz"),
            packages.opened(found, name, "x"),
        ):
            pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["toy-1.0.tar.gz"]


def test_without_a_member_it_is_the_archive_itself(tmp_path: Path) -> None:
    found = source_archive(tmp_path / "toy-1.0.tar.gz")
    with packages.opened(found, None, "x") as handle:
        assert handle.read() == found.read_bytes()


@pytest.mark.parametrize("name", ["toy-1.0.tar.gz", "toy-1.0-py3-none-any.whl"])
def test_a_damaged_archive_is_one_line(tmp_path: Path, name: str) -> None:
    whole = tmp_path / name
    if name.endswith(".whl"):
        with zipfile.ZipFile(whole, "w") as archive:
            archive.writestr("toy/t.txt", MEMBER)
    else:
        source_archive(whole)
    whole.write_bytes(whole.read_bytes()[:60])
    with (
        pytest.raises(UserError, match=rf"^x.package: {name} is damaged$"),
        packages.opened(whole, "toy/t.txt", "x"),
    ):
        pass
