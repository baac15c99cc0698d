"""What earlier audits showed about the same people, so that versions cannot be subtracted.

A version is a folder that is written once: who was counted, and each group that was shown with
its counts. It is internal, and stands outside of data/, which may be wiped.

N held-out people of now, V people of a version, k counts of one kind a group.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks import artifacts
from tasks.evidence.disclosure import Told
from tasks.evidence.suppress import Groups, Level

ROOT = Path(".sordino", "audits")
Reasons = dict[str, list[str | None]]


@dataclass(frozen=True)
class Published:
    """What an audit is about to show.

    Attributes:
        people: one name a row, N, no two alike.
        groups: of all features.
        levels: counts by group.
        contents: by level, what was counted: a word that is the same only for the same counts
            of the same person.
    """

    people: tuple[str, ...]
    groups: Groups
    levels: tuple[Level, ...]
    contents: dict[str, str]

    def digest(self) -> str:
        """Return a name of the inputs: the same ones are published the same way."""
        found = hashlib.sha256()
        least = [(level.name, level.least, level.what) for level in self.levels]
        words = (self.groups.features, self.groups.labels, least, sorted(self.contents.items()))
        found.update(repr((words, self.people)).encode())
        for array in (self.groups.codes, *(level.counts for level in self.levels)):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


def names_of(person_ids: pl.Series) -> tuple[str, ...]:
    """Return one name a row: the id, and which of its rows it is where a person has several."""
    frame = pl.DataFrame({"id": person_ids.cast(pl.String)})
    number = pl.int_range(pl.len()).over("id").cast(pl.String)
    return tuple(frame.select(pl.col("id") + "#" + number).to_series().to_list())


def earlier(root: Path, digest: str) -> list[Path]:
    """Return the versions before the first one of the same inputs, or all of them."""
    found = []
    for version in sorted(p for p in root.glob("[0-9]*") if p.is_dir()):
        if artifacts.read_json(version / "version.json")["digest"] == digest:
            break
        found.append(version)
    return found


def told(versions: list[Path], now: Published) -> dict[str, Told]:
    """Return by level what versions showed of the same kind of count.

    Args:
        versions: folders.
        now: people, groups and contents of now.
    """
    place = {name: index for index, name in enumerate(now.people)}
    found: dict[str, list[tuple[NDArray[np.int64], list[int]]]] = {}
    for version in versions:
        people = pl.read_parquet(version / "people.parquet")["person"].to_list()
        # Who is held out no more comes after the people of now.
        places = np.array([place.setdefault(name, len(place)) for name in people], dtype=np.int64)
        for row in pl.read_parquet(version / "shown.parquet").iter_rows(named=True):
            if now.contents.get(row["level"]) == row["content"]:
                bits = np.frombuffer(row["members"], dtype=np.uint8)
                inside = np.unpackbits(bits, count=len(people)).astype(bool)
                found.setdefault(row["level"], []).append((places[inside], row["counts"]))
    return {level: _stack(rows, len(place)) for level, rows in found.items()}


def _stack(rows: list[tuple[NDArray[np.int64], list[int]]], people: int) -> Told:
    """Members and counts as arrays."""
    members = np.zeros((len(rows), people), dtype=np.bool_)
    for index, (inside, _) in enumerate(rows):
        members[index, inside] = True
    return Told(members, np.array([counts for _, counts in rows], dtype=np.int64))


def remember(root: Path, now: Published, why: Reasons) -> None:
    """Write a version, unless the same inputs have one.

    Args:
        root: folder of a recipe's versions.
        now: what was published.
        why: by level and group, why it was withheld; None where it was shown.
    """
    digest = now.digest()
    taken = sorted(p for p in root.glob("[0-9]*") if p.is_dir())
    if any(artifacts.read_json(p / "version.json")["digest"] == digest for p in taken):
        return
    rows = [
        {
            "level": level.name,
            "content": now.contents[level.name],
            "feature": now.groups.features[group],
            "label": now.groups.labels[group],
            "counts": level.counts[group].tolist(),
            "members": np.packbits(now.groups.members(group)).tobytes(),
        }
        for level in now.levels
        for group, text in enumerate(why[level.name])
        if text is None
    ] + [_everybody(now, level) for level in now.levels]
    with artifacts.replacing(root / f"{len(taken) + 1:06}") as draft:
        pl.DataFrame({"person": list(now.people)}).write_parquet(draft / "people.parquet")
        pl.DataFrame(rows).write_parquet(draft / "shown.parquet")
        artifacts.write_json(draft / "version.json", {"digest": digest})


def _everybody(now: Published, level: Level) -> dict[str, object]:
    """The total, which is public."""
    first = now.groups.of(now.groups.features[0])
    return {
        "level": level.name,
        "content": now.contents[level.name],
        "feature": "everybody",
        "label": "everybody",
        "counts": level.counts[first].sum(0).tolist(),
        "members": np.packbits(np.ones(len(now.people), dtype=np.bool_)).tobytes(),
    }
