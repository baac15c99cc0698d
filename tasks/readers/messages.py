"""Messages of programs and their translations; see docs/recipes/translate.md.

A file is a compiled gettext catalogue (.mo): each message in English with its translation, in as
many plural forms as the other language has. N messages.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from annotated_types import Ge, Gt, Le, Lt, MinLen

from rnn.config import FORBID_EXTRA, Count
from tasks.params import UserError, validate
from tasks.readers.near import groups_of
from tasks.table.split import shares

MAGIC = 0x950412DE
# What a program puts something into: %s, %(name)d, {count:x}, ${name}.
PLACE = re.compile(
    r"%\([^()\s]+\)[-#0+]*\d*(?:\.\d+)?[sdiufgexcr]"
    r"|%[-#0+]*\d*(?:\.\d+)?[sdiufgexcr]\b|\$?\{[^{}\s]*\}|%%"
)
SLOT = "slot"
_TAG = re.compile(
    r"</?(?:a|b|i|u|p|br|big|small|span|strong|em|code|tt|li|ul|ol|h[1-6]|pre|div|sup|sub)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_SAME = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "«": '"', "»": '"', "\xa0": " ", "\u202f": " "}
)
_QUOTED = re.compile(r'" ?([^"]*?) ?"')
_ELISION = re.compile(r"\b(c|d|j|l|m|n|s|t|qu|jusqu|lorsqu|puisqu|quelqu)'(?=\w)", re.IGNORECASE)
_ACCELERATOR = re.compile(r"_(?=\w)")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which messages become rows.

    Attributes:
        salt: key of the hash that puts a group of messages that are alike into one side.
        train: share of groups in training.
        alike: two messages are alike if they share this part of their character triples, in
            either language; groups are all that such pairs link together.
        fewest: words of an English message in the test, at least; training has shorter ones too.
        most: words of either, at most.
        contexts: what translators were told of messages that are no language: left out.
    """

    __pydantic_config__ = FORBID_EXTRA

    salt: Annotated[str, MinLen(1)]
    train: Annotated[float, Gt(0), Lt(1)] = 0.8
    alike: Annotated[float, Gt(0), Le(1)] = 0.6
    fewest: Annotated[int, Ge(1)] = 2
    most: Count = 20
    contexts: tuple[str, ...] = ()


def read(files: list[Path], options: dict[str, Any]) -> pl.DataFrame:
    """Return a row a message: id, english, french, words (of English), group, split.

    A message stands once: of several translations the first is taken. Whatever is alike is on one
    side of the split.

    Args:
        files: compiled catalogues, the earlier ones first.
        options: see `Options`.

    Raises:
        UserError: an option is wrong, or a file is no catalogue.
    """
    wanted = validate(Options, options, "options")
    if wanted.fewest > wanted.most:
        raise UserError(f"options.fewest = {wanted.fewest} must be at most {wanted.most}, the most")
    found: dict[str, tuple[str, str]] = {}
    for file in files:
        for context, english, french in messages(file):
            pair = None if context in wanted.contexts else cleaned(english, french)
            if pair is not None and _fits(pair, wanted):
                found.setdefault(pair[0].lower(), pair)
    ours = [pair[0] for pair in found.values()]
    theirs = [pair[1] for pair in found.values()]
    groups = groups_of([[key(t) for t in ours], [key(t) for t in theirs]], wanted.alike)
    # The group's name is what decides its side: nothing else of the table does.
    side = ["train" if s < wanted.train else "test" for s in shares(groups, wanted.salt)]
    words = [len(text.split()) for text in ours]
    table = pl.DataFrame(
        {
            "id": [f"message-{i:05d}" for i in range(len(ours))],
            "english": ours,
            "french": [_ELISION.sub(r"\1' ", text) for text in theirs],
            "words": words,
            "group": groups,
            "split": side,
        },
        schema_overrides={"english": pl.String, "french": pl.String, "words": pl.Int64},
    )
    return table.filter((table["words"] >= wanted.fewest) | (table["split"] == "train"))


