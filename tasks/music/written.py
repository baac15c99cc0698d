"""Music that a model made up, as files: MIDI to be heard, ABC to be printed, SVG to be seen."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks import artifacts
from tasks.music.abc import abc
from tasks.music.measure import in_metre, in_range, shares
from tasks.music.midi import midi
from tasks.music.roll import roll
from tasks.music.tokens import Piece, decode
from tasks.params import UserError
from tasks.table.tokens import Codec


def as_music(texts: list[list[int]], known: Codec, out: Path | None) -> None:
    """Write pieces into a folder, or their ABC on standard output.

    The folder has piece-N.mid, piece-N.abc and piece-N.svg, and pieces.json with each one's tokens
    and whether it is within the voices' ranges and has whole bars.

    Args:
        texts: ids of each piece.
        known: the recipe's codec.
        out: a folder; other files in it stay.

    Raises:
        UserError: `out` is a file.
    """
    lines = [known.text(text) for text in texts]
    pieces = [decode(line.split()) for line in lines]
    if out is None:
        sys.stdout.write("\n".join(abc(p, i, _title(i)) for i, p in enumerate(pieces, start=1)))
        return
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: a folder is needed for music")
    for number, piece in enumerate(pieces, start=1):
        title = _title(number)
        _put(out / f"piece-{number}.mid", midi(piece))
        _put(out / f"piece-{number}.abc", abc(piece, number, title).encode())
        _put(out / f"piece-{number}.svg", roll(piece, title).encode())
    _put(out / "pieces.json", _told(lines, pieces).encode())


def _title(number: int) -> str:
    """What stands above a piece."""
    return f"Piece {number}, written by a model"


def _told(lines: Sequence[str], pieces: Sequence[Piece]) -> str:
    """Tokens and tests of all pieces as JSON."""
    told = [
        {"tokens": line, "in_range": in_range(piece), "in_metre": in_metre(piece)}
        for line, piece in zip(lines, pieces, strict=True)
    ]
    return json.dumps({"pieces": told, "shares": shares(pieces)}, indent=1) + "\n"


def _put(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    with artifacts.replacing_file(path) as draft:
        draft.write_bytes(data)
