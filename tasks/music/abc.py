"""A piece in ABC notation, which many programs print as a score."""

from collections.abc import Iterator

from tasks.music.tokens import NAMES, Piece

_CLEFS = ("treble", "treble", "bass", "bass")
_LETTERS = ("C", "^C", "D", "^D", "E", "F", "^F", "G", "^G", "A", "_B", "B")
# Lengths that one note head can show, in sixteenths.
_LENGTHS = (16, 12, 8, 6, 4, 3, 2, 1)


def spelled(pitch: int, minor: bool) -> tuple[str, str]:
    """Return a note's accidental and its name in ABC.

    Example:
        >>> spelled(60, False), spelled(75, False), spelled(75, True), spelled(47, True)
        (('', 'C'), ('_', 'e'), ('^', 'd'), ('', 'B,,'))
    """
    octave, step = divmod(pitch, 12)
    name = "_E" if step == 3 and not minor else _LETTERS[step]
    sign, letter = name[:-1], name[-1]
    if octave >= 6:
        return sign, letter.lower() + "'" * (octave - 6)
    return sign, letter + "," * (5 - octave)


def _cut(begin: int, end: int, lines: list[int]) -> Iterator[tuple[int, int]]:
    """A note or rest as pieces that end at bar lines and can be shown by one head."""
    while begin < end:
        until = min([end, *(line for line in lines if line > begin)])
        while begin < until:
            length = next(length for length in _LENGTHS if length <= until - begin)
            yield begin, length
            begin += length


def _voice(piece: Piece, voice: int) -> str:
    """One voice's line; an accidental holds until the bar line, and is not said twice."""
    lines = sorted(line for line in piece.lines if line < piece.length)
    found: list[str] = []
    signs: dict[str, str] = {}
    now = 0

    def put(sign: str, name: str, begin: int, end: int) -> None:
        cut = list(_cut(begin, end, lines))
        for number, (at, length) in enumerate(cut, start=1):
            if at in lines:
                found.append("|")
                signs.clear()
            said = "" if signs.get(name, "") == sign else sign or "="
            signs[name] = sign
            tie = "-" if number < len(cut) and name != "z" else ""
            found.append(f"{said}{name}{length if length > 1 else ''}{tie}")

    for note in piece.of(voice):
        put("", "z", now, note.onset)
        put(*spelled(note.pitch, piece.minor), note.onset, note.onset + note.length)
        now = note.onset + note.length
    put("", "z", now, piece.length)
    return " ".join(found)


def abc(piece: Piece, number: int, title: str) -> str:
    """Return a piece as a tune of an ABC file.

    Args:
        piece: to be written.
        number: of the tune in its file.
        title: printed above it.

    Source: ABC standard 2.1 (2011).
    """
    voices = [f"V:{name} clef={clef}" for name, clef in zip(NAMES, _CLEFS, strict=True)]
    head = [f"X:{number}", f"T:{title}", f"M:{piece.metre}", "L:1/16", "Q:1/4=75",
            "%%score [(S A) (T B)]", *voices, "K:Am" if piece.minor else "K:C"]  # fmt: skip
    music = [f"[V:{name}] {_voice(piece, voice)} |]" for voice, name in enumerate(NAMES)]
    return "\n".join([*head, *music]) + "\n"
