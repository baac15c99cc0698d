"""Where a text is cut into pieces, before any piece has an id.

The pieces of words, in this order of preference: marks in angle brackets (<url>); endings of
contractions (n't, 's, 'm, 'd, 're, 've, 'll), which are cut from their word; emoticons; numbers
with points, commas or colons inside; words, with hyphens and apostrophes inside; three dots; any
other character that is no space. Joined by spaces, pieces are cut into themselves again.
"""

from collections.abc import Callable, Mapping
from functools import cache

import polars as pl

from tasks.settings.tokens import TextTokens

# No character of any text, so that it is in no vocabulary: what stands for an empty text.
NOTHING = "\uffff"
CONTINUED = "##"

_APOSTROPHES = "[’‘ʼ]"
_NEGATION = r"(\w)(n't)\b"
_ENDING = r"(\w)('(?:s|m|d|re|ve|ll))\b"
_WORDS = "|".join(
    (
        r"<\w+>",
        r"n't\b",
        r"'(?:s|m|d|re|ve|ll)\b",
        r"<3\b",
        r"[:;=]['^o-]?(?:[()\[\]/\\|*@]|[dpo3]\b)",
        r"\^_+\^",
        r"\d+(?:[.,:]\d+)+",
        r"\w+(?:['-]\w+)*",
        r"\.{3}",
        r"\S",
    )
)


def normalised(texts: pl.Series, spec: TextTokens) -> pl.Series:
    """Return texts as they are cut: in lower case if so asked, NOTHING for an empty one.

    Args:
        texts: str [N], null where there is none.
        spec: characters are also cut off at max_length here; bigrams have no space at the ends.
    """
    text = texts.rename("text")
    if spec.tokens == "characters":
        text = text.str.slice(0, spec.max_length)
    if spec.lowercase:
        text = text.str.to_lowercase()
    if spec.tokens == "bigrams":
        text = text.str.strip_chars()
    if spec.title:
        found = [None if one is None else one.title() for one in text.to_list()]
        text = pl.Series("text", found, dtype=pl.String)
    if spec.tokens == "characters":
        text = text.str.slice(0, spec.max_length)
    return text.set(text == "", NOTHING).fill_null(NOTHING)


def words(texts: pl.Series) -> pl.Series:
    """Return the words of each text, list[str] [N].

    Example:
        >>> words(pl.Series(["i don't like it :( #sad", "1,000 self-driving cars..."])).to_list()
        [['i', 'do', "n't", 'like', 'it', ':(', '#', 'sad'], ['1,000', 'self-driving', 'cars', '...']]
    """  # noqa: E501
    plain = texts.str.replace_all(_APOSTROPHES, "'")
    apart = plain.str.replace_all(_NEGATION, "${1} ${2}").str.replace_all(_ENDING, "${1} ${2}")
    return apart.str.extract_all(_WORDS)


def bigrams(texts: pl.Series) -> pl.Series:
    """Return each two neighbouring characters of each text, list[str] [N]; spaces are characters.

    Example:
        >>> bigrams(pl.Series(["Li Na", "X"])).to_list()
        [['Li', 'i ', ' N', 'Na'], []]
    """
    pairs = [[text[i : i + 2] for i in range(len(text) - 1)] for text in texts.to_list()]
    return pl.Series(texts.name, pairs, dtype=pl.List(pl.String))


def subwords(word: str, known: Mapping[str, int]) -> list[str]:
    """Return a word cut into the longest known pieces, from its start on.

    Args:
        word: without spaces.
        known: pieces; those inside a word begin with ##.

    Returns:
        The pieces; the word itself where no pieces make it.

    Source: Wu et al. (2016), "Google's neural machine translation system"; Devlin et al. (2019).

    Example:
        >>> subwords("unlikely", {"un": 0, "##like": 1, "##ly": 2, "##l": 3})
        ['un', '##like', '##ly']
    """
    pieces, start = [], 0
    while start < len(word):
        mark = CONTINUED if start else ""
        ends = range(len(word), start, -1)
        end = next((e for e in ends if mark + word[start:e] in known), None)
        if end is None:
            return [word]
        pieces.append(mark + word[start:end])
        start = end
    return pieces


def cut(texts: pl.Series, spec: TextTokens, known: Mapping[str, int]) -> pl.Series:
    """Return the pieces of normalised texts, list[str] [N], each at most max_length and not empty.

    Args:
        texts: from `normalised`.
        spec: what pieces are.
        known: of subwords, the vocabulary.
    """
    if spec.tokens == "characters":
        return texts.str.split("")
    if spec.tokens == "bigrams":
        found = bigrams(texts)
    elif spec.tokens == "symbols":
        found = texts.str.extract_all(r"\S+")
    else:
        found = words(texts)
    if spec.tokens == "subwords":
        found = _in_subwords(found, cache(lambda word: subwords(word, known)))
    last = spec.keep == "last"
    found = found.list.tail(spec.max_length) if last else found.list.head(spec.max_length)
    empty = (found.list.len() == 0).to_list()
    if not any(empty):
        return found
    pieces = found.to_list()
    return pl.Series([[NOTHING] if none else own for none, own in zip(empty, pieces, strict=True)])


def _in_subwords(found: pl.Series, split: Callable[[str], list[str]]) -> pl.Series:
    """Words of each text to the pieces of all of them."""
    rows = [[piece for word in row for piece in split(word)] for row in found.to_list()]
    return pl.Series(found.name, rows, dtype=pl.List(pl.String))
