"""Pieces as tokens and back, and what is measured of them."""

import pytest

from tasks.music.measure import in_metre, in_range, shares
from tasks.music.tokens import Note, Piece, decode, encode, is_music

# An upbeat, a bar, and a beat: the alto holds over the bar line, the tenor rests in between.
NOTES = (
    Note(0, 72, 0, 4), Note(1, 67, 0, 8), Note(2, 64, 0, 4), Note(3, 48, 0, 4),
    Note(0, 74, 4, 16), Note(3, 55, 4, 2), Note(3, 53, 6, 14), Note(1, 65, 8, 12),
    Note(2, 62, 12, 8),
)  # fmt: skip
PIECE = Piece(True, "4/4", 12, 20, tuple(sorted(NOTES, key=lambda n: (n.onset, n.voice))))
LINE = "minor 4/4 @12 S72 A67 T64 B48 | S74 T- B55 @2 B53 @4 A65 @8 T62 |"


def test_a_piece_becomes_these_tokens_and_comes_back() -> None:
    assert " ".join(encode(PIECE)) == LINE
    assert decode(LINE.split()) == PIECE


def test_a_voice_that_begins_late_or_ends_early_rests() -> None:
    notes = (Note(0, 60, 4, 4), Note(3, 48, 0, 12))
    piece = Piece(False, "3/4", 0, 12, tuple(sorted(notes, key=lambda n: n.onset)))
    line = "major 3/4 | S- A- T- B48 @4 S60 @8 S- |"
    assert " ".join(encode(piece)) == line and decode(line.split()).notes == piece.notes


def test_nonsense_is_passed_over() -> None:
    # The second @4 is over, @16 is in no bar, and a note of no length is none.
    piece = decode(
        [
            "major",
            "4/4",
            "@4",
            "S60",
            "S62",
            "zebra",
            "T",
            "@8",
            "A60",
            "@4",
            "A62",
            "@16",
            "|",
            "5/8",
        ]
    )
    assert piece.notes == (Note(0, 62, 0, 12), Note(1, 62, 4, 8)) and piece.start == 4
    assert decode([]) == Piece(False, "4/4", 0, 0, (), False)
    assert decode(["S60", "B48"]).notes == ()


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        (LINE, True),
        (LINE + " S72 @4", True),
        (LINE + " |", True),
        ("major 3/4 | S72 | S72 | S72 |", True),
        (LINE.replace("4/4", "3/4"), False),
        (LINE.replace("minor ", ""), False),
        (LINE.replace("minor", "| minor"), False),
        (LINE.replace("@8", "@2"), False),
        (LINE.replace("@8", "@4"), False),
        (LINE.replace("@8", "@16"), False),
        (LINE.replace("| S74", "S74"), False),
        ("major 4/4 @16 S72 |", False),
        ("major 4/4 | S72", False),
        ("", False),
    ],
)
def test_bars_are_whole(line: str, whole: bool) -> None:
    assert in_metre(decode(line.split())) is whole


@pytest.mark.parametrize(
    ("line", "sung"),
    [
        ("S81 A74 T69 B64 @8", True),
        ("S60 A53 T48 B36 @8", True),
        # A key higher or lower does it, by six semitones at most.
        ("S54 A72 T48 B36 @8", False),
        ("S54 A47 T42 B42 @8", True),
        ("S53 A47 T42 B42 @8", False),
        ("S87 A74 T69 B64 @8", True),
        ("S88 A74 T69 B64 @8", False),
        # No key does for both.
        ("S81 A53 @4 S59 T48 B48 @8", False),
        ("S72 A67 T60 @8", False),
    ],
)
def test_within_the_voices_ranges(line: str, sung: bool) -> None:
    assert in_range(decode(["|", *line.split()])) is sung


def test_shares_of_pieces() -> None:
    pieces = [
        PIECE,
        PIECE,
        decode(["|", "S72", "|"]),
        decode(["|", "S72", "A67", "T64", "B48", "|"]),
    ]
    assert shares(pieces) == {"in_range": 0.75, "in_metre": 0.5}


def test_a_vocabulary_of_music_is_told_from_one_of_words() -> None:
    special = ["<padding>", "<unknown>", "<start>", "<end>"]
    assert is_music([*special, *sorted(set(LINE.split())), *(f"S{p}" for p in range(50, 80))])
    assert not is_music([*special, "major", "|", "S60", *(f"word{i}" for i in range(20))])
