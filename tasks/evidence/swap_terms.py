"""Terms and their counterparts: read from lists, found in texts, swapped whole."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from rnn.config import FORBID_EXTRA
from tasks.params import UserError, read_yaml, validate
from tasks.recipe import SwapGroup

# Stands for a character outside the alphabet; it may be a letter, so it belongs to its word.
UNKNOWN = "\ufffe"
_WORD = rf"[\w{UNKNOWN}]"
COLUMNS = ("group", "first", "second")
SHIPPED = Path(__file__).with_name("swaps")


@dataclass(frozen=True, kw_only=True)
class SwapFile:
    """A YAML file of swaps."""

    __pydantic_config__ = FORBID_EXTRA

    groups: tuple[SwapGroup, ...]


def _of_csv(path: Path) -> tuple[SwapGroup, ...]:
    """Groups of a table with the columns group, first, second."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV: {error}") from None
    pairs: dict[str, list[tuple[str, str]]] = {}
    for line, row in enumerate(rows, start=2):
        cells = [(row.get(name) or "").strip() for name in COLUMNS]
        if not all(cells):
            raise UserError(f"{path}: line {line} needs {', '.join(COLUMNS)}, all three filled in")
        pairs.setdefault(cells[0], []).append((cells[1], cells[2]))
    values = [{"name": name, "pairs": found} for name, found in pairs.items()]
    return validate(SwapFile, {"groups": values}, str(path)).groups


def shipped(name: str) -> Path:
    """Return the list that is shipped under a name."""
    path = SHIPPED / f"{name}.yaml"
    if "/" in name or not path.exists():
        known = sorted(found.stem for found in SHIPPED.glob("*.yaml"))
        raise UserError(
            f"audit.swaps: file = {name!r} is neither a path that ends in .yaml or .csv nor one "
            f"of {known}"
        )
    return path


def read_swaps(groups: Sequence[SwapGroup]) -> tuple[SwapGroup, ...]:
    """Return groups with their pairs written out, those of files among them.

    Args:
        groups: from the recipe.

    Raises:
        UserError: a file is missing or says something else, or two groups have one name.
    """
    found: list[SwapGroup] = []
    for group in groups:
        inside: tuple[SwapGroup, ...] = (group,)
        if group.file is not None:
            path = Path(group.file)
            if not path.suffix:
                path = shipped(group.file)
            if path.suffix == ".csv":
                inside = _of_csv(path)
            else:
                inside = validate(SwapFile, read_yaml(path), str(path)).groups
        for one in inside:
            if one.file is not None:
                raise UserError(f"{group.file}: a list of swaps names another file: {one.file}")
            if one.name in {before.name for before in found}:
                raise UserError(f"audit.swaps: two groups are called {one.name!r}")
            found.append(replace(one, where=group.where or one.where or "anywhere"))
    return tuple(found)


def like(found: str, counterpart: str) -> str:
    """Return a counterpart in the case of what it replaces.

    Example:
        >>> like("He", "she"), like("mary", "James"), like("HE", "she")
        ('She', 'james', 'SHE')
    """
    if found.islower():
        return counterpart.lower()
    if found.isupper() and len(found) > 1:
        return counterpart.upper()
    return counterpart[:1].upper() + counterpart[1:]


@dataclass(frozen=True)
class Term:
    """A term in a list.

    Attributes:
        counterpart: what it becomes.
        side: 1 for the first of its pair, -1 for the second.
    """

    counterpart: str
    side: int


@dataclass(frozen=True)
class Swapper:
    """Swaps the terms of some groups, all at once; the first pair that has a term decides.

    Attributes:
        groups: pairs, and where they are looked for.
    """

    groups: tuple[SwapGroup, ...]

    @cached_property
    def terms(self) -> dict[str, dict[str, Term]]:
        """Return where -> term -> what it becomes."""
        found: dict[str, dict[str, Term]] = {"first_word": {}, "anywhere": {}}
        for group in self.groups:
            for first, second in group.pairs:
                known = found[group.where or "anywhere"]
                known.setdefault(" ".join(first.split()).casefold(), Term(second, 1))
                known.setdefault(" ".join(second.split()).casefold(), Term(first, -1))
        return found

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Return what finds a whole term, longer ones first."""

        def either(where: str) -> str:
            terms = sorted(self.terms[where], key=lambda t: (-len(t), t))
            return "|".join(map(re.escape, terms)) or r"(?!)"

        parts = rf"\A(?P<first_word>{either('first_word')})|(?P<anywhere>{either('anywhere')})"
        return re.compile(rf"(?<!{_WORD})(?:{parts})(?!{_WORD})", re.IGNORECASE)

    def swap(self, text: str, max_length: int) -> tuple[str, int] | None:
        """Return a text with its terms swapped, and which side it was on; None if it has none.

        Args:
            text: as it was read, cut at `max_length`.
            max_length: where texts are cut; a word that a cut may have shortened is left alone.

        Returns:
            The other text, cut likewise, and 1 where first terms prevailed, -1 where second ones
            did, 0 where neither.
        """
        hits: list[int] = []

        def other(found: re.Match[str]) -> str:
            word, where = found[0], str(found.lastgroup)
            term = self.terms[where].get(word.casefold())
            if term is None or found.end() == len(text) == max_length:
                return word
            hits.append(term.side)
            return like(word, term.counterpart)

        swapped = self.pattern.sub(other, text)
        if not hits:
            return None
        return swapped[:max_length], (sum(hits) > 0) - (sum(hits) < 0)
