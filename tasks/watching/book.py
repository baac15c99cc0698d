"""The book of a watched model: claims, bets, outcomes still to come, and what was read already.

Everything here is about new people and stays inside. It is written whole or not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tasks.artifacts import read_json, replacing
from tasks.params import UserError
from tasks.watching.bets import always_valid
from tasks.watching.claims import EVERYBODY, Claim, People, values_for
from tasks.watching.measured import LATE

BOOK, PENDING = "book.json", "pending.parquet"


@dataclass(frozen=True)
class Book:
    """What is known of a model in use.

    Attributes:
        model: name and version.
        reference: what the claims were made from, in words.
        claims: all of them.
        batches: one entry a batch: name, people, means by measure and group, alarms.
        sums: [count, sum] of every measure and group since the beginning.
        digests: SHA-256 of the files that were read.
        pending: scored people whose outcome is not known: person, score, decision, groups.
    """

    model: dict[str, str]
    reference: str
    claims: tuple[Claim, ...]
    batches: tuple[dict[str, Any], ...] = ()
    sums: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    digests: tuple[str, ...] = ()
    pending: pl.DataFrame = field(default_factory=pl.DataFrame)

    def after(self, name: str, people: People, digest: str, pending: pl.DataFrame) -> "Book":
        """Return the book after one more batch.

        Args:
            name: of the batch.
            people: what was measured; measures of outcomes may be of other, earlier people.
            digest: of the file.
            pending: of all people whose outcome is still to come.
        """
        number = len(self.batches) + 1
        claims = tuple(claim.after(values_for(claim, people), number) for claim in self.claims)
        sums = dict(self.sums)
        means = {}
        for measure in people.measures:
            for group in (EVERYBODY, *people.names()):
                values = people.of(measure, group)
                if len(values):
                    key = f"{measure}|{group}"
                    count, total = sums.get(key, (0, 0.0))
                    sums[key] = (count + len(values), total + float(values.sum()))
                    means[key] = [len(values), float(values.mean())]
        told = [claim.words for claim in claims if claim.raised == number]
        entry = {"name": name, "people": len(people), "means": means, "alarms": told}
        return replace(
            self, claims=claims, batches=(*self.batches, entry), sums=sums,
            digests=(*self.digests, digest), pending=pending,
        )  # fmt: skip

    @property
    def alarms(self) -> list[Claim]:
        """Claims that were refuted, the newest first."""
        found = [claim for claim in self.claims if claim.raised is not None]
        return sorted(found, key=lambda claim: -(claim.raised or 0))

    def fresh(self) -> list[Claim]:
        """Claims that the last batch refuted."""
        return [claim for claim in self.claims if claim.raised == len(self.batches)]

    def so_far(self, alpha: float) -> list[dict[str, Any]]:
        """Return every mean since the beginning with an interval that holds at all times.

        Args:
            alpha: chance that one of them ever misses.
        """
        found = []
        for key, (count, total) in sorted(self.sums.items()):
            measure, _, group = key.partition("|")
            mean = total / count
            low, high = always_valid(count, mean, alpha / max(len(self.sums), 1))
            found.append(
                {"measure": measure, "group": group, "count": count, "mean": mean,
                 "low": low, "high": high, "late": measure in LATE}
            )  # fmt: skip
        return found


def write_book(folder: Path, book: Book) -> None:
    """Write a book into a folder of its own, which appears whole."""
    from tasks.artifacts import write_json

    with replacing(folder) as draft:
        plain = {
            "model": book.model, "reference": book.reference, "batches": list(book.batches),
            "claims": [claim.as_dict() for claim in book.claims],
            "sums": {key: list(value) for key, value in book.sums.items()},
            "digests": list(book.digests),
        }  # fmt: skip
        write_json(draft / BOOK, plain)
        book.pending.write_parquet(draft / PENDING)


def read_book(folder: Path) -> Book | None:
    """Return the book of a folder; None where none was begun.

    Raises:
        UserError: it is damaged.
    """
    if not (folder / BOOK).exists():
        return None
    saved = read_json(folder / BOOK)
    try:
        return Book(
            model=saved["model"], reference=saved["reference"],
            claims=tuple(Claim.of(claim) for claim in saved["claims"]),
            batches=tuple(saved["batches"]),
            sums={key: (int(n), float(total)) for key, (n, total) in saved["sums"].items()},
            digests=tuple(saved["digests"]),
            pending=pl.read_parquet(folder / PENDING),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, OSError, pl.exceptions.PolarsError):
        raise UserError(
            f"{folder / BOOK} is damaged: move {folder} away to begin a new book"
        ) from None


def joined(both: list[People]) -> People:
    """Return the people of several parts as one, measures that a part lacks as NaN."""
    names = list(dict.fromkeys(name for part in both for name in part.measures))
    features = list(dict.fromkeys(name for part in both for name in part.groups))

    def column(part: People, name: str) -> Any:
        return part.measures.get(name, np.full(len(part), np.nan))

    return People(
        {name: np.concatenate([column(part, name) for part in both]) for name in names},
        {
            name: [v for part in both for v in part.groups.get(name, [""] * len(part))]
            for name in features
        },
        np.concatenate([part.event for part in both]),
        np.concatenate([part.scores for part in both]),
    )
