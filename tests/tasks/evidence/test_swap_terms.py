"""Terms are swapped whole, in both directions, and lists are read or refused in one line."""

from pathlib import Path
from typing import Any

import pytest

from tasks.evidence.swap_terms import UNKNOWN, Swapper, read_swaps
from tasks.params import UserError, validate
from tasks.recipe import AuditConfig, SwapGroup


def _group(*pairs: tuple[str, str], where: Any = "anywhere", name: str = "g") -> SwapGroup:
    return SwapGroup(name=name, pairs=pairs, where=where)


PRONOUNS = Swapper((_group(("he", "she"), ("him", "her"), ("his", "her")),))


@pytest.mark.parametrize(
    ("text", "swapped", "side"),
    [
        ("he left", "she left", 1),
        ("she left", "he left", -1),
        ("he saw her", "she saw him", 0),
        ("he and his dog", "she and her dog", 1),
        # The first pair that has a term decides.
        ("her dog", "him dog", -1),
        ("he-man, he's", "she-man, she's", 1),
        ("He said: HE.", "She said: SHE.", 1),
        ("he", "she", 1),
    ],
)
def test_whole_words_both_ways(text: str, swapped: str, side: int) -> None:
    assert PRONOUNS.swap(text, 100) == (swapped, side)


@pytest.mark.parametrize("text", ["", "the", "shell", "other", "cheer", "h e", f"he{UNKNOWN}"])
def test_parts_of_words_are_left_alone(text: str) -> None:
    assert PRONOUNS.swap(text, 100) is None


def test_longer_terms_go_first_and_may_hold_spaces() -> None:
    swapper = Swapper((_group(("new york", "lagos"), ("york", "leeds")),))
    assert swapper.swap("in new york and york", 100) == ("in lagos and leeds", 1)


def test_the_first_word_alone() -> None:
    swapper = Swapper((_group(("thomas", "sarah"), where="first_word"),))
    assert swapper.swap("thomas dylan thomas", 100) == ("sarah dylan thomas", 1)
    assert swapper.swap("dylan thomas", 100) is None
    both = Swapper((*swapper.groups, _group(("dylan", "emma"), name="h")))
    assert both.swap("thomas dylan thomas", 100) == ("sarah emma thomas", 1)


def test_texts_are_cut_as_they_were_read_and_a_cut_word_is_left_alone() -> None:
    swapper = Swapper((_group(("al", "elizabeth"), ("bo", "cy")),))
    assert swapper.swap("al bo", 6) == ("elizab", 1)
    # "bo" at the cut may have been "bob".
    assert swapper.swap("xx bo", 5) is None
    assert swapper.swap("xx bo", 6) == ("xx cy", 1)


def test_swapping_twice_gives_the_text_back() -> None:
    swapper = Swapper((_group(("james", "mary"), ("he", "she")),))
    text = "mary said that he and james, not she"
    once = swapper.swap(text, 100)
    assert once is not None and once[0] != text
    twice = swapper.swap(once[0], 100)
    assert twice is not None and twice == (text, -once[1])


def test_terms_are_no_patterns() -> None:
    assert (
        Swapper(
            (
                _group(
                    ("a.b", "c"),
                ),
            )
        ).swap("axb", 9)
        is None
    )
    assert Swapper(
        (
            _group(
                ("a.b", "c"),
            ),
        )
    ).swap("a.b", 9) == ("c", 1)


def test_the_shipped_lists_are_read() -> None:
    groups = read_swaps(AuditConfig().swaps)
    assert [group.name for group in groups] == ["pronouns", "given names"]
    assert all(group.where == "anywhere" and group.file is None for group in groups)
    terms = [term for pair in groups[1].pairs for term in pair]
    assert len(set(terms)) == len(terms) == 2 * len(groups[1].pairs) >= 60


def test_a_file_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("group,first,second,note\nplaces,north,south,x\nplaces,east,west,\nb,u,v,\n")
    (places, b) = read_swaps([SwapGroup(file=str(path), where="first_word")])
    assert places.pairs == (("north", "south"), ("east", "west"))
    assert (b.name, b.where) == ("b", "first_word")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "group,first\nx,y\n", "line 2 needs group, first, second"),
        ("a.csv", "group,first,second\nx,y,Y\n", "two terms that are not the same"),
        ("a.yaml", "groups: [{name: x, pairs: [[a, a]]}]", "two terms that are not the same"),
        ("a.yaml", "groups: [{name: x, pairs: [[a, b]], side: y}]", "side = 'y': unknown key"),
        ("a.yaml", "groups: [{name: x, pairs: [[a]]}]", r"pairs\.0"),
        ("a.yaml", "groups: [{file: b.yaml}]", "names another file"),
        ("a.yaml", "words: []", "words: unknown key|groups: is required"),
        ("a.yaml", "groups: [{name: x, pairs: [[a, b]]}, {name: x, pairs: [[c, d]]}]", "'x'"),
        ("a.yaml", "groups: [{pairs: [[a, b]]}]", "a file, or a name and pairs"),
    ],
)
def test_a_file_that_says_something_else_is_one_line(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read_swaps([SwapGroup(file=str(tmp_path / name))])
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    for name in ("no.csv", "no.yaml"):
        with pytest.raises(UserError, match="is missing"):
            read_swaps([SwapGroup(file=name)])
    with pytest.raises(UserError, match=r"file = 'titles'.*one of \['given_names', 'pronouns'\]"):
        read_swaps([SwapGroup(file="titles")])
    with pytest.raises(UserError, match="use one"):
        validate(SwapGroup, {"file": "a.csv", "pairs": [["a", "b"]]}, "audit.swaps.0")
