"""A score of four voices out of MusicXML, plain or compressed (.mxl).

Only the standard library parses, and what somebody else wrote can do nothing here: entities and
internal subsets of a document type are refused, what is outside a file is never looked for, and
an archive's member is read up to a limit. Times are in sixteenths.
"""

import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from fractions import Fraction
from xml.etree import ElementTree as ET
from xml.parsers import expat

VOICES = ("Soprano", "Alto", "Tenor", "Bass")
MAX_BYTES = 1 << 25
_STEPS = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
_SIXTEENTHS = 4
# MIDI numbers that stay some in any key.
_LOWEST, _HIGHEST = 12, 115


class NoScore(Exception):
    """The file is not one that can be read here; the message says why."""


@dataclass(frozen=True)
class Sung:
    """One note or rest of a voice.

    Attributes:
        pitch: MIDI number; None for a rest.
        onset: in sixteenths from the score's beginning.
        length: in sixteenths.
        fermata: the phrase ends here.
    """

    pitch: int | None
    onset: int
    length: int
    fermata: bool = False


@dataclass(frozen=True)
class Score:
    """A piece in four voices.

    Attributes:
        name: the file's, without ending.
        fifths: sharps of the key signature, flats below 0.
        minor: a voice's key says so.
        metres: all that are stated, such as ("4/4",).
        voices: four, notes in order; ties are joined.
        starts: int, onsets of the measures.
    """

    name: str
    fifths: int
    minor: bool
    metres: tuple[str, ...]
    voices: tuple[tuple[Sung, ...], ...]
    starts: tuple[int, ...]


def parsed(data: bytes) -> ET.Element:
    """Return the root of an XML document that declares no entities.

    Raises:
        NoScore: it is damaged, or declares something.

    Example:
        >>> parsed(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
        Traceback (most recent call last):
        tasks.music.musicxml.NoScore: it declares things of its own (a DTD inside the file)
    """
    builder, reader = ET.TreeBuilder(), expat.ParserCreate()

    def doctype(_name: str, _system: str | None, _public: str | None, inside: bool) -> None:
        if inside:
            raise NoScore("it declares things of its own (a DTD inside the file)")

    reader.StartDoctypeDeclHandler = doctype

    def unknown(name: str, _parameter: bool) -> None:
        raise NoScore(f"it names {name[:20]!r}, which is declared outside")

    reader.SkippedEntityHandler = unknown
    reader.StartElementHandler = builder.start
    reader.EndElementHandler = builder.end
    reader.CharacterDataHandler = builder.data
    # Without a handler for what is outside, expat opens nothing.
    reader.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        reader.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise NoScore(f"it is no XML: {error}") from None


def unpacked(data: bytes) -> bytes:
    """Return the score inside a .mxl archive.

    Raises:
        NoScore: it is damaged, too large, or has no score.

    Source: MusicXML 4.0, "Compressed .mxl files".
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            box = parsed(_member(archive, "META-INF/container.xml"))
            roots = [one.get("full-path", "") for one in box.iter("rootfile")]
            if not roots:
                raise NoScore("its container names no score")
            return _member(archive, roots[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise NoScore(f"it is no archive: {error}") from None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """One file of an archive, of bounded size."""
    if name not in archive.namelist():
        raise NoScore(f"it has no {name!r}")
    with archive.open(name) as handle:
        found = handle.read(MAX_BYTES + 1)
    if len(found) > MAX_BYTES:
        raise NoScore(f"{name!r} is larger than {MAX_BYTES} bytes")
    return found


def score(name: str, data: bytes) -> Score:
    """Return a file's score.

    Args:
        name: of the file, without ending.
        data: of a .mxl archive.

    Raises:
        NoScore: it is damaged, or is not for the four voices.
    """
    root = parsed(unpacked(data))
    names = {one.get("id"): one.findtext("part-name") or "" for one in root.iter("score-part")}
    parts = []
    for voice in VOICES:
        own = [p for p in root.findall("part") if names.get(p.get("id"), "").startswith(voice)]
        if len(own) != 1:
            raise NoScore(f"it has {len(own)} parts of the voice {voice}")
        parts.append(own[0])
    keys = [next(part.iter("key"), ET.Element("key")) for part in parts]
    times = [time for part in parts for time in part.iter("time") if time.find("beats") is not None]
    metres = [f"{time.findtext('beats')}/{time.findtext('beat-type')}" for time in times]
    voices, starts = zip(*(_voice(part) for part in parts), strict=True)
    return Score(
        name=name,
        fifths=_whole(keys[0].findtext("fifths") or "0"),
        minor=any(key.findtext("mode") == "minor" for key in keys),
        metres=tuple(dict.fromkeys(metres)),
        voices=voices,
        starts=starts[0],
    )


def _whole(text: str) -> int:
    """A small whole number."""
    if not re.fullmatch(r"[+-]?\d{1,6}", text.strip()):
        raise NoScore(f"{text[:20]!r} is no whole number")
    return int(text)


def _voice(part: ET.Element) -> tuple[tuple[Sung, ...], tuple[int, ...]]:
    """A part's notes, and where its measures begin."""
    found: list[tuple[int | None, Fraction, Fraction, bool, bool]] = []
    at, divisions, starts = Fraction(0), 1, []
    for measure in part.findall("measure"):
        starts.append(at)
        begun = at
        for one in measure:
            if one.tag == "attributes" and one.findtext("divisions"):
                divisions = max(1, _whole(one.findtext("divisions", "")))
            lasts = Fraction(_SIXTEENTHS * _whole(one.findtext("duration") or "0"), divisions)
            if one.tag == "backup":
                # A second line of the same voice: the first one is sung.
                at = max(begun, at - lasts)
                break
            if one.tag == "forward":
                at += lasts
            if one.tag == "note" and one.find("chord") is None and lasts > 0:
                held = any(tie.get("type") == "stop" for tie in one.findall("tie"))
                rests = one.find("notations/fermata") is not None
                found.append((_pitch(one), at, lasts, held, rests))
                at += lasts
        # A measure ends with its last note, whatever is skipped behind it.
        if here := [onset + lasts for _, onset, lasts, *_ in found if onset >= begun]:
            at = max(here)
    return _joined(found), tuple(int(start) for start in starts)


def _pitch(note: ET.Element) -> int | None:
    """MIDI number; None for a rest."""
    pitch = note.find("pitch")
    if pitch is None:
        return None
    step = pitch.findtext("step") or ""
    if step not in _STEPS:
        raise NoScore(f"{step[:20]!r} is no step of a scale")
    octave, alter = _whole(pitch.findtext("octave") or "4"), _whole(pitch.findtext("alter") or "0")
    number = 12 * (octave + 1) + _STEPS[step] + alter
    if not _LOWEST <= number <= _HIGHEST:
        raise NoScore(f"{step}{octave} is no note that is sung")
    return number


def _joined(found: list[tuple[int | None, Fraction, Fraction, bool, bool]]) -> tuple[Sung, ...]:
    """Notes on the grid: ties as one note, what is shorter than a sixteenth with its neighbour."""
    notes: list[Sung] = []
    for pitch, onset, lasts, held, fermata in found:
        begins, ends = int(onset), int(onset + lasts)
        last = notes[-1] if notes else None
        if last and last.pitch == pitch and (held or pitch is None):
            last = notes.pop()
            begins, fermata = last.onset, fermata or last.fermata
        if ends > begins:
            notes.append(Sung(pitch, begins, ends - begins, fermata))
    return tuple(notes)
