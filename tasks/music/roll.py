"""A piece drawn as a piano roll: time to the right, pitch upwards, one colour a voice; SVG."""

from collections.abc import Iterator
from html import escape

from tasks.music.measure import RANGES
from tasks.music.tokens import Note, Piece

_STEP, _ROW = 9, 8
_LEFT, _TOP, _BOTTOM, _RIGHT = 46, 64, 34, 14
_BEAT = 4
_VOICES = ("soprano", "alto", "tenor", "bass")
_KEYS = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "B♭", "B")
# Each voice also has an edge of its own, so that colour is not all that tells them apart.
_STYLE = """
text { font: 12px sans-serif; fill: #1b2733 }
.title { font-size: 15px; font-weight: 600 }
.small { fill: #5b6875; font-size: 11px }
.paper { fill: #ffffff }
.line { stroke: #d5dbe1 } .bar { stroke: #5b6875 }
.soprano { fill: #1f5f99 } .alto { fill: #b8650a } .tenor { fill: #2e7d32 } .bass { fill: #8e3a9d }
.alto, .bass { stroke: #1b2733; stroke-width: 1.2 }
text.alto, text.bass { stroke: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6ebf0 } .small { fill: #9aa7b4 } .paper { fill: #14191f }
  .line { stroke: #2f3843 } .bar { stroke: #9aa7b4 }
  .soprano { fill: #7db8ec } .alto { fill: #f0a95a }
  .tenor { fill: #7cc77f } .bass { fill: #d293e0 }
  .alto, .bass { stroke: #e6ebf0 }
}
"""


def note_name(pitch: int) -> str:
    """Return a note's name with its octave.

    Example:
        >>> note_name(60), note_name(70)
        ('C4', 'B♭4')
    """
    return f"{_KEYS[pitch % 12]}{pitch // 12 - 1}"


def roll(piece: Piece, title: str) -> str:
    """Return a piece as an SVG document that follows the reader's light or dark setting.

    Args:
        piece: to be drawn; nothing of it needs to make sense.
        title: above it.
    """
    pitches = [note.pitch for note in piece.notes] or [RANGES[3][0], RANGES[0][1]]
    low, high = min(pitches) - 2, max(pitches) + 2
    width = _LEFT + max(piece.length * _STEP, 420) + _RIGHT
    height = _TOP + (high - low + 1) * _ROW + _BOTTOM
    said = f"{'A minor' if piece.minor else 'C major'}, {piece.metre}"
    body = [
        f'<rect class="paper" width="{width}" height="{height}"/>',
        f'<text class="title" x="{_LEFT}" y="22">{escape(title)}</text>',
        f'<text class="small" x="{_LEFT}" y="40">{said}</text>',
        *_legend(),
        *_grid(piece, low, high),
        *(_block(note, high) for note in piece.notes),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" style="max-width: 100%; height: auto" role="img" '
        f'aria-label="{escape(title)}: {said}">'
    )
    return "\n".join([head, f"<style>{_STYLE}</style>", *body, "</svg>"]) + "\n"


def _legend() -> Iterator[str]:
    """A block and a name a voice, beside the key."""
    for number, voice in enumerate(_VOICES):
        x = _LEFT + 100 + 78 * number
        yield f'<rect class="{voice}" x="{x}" y="32" width="16" height="{_ROW}" rx="2"/>'
        yield f'<text x="{x + 21}" y="40">{voice}</text>'


def _grid(piece: Piece, low: int, high: int) -> Iterator[str]:
    """Lines at every C and G, at beats and at bar lines; numbers of bars."""
    right = _LEFT + piece.length * _STEP
    bottom = _TOP + (high - low + 1) * _ROW
    for pitch in (p for p in range(low, high + 1) if p % 12 in (0, 7)):
        y = _TOP + (high - pitch) * _ROW + _ROW // 2
        yield f'<line class="line" x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>'
        yield f'<text class="small" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">'
        yield f"{note_name(pitch)}</text>"
    for time in range((-piece.start) % _BEAT, piece.length + 1, _BEAT):
        x = _LEFT + time * _STEP
        yield f'<line class="line" x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}"/>'
    # What comes before the first bar line is an upbeat, and has no number.
    whole = [] if piece.start else [0]
    for number, time in enumerate([*whole, *piece.lines], start=1):
        x = _LEFT + time * _STEP
        yield f'<line class="bar" x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}"/>'
        yield f'<text class="small" x="{x + 3}" y="{_TOP - 5}">{number}</text>'
    label = "bars above; a thin line is a beat"
    yield f'<text class="small" x="{_LEFT}" y="{bottom + 20}">{label}</text>'


def _block(note: Note, high: int) -> str:
    """A note, named where somebody points at it."""
    x, y = _LEFT + note.onset * _STEP + 1, _TOP + (high - note.pitch) * _ROW
    voice = _VOICES[note.voice]
    return (
        f'<rect class="{voice}" x="{x}" y="{y}" width="{note.length * _STEP - 2}" '
        f'height="{_ROW}" rx="2"><title>{voice} {note_name(note.pitch)}</title></rect>'
    )
