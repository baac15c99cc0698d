"""Tweets as their file has them, and as they may have been written."""

from pathlib import Path

import pytest

from tasks.params import UserError
from tasks.readers.tweets import BROKEN, mended, mentions, name_of, read, topic


def test_damaged_characters_are_mended_where_they_can_be_told() -> None:
    assert mended("haven‰Ûªt and I äó»m") == "haven't and I 'm"
    assert mended("so _Ù÷â_Ù÷â far") == f"so {BROKEN} far"
    assert mended("a &amp; b\r http://t.co/x1") == "a & b <url>"


def test_copies_have_one_name() -> None:
    first = name_of("Late again! #fail <url>")
    assert name_of("RT @you: late AGAIN #fail") == first == name_of("@a @b late, again: fail")
    assert name_of("late again and again") != first
    assert name_of("<url>") != name_of("!!!")


def test_what_a_tweet_speaks_of() -> None:
    assert [mentions(t) for t in ("She said", "his dad", "he and her", "other")] == [
        "women", "men", "both", "neither",
    ]  # fmt: skip
    assert topic("@united late") == "airlines" and topic("rain") == "other"
    assert topic("Driverless") == "self-driving cars" and topic("#Coachella2015") == "a concert"


def test_a_file_is_read_as_mac_roman(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    text = 'sentiment,confidence,text\r\nneutral,1,"it’s, well"\r\npositive,,@jetblue love\r\n'
    path.write_bytes(text.encode("mac_roman"))
    table = read([path], {})
    assert table["text"].to_list() == ["it's, well", "@jetblue love"]
    assert table["sentiment"].to_list() == ["neutral", "positive"]
    assert table.columns == ["tweet", "sentiment", "text", "topic", "mentions"]
    with pytest.raises(UserError, match=r"options\.join: this reader has no options"):
        read([path], {"join": "x"})
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="column sentiment is not among"):
        read([path], {})
