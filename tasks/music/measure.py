"""Whether music that was made up could be sung, and whether its bars are whole."""

from collections.abc import Sequence

from tasks.music.tokens import Piece

# Lowest and highest note of choirs, as MIDI numbers: C4 to A5, F3 to D5, C3 to A4, C2 to E4.
RANGES = ((60, 81), (53, 74), (48, 69), (36, 64))
_KEYS = range(-6, 7)


def in_range(piece: Piece) -> bool:
    """Return whether some key puts all four voices into their ranges.

    A piece is written in C major or A minor; which key it is sung in is free. A voice that sings
    nothing is not there, and a piece without one of its voices does not count.

    Example:
        >>> from tasks.music.tokens import decode
        >>> in_range(decode("major 4/4 | S72 A67 T64 B48 @4".split()))
        True
        >>> in_range(decode("major 4/4 | S90 A67 T64 B48 @4".split()))
        False
    """
    spans = []
    for voice, (low, high) in enumerate(RANGES):
        pitches = [note.pitch for note in piece.of(voice)]
        if not pitches:
            return False
        spans.append((low - min(pitches), high - max(pitches)))
    return any(all(low <= key <= high for low, high in spans) for key in _KEYS)


def in_metre(piece: Piece) -> bool:
    """Return whether all bars are whole.

    A bar is not if a time in it comes after a later one, or is not in a bar of this metre; the
    first may begin within a bar, and the last may end there.

    Example:
        >>> from tasks.music.tokens import decode
        >>> in_metre(decode("major 3/4 @8 S72 | S71 @8 S72 | S72 @8".split()))
        True
        >>> in_metre(decode("major 3/4 @8 S72 | S71 @8 S72 @4 S74 | S72 @12".split()))
        False
    """
    return piece.whole and piece.length > 0


def shares(pieces: Sequence[Piece]) -> dict[str, float]:
    """Return the shares of pieces that pass each test.

    Args:
        pieces: at least one.
    """
    tests = {"in_range": in_range, "in_metre": in_metre}
    return {name: sum(map(test, pieces)) / len(pieces) for name, test in tests.items()}
