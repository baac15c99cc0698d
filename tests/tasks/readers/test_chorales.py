"""Chorales out of hand-made MusicXML."""

import io
import re
import zipfile
from pathlib import Path

import pytest

from tasks.music.musicxml import NoScore, Sung, parsed, score, unpacked
from tasks.params import UserError
from tasks.readers.chorales import families_of, is_regular, melody, read, sections, to_c

DOCTYPE = '<!DOCTYPE score-partwise PUBLIC "-//R//DTD" "http://x.invalid/partwise.dtd">'
VOICES = ("Soprano", "Alto", "Tenor", "Bass")
# In D: the voices of D major's chord, by step and octave.
CHORD = (("D", 5), ("A", 4), ("F", 4), ("D", 3))
SCALE = "DEFGABC"


def note(step: str, octave: int, beats: float, extra: str = "", fermata: bool = False) -> str:
    """One note of D major, two divisions a quarter."""
    alter = "<alter>1</alter>" if step in "FC" else ""
    sign = "<notations><fermata/></notations>" if fermata else ""
    return (
        f"<note><pitch><step>{step}</step>{alter}<octave>{octave}</octave></pitch>"
        f"<duration>{int(2 * beats)}</duration>{extra}{sign}</note>"
    )


def xml(
    bars: int = 9, tune: str = "DEFG", metre: str = "4", voices: tuple[str, ...] = VOICES
) -> str:
    """A score of an upbeat, whole bars, and a last bar of three quarters."""
    names = "".join(
        f'<score-part id="P{i}"><part-name>{v}</part-name></score-part>'
        for i, v in enumerate(voices)
    )
    parts = ""
    for i in range(len(voices)):
        step, octave = CHORD[i % 4]
        key = "<key><fifths>2</fifths><mode>major</mode></key>"
        time = f"<time><beats>{metre}</beats><beat-type>4</beat-type></time>"
        inside = f"<attributes><divisions>2</divisions>{key}{time}</attributes>"
        measures = f"<measure>{inside}{note(step, octave, 1)}</measure>"
        for bar in range(bars):
            beats = int(metre) - (bar == bars - 1)
            sung = [tune[(bar * 4 + b) % len(tune)] if i == 0 else step for b in range(beats)]
            made = [note(s, octave, 1, fermata=i == 0 and bar % 2 == 1 and b == beats - 2)
                    for b, s in enumerate(sung)]  # fmt: skip
            measures += f"<measure>{''.join(made)}</measure>"
        parts += f'<part id="P{i}">{measures}</part>'
    head = f'<?xml version="1.0"?>{DOCTYPE}<score-partwise><part-list>{names}</part-list>'
    return f"{head}{parts}</score-partwise>"


def mxl(text: str) -> bytes:
    """A compressed score."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        box = '<container><rootfiles><rootfile full-path="a.xml"/></rootfiles></container>'
        archive.writestr("META-INF/container.xml", box)
        archive.writestr("a.xml", text)
    return found.getvalue()


def package(path: Path, scores: dict[str, str]) -> Path:
    """A package's archive with scores in a folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in scores.items():
            archive.writestr(f"c/{name}.mxl", mxl(text))
        archive.writestr("c/readme.txt", "no score")
        archive.writestr("c/broken.mxl", b"no archive")
    return path


def test_a_score_is_read() -> None:
    one = score("a", mxl(xml(bars=2)))
    assert (one.fifths, one.minor, one.metres, one.starts) == (2, False, ("4/4",), (0, 4, 20))
    # D5, then D E F sharp G.
    assert one.voices[0][:3] == (Sung(74, 0, 4), Sung(74, 4, 4), Sung(76, 8, 4))
    assert [n.pitch for n in one.voices[0]] == [74, 74, 76, 78, 79, 74, 76, 78]
    assert [n.onset for n in one.voices[3] if n.fermata] == []
    assert [n.onset for n in one.voices[0] if n.fermata] == [24]
    assert to_c(one.fifths) == -2 and melody(one)[:3] == [72, 72, 74]


def test_ties_chords_rests_and_grace_notes() -> None:
    tied = xml(bars=2).replace(note("D", 3, 1), note("D", 3, 1, '<tie type="stop"/>'))
    assert [(n.onset, n.length) for n in score("a", mxl(tied)).voices[3]] == [(0, 32)]
    rest = "<note><rest/><duration>2</duration></note>"
    chord = note("A", 4, 1) + "<note><chord/><pitch><step>C</step><octave>4</octave></pitch>"
    chord += "<duration>2</duration></note><note><grace/></note>"
    changed = xml(bars=2).replace(note("A", 4, 1), chord).replace(note("D", 3, 1), rest)
    one = score("a", mxl(changed))
    assert {n.pitch for n in one.voices[1]} == {69} and len(one.voices[1]) == 8
    assert one.voices[3] == (Sung(None, 0, 32),) and is_regular(one)


