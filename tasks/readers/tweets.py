"""Tweets that went through two wrong character sets; see docs/recipes/sentiment.md.

The file is a CSV in Mac Roman with the columns sentiment and text. Of each row alone this makes
`text` (line breaks, HTML entities and damaged characters mended, addresses as <url>), `tweet`
(the same for a tweet and its copies, whatever stands around it), `topic` (what it was collected
for) and `mentions` (whether it speaks of women, of men, of both or of neither).
"""

import hashlib
import html
import io
import re
from pathlib import Path
from typing import Any

import polars as pl

from tasks.params import UserError

# UTF-8 that was read as Windows-1252 or Mac Roman and written again: what still can be told.
MENDED = {
    "‰Ûª": "'", "äó»": "'", "_—È": "'", "‰ÛÏ": '"', "äóì": '"', "‰Û\x9d": '"', "äóù": '"',
    "‰Û_": "...", "äó_": "...", "‰ÛÓ": "-", "‰ÛÒ": "-", "’¢_äŒÅ–": '"', "’¢_äŒÎù": '"',
    "’¢_äŒ_—ù": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "–": "-", "—": "-",
}  # fmt: skip
# A run of what is left, with the underscores inside it: most were emoji.
_BROKEN = re.compile(r"_?(?:[^\x00-\x7f]+_?)+")
BROKEN = "\ufffd"
_ADDRESS = re.compile(r"https?:/\S*|\bhtt?p?\.\.\.$|\bwww\.\S+")
_COPIED = re.compile(r"^(?:@\w+|<url>|\b(?:rt|mt|via)\b|\W)+")
TOPICS = {
    "airlines": r"@?(?:united|usairways|americanair|southwestair|jetblue|virginamerica)\b",
    "self-driving cars": r"driv|car\b|cars\b|autonom|#?waymo",
    "a football match": r"deflat|patriots|brady|nfl\b|#?sb49|superbowl",
    "a company": r"@?apple\b|aapl|iphone|\bios\b|\bmac\b|ipad",
    "a concert": r"coachella",
    "a medicine": r"claritin|allerg",
}
WOMEN = r"\b(?:she|her|hers|herself|woman|women|girl|girls|lady|ladies|mom|mother|wife|sister)\b"
MEN = r"\b(?:he|him|his|himself|man|men|boy|boys|guy|guys|dad|father|husband|brother)\b"


def mended(text: str) -> str:
    """Return a tweet as it may have been written.

    Example:
        >>> mended("haven‰Ûªt  read &lt;it&gt; _Ù÷â_Ù÷â http://t.co/x")
        "haven't read <it> � <url>"
    """
    for damaged, right in MENDED.items():
        text = text.replace(damaged, right)
    whole = html.unescape(_BROKEN.sub(f" {BROKEN} ", text))
    return " ".join(_ADDRESS.sub("<url>", whole).split())


def name_of(text: str) -> str:
    """Return one name for a tweet and its copies: a hash of its words without what is around them.

    Example:
        >>> name_of("RT @you: Late AGAIN! <url>") == name_of("late again")
        True
    """
    words = re.sub(r"\W+", " ", re.sub("<url>", " ", _COPIED.sub("", text.lower())))
    kept = " ".join(words.split()) or text
    return hashlib.blake2b(kept.encode(), digest_size=12).hexdigest()


def mentions(text: str) -> str:
    """Return whether a tweet speaks of women, men, both or neither, by words of a short list."""
    women, men = (bool(re.search(words, text.lower())) for words in (WOMEN, MEN))
    return {(True, True): "both", (True, False): "women", (False, True): "men"}.get(
        (women, men), "neither"
    )


def topic(text: str) -> str:
    """Return the first topic whose words a tweet has."""
    lower = text.lower()
    return next((name for name, words in TOPICS.items() if re.search(words, lower)), "other")


def read(files: list[Path], options: dict[str, Any]) -> pl.DataFrame:
    """Return one row a tweet, in the order of the file.

    Args:
        files: one CSV.
        options: none.

    Raises:
        UserError: there is an option, or the file is another one.
    """
    if options:
        raise UserError(f"options.{next(iter(options))}: this reader has no options")
    if len(files) != 1:
        raise UserError(f"files: one file is needed, there are {len(files)}")
    content = files[0].read_bytes().decode("mac_roman").encode("utf-8")
    table = pl.read_csv(io.BytesIO(content), infer_schema=False)
    missing = [name for name in ("sentiment", "text") if name not in table.columns]
    if missing:
        raise UserError(f"files: column {missing[0]} is not among {table.columns}")
    texts = [mended(text) for text in table["text"].fill_null("").to_list()]
    made = {
        "tweet": [name_of(text) for text in texts],
        "text": texts,
        "topic": [topic(text) for text in texts],
        "mentions": [mentions(text) for text in texts],
    }
    return pl.DataFrame(made).insert_column(1, table["sentiment"])
