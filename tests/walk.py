"""Walks all that one recipe publishes and looks for what must stay inside.

Needles are taken from internal files: digests of private files, names of people, keys, and every
number that was computed from private rows, recognised however many of its digits are shown.
"""

import hashlib
import html
import json
import math
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tasks.artifacts import digest_folder

RECIPE = "tiny"
HEX_DIGITS = 12
# Fewer digits than these are shared by many numbers.
DIGITS, DIGITS_OF_CELLS = 7, 9
_NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+−]?\d+)?(?!\w)", re.IGNORECASE)
_DRAWN = re.compile(r"<(/?)(svg|g|path|use|rect|clipPath|defs|text)\b[^>]*>")
_STORE = "mlflow/artifacts"


def _simple(value: float) -> bool:
    """Whether it is a share of few people: noised and exact shares coincide by chance."""
    near = Fraction(value).limit_denominator(1000)
    return abs(value - near) < 1e-12


@dataclass
class Needles:
    """What must not be found.

    Attributes:
        texts: lower-case text to what it is.
        keys: bytes that may stand nowhere at all, not even inside.
        numbers: by significant digits, a number so rounded to what it is.
        counts: whole numbers of training people.
    """

    texts: dict[str, str] = field(default_factory=dict)
    keys: dict[bytes, str] = field(default_factory=dict)
    numbers: dict[int, dict[str, str]] = field(default_factory=dict)
    counts: dict[int, str] = field(default_factory=dict)

    def add_digest(self, digest: str, what: str) -> None:
        """Look for the beginning of a digest."""
        self.texts[digest[:HEX_DIGITS].lower()] = f"digest of {what}"

    def add_number(self, value: float, what: str, least: int = DIGITS) -> None:
        """Look for a number, also as per cent, with so many of its digits or more."""
        if not math.isfinite(value) or _simple(value):
            return
        for digits in range(least, 17):
            if float(f"{value:.{digits - 2}e}") == value:
                # It has fewer digits of its own: as such it says nothing.
                return
            known = self.numbers.setdefault(digits, {})
            for scale in (1, 100):
                if not _simple(value * scale):
                    known[f"{abs(value) * scale:.{digits - 1}e}"] = what


def digits_of(token: str) -> int:
    """Return how many significant digits a printed number has."""
    mantissa = re.split("e", token, flags=re.IGNORECASE)[0]
    return len(re.sub(r"\D", "", mantissa).lstrip("0"))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Return every number of a JSON value with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{number}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, float(value)


# Numbers of internal files that are no secret: settings, what the ledger says, and a training run
# on invented people.
PUBLIC = re.compile(
    r"training/.*\.(epsilon|step)\.|twin/.*\.step\.|\.(claim|delta|confidence|threshold|bar|"
    r"min_people|min_events|favourable|false_positive_rate|level|seed|share_wanted)\b|"
    r"attack/internal/attack\.json\.run\."
)
# Numbers of these repeat published ones beside what is internal.
ONLY = {"attributions/internal/people.json": ".people."}


def _internal_json(data: Path) -> Iterator[tuple[str, float]]:
    """Every internal number that was computed from private rows."""
    folders = [data / "training", data / "twin", *data.glob("*/internal")]
    for file in sorted(f for folder in folders for f in folder.rglob("*.json")):
        name = file.relative_to(data).as_posix()
        if name in ("twin/config.json", "twin/bars.json"):
            continue
        for path, value in leaves(json.loads(file.read_text(encoding="utf-8"))):
            whole = f"{name}{path}"
            if not PUBLIC.search(whole) and path.startswith(ONLY.get(name, "")):
                yield whole, value


def _cells(data: Path, root: Path) -> Iterator[float]:
    """Every private number of tables and arrays."""
    frames = [pl.read_csv(root / "people.csv"), *map(pl.read_parquet, data.rglob("*.parquet"))]
    for frame in frames:
        for column in frame.select(pl.selectors.float()):
            yield from column.drop_nulls().to_list()
    for name in ("sequences", "static", "targets"):
        array = np.load(data / "prepared" / "arrays" / f"{name}.npy", allow_pickle=False)
        if array.dtype.kind == "f":
            yield from array.ravel().astype(float).tolist()