def messages(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield context, message and translation of a catalogue, each plural form on its own.

    Raises:
        UserError: the file is no compiled catalogue, or is damaged.

    Source: GNU gettext manual, "The Format of GNU MO Files".
    """
    data = file.read_bytes()
    try:
        order = {struct.pack("<I", MAGIC): "<", struct.pack(">I", MAGIC): ">"}[data[:4]]
        count, ids, strings = struct.unpack_from(f"{order}3I", data, 8)
        for i in range(count):
            message, translation = (
                _string(data, *struct.unpack_from(f"{order}2I", data, at + 8 * i))
                for at in (ids, strings)
            )
            context, _, forms = message.rpartition("\x04")
            # The first entry, of the empty message, describes the file.
            if forms:
                both = zip(forms.split("\0"), translation.split("\0"), strict=False)
                yield from ((context, one, other) for one, other in both)
    except (KeyError, struct.error, ValueError) as error:
        raise UserError(f"{file.name} is no compiled gettext catalogue: {error}") from None


def _string(data: bytes, length: int, start: int) -> str:
    """One string; slices alone would pass over a file that is cut off."""
    if start + length > len(data):
        raise ValueError("a string ends behind the file")
    return data[start : start + length].decode()


def masked(text: str, names: dict[str, str]) -> str:
    """Return a text with each placeholder as one word: slot1, slot2, ...

    Args:
        text: such as "%(count)d of %s".
        names: placeholder -> word of those that have one; new ones are added.

    Example:
        >>> names: dict[str, str] = {}
        >>> masked("%(count)d of %s", names), masked("%s%(count)d: in{name}", names), list(names)
        ('slot1 of slot2', 'slot2 slot1: in slot3', ['%(count)d', '%s', '{name}'])
    """
    pieces: list[str] = []
    end = 0
    for found in PLACE.finditer(text):
        slot = names.setdefault(found[0], f"{SLOT}{len(names) + 1}")
        before, after = text[end : found.start()], text[found.end() : found.end() + 1]
        # A word of its own, also where the program leaves no space.
        glued = before[-1:].isalnum() if before else bool(pieces)
        pieces += [before, " " * glued, slot, " " * after.isalnum()]
        end = found.end()
    return "".join([*pieces, text[end:]])


def tidy(text: str) -> str:
    """Return a text on one line without markup, with plain quotes and apostrophes.

    Example:
        >>> tidy("«\\u00a0<b>L’arbre</b>\\u00a0»\\n  seul")
        '"L\\'arbre" seul'
    """
    return _QUOTED.sub(r'"\1"', " ".join(_TAG.sub(" ", text).translate(_SAME).split()))


def cleaned(english: str, french: str) -> tuple[str, str] | None:
    """Return a message and its translation as they are learnt; None where they do not agree.

    Placeholders are words of their own, and the same ones in both; an underscore that marks a
    menu's letter is gone.
    """
    names: dict[str, str] = {}
    english = masked(english, names)
    known = len(names)
    french = masked(french, names)
    if len(names) > known or any(slot not in french for slot in names.values()):
        return None
    if english.count("_") == 1 and french.count("_") <= 1:
        english, french = unmarked(english), unmarked(french)
    return tidy(english), tidy(french)


def unmarked(text: str) -> str:
    """Return a text without the one underscore that marks a menu's letter.

    Example:
        >>> unmarked("_Open a file"), unmarked("set_to_now or _x")
        ('Open a file', 'set_to_now or _x')
    """
    return _ACCELERATOR.sub("", text) if text.count("_") == 1 else text


def _fits(pair: tuple[str, str], wanted: Options) -> bool:
    """Lengths as asked for."""
    english, french = (len(text.split()) for text in pair)
    return 1 <= english <= wanted.most and 1 <= french <= wanted.most


def key(text: str) -> str:
    """Return what is left of a text for a comparison: letters in lower case.

    Example:
        >>> key("slot1 of 12 Files (Copy)")
        'of files copy'
    """
    words = re.sub(rf"{SLOT}\d+|[\W\d_]+", " ", text.lower())
    return " ".join(words.split())
