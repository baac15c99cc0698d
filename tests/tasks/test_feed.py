"""The feed of a stage that runs: whole lines, seldom, for its owner alone, and never in the way."""

import stat
from pathlib import Path

import pytest

from tasks.feed import Feed, feed, lines_after


def test_points_are_seldom_but_those_that_matter_are_all_there(tmp_path: Path) -> None:
    with feed("r", "train", 400, tmp_path / "live") as live:
        for step in range(1, 10):
            live.add(step, {"rate": 0.5, "epsilon": None}, {"loss": 1.0}, always=step == 7)
    lines, _ = lines_after(tmp_path / "live" / "r-train.jsonl", 0)
    assert {k: lines[0][k] for k in ("recipe", "stage", "steps")} == {
        "recipe": "r", "stage": "train", "steps": 400,
    }  # fmt: skip
    assert [line["step"] for line in lines[1:-1]] == [1, 4, 7, 8]
    # Step 1 was told because time had passed: what is public stands at settled steps alone.
    assert [line["public"] for line in lines[1:-1]] == [{}, *[{"rate": 0.5}] * 3]
    assert lines[1]["internal"] == {"loss": 1.0}
    assert lines[-1]["end"] == "done"


def test_losses_are_for_the_owner_alone_and_a_new_run_begins_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "r-train.jsonl"
    Feed(path, {}).add(1, {}, {"loss": 1.0})
    (first, *_), _ = lines_after(path, 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    Feed(path, {})
    lines, _ = lines_after(path, 0)
    assert len(lines) == 1 and lines[0]["id"] != first["id"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError])
def test_a_run_that_is_stopped_says_so(tmp_path: Path, raised: type[BaseException]) -> None:
    with pytest.raises(raised), feed("r", "train", 9, tmp_path):
        raise raised
    assert lines_after(tmp_path / "r-train.jsonl", 0)[0][-1]["end"] == "stopped"


def test_nothing_that_cannot_be_written_stops_a_stage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with feed("r", "train", 9, tmp_path / "file") as live:
        live.add(1, {}, {})
    with feed("r", "train", 9, tmp_path) as live:
        (tmp_path / "r-train.jsonl").unlink()
        live.add(1, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_line_that_is_being_written_waits(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b'{"step": 1}\n{"st')
    lines, offset = lines_after(path, 0)
    assert lines == [{"step": 1}] and offset == 12
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n')
    assert lines_after(path, offset) == ([{"step": 2}], 24)
    assert lines_after(path, 24) == ([], 24)
    assert lines_after(tmp_path / "gone", 3) == ([], 3)