def test_what_is_skipped_is_a_rest_before_notes_and_nothing_behind() -> None:
    skip = "<forward><duration>2</duration></forward>"
    first, last = note("D", 3, 1), "</measure></part></score-partwise>"
    changed = xml(bars=1).replace(f"</attributes>{first}", f"</attributes>{skip}")
    changed = changed.replace(last, skip + last)
    one = score("a", mxl(changed))
    assert [n.onset for n in one.voices[3]] == [4, 8, 12] and one.voices[3][-1].length == 4
    high = xml().replace("<octave>5</octave>", "<octave>99</octave>")
    with pytest.raises(NoScore, match="D99 is no note that is sung"):
        score("a", mxl(high))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares things of its own"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "of its own"),
        (f"{DOCTYPE}<a>&outside;</a>", "it names 'outside'"),
        ("<a><b></a>", "no XML"),
        ("", "no XML"),
    ],
)
def test_no_tricks_of_documents(text: str, message: str) -> None:
    with pytest.raises(NoScore, match=message):
        parsed(text.encode())


def test_no_tricks_of_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoScore, match="no archive"):
        unpacked(b"PK nothing")
    monkeypatch.setattr("tasks.music.musicxml.MAX_BYTES", 2000)
    with pytest.raises(NoScore, match=r"'a\.xml' is larger than 2000 bytes"):
        unpacked(mxl(xml()))
    monkeypatch.setattr("tasks.music.musicxml.MAX_BYTES", 1 << 25)
    for wrong in ("<duration>x</duration>", "<duration>99999999</duration>"):
        with pytest.raises(NoScore, match="no whole number"):
            score("a", mxl(xml().replace("<duration>2</duration>", wrong)))
    with pytest.raises(NoScore, match="2 parts of the voice Soprano"):
        score("a", mxl(xml(voices=(*VOICES, "Soprano 2"))))


def test_only_whole_bars_of_one_known_metre() -> None:
    assert is_regular(score("a", mxl(xml())))
    assert is_regular(score("a", mxl(xml(metre="3"))))
    assert not is_regular(score("a", mxl(xml(metre="5"))))
    two = xml().replace("<beats>4<", "<beats>3<", 1)
    assert not is_regular(score("a", mxl(two)))
    # A bar that is a beat short, in the middle of all parts.
    early = xml(tune="D").replace(
        f"<measure>{note('D', 5, 1) * 4}", "<measure>" + note("D", 5, 1), 1
    )
    assert not is_regular(score("a", mxl(early)))


def test_sections_end_with_phrases() -> None:
    # Fermatas end after two bars, four bars, ...; what is left is a section if it is half as long.
    found = sections(score("a", mxl(xml(bars=9))), 2, 8)
    assert [piece.length for piece in found] == [32, 32, 32, 32, 16]
    assert [piece.start for piece in found] == [12] * 5
    assert found[0].lines == (4, 20) and found[0].notes[0].pitch == 72
    assert sum(piece.length for piece in found) == 4 + 8 * 16 + 12
    unmarked = xml(bars=9).replace("<fermata/>", "")
    assert [p.length for p in sections(score("a", mxl(unmarked)), 2, 4)] == [68, 76]
    silent = re.sub(r"<pitch>.*?</pitch>", "<rest/>", unmarked)
    assert sections(score("a", mxl(silent)), 2, 4) == []


def test_alike_melodies_and_versions_are_one_family() -> None:
    scores = [
        score("bwv1.1", mxl(xml(tune="DEFGABCBAG"))),
        score("bwv2.2", mxl(xml(tune="DEFGABCBAG", bars=8))),
        score("bwv3.3", mxl(xml(tune="DAFDCAGE"))),
        score("bwv3.3-a", mxl(xml(tune="GGEEAACC"))),
        score("bwv3.30", mxl(xml(tune="BCBADDEE"))),
    ]
    assert families_of(scores, 0.4).to_list() == ["bwv1.1", "bwv1.1", "bwv3.3", "bwv3.3", "bwv3.30"]


def test_a_package_becomes_rows(tmp_path: Path) -> None:
    scores = {
        "a1": xml(tune="DEFGABCBAG"),
        "a1-b": xml(tune="DAFDCAGE"),
        "z": xml(voices=("Piano",)),
    }
    path = package(tmp_path / "p.whl", scores)
    options = {"folder": "c/", "salt": "s", "bars": 4}
    table = read([path], options)
    assert table.columns == ["chorale", "part", "family", "mode", "metre", "music", "split"]
    assert table["chorale"].unique(maintain_order=True).to_list() == ["a1-b", "a1"]
    assert table["family"].n_unique() == 1 and table["split"].n_unique() == 1
    assert table["music"][0].startswith("major 4/4 @12 S72 A67 T64 B48 | S72 A67")
    assert table.equals(read([path], options))


REFUSED = [
    ({"folder": "c/"}, "options.salt"),
    ({"folder": "d/", "salt": "s"}, "options.folder = 'd/' has no chorale that can be read"),
    ({"folder": "c/", "salt": "s", "bars": 9}, "options.longest = 8 must be at least 9, bars"),
    ({"folder": "c/", "salt": "s", "voices": 4}, "options.voices"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_refused_in_one_line(tmp_path: Path, options: dict[str, object], message: str) -> None:
    path = package(tmp_path / "p.whl", {"a": xml()})
    with pytest.raises(UserError) as caught:
        read([path], options)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "x.whl").write_bytes(b"none")
    with pytest.raises(UserError, match="no archive of a package"):
        read([tmp_path / "x.whl"], {"folder": "c/", "salt": "s"})
