"""What the columns of a user's table seem to be, by their names, types and repeats."""

import re
from collections import defaultdict
from dataclasses import dataclass

import polars as pl

# A column with more distinct values is no category.
FEW = 20
_PERSON = re.compile(
    r"(^|_)(id|person|patient|customer|client|user|member|account|subject|employee)(_?id)?$"
)
_TIME = re.compile(r"(^|_)(time|timestamp|date|datetime|day|month|year|week|visit|step|when)(_|$)")
_TARGET = re.compile(
    r"target|label|outcome|default|churn|death|died|readmi|result|response|class|hired|^y$"
)
_SENSITIVE = re.compile(
    r"(^|_)(sex|gender|age|race|ethnic\w*|religion|disab\w*|marital\w*|marriage|married|"
    r"nationality|citizen\w*|birth\w*|dob|pregnan\w*|education|postcode|zip|zipcode)(_|$)"
)
_FAMILY = re.compile(r"(.*?)[_. ]?(\d+)")
_LONG_TEXT = 20


@dataclass(frozen=True)
class Guess:
    """What the columns of a file seem to be.

    Attributes:
        layout: wide, long or text.
        person: column of ids; None if there seems to be none.
        time: column that orders the events of a long table.
        families: of a wide table, name -> columns by rising number.
        text: columns of free text.
        target: column to predict, and others that might be.
        sensitive: columns to audit by.
        rest: columns left over, with whether each is a number.
    """

    layout: str
    person: str | None
    time: str | None
    families: dict[str, list[str]]
    text: list[str]
    target: list[str]
    sensitive: list[str]
    rest: dict[str, bool]


def snake(name: str) -> str:
    """A name in lower case, words joined by _."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")


def guess(sample: pl.DataFrame) -> Guess:
    """Return what the columns of a sample seem to be."""
    names = sample.columns
    person = next((n for n in names if _PERSON.search(snake(n))), None)
    repeats = person is not None and sample[person].n_unique() < len(sample)
    time = next((n for n in names if _is_time(n, sample[n]) and n != person), None)
    sensitive = [n for n in names if _SENSITIVE.search(snake(n)) and n != person]
    families = {} if repeats else _families([n for n in names if n not in (person, *sensitive)])
    text = [n for n in names if n not in (person, time, *sensitive) and _is_text(sample[n])]
    numeric = any(sample[n].dtype.is_numeric() for n in names if n not in (person, *sensitive))
    if not (text or families or numeric):
        text = [n for n in names if n not in (person, *sensitive) and sample[n].n_unique() > FEW]
    if repeats and time is not None:
        layout = "long"
    elif text and not families:
        layout = "text"
    else:
        layout = "wide"
    taken = {person, *sensitive, *(c for family in families.values() for c in family)}
    taken |= {time} if layout == "long" else set()
    taken |= set(text) if layout == "text" else set()
    free = [n for n in names if n not in taken]
    target = [n for n in free if _TARGET.search(snake(n))] or free[-1:] or names[-1:]
    rest = {n: sample[n].dtype.is_numeric() for n in free if n not in target[:1]}
    return Guess(layout, person, time, families, text, target, sensitive, rest)


def _is_time(name: str, values: pl.Series) -> bool:
    """A column of dates, or one that is called so."""
    return values.dtype.is_temporal() or bool(_TIME.search(snake(name)))


def _is_text(values: pl.Series) -> bool:
    """A column of text that is mostly long, or mostly different."""
    if values.dtype != pl.String:
        return False
    lengths = values.str.len_chars().mean()
    return isinstance(lengths, float) and lengths >= _LONG_TEXT and values.n_unique() > FEW


def _families(names: list[str]) -> dict[str, list[str]]:
    """Columns that differ by a number alone, as many for each family."""
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for name in names:
        match = _FAMILY.fullmatch(name)
        if match and match[1]:
            found[match[1]][int(match[2])] = name
    sizes = [len(members) for members in found.values()]
    longest = max(sizes, default=0)
    if longest < 2:
        return {}
    return {
        stem: [members[number] for number in sorted(members)]
        for stem, members in found.items()
        if len(members) == longest
    }
