"""Spoken digits: every recording on one side, once where it is to be once, joined as told."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.params import UserError
from tasks.readers.spoken_digits import WORDS, read

COUNT = 200


def _write(path: Path, **changes: np.ndarray) -> list[Path]:
    """Recordings of 1 to 4 frames; channel 0 is the recording's number, channel 1 the frame's."""
    lengths = np.arange(COUNT) % 4 + 1
    owner = np.repeat(np.arange(COUNT), lengths)
    frame = np.concatenate([np.arange(n) for n in lengths])
    arrays = {
        "X": np.stack([owner, frame, -owner], axis=1).astype(np.float32),
        "y": np.arange(COUNT) % 10,
        "lengths": lengths,
    }
    np.savez(path / "digits.npz", **(arrays | changes))
    return [path / "digits.npz"]


def test_recordings_alone(tmp_path: Path) -> None:
    table = read(_write(tmp_path), {"salt": "a"})
    assert table.columns == ["recording", "step", "split", "c0", "c1", "c2", "digit"]
    assert len(table) == sum(n % 4 + 1 for n in range(COUNT))
    one = table.filter(pl.col("recording") == "recording-00007")
    assert one["step"].to_list() == [0, 1, 2, 3]
    assert one["c0"].to_list() == [7] * 4
    assert one["c1"].to_list() == [0, 1, 2, 3]
    assert one["digit"].to_list() == [7] * 4
    sides = table.group_by("recording").agg(pl.col("split").n_unique())["split"]
    assert (sides == 1).all()


def test_the_side_is_the_recordings_own(tmp_path: Path) -> None:
    """Taking recordings away moves nobody else, and another salt is another split."""

    def sides(salt: str, count: int = COUNT) -> list[str]:
        lengths = np.ones(count, dtype=np.int64)
        x, y = np.zeros((count, 3), dtype=np.float32), np.zeros(count, dtype=np.int64)
        files = _write(tmp_path, X=x, y=y, lengths=lengths)
        return read(files, {"salt": salt, "train": 0.6})["split"].to_list()

    whole = sides("a")
    assert sides("a", 50) == whole[:50]
    assert sides("b") != whole
    # 120 of 200 are expected; 30 off is more than four standard deviations.
    assert 90 < whole.count("train") < 150


def _strings(path: Path, **options: int) -> pl.DataFrame:
    """Strings of 2 to 5 recordings, a row each, with the recordings that are in them."""
    wanted = {"salt": "a", "min": 2, "max": 5, "seed": 3, **options}
    return (
        read(_write(path), wanted)
        .group_by("recording", maintain_order=True)
        .agg(
            pl.col("split").unique(),
            pl.col("digits").unique(),
            pl.col("count").unique(),
            inside=pl.col("c0").rle().struct.field("value").cast(pl.Int64),
            frames=pl.col("c1"),
        )
        .explode("split", "digits", "count")
    )


def test_strings_are_joined_whole_and_on_one_side(tmp_path: Path) -> None:
    alone = read(_write(tmp_path), {"salt": "a"}).unique("recording")
    side = {int(name[-5:]): split for name, split in alone.select("recording", "split").rows()}
    for _, split, digits, count, inside, frames in _strings(tmp_path).rows():
        assert 2 <= len(inside) == count <= 5
        assert {side[i] for i in inside} == {split}
        assert digits == " ".join(WORDS[i % 10] for i in inside)
        assert frames == [frame for i in inside for frame in range(i % 4 + 1)]


@pytest.mark.parametrize("repeats", [1, 3])
def test_how_often_a_recording_is_used(tmp_path: Path, repeats: int) -> None:
    table = _strings(tmp_path, repeats=repeats)
    for side, times in (("train", repeats), ("test", 1)):
        inside = table.filter(pl.col("split") == side)["inside"].explode().to_list()
        counts = np.bincount(inside, minlength=COUNT)
        assert counts.max() == times
        # One short string's worth may remain of each time.
        own = len(set(inside))
        assert len(inside) >= times * own - times
        assert table.filter(pl.col("split") == side)["recording"].n_unique() > 5


def test_the_seed_decides_who_is_joined(tmp_path: Path) -> None:
    first = _strings(tmp_path)
    assert first.equals(_strings(tmp_path))
    assert not first.equals(_strings(tmp_path, seed=4))


def test_a_pause_repeats_the_quieter_edge(tmp_path: Path) -> None:
    table = read(_write(tmp_path), {"salt": "a", "min": 2, "max": 2, "pause": 9})
    lengths = []
    for _, rows in table.group_by("recording", maintain_order=True):
        # c0 is the recording's number: the pause is the lower one's edge frame again.
        parts = rows["c0"].rle()
        first, second = (int(v) for v in parts.struct.field("value"))
        extra = len(rows) - (first % 4 + 1) - (second % 4 + 1)
        assert 0 <= extra <= 9
        lengths.append(extra)
        quiet = first if first < second else second
        edge = first % 4 if quiet == first else 0
        own = rows.filter(pl.col("c0") == quiet)["c1"].to_list()
        tail = [edge] * extra
        wanted = (
            [*range(quiet % 4 + 1), *tail] if quiet == first else [*tail, *range(quiet % 4 + 1)]
        )
        assert own == wanted
    assert {0, 9} <= set(lengths)


def test_frames_are_stacked(tmp_path: Path) -> None:
    table = read(_write(tmp_path), {"salt": "a", "stack": 2})
    assert table.columns[3:9] == ["c0", "c1", "c2", "c0_1", "c1_1", "c2_1"]
    # Three frames: the last is repeated.
    one = table.filter(pl.col("recording") == "recording-00006")
    assert one.select("c1", "c1_1").rows() == [(0, 1), (2, 2)]
    assert one["step"].to_list() == [0, 1]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "options.salt: is required"),
        ({"salt": "a", "min": 3}, "options.min and options.max: state both, or neither"),
        ({"salt": "a", "min": 3, "max": 2}, "options.min = 3 must be at most options.max = 2"),
        ({"salt": "a", "pause": 2}, "options.repeats and options.pause are for strings: state min"),
        ({"salt": "a", "train": 1}, "options.train = 1: input should be less than 1"),
        ({"salt": "a", "lenght": 2}, "options.lenght = 2: unknown key"),
    ],
)
def test_an_option_is_named(tmp_path: Path, options: dict[str, object], wanted: str) -> None:
    with pytest.raises(UserError) as error:
        read(_write(tmp_path), options)
    assert str(error.value).startswith(wanted)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"lengths": np.ones(COUNT, dtype=np.int64)}, "lengths must be positive and sum to"),
        ({"y": np.full(COUNT, 10)}, "y must lie in 0..9"),
        ({"y": np.zeros(COUNT)}, "X must be float"),
        ({"X": np.array([{}], dtype=object)}, "is no npz of X, y, lengths"),
    ],
)
def test_a_wrong_file_is_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], wanted: str
) -> None:
    with pytest.raises(UserError, match=wanted):
        read(_write(tmp_path, **changes), {"salt": "a"})


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"x.npz is no npz of X, y, lengths"):
        read([tmp_path / "x.npz"], {"salt": "a"})
