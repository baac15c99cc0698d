"""Texts to ids and back."""

import dataclasses
from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.params import UserError, validate
from tasks.settings.tokens import TextTokens, Vocabulary
from tasks.table.splitting import subwords, words
from tasks.table.tokens import Codec, codec_of
from tasks.table.wordpieces import learnt


def _spec(**changes: object) -> TextTokens:
    """Words over a few of them."""
    return validate(
        TextTokens, {"tokens": "words", "vocabulary": {"values": ["a", "b", "n't"]}} | changes, "t"
    )


def _ids(codec: Codec, *texts: str | None) -> list[list[int]]:
    """Ids of each text."""
    ids, offsets = codec.ids(pl.Series(list(texts), dtype=pl.String))
    assert ids.dtype == np.int32 and offsets.dtype == np.int64
    return [ids[a:b].tolist() for a, b in pairwise(offsets)]


def test_words_have_ids_from_2_and_others_1() -> None:
    codec = codec_of(_spec())
    assert codec.vocabulary == ["<padding>", "<unknown>", "a", "b", "n't"]
    assert _ids(codec, "B  a zebra", "", None, " ") == [[3, 2, 1], [1], [1], [1]]
    assert codec.text([3, 2, 1, 0]) == "b a <unknown>"


def test_ends_stand_around_every_text_and_the_vocabulary_follows() -> None:
    codec = codec_of(_spec(), ends=True)
    assert codec.vocabulary[2:5] == ["<start>", "<end>", "a"]
    assert _ids(codec, "b a", None, "x b") == [[2, 5, 4, 3], [2, 1, 3], [2, 1, 5, 3]]
    assert codec.text([2, 5, 4, 3, 0]) == "b a"
    assert _ids(codec) == []


def test_characters_are_cut_before_and_after_lower_case() -> None:
    spec = validate(TextTokens, {"alphabet": "ab", "max_length": 3}, "t")
    assert _ids(codec_of(spec), "ABAB", "b\u0130") == [[2, 3, 2], [3, 1, 1]]
    assert _ids(codec_of(spec, ends=True), "aXb", "") == [[2, 4, 1, 5, 3], [2, 1, 3]]
    assert codec_of(spec).text([2, 3, 1, 0], unknown="\ufffe") == "ab\ufffe"


def test_words_longer_than_max_length_are_cut_off() -> None:
    assert _ids(codec_of(_spec(max_length=2)), "a b a b") == [[2, 3]]


def test_symbols_stand_between_spaces_as_they_are() -> None:
    spec = _spec(tokens="symbols", lowercase=False, vocabulary={"values": ["C#4", "|"]})
    assert _ids(codec_of(spec), "C#4 | c#4") == [[2, 3, 1]]


def test_subwords_are_the_longest_known_pieces() -> None:
    values = ["un", "u", "##like", "##l", "##ly", "##i", "!"]
    spec = _spec(tokens="subwords", vocabulary={"values": values})
    assert _ids(codec_of(spec), "Unlikely ull! unx") == [[2, 4, 6, 3, 5, 5, 8, 1]]
    assert codec_of(spec).text([2, 4, 6, 8]) == "unlikely !"
    assert subwords("unx", dict.fromkeys(values, 0)) == ["unx"]


SPLIT = {
    "I can't won't don’t": ["I", "ca", "n't", "wo", "n't", "do", "n't"],
    "john's o'clock they'll": ["john", "'s", "o'clock", "they", "'ll"],
    "so happy:) :-( ;p <3 :'( note:please": [
        "so", "happy", ":)", ":-(", ";p", "<3", ":'(", "note", ":", "please",
    ],
    "$1,000.50 at 4:45, #sad @user <url> ... !!": [
        "$", "1,000.50", "at", "4:45", ",", "#", "sad", "@", "user", "<url>", "...", "!", "!",
    ],
    "self-driving naïve 東京": ["self-driving", "naïve", "東京"],
}  # fmt: skip


@pytest.mark.parametrize("text", SPLIT)
def test_the_splitting_rule(text: str) -> None:
    assert words(pl.Series([text]))[0].to_list() == SPLIT[text]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab'’nt:)(-.,12 #<>dsu\n", max_size=30))
