"""Which data a model came from, as a digest that only the holder of a key can check.

    python -m tasks.lineage verify RECIPE [DIGEST]

A plain digest of private files would let anybody test a guess at their content. What is published
is HMAC-SHA256 of it, with a key that stays in the checkout's `.sordino/`.
"""

import fcntl
import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

from tasks.artifacts import digest_file, folder, read_json, replacing_file
from tasks.checkout import checkout
from tasks.params import UserError, command

KEY = Path(".sordino", "lineage.key")
KEY_BYTES = 32
# 128 bits: as many as MLflow has room for.
DIGITS = 32


def key_of(root: Path) -> bytes:
    """Return the checkout's key, made from the system's entropy where there is none.

    Args:
        root: the checkout.
    """
    file = root / KEY
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            with replacing_file(file) as draft:
                draft.touch(mode=0o600)
                draft.write_text(os.urandom(KEY_BYTES).hex())
    # A copy of a checkout may have lost its rights.
    if file.stat().st_mode & 0o077:
        file.chmod(0o600)
    return file.read_bytes()


def keyed(key: bytes, purpose: str, digest: str) -> str:
    """Return a digest that may be shown: without the key nobody can test a guess against it.

    Args:
        key: from `key_of`.
        purpose: keeps digests of different things apart.
        digest: of something private.

    Example:
        >>> keyed(b"k", "data", "00") == keyed(b"k", "data", "00"), len(keyed(b"k", "data", "00"))
        (True, 32)
        >>> keyed(b"k", "data", "00") == keyed(b"other", "data", "00")
        False
    """
    text = f"{purpose}\0{digest}".encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:DIGITS]


def dvc_hash(path: Path) -> str:
    """Return the hash by which DVC knows a file or a folder; of private data it is internal.

    Args:
        path: a file, or a folder: the hash of a list of its files and theirs.
    """
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    files = sorted(p for p in path.rglob("*") if p.is_file())
    listed = [{"md5": dvc_hash(p), "relpath": p.relative_to(path).as_posix()} for p in files]
    listed.sort(key=lambda entry: entry["relpath"])
    text = json.dumps(listed, sort_keys=True)
    return f"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}.dir"


def manifest_of(recipe: str) -> dict[str, Any]:
    """Return the raw files with their plain digests, which are internal."""
    return dict(read_json(folder(recipe, "raw", "manifest.json")))


def data_digest(manifest: dict[str, Any]) -> str:
    """Return one plain digest of the contents of all raw files; where they lie does not matter."""
    whole = hashlib.sha256()
    for file in manifest["files"]:
        whole.update(f"{file['sha256']}\n".encode())
    return whole.hexdigest()


def lineage(recipe: str, root: Path) -> str:
    """Return the keyed digest of a recipe's data, which may be published."""
    return keyed(key_of(root), "data", data_digest(manifest_of(recipe)))


def verify(recipe: str, root: Path, published: str) -> int:
    """Make sure that a published digest is of the data that lie here; return how many files.

    Args:
        recipe: name under data/.
        root: the checkout.
        published: from a model card, a report or MLflow.

    Raises:
        UserError: the key is not here, a file is gone or another, or the digest is of other data.
    """
    if not (root / KEY).exists():
        raise UserError(f"{KEY} is missing: only who holds the key can verify a digest")
    files = manifest_of(recipe)["files"]
    for file in files:
        fetched, own = folder(recipe, "raw", file["path"]), Path(file["path"])
        path = fetched if fetched.is_file() else own
        if not path.is_file():
            raise UserError(f"{recipe}: {file['path']} is gone")
        if digest_file(path) != file["sha256"]:
            raise UserError(f"{recipe}: {file['path']} is not the file that was fetched")
    if not hmac.compare_digest(lineage(recipe, root), published):
        raise UserError(
            f"{recipe}: {published} is not of the data that lie here, or was made with another key"
        )
    return len(files)


def main(argv: list[str]) -> None:
    """Verify the digest on a recipe's model card, or one that is given."""
    if len(argv) not in (2, 3) or argv[0] != "verify":
        raise UserError("usage: python -m tasks.lineage verify RECIPE [DIGEST]")
    recipe = argv[1]
    if argv[2:]:
        published = argv[2].lower()
    else:
        published = str(
            read_json(folder(recipe, "report", "published", "model_card.json"))["lineage"]
        )
    count = verify(recipe, checkout(), published)
    print(f"{recipe}: {published} is of the {count} raw file(s) that lie here")


if __name__ == "__main__":
    command(main)
