"""Four voices as a line of tokens, and back.

A line begins with mode and metre. Then come times, each followed by the voices that move there:
`|` begins a bar, `@4` is four sixteenths into it; `S69` is the soprano on A4 (MIDI numbers), `T-` a
tenor that rests; whoever is not named goes on. The last time ends the piece. All is in C major or
A minor. Places in the bar are said, not lengths: who writes has nothing to count.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

NAMES = "SATB"
BAR = "|"
MODES = ("major", "minor")
# Sixteenths of a bar.
METRES = {"4/4": 16, "3/4": 12}
_MOVE = re.compile(r"([SATB])(-|\d{1,3})")
_PLACE = re.compile(r"@(\d{1,2})")


@dataclass(frozen=True)
class Note:
    """A note of one voice.

    Attributes:
        voice: 0 soprano, 1 alto, 2 tenor, 3 bass.
        pitch: MIDI number.
        onset: in sixteenths from the piece's beginning.
        length: in sixteenths.
    """

    voice: int
    pitch: int
    onset: int
    length: int


@dataclass(frozen=True)
class Piece:
    """Some bars in four voices.

    Attributes:
        minor: A minor, else C major.
        metre: one of METRES.
        start: sixteenths of the first bar that are already over when it begins.
        length: in sixteenths.
        notes: of all voices, by onset and voice.
        whole: mode and metre are said, and times only go forward, within bars of the metre.
    """

    minor: bool
    metre: str
    start: int
    length: int
    notes: tuple[Note, ...]
    whole: bool = True

    @property
    def bar(self) -> int:
        """Return the sixteenths of a whole bar."""
        return METRES[self.metre]

    @property
    def lines(self) -> tuple[int, ...]:
        """Return where bars begin, in sixteenths, but for the piece's own beginning and end."""
        return tuple(range(self.bar - self.start, self.length, self.bar))

    def of(self, voice: int) -> list[Note]:
        """Return one voice's notes in order."""
        return [note for note in self.notes if note.voice == voice]


def encode(piece: Piece) -> list[str]:
    """Return a piece as tokens.

    Example:
        >>> chord = tuple(Note(v, p, 0, 20) for v, p in enumerate((72, 67, 64, 48)))
        >>> " ".join(encode(Piece(False, "4/4", 8, 20, chord)))
        'major 4/4 @8 S72 A67 T64 B48 | @12'
    """
    moves: dict[int, list[str]] = {0: [], piece.length: []}
    moves |= {line: [] for line in piece.lines}
    for voice, name in enumerate(NAMES):
        free = 0
        for note in piece.of(voice):
            if note.onset > free or (note.onset and not free):
                moves.setdefault(free, []).append(f"{name}-")
            moves.setdefault(note.onset, []).append(f"{name}{note.pitch}")
            free = note.onset + note.length
        if free < piece.length:
            moves.setdefault(free, []).append(f"{name}-")
    found = [MODES[piece.minor], piece.metre]
    for time, moving in sorted(moves.items()):
        place = (piece.start + time) % piece.bar
        found += [f"@{place}" if place else BAR, *moving]
    return found


def decode(tokens: Iterable[str]) -> Piece:
    """Return the piece of a line, which may be one that a model made up.

    What makes no sense is passed over: a token that no piece has, a time that is over or that the
    bar does not have.

    Example:
        >>> piece = decode("minor 3/4 @8 S72 | S71 |".split())
        >>> piece.start, piece.lines, [(n.pitch, n.onset, n.length) for n in piece.notes]
        (8, (4,), [(72, 0, 4), (71, 4, 12)])
    """
    listed = list(tokens)
    said = listed[:1] in ([mode] for mode in MODES) and listed[1:2] in ([m] for m in METRES)
    reader = _Reader(listed[1] if said else "4/4", said)
    for token in listed[2 * said :]:
        reader.take(token)
    return reader.piece(minor=listed[:1] == [MODES[1]])


class _Reader:
    """What is known of a piece while its tokens come."""

    def __init__(self, metre: str, said: bool) -> None:
        """Nothing was sung yet."""
        self.metre, self.whole = metre, said
        self.start: int | None = None
        # Sixteenths since the first bar began, and since this one did.
        self.now = self.place = 0
        self.notes: list[Note] = []
        self.held: dict[int, tuple[int, int]] = {}

    def take(self, token: str) -> None:
        """Go on to a time, or move a voice."""
        if found := _MOVE.fullmatch(token):
            voice = NAMES.index(found[1])
            self.release(voice)
            if found[2] != "-":
                self.held[voice] = (int(found[2]), self.now)
        elif token == BAR:
            self.go(METRES[self.metre] if self.start is not None else 0)
        elif found := _PLACE.fullmatch(token):
            place = int(found[1])
            self.go(place) if place < METRES[self.metre] else self.wrong()
        else:
            self.wrong()

    def wrong(self) -> None:
        """Pass over what makes no sense."""
        self.whole = False

    def go(self, place: int) -> None:
        """Go on to a place in this bar; its length is the next one's beginning."""
        if place <= self.place and self.start is not None:
            self.wrong()
            return
        self.now += place - self.place
        self.place = place % METRES[self.metre]
        if self.start is None:
            self.start = place

    def release(self, voice: int) -> None:
        """End a voice's note, if there is one."""
        pitch, onset = self.held.pop(voice, (0, self.now))
        if self.now > onset:
            self.notes.append(Note(voice, pitch, onset, self.now - onset))

    def piece(self, minor: bool) -> Piece:
        """Return all that was sung, from the first time on."""
        for voice in range(len(NAMES)):
            self.release(voice)
        start = self.start or 0
        notes = [replace(note, onset=max(note.onset - start, 0)) for note in self.notes]
        ordered = tuple(sorted(notes, key=lambda note: (note.onset, note.voice)))
        return Piece(minor, self.metre, start, self.now - start, ordered, self.whole)


def is_music(vocabulary: Sequence[str]) -> bool:
    """Return whether a vocabulary is that of these tokens.

    Example:
        >>> is_music(["<padding>", "major", "|", "S60", "B48", "@4"]), is_music(["minor", "key"])
        (True, False)
    """
    known = set(vocabulary)
    moving = sum(bool(_MOVE.fullmatch(token) or _PLACE.fullmatch(token)) for token in known)
    return BAR in known and bool(known & set(MODES)) and 2 * moving > len(known) - 10
