"""A piece as a standard MIDI file: one track of metre and tempo, then one a voice."""

import struct

from tasks.music.tokens import METRES, NAMES, Piece

# A sixteenth; a quarter has four times as many.
TICKS = 120
_TEMPO = 800_000
_ORGAN, _LOUD, _LONGEST = 19, 80, 0x0FFFFFFF


def quantity(value: int) -> bytes:
    """Return a number in groups of seven bits, the highest first.

    Args:
        value: from 0 to 2^28 - 1.

    Raises:
        ValueError: it is outside.

    Source: Standard MIDI Files 1.0, "variable-length quantity".

    Example:
        >>> quantity(0x40).hex(), quantity(0x2000).hex(), quantity(0x0FFFFFFF).hex()
        ('40', 'c000', 'ffffff7f')
    """
    if not 0 <= value <= _LONGEST:
        raise ValueError(f"{value} does not fit")
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.insert(0, value & 0x7F | 0x80)
    return bytes(groups)


def _track(events: list[tuple[int, bytes]]) -> bytes:
    """A track of events at times in ticks, in order."""
    body, now = b"", 0
    for time, event in [*events, (max((t for t, _ in events), default=0), b"\xff\x2f\x00")]:
        body += quantity(time - now) + event
        now = time
    return b"MTrk" + struct.pack(">I", len(body)) + body


def _voice(piece: Piece, voice: int) -> bytes:
    """One voice's track; a note that ends comes before one that begins."""
    name = NAMES[voice].encode()
    events = [
        (0, 0, b"\xff\x03" + quantity(len(name)) + name),
        (0, 1, bytes([0xC0 | voice, _ORGAN])),
    ]
    for note in piece.of(voice):
        begin = (note.onset + piece.start) * TICKS
        pitch = min(note.pitch, 127)
        events.append((begin, 3, bytes([0x90 | voice, pitch, _LOUD])))
        events.append((begin + note.length * TICKS, 2, bytes([0x80 | voice, pitch, 0])))
    return _track([(time, event) for time, _, event in sorted(events)])


def midi(piece: Piece) -> bytes:
    """Return a piece as the bytes of a MIDI file of format 1, 480 ticks a quarter.

    A piece that begins within a bar has rests before it, so that bars are where they should be.

    Source: Standard MIDI Files 1.0 (1996).
    """
    beats = METRES[piece.metre] // 4
    head = [
        (0, bytes([0xFF, 0x58, 4, beats, 2, 24, 8])),
        (0, bytes([0xFF, 0x59, 2, 0, int(piece.minor)])),
        (0, b"\xff\x51\x03" + _TEMPO.to_bytes(3, "big")),
    ]
    tracks = [_track(head), *(_voice(piece, voice) for voice in range(len(NAMES)))]
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), 4 * TICKS) + b"".join(tracks)
