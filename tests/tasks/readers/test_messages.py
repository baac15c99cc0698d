"""Messages and translations out of compiled catalogues."""

import gettext
import io
import struct
from itertools import combinations

import numpy as np
import pytest

from tasks.params import UserError
from tasks.readers.messages import cleaned, key, masked, messages, read
from tasks.readers.near import groups_of, pairs_alike, triples

HEADER = "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n > 1);\n"
CATALOGUE = {
    "": HEADER,
    "Open the file": "Ouvrir le fichier",
    "menu\x04_Open the file...": "_Ouvrir le fichier…",
    "manual\x04Open_the_file": "Ouvrir_le_fichier",
    "%(count)d file\0%(count)d files": "%(count)d fichier\0%(count)d fichiers",
    "Save %s to <b>%(place)s</b>": "Enregistrer %s dans <b>%(place)s</b>",
    "Lost %s place": "Place perdue",
    "Word": "Mot",
    "The tree\nof “%s”": "L’arbre de «\xa0%s\xa0»",
}


def compiled(entries: dict[str, str], order: str = "<") -> bytes:
    """A catalogue in the format of GNU gettext."""
    pairs = [(a.encode(), b.encode()) for a, b in sorted(entries.items())]
    head, count = 28, len(pairs)
    start, body, tables = head + 16 * count, b"", [b"", b""]
    for side in (0, 1):
        for pair in pairs:
            tables[side] += struct.pack(f"{order}2I", len(pair[side]), start + len(body))
            body += pair[side] + b"\0"
    magic = struct.pack(
        f"{order}7I", 0x950412DE, 0, count, head, head + 8 * count, 0, head + 16 * count
    )
    return magic + tables[0] + tables[1] + body


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "fr.mo"
    path.write_bytes(compiled(CATALOGUE))
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_entry_is_read_as_the_library_reads_it(tmp_path, order):
    path = tmp_path / "fr.mo"
    path.write_bytes(compiled(CATALOGUE, order))
    library = gettext.GNUTranslations(io.BytesIO(path.read_bytes()))
    found = list(messages(path))
    assert len(found) == len(CATALOGUE)
    for context, english, french in found:
        if english.startswith("%(count)d file"):
            many = 2 if english.endswith("s") else 1
            assert library.ngettext("%(count)d file", "%(count)d files", many) == french
        elif context:
            assert library.pgettext(context, english) == french
        else:
            assert library.gettext(english) == french


def test_rows_are_clean_and_stand_once(catalogue):
    table = read([catalogue, catalogue], {"salt": "s", "contexts": ["manual"]})
    rows = dict(table.select("english", "french").rows())
    assert rows == {
        "Open the file": "Ouvrir le fichier",
        "Open the file...": "Ouvrir le fichier…",
        "slot1 file": "slot1 fichier",
        "slot1 files": "slot1 fichiers",
        "Save slot1 to slot2": "Enregistrer slot1 dans slot2",
        'The tree of "slot1"': 'L\' arbre de "slot1"',
        **({"Word": "Mot"} if "Word" in rows else {}),
    }
    assert table["id"].n_unique() == len(table)
    assert set(table["split"]) <= {"train", "test"}


def test_single_words_are_for_training_alone(catalogue):
    options = {"contexts": ["manual"], "train": 0.5}
    seen = set()
    for salt in map(str, range(12)):
        rows = read([catalogue], {**options, "salt": salt})
        own = rows.filter(rows["english"] == "Word")["split"].to_list()
        every = read([catalogue], {**options, "salt": salt, "fewest": 1})
        free = every.filter(every["english"] == "Word")["split"].to_list()
        assert own == [side for side in free if side == "train"]
        seen.update(free)
    assert seen == {"train", "test"}


def test_what_is_alike_is_on_one_side(tmp_path):
    entries = {"": HEADER}
    rng = np.random.default_rng(0)
    for _ in range(40):
        noun = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 16))
        entries |= {
            f"Delete the {noun} now": f"Supprimer {noun} ici",
            f"Delete the {noun} now!": f"Effacer {noun[::-1]}",
            f"Go {noun[::2] * 2}": f"Supprimer {noun} ici.",
        }
    path = tmp_path / "fr.mo"
    path.write_bytes(compiled(entries))
    table = read([path], {"salt": "s", "train": 0.5})
    assert set(table["split"]) == {"train", "test"}
    sides = {side: table.filter(table["split"] == side) for side in ("train", "test")}
    for column in ("english", "french"):
        train, test = ([key(t) for t in sides[side][column]] for side in ("train", "test"))
        for one in test:
            for other in train:
                a, b = triples(one), triples(other)
                assert len(a & b) < 0.6 * len(a | b)
    # Both a mark and the other language link: three messages of a noun are one group.
    assert table.group_by("group").len()["len"].min() >= 3


def test_pairs_are_those_of_a_count_by_hand():
    texts = ["open file", "open files", "close", "closed", "open file", ""]
    wanted = {
        (i, j)
        for (i, a), (j, b) in combinations(enumerate(texts), 2)
        if len(triples(a) & triples(b)) >= 0.5 * len(triples(a) | triples(b))
    }
    assert {tuple(pair) for pair in pairs_alike(texts, 0.5).T.tolist()} == wanted
    assert (0, 4) in wanted and (2, 3) in wanted and (0, 2) not in wanted
    # x is linked to y in one language, y to z in the other.
    groups = groups_of([["abcdef", "abcdefg", "zzzz"], ["one", "two two", "two twos"]], 0.5)
    assert groups.to_list() == ["abcdef"] * 3
    assert groups_of([["abcdef", "zzzz"]], 0.5).to_list() == ["abcdef", "zzzz"]
    assert groups_of([[]], 0.5).to_list() == []


def test_placeholders_are_words_of_their_own():
    names: dict[str, str] = {}
    assert masked("%(a)sHow%d/%(b)s2 {c:x}%%", names) == "slot1 How slot2/slot3 2 slot4 slot5"
    assert masked("%d, %(a)s", names) == "slot2, slot1"
    assert masked("100 % of it", {}) == "100 % of it"
    assert cleaned("%s of %d", "%d") is None
    assert cleaned("of it", "%d") is None
    assert cleaned("snake_case_name _x", "nom_en_ligne") == ("snake_case_name _x", "nom_en_ligne")


def test_what_is_wrong_is_said_in_one_line(tmp_path, catalogue):
    path = tmp_path / "fr.mo"
    for content in (b"", b"no catalogue", compiled(CATALOGUE)[:-20], compiled(CATALOGUE)[:40]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"fr\.mo is no compiled gettext catalogue"):
            read([path], {"salt": "s"})
    with pytest.raises(UserError, match="options"):
        read([catalogue], {"salt": "s", "train": 2})
    with pytest.raises(UserError, match=r"options\.fewest = 9 must be at most 3"):
        read([catalogue], {"salt": "s", "fewest": 9, "most": 3})