def needles(root: Path, keys: list[str], content: str) -> Needles:
    """Return what must not be found in what a recipe publishes.

    Args:
        root: a checkout in which the recipe was built.
        keys: hex of all entropy that the stages drew from the system.
        content: plain digest of all that is registered, internal evidence included.
    """
    found, data = Needles(), root / "data" / RECIPE
    private = [root / "people.csv"]
    folders = [data / n for n in ("raw", "prepared", "training", "twin")]
    folders += [*data.glob("*/internal"), root / ".sordino" / "audits"]
    for file in [*private, *(f for folder in folders for f in folder.rglob("*") if f.is_file())]:
        private_bytes = file.read_bytes()
        for name in ("sha256", "md5", "sha1"):
            what = f"{file.relative_to(root)}, {name}"
            found.add_digest(hashlib.new(name, private_bytes).hexdigest(), what)
    for folder in [*folders, data / "prepared" / "arrays", data / "predictions", data / "attack",
                   data / "audit", data / "attributions", data / "report"]:  # fmt: skip
        if folder.exists():
            found.add_digest(digest_folder(folder), f"the folder {folder.relative_to(root)}")
    found.add_digest(content, "all that is registered")
    people = pl.read_csv(root / "people.csv")
    found.texts |= {str(one).lower(): "somebody's id" for one in people["id"]}
    plan = json.loads((data / "plan" / "data.json").read_text(encoding="utf-8"))
    found.texts[plan["split"]["salt"].lower()] = "salt of the split"
    own = (root / ".sordino" / "lineage.key").read_text()
    found.texts[own.lower()] = "key of the lineage"
    found.keys = {bytes.fromhex(key): "entropy" for key in keys if key != own}
    for path, value in _internal_json(data):
        found.add_number(value, path)
    for value in _cells(data, root):
        found.add_number(value, "a private cell", DIGITS_OF_CELLS)
    split = pl.read_parquet(data / "prepared" / "arrays" / "people.parquet")["split"]
    found.counts[int((split == "train").sum())] = "number of training people"
    return found


def published(root: Path) -> dict[str, bytes]:
    """Return the files of data/ that may be shown, by their names."""
    data = root / "data" / RECIPE
    folders = [data / "model", data / "decision", *sorted(data.glob("*/published"))]
    files = [f for folder in folders for f in sorted(folder.rglob("*")) if f.is_file()]
    files.append(data / "figures.json")
    return {f.relative_to(data).as_posix(): f.read_bytes() for f in files}


def registered(root: Path) -> dict[str, bytes]:
    """Return what stands in MLflow outside of internal/: files, and a row of a table each."""
    found = {}
    for file in sorted((root / _STORE).rglob("*")):
        if file.is_file() and "internal" not in file.relative_to(root / _STORE).parts:
            found[file.relative_to(root).as_posix()] = file.read_bytes()
    base = sqlite3.connect(root / "mlflow" / "mlflow.db")
    for (table,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for number, row in enumerate(base.execute(f"SELECT * FROM {table}").fetchall()):
            cells = "\n".join(str(cell) for cell in row if cell is not None)
            found[f"mlflow.db/{table}/{number}"] = cells.encode()
    base.close()
    return found


def readable(name: str, content: bytes) -> str:
    """Return a document's text; of drawings, what is written in them."""
    text = content.decode("utf-8", errors="replace")
    if name.endswith((".html", ".md")):
        text = html.unescape(_DRAWN.sub(" ", text))
    return text


def leaks(documents: dict[str, bytes], wanted: Needles) -> list[str]:
    """Return what was found where it must not be."""
    found = []
    texts = re.compile("|".join(map(re.escape, wanted.texts)))
    for name, content in documents.items():
        text = readable(name, content)
        found += [f"{name}: {wanted.texts[t]}" for t in sorted(set(texts.findall(text.lower())))]
        if name.endswith((".py", ".safetensors", ".txt", ".yaml", "MLmodel")):
            continue
        for token in _NUMBER.findall(text):
            plain = token.replace(",", "").replace("−", "-")
            digits = digits_of(plain)
            known = wanted.numbers.get(min(digits, 16), {})
            what = known.get(f"{abs(float(plain)):.{min(digits, 16) - 1}e}") if known else None
            if what is None and re.fullmatch(r"\d+", plain):
                what = wanted.counts.get(int(plain))
            if what is not None:
                found.append(f"{name}: {token} is {what}")
    return found


def keys_found(root: Path, wanted: Needles) -> list[str]:
    """Return the files, internal or not, in which entropy of a run stands."""
    found = []
    for file in sorted(f for f in root.rglob("*") if f.is_file()):
        content = file.read_bytes()
        for key in wanted.keys:
            if key in content or key.hex().encode() in content.lower():
                found.append(file.relative_to(root).as_posix())
    return found
