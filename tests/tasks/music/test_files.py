"""Music as files, read back by a reader of its own."""

import struct
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from tasks.music.abc import abc
from tasks.music.midi import midi, quantity
from tasks.music.roll import note_name, roll
from tasks.music.tokens import decode
from tests.tasks.music.test_tokens import LINE, PIECE

TICKS = 120


def _quantity(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and the place behind it."""
    value = 0
    while True:
        value = value << 7 | data[at] & 0x7F
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def _events(track: bytes) -> Iterator[tuple[int, bytes]]:
    """Times and events of a track, as the standard has them."""
    at = now = 0
    while at < len(track):
        wait, at = _quantity(track, at)
        now += wait
        kind = track[at]
        if kind == 0xFF:
            size, body = _quantity(track, at + 2)
            end = body + size
        else:
            end = at + (2 if kind >> 4 == 0xC else 3)
        yield now, track[at:end]
        at = end


def _tracks(data: bytes) -> list[list[tuple[int, bytes]]]:
    """All tracks of a file."""
    assert data[:4] == b"MThd" and struct.unpack(">IHHH", data[4:14]) == (6, 1, 5, 4 * TICKS)
    found, at = [], 14
    while at < len(data):
        assert data[at : at + 4] == b"MTrk"
        (size,) = struct.unpack(">I", data[at + 4 : at + 8])
        found.append(list(_events(data[at + 8 : at + 8 + size])))
        at += 8 + size
    assert at == len(data) and all(track[-1][1] == b"\xff\x2f\x00" for track in found)
    return found


def test_midi_holds_the_notes_at_their_times() -> None:
    head, *voices = _tracks(midi(PIECE))
    assert [event for _, event in head[:3]] == [
        b"\xff\x58\x04\x04\x02\x18\x08", b"\xff\x59\x02\x00\x01", b"\xff\x51\x03\x0c\x35\x00",
    ]  # fmt: skip
    for number, track in enumerate(voices):
        begun: dict[int, int] = {}
        found = []
        for time, event in track:
            if event[0] == 0x90 | number:
                assert event[1] not in begun
                begun[event[1]] = time
            elif event[0] == 0x80 | number:
                found.append((event[1], begun.pop(event[1]), time))
        wanted = [
            (n.pitch, (n.onset + 12) * TICKS, (n.onset + 12 + n.length) * TICKS)
            for n in PIECE.of(number)
        ]
        assert found == wanted and not begun


def test_midi_of_a_repeated_note_ends_it_first() -> None:
    _, soprano, *_ = _tracks(midi(decode(["|", "S72", "@4", "S72", "@8"])))
    kinds = [event[0] >> 4 for _, event in soprano if event[0] < 0xF0]
    assert kinds == [0xC, 0x9, 0x8, 0x9, 0x8]


@pytest.mark.parametrize("value", [-1, 1 << 28])
def test_numbers_that_do_not_fit(value: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        quantity(value)


def test_abc_has_bars_ties_and_accidentals() -> None:
    text = abc(PIECE, 3, "A piece")
    head, music = text.split("K:Am\n")
    assert head.startswith("X:3\nT:A piece\nM:4/4\nL:1/16\n")
    assert music.splitlines() == [
        "[V:S] c4 | d16 |]",
        "[V:A] G4- | G4 F12 |]",
        "[V:T] E4 | z8 D8 |]",
        # Fourteen sixteenths have no head of their own.
        "[V:B] C,4 | G,2 F,12- F,2 |]",
    ]
    line = "minor 4/4 @12 S68 @14 S67 | S67 @2 S68 @4 S68 @6 S70 @7"
    assert "[V:S] ^G2 =G2 | G2 ^G2 ^G2 _B |]".replace("^G2 ^G2", "^G2 G2") in abc(
        decode(line.split()), 1, "t"
    )


def test_roll_draws_every_note_in_its_place() -> None:
    text = roll(PIECE, "<A & B>")
    tree = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    blocks = [r for r in tree.iter(f"{space}rect") if r.find(f"{space}title") is not None]
    assert len(blocks) == len(PIECE.notes)
    first, last = blocks[0], blocks[-1]
    assert first.findtext(f"{space}title") == f"soprano {note_name(72)}" == "soprano C5"
    step = (float(last.get("x", "")) - float(first.get("x", ""))) / PIECE.notes[-1].onset
    assert float(first.get("width", "")) == 4 * step - 2
    # A higher note stands higher.
    assert float(blocks[1].get("y", "")) - float(first.get("y", "")) == 8 * (72 - 67)
    assert "<A & B>" not in text and roll(PIECE, "x") == roll(decode(LINE.split()), "x")
    assert ElementTree.fromstring(roll(decode([]), "empty")) is not None
