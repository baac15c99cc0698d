"""Versions of an audit: what one showed is known to whoever reads the next."""

from pathlib import Path

import numpy as np
import polars as pl

from tasks import artifacts
from tasks.evidence import history
from tasks.evidence.suppress import Level, find_groups, reasons

MIN = 30
Shown = dict[str, str | None]


def _publish(root: Path, ages: np.ndarray, edges: list[int], ids: list[str]) -> Shown:
    """One version with its own age bands; why each band is withheld."""
    bands = [f"band {np.searchsorted(edges, age, side='right')}" for age in ages]
    groups = find_groups({"age": bands})
    size = groups.tally(np.zeros(len(ages), dtype=np.int64), 1)
    levels = (Level("people", "people", size, MIN),)
    now = history.Published(tuple(ids), groups, levels, {"people": ""})
    told = history.told(history.earlier(root, now.digest()), now)
    why = reasons(groups, list(levels), size[:, 0], told)
    history.remember(root, now, why)
    return dict(zip(groups.labels, why["people"], strict=True))


AGES = np.repeat([20, 30, 35, 60], [200, 200, 9, 200])
IDS = [f"p{n}" for n in range(len(AGES))]


def test_two_versions_cannot_be_subtracted(tmp_path: Path) -> None:
    # Alone both are safe; together they tell how many are from 31 to 39: 9.
    first, second = [25, 40], [25, 31]
    alone = _publish(tmp_path / "alone", AGES, second, IDS)
    assert not any(alone.values())
    assert not any(_publish(tmp_path / "both", AGES, first, IDS).values())
    after = _publish(tmp_path / "both", AGES, [25, 31, 40], IDS)
    # The band of 9 and one more are hidden; what is left may not undo it with version 1.
    assert after["band 2"]
    assert after["band 1"] or after["band 3"]


def test_what_version_1_shows_makes_version_2_hide_another(tmp_path: Path) -> None:
    ages = np.repeat([20, 30, 35, 60], [200, 200, 9, 40])
    ids = [f"p{n}" for n in range(len(ages))]
    bands = [25, 31, 40]
    alone = _publish(tmp_path / "alone", ages, bands, ids)
    # 9 of 31 to 39 are hidden with the 40 oldest.
    assert [k for k, text in alone.items() if text] == ["band 2", "band 3"]
    # An earlier version showed the 40 oldest: hiding them now would protect nobody.
    assert not any(_publish(tmp_path / "both", ages, [25, 40], ids).values())
    after = _publish(tmp_path / "both", ages, bands, ids)
    assert [k for k, text in after.items() if text] == ["band 1", "band 2"]


def test_the_same_inputs_are_published_the_same_way_again(tmp_path: Path) -> None:
    first = _publish(tmp_path, AGES, [25, 40], IDS)
    second = _publish(tmp_path, AGES, [25, 31, 40], IDS)
    before = artifacts.digest_folder(tmp_path)
    assert _publish(tmp_path, AGES, [25, 40], IDS) == first
    assert _publish(tmp_path, AGES, [25, 31, 40], IDS) == second
    assert artifacts.digest_folder(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == 2


def test_people_who_left_and_came_are_told_apart(tmp_path: Path) -> None:
    # Version 1 shows all; then 5 of the young leave, and a version without history would show
    # two sizes whose difference is 5. That is the people's own doing: both sizes are large, but
    # the group of the 5 is none of the audit's, so that nothing is hidden.
    assert not any(_publish(tmp_path, AGES, [25, 40], IDS).values())
    assert not any(_publish(tmp_path, AGES[5:], [25, 40], IDS[5:]).values())
    told = history.told(
        sorted(tmp_path.iterdir()),
        history.Published(
            tuple(IDS[5:]),
            find_groups({"age": ["x"] * len(IDS[5:])}),
            (),
            {"people": ""},
        ),
    )["people"]
    assert told.members.shape == (8, len(IDS))
    assert told.members[:, -5:].any(1).sum() == 2
    assert sorted(told.counts[:, 0].tolist()) == [195, 200, 200, 200, 209, 209, 604, 609]


def test_other_counts_of_the_same_people_are_not_the_same_equations(tmp_path: Path) -> None:
    assert not any(_publish(tmp_path, AGES, [25, 40], IDS).values())
    now = history.Published(
        tuple(IDS), find_groups({"age": ["x"] * len(IDS)}), (), {"people": "another kind"}
    )
    assert history.told(sorted(tmp_path.iterdir()), now) == {}


def test_rows_of_one_person_have_names_of_their_own() -> None:
    assert history.names_of(pl.Series(["a", "b", "a"])) == ("a#0", "b#0", "a#1")
