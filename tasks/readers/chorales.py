"""Chorales in four voices as lines of tokens; see docs/recipes/chorales.md.

The file is a package's archive with a folder of compressed MusicXML files. N chorales.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from annotated_types import Ge, Gt, Le, Lt, MinLen

from rnn.config import FORBID_EXTRA, Count
from tasks.music.musicxml import NoScore, Score, score
from tasks.music.tokens import METRES, Note, Piece, encode
from tasks.params import UserError, validate
from tasks.readers.near import groups_of
from tasks.table.split import shares

_ENDING = ".mxl"
_MAX_BYTES = 1 << 22
_BEAT = 4


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which chorales become rows, and how.

    Attributes:
        folder: of the archive, with a / at its end.
        salt: key of the hash that puts a family of chorales into one side.
        train: share of families in training.
        alike: two melodies are alike if they share this part of their runs of three beats.
        bars: a row ends with the first phrase that is over after so many bars.
        longest: bars after which a row ends at a bar line, if no phrase is over.
    """

    __pydantic_config__ = FORBID_EXTRA

    folder: Annotated[str, MinLen(1)]
    salt: Annotated[str, MinLen(1)]
    train: Annotated[float, Gt(0), Lt(1)] = 0.8
    alike: Annotated[float, Gt(0), Le(1)] = 0.4
    bars: Count = 4
    longest: Annotated[int, Ge(1)] = 8


def read(files: list[Path], options: dict[str, Any]) -> pl.DataFrame:
    """Return a row a section of a chorale: chorale, part, family, mode, metre, music, split.

    Left out are chorales that are not for one soprano, alto, tenor and bass, those whose metre
    changes or is none of METRES, and those whose bars do not follow each other.

    Args:
        files: one archive.
        options: see `Options`.

    Raises:
        UserError: an option is wrong, or the archive has no such folder or no such chorale.
    """
    wanted = validate(Options, options, "options")
    if wanted.longest < wanted.bars:
        raise UserError(f"options.longest = {wanted.longest} must be at least {wanted.bars}, bars")
    scores = [one for file in files for one in _scores(file, wanted.folder)]
    if not scores:
        raise UserError(f"options.folder = {wanted.folder!r} has no chorale that can be read")
    families = families_of(scores, wanted.alike)
    sides = ["train" if s < wanted.train else "test" for s in shares(families, wanted.salt)]
    rows = [
        (one.name, number, family, side, piece)
        for one, family, side in zip(scores, families, sides, strict=True)
        for number, piece in enumerate(sections(one, wanted.bars, wanted.longest), start=1)
    ]
    return pl.DataFrame(
        {
            "chorale": [row[0] for row in rows],
            "part": [row[1] for row in rows],
            "family": [row[2] for row in rows],
            "mode": ["minor" if row[4].minor else "major" for row in rows],
            "metre": [row[4].metre for row in rows],
            "music": [" ".join(encode(row[4])) for row in rows],
            "split": [row[3] for row in rows],
        }
    )


def _scores(file: Path, folder: str) -> list[Score]:
    """Chorales of an archive that can be used, by name."""
    found = []
    try:
        with zipfile.ZipFile(file) as archive:
            names = sorted(n for n in archive.namelist() if n.startswith(folder))
            for name in (n for n in names if n.endswith(_ENDING)):
                if archive.getinfo(name).file_size > _MAX_BYTES:
                    continue
                try:
                    one = score(Path(name).name.removesuffix(_ENDING), archive.read(name))
                except NoScore:
                    continue
                found += [one] if is_regular(one) else []
    except zipfile.BadZipFile:
        raise UserError(f"{file.name} is no archive of a package") from None
    return found


def is_regular(one: Score) -> bool:
    """Return whether a chorale has one known metre, and whole bars that follow each other."""
    if len(one.metres) != 1 or one.metres[0] not in METRES or not all(one.voices):
        return False
    ends = {voice[-1].onset + voice[-1].length for voice in one.voices}
    bar, starts = METRES[one.metres[0]], [*one.starts, *ends]
    if len(ends) > 1 or starts[1] > bar:
        return False
    measures = pairwise(starts[1:])
    return all((begin - starts[1]) % bar == 0 for begin, end in measures if end - begin >= bar)


def melody(one: Score) -> list[int]:
    """Return what the soprano begins on each beat, in C major or A minor."""
    shift = to_c(one.fifths)
    return [n.pitch + shift for n in one.voices[0] if n.pitch and n.onset % _BEAT == 0]


def to_c(fifths: int) -> int:
    """Return the semitones, -5 to 6, from a key signature to the one without signs.

    Example:
        >>> [to_c(fifths) for fifths in (0, 1, 2, -1, -3)]
        [0, 5, -2, -5, -3]
    """
    up = -7 * fifths % 12
    return up - 12 if up > 6 else up


def families_of(scores: Sequence[Score], alike: float) -> pl.Series:
    """Return the name of each chorale's family: the first of it by name.

    Versions of one movement, which have its number, are of one family; so are those whose melodies
    are alike, by pitch in C or by steps from note to note (a melody may stand under another key
    signature). Families are all that such pairs link together.

    Args:
        scores: N.
        alike: see `Options`.

    Returns:
        str [N].
    """
    tunes = [melody(one) for one in scores]
    # Characters stand for numbers, so that runs of three are triples of letters.
    pitches = ["".join(chr(256 + p) for p in tune) for tune in tunes]
    steps = ["".join(chr(512 + b - a) for a, b in pairwise(t)) for t in tunes]
    labels = groups_of([pitches, steps], alike).to_list()
    movements = [one.name.partition("-")[0] for one in scores]
    found = list(range(len(scores)))
    for names in (labels, movements):
        for name in set(names):
            own = {found[i] for i, other in enumerate(names) if other == name}
            found = [min(own) if group in own else group for group in found]
    return pl.Series([min(o.name for o, g in zip(scores, found, strict=True) if g == group)
                      for group in found])  # fmt: skip


def sections(one: Score, bars: int, longest: int) -> list[Piece]:
    """Return a chorale cut where phrases end.

    Args:
        one: a regular score.
        bars: as in `Options`.
        longest: as in `Options`.
    """
    bar = METRES[one.metres[0]]
    ends = {n.onset + n.length for n in one.voices[0] if n.fermata}
    last = max(note.onset + note.length for note in one.voices[0])
    cuts = [0]
    for time in range(1, last):
        since = time - cuts[-1]
        over = time in ends and since >= bars * bar
        forced = (time - one.starts[1]) % bar == 0 and since >= longest * bar
        # What is left over would be no section of its own.
        if (over or forced) and last - time >= bar * bars // 2:
            cuts.append(time)
    found = [_section(one, begin, end) for begin, end in pairwise([*cuts, last])]
    # Where instruments play alone nobody sings.
    return [piece for piece in found if piece.notes]


def _section(one: Score, begin: int, end: int) -> Piece:
    """What is sung between two times, in C major or A minor."""
    bar, shift = METRES[one.metres[0]], to_c(one.fifths)
    notes = [
        Note(voice, note.pitch + shift, max(note.onset, begin) - begin,
             min(note.onset + note.length, end) - max(note.onset, begin))
        for voice, sung in enumerate(one.voices)
        for note in sung
        if note.pitch is not None and note.onset < end and note.onset + note.length > begin
    ]  # fmt: skip
    start = (begin - one.starts[1]) % bar
    ordered = tuple(sorted(notes, key=lambda note: (note.onset, note.voice)))
    return Piece(one.minor, one.metres[0], start, end - begin, ordered)
