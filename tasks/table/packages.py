"""Archives of packages: a wheel, or a source archive that is read and never built."""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from tasks.params import UserError
from tasks.table.sources import STATE

_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!_-]*")
_SKIPPED = re.compile(r"Skipping link: No sources permitted for \S+: (\S+)")
_SECONDS = 300.0


@contextmanager
def archive(package: str, where: str) -> Iterator[Path]:
    """Yield a package's archive, which vanishes afterwards.

    Args:
        package: name==version.
        where: the recipe's block that names it, such as data.source.

    Raises:
        UserError: it cannot be had.
    """
    if not _PACKAGE.fullmatch(package):
        raise UserError(f"{where}.package = {package!r}: name==version is needed")
    STATE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=STATE) as folder:
        try:
            found = pip_download(package, Path(folder))
        except UserError as error:
            raise UserError(f"{where}.package = {package!r} {error}") from None
        yield found


def pip_download(package: str, folder: Path) -> Path:
    """Return a package's wheel, or its source archive if there is no wheel; neither is installed.

    pip builds a source archive to learn its name, which would run what somebody else wrote: it is
    asked for wheels alone, and tells in its log which source archives it passed over.

    Args:
        package: name==version.
        folder: an empty folder.

    Raises:
        UserError: there is neither.
    """
    arguments = ["-m", "pip", "--disable-pip-version-check", "--no-input", "download", "-vv"]
    arguments += ["--no-deps", "--only-binary=:all:", "-d", str(folder), package]
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    wheels = sorted(folder.glob("*.whl"))
    if wheels and not done.returncode:
        return wheels[0]
    for link in _SKIPPED.findall(done.stdout + done.stderr):
        if _is_source(link, package):
            return _copy(link, folder)
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines()]
    said = [line for line in lines if line.startswith("ERROR")] or [done.stderr]
    reason = " ".join(said[-1].split()).removeprefix("ERROR: ") or "pip gave no wheel"
    raise UserError(f"(a wheel or a source archive, tar.gz, is needed): {reason}")


def _is_source(link: str, package: str) -> bool:
    """Whether a link is the source archive of this very version."""
    name, _, version = package.partition("==")
    file = PurePosixPath(unquote(urlsplit(link).path)).name
    return _plain(file) == _plain(f"{name}-{version}.tar.gz")


def _plain(name: str) -> str:
    """A file name as packages compare theirs."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _copy(link: str, folder: Path) -> Path:
    """Download one source archive."""
    target = folder / PurePosixPath(unquote(urlsplit(link).path)).name
    try:
        with urllib.request.urlopen(link, timeout=_SECONDS) as answer, target.open("wb") as out:
            shutil.copyfileobj(answer, out)
    except (urllib.error.URLError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"(source archive {target.name}): {reason}") from None
    return target


@contextmanager
def opened(found: Path, member: str | None, where: str) -> Iterator[IO[bytes]]:
    """Open one file of an archive, or the archive itself.

    Of a source archive the first folder, NAME-VERSION, is not part of a member's name.

    Args:
        found: a wheel or a tar.gz.
        member: name inside it; None for the archive.
        where: the recipe's block that names it.

    Raises:
        UserError: the archive is damaged or has no such file.
    """
    if member is None:
        with found.open("rb") as handle:
            yield handle
        return
    reading = _in_tar if found.name.endswith(".tar.gz") else _in_zip
    try:
        with reading(found, member, where) as handle:
            yield handle
    except (zipfile.BadZipFile, tarfile.TarError, EOFError):
        raise UserError(f"{where}.package: {found.name} is damaged") from None


@contextmanager
def _in_zip(found: Path, member: str, where: str) -> Iterator[IO[bytes]]:
    """A wheel's member."""
    with zipfile.ZipFile(found) as whole:
        if member not in whole.namelist():
            raise _absent(found, member, whole.namelist(), where)
        with whole.open(member) as handle:
            yield handle


@contextmanager
def _in_tar(found: Path, member: str, where: str) -> Iterator[IO[bytes]]:
    """A source archive's member; nothing is unpacked, so no name can lead outside."""
    with tarfile.open(found, "r:gz") as whole:
        files = {file.name.partition("/")[2]: file for file in whole.getmembers() if file.isfile()}
        handle = whole.extractfile(files[member]) if member in files else None
        if handle is None:
            raise _absent(found, member, list(files), where)
        with handle:
            yield handle


def _absent(found: Path, member: str, names: list[str], where: str) -> UserError:
    """The archive has other files."""
    near = get_close_matches(member, names, n=2)
    hint = f" (near: {', '.join(near)})" if near else ""
    return UserError(f"{where}.member = {member!r} is not in {found.name}{hint}")