def test_words_joined_by_spaces_are_cut_into_themselves(text: str) -> None:
    once = words(pl.Series([text]))[0].to_list()
    assert words(pl.Series([" ".join(once)]))[0].to_list() == once
    assert "".join(once) == "".join(text.replace("’", "'").split())


def test_merges_by_hand() -> None:
    # Sennrich, Haddow, Birch (2016): low x5, lower x2, newest x6, widest x3. e-s and s-t both
    # stand 9 times; then es-t 9; then l-o, o-w: 7.
    text = ["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3
    pieces = learnt(Counter(text), 100)
    singles = {"##e", "##w", "##s", "##t", "##o", "l", "n", "##r", "w", "##i", "##d"}
    assert set(pieces[:11]) == singles
    assert pieces[:2] == ["##e", "##w"]  # 17 and 13 times
    assert pieces[11:15] == ["##es", "##est", "##ow", "low"]
    assert "newest" in pieces and learnt(Counter(reversed(text)), 100) == pieces
    assert learnt(Counter(text), 13) == pieces[:13] and learnt(Counter(text), 3) == pieces[:3]


def test_pieces_that_stand_once_are_not_merged() -> None:
    assert learnt({"ab": 1, "cd": 1}, 10) == ["##b", "##d", "a", "c"]


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"vocabulary": None}, "tokens = 'words' needs a vocabulary"),
    ({"alphabet": "ab"}, "alphabet is for characters; tokens = 'words'"),
    ({"vocabulary": {}}, "exactly one of values, file, package, private and training"),
    ({"vocabulary": {"values": ["a"], "training": 3}}, "states ['values', 'training']"),
    ({"vocabulary": {"file": "x", "training": 3}}, "states ['file', 'training']"),
    ({"vocabulary": {"values": ["a", "a"]}}, "vocabulary.values: 'a' stands there twice"),
    ({"vocabulary": {"training": 0}}, "greater than or equal to 1"),
    (
        {"tokens": "subwords", "vocabulary": {"private": {"epsilon": 1}}},
        "subwords cannot be counted privately",
    ),
    ({"tokens": "characters", "vocabulary": {"values": ["ab"]}}, "'ab' must be one character"),
    (
        {
            "vocabulary": {
                "package": {"package": "p==1", "member": "m", "sha256": "0", "size": 9, "pieces": 3}
            }
        },
        "vocabulary.package.pieces = 3 is for subwords, not for words",
    ),
    ({"tokens": "letters"}, "t.tokens = 'letters'"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_refused_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        _spec(**changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_vocabulary_that_is_still_to_come_makes_no_codec() -> None:
    spec = dataclasses.replace(_spec(), vocabulary=Vocabulary(training=5))
    with pytest.raises(ValueError, match="not known yet"):
        codec_of(spec)


def test_bigrams_are_cut_as_the_lstm_of_names_reads_them() -> None:
    """Stripped, in title case, each two neighbours, the last of them: as Keras pads and cuts."""
    listed = ["Sm", "mi", "it", "th", "h ", " J", "Jo"]
    spec = _spec(
        tokens="bigrams", lowercase=False, title=True, max_length=5, keep="last",
        vocabulary={"values": listed},
    )  # fmt: skip
    codec = codec_of(spec)
    for name in ("  smith JO ", "Smith", "j", "", "o'neil smith"):
        title = name.strip().title()
        pairs = ["".join(pair) for pair in pairwise(title)]
        expected = [listed.index(p) + 2 if p in listed else 1 for p in pairs][-5:]
        assert _ids(codec, name) == [expected or [1]]
    assert codec.text([2, 3, 4, 5]) == "Smith"
    assert _ids(codec_of(_spec(tokens="bigrams", vocabulary={"values": ["sm"]})), "SMS") == [[2, 1]]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tokens": "bigrams", "vocabulary": {"values": ["abc"]}}, "'abc' must be two characters"),
        (
            {"tokens": "characters", "alphabet": "ab", "vocabulary": None, "keep": "last"},
            "keep = 'last' is for tokens of more than one character",
        ),
    ],
)
def test_bigrams_that_mean_nothing_are_one_line(changes: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        _spec(**changes)
