"""Moments to regular series, series to windows; and that no window of training saw the future."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks import artifacts, prepare
from tasks.params import UserError, as_json, validate
from tasks.recipe import DataConfig
from tasks.table import rows as table_rows
from tasks.table.calendar import waves
from tasks.table.encode import encode, schema
from tasks.table.grid import regular
from tasks.table.people import group
from tasks.table.sources import resolve
from tasks.table.split import shares
from tasks.table.windows import latest, usual_of

HOURS = 240
CUT = 150
HORIZON, WINDOW = 4, 8


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def at(hour: float) -> str:
    """A moment, so many hours after the first of January 2020, which was a Wednesday."""
    moment = np.datetime64("2020-01-01") + np.timedelta64(round(60 * hour), "m")
    return str(np.datetime_as_string(moment, unit="m"))


def table(hours: int = HOURS, seed: int = 0) -> pl.DataFrame:
    """One series, a row an hour."""
    load = np.random.default_rng(seed).integers(0, 101, hours)
    return pl.DataFrame({"when": [at(h) for h in range(hours)], "load": load.astype(str)})


def block(**changes: Any) -> dict[str, Any]:
    """The data block; keys of the layout stand beside the others."""
    layout = {
        "layout": "series",
        "time": "when",
        "every": "1h",
        "window": WINDOW,
        "seasons": [4],
        "features": [{"name": "load", "column": "load", "bounds": [0, 100]}],
    }
    base = {
        "source": {"kind": "path", "path": "table.csv"},
        "target": {"column": "load", "kind": "forecast", "horizon": HORIZON, "bounds": [0, 100]},
        "split": {"salt": "s", "as_of": {"column": "when", "date": at(CUT)}},
    }
    for key, value in changes.items():
        (base if key in ("target", "split", "person", "sensitive", "static", "missing_indicators")
         else layout)[key] = value  # fmt: skip
    return {**base, "sequence": layout}


def data_of(**changes: Any) -> DataConfig:
    """The same as settings."""
    return validate(DataConfig, block(**changes), "test")


def run(frame: pl.DataFrame, **changes: Any) -> artifacts.Prepared:
    """Prepare one CSV."""
    frame.write_csv("table.csv")
    data = data_of(**changes)
    artifacts.write_section("toy", "data", data)
    files = [as_json(file) for file in resolve(data.source)]
    artifacts.write_json(artifacts.folder("toy", "raw", "manifest.json"), {"files": files})
    prepare.main(["toy"])
    return artifacts.read_prepared("toy")


def of_split(got: artifacts.Prepared, split: str) -> dict[str, bytes]:
    """Every byte that one side has."""
    rows = got.rows(split)
    batch = got.sequences.batch(rows)
    return {
        "inputs": batch.inputs.numpy().tobytes(),
        "static": batch.static.numpy().tobytes(),
        "targets": batch.targets.numpy().tobytes(),
        "time": repr(got.people["time"].gather(rows).to_list()).encode(),
    }


def test_windows_are_cut_where_the_recipe_says() -> None:
    frame = table()
    load = frame["load"].cast(float).to_numpy() / 50 - 1
    got = run(frame, stride=3)
    rows = got.rows("train")
    begins = list(range(WINDOW, CUT - HORIZON + 1, 3))
    assert got.people["time"].gather(rows).to_list() == [at(b) for b in begins]
    batch = got.sequences.batch(rows)
    for row, begin in enumerate(begins):
        expected = load[begin - WINDOW : begin]
        np.testing.assert_allclose(batch.inputs[row, :, 0], expected, atol=1e-6)
        np.testing.assert_allclose(batch.targets[row], load[begin : begin + HORIZON], atol=1e-6)
    held = got.rows("test")
    # Apart by the horizon unless stated: no hour is forecast twice.
    expected_held = list(range(CUT, HOURS - HORIZON + 1, HORIZON))
    assert got.people["time"].gather(held).to_list() == [at(b) for b in expected_held]
    assert got.people["person_id"].to_list() == got.people["time"].to_list()
    np.testing.assert_allclose(
        got.sequences.batch(held).targets[0], load[CUT : CUT + HORIZON], atol=1e-6
    )


@pytest.mark.parametrize("usual", [(), (4, 8, 24)])
def test_no_training_array_knows_the_future(usual: tuple[int, ...]) -> None:
    frame = table()
    more = {"usual": list(usual), "calendar": ["hour"], "scale": "training"}
    before, scale = run(frame, **more), artifacts.read_json(_schema())["series"]["scale"]
    train, test = of_split(before, "train"), of_split(before, "test")
    # The last three hours are in no window.
    for first in (CUT, CUT + 1, HOURS - 3):
        late = pl.int_range(HOURS) >= first
        changed = frame.with_columns(
            pl.when(late).then(pl.lit("77")).otherwise("load").alias("load")
        )
        after = run(changed, **more)
        assert of_split(after, "train") == train
        assert artifacts.read_json(_schema())["series"]["scale"] == scale
        assert of_split(after, "test") != test
    # The hour before the date is the last that training knows: it must count.
    last = pl.int_range(HOURS) == CUT - 1
    changed = frame.with_columns(pl.when(last).then(pl.lit("1")).otherwise("load").alias("load"))
    assert of_split(run(changed, **more), "train") != train


def _schema() -> Path:
    """Of the last run."""
    return artifacts.folder("toy", "prepared", "arrays", "schema.json")


def test_a_date_inside_of_a_step_leaves_that_step_to_neither_side() -> None:
    got = run(table(), split={"salt": "s", "as_of": {"column": "when", "date": at(CUT + 0.5)}})
    begins = got.people["time"]
    assert begins.gather(got.rows("train")).to_list()[-1] == at(CUT - HORIZON)
    assert begins.gather(got.rows("test")).to_list()[0] == at(CUT + 1)


def test_rows_of_a_step_are_put_together_and_gaps_are_missing() -> None:
    frame = pl.DataFrame(
        {
            "when": [at(0), at(0.5), at(1), at(4.25), at(4), at(0.25)],
            "load": ["10", "30", "", "60", "80", ""],
            "sky": ["sun", "rain", "rain", "hail", "sun", "sun"],
            "cars": ["1", "2", "", "4", "5", "3"],
        }
    )
    data = data_of(
        features=[
            {"name": "load", "column": "load", "bounds": [0, 100]},
            {"name": "sky", "column": "sky", "values": ["sun", "rain"]},
            {"name": "cars", "column": "cars", "bounds": [0, 10], "aggregate": "sum"},
        ]
    )
    grouping = group(frame, data)
    assert grouping.codes is not None
    (one,) = regular(frame, data, grouping.codes)
    assert one.first == 438_288  # hours from 1970 to 2020
    third = 1 / 3
    expected = [
        [-0.6, 2 * third, third, 0.2],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0.4, 0.5, 0, 0.8],
    ]
    np.testing.assert_allclose(one.values, expected, atol=1e-6)
    missing = [[0, 0, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert one.missing.tolist() == missing
    np.testing.assert_allclose(one.target, [-0.6, np.nan, np.nan, np.nan, 0.4], atol=1e-6)


def test_the_order_of_rows_changes_no_byte() -> None:
    frame = table()
    before = of_split(run(frame), "train")
    assert of_split(run(frame.sample(fraction=1, shuffle=True, seed=3)), "train") == before


def test_windows_that_know_too_little_are_left_out() -> None:
    hole = (pl.int_range(HOURS) >= 40) & (pl.int_range(HOURS) < 60)
    frame = table().filter(~hole)
    half, whole = run(frame, known=0.5), None
    begins = half.people["time"].gather(half.rows("train")).to_list()
    # Of 4 steps to come 2 must be known, of 8 steps of history 4.
    assert at(38) in begins and at(39) not in begins
    assert at(63) not in begins and at(64) in begins
    whole = run(frame, known=1.0)
    begins = whole.people["time"].gather(whole.rows("train")).to_list()
    assert at(36) in begins and at(37) not in begins
    assert at(67) not in begins and at(68) in begins


def test_calendar_is_right_and_goes_round() -> None:
    # Wednesday the first of January 2020, 18:00; Monday 2 July 2018, 00:00.
    when = np.array(["2020-01-01T18:00", "2018-07-02T00:00"], dtype="datetime64[us]")
    found = waves(when.astype(np.int64), ["hour", "weekday", "month"])
    angle = 2 * np.pi * 2 / 7
    expected = [[-1, 0, np.sin(angle), np.cos(angle), 0, 1], [0, 1, 0, 1, 0, -1]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_steps_to_come_have_their_own_calendar() -> None:
    data = data_of(calendar=["hour"])
    encoded = encode(table(30), data)
    hours = (30 + np.arange(HORIZON)) * 2 * np.pi / 24
    np.testing.assert_allclose(encoded.static[0, 0::2], np.sin(hours), atol=1e-6)
    np.testing.assert_allclose(encoded.static[0, 1::2], np.cos(hours), atol=1e-6)
    known = schema(data)
    assert len(known["static"]) == encoded.static.shape[1]
    assert len(known["channels"]) == encoded.sequences.shape[1] == known["input"]["size"]


def test_usual_is_the_median_of_what_is_known() -> None:
    target = np.array([1, 5, 9, np.nan, 4, 2], dtype=np.float32)
    found = usual_of(target, [2, 4], 2)
    expected = [np.nan, np.nan, 1, 5, 5, 5, (4 + 9) / 2, 2]
    np.testing.assert_allclose(found, expected)


def test_targets_are_less_what_is_usual() -> None:
    frame = table()
    plain, less = run(frame), None
    wanted = dict(zip(plain.people["time"], plain.sequences.targets, strict=True))
    less = run(frame, usual=[4, 6])
    rows = np.arange(len(less.people))
    usual = np.asarray(less.sequences.static)[:, -HORIZON:]
    for row in rows:
        time = less.people["time"][int(row)]
        made = less.sequences.targets[row] + usual[row]
        np.testing.assert_allclose(made, wanted[time], atol=1e-6)
    assert np.abs(np.asarray(less.sequences.targets) - plain.sequences.targets[: len(rows)]).max()


def test_the_served_window_is_the_prepared_one() -> None:
    frame = table()
    changes = {"usual": [4, 24], "calendar": ["hour", "weekday"], "stride": 5}
    got = run(frame, **changes)
    row = int(got.rows("test")[3])
    begin = CUT + 3 * HORIZON
    assert got.people["time"][row] == at(begin)
    served = encode(frame.head(begin), data_of(**changes))
    assert served.person_ids.to_list() == [at(begin)]
    batch = got.sequences.batch(np.array([row]))
    np.testing.assert_array_equal(served.sequences, batch.inputs[0].numpy())
    np.testing.assert_array_equal(served.static, batch.static.numpy())
    short = encode(frame.head(3), data_of())
    assert len(short.sequences) == 3


@pytest.mark.parametrize("usual", [[], [4, 24]])
def test_a_row_of_another_century_costs_nothing_and_changes_nothing(usual: list[int]) -> None:
    data = data_of(usual=usual)
    old = pl.DataFrame({"when": ["0001-01-01T00:00"], "load": ["50"]})
    gap = pl.concat([table().head(50), table().slice(60, 30)])
    for frame in (gap, gap.head(1), gap.head(10), pl.concat([gap.head(3), table().slice(90, 2)])):
        # As the whole series would be read, laid out from its first row on.
        codes = np.zeros(len(frame), dtype=np.int64)
        whole = latest(regular(frame, data, codes), data)
        found = encode(frame, data)
        np.testing.assert_array_equal(found.sequences, whole.history)
        np.testing.assert_array_equal(found.static, whole.ahead)
        with_old = encode(pl.concat([old, frame]), data)
        assert with_old.person_ids.to_list() == found.person_ids.to_list()
        assert len(with_old.sequences) == WINDOW
        if len(frame) > 40:
            np.testing.assert_array_equal(with_old.sequences, found.sequences)
            np.testing.assert_array_equal(with_old.static, found.static)


def two_series() -> pl.DataFrame:
    """Two meters, one later than the other, their rows mixed."""
    parts = [
        table(60, seed=1).with_columns(pl.lit("b").alias("meter"), pl.lit("big").alias("size")),
        table(50, seed=2).with_columns(pl.lit("a").alias("meter"), pl.lit("small").alias("size")),
    ]
    return pl.concat(parts).sample(fraction=1, shuffle=True, seed=0)


@pytest.mark.parametrize("part_rows", [500_000, 30])
def test_each_person_has_a_series_and_is_on_one_side(
    part_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_rows, "PART_ROWS", part_rows)
    monkeypatch.setattr(table_rows, "BATCH_ROWS", 11)
    low, high = sorted(shares(pl.Series(["a", "b"]), "s"))
    sensitive = [{"name": "size", "column": "size"}]
    split = {"salt": "s", "train": float((low + high) / 2)}
    got = run(two_series(), person="meter", split=split, sensitive=sensitive, stride=1)
    train_is_a = shares(pl.Series(["a"]), "s")[0] == low
    sides = dict(zip(got.people["person_id"], got.people["split"], strict=True))
    assert sides == {"a": "train" if train_is_a else "test", "b": "test" if train_is_a else "train"}
    counts = got.people["person_id"].value_counts()
    steps = {"a": 50, "b": 60}
    for who, count in counts.iter_rows():
        places = steps[who] - WINDOW - HORIZON + 1
        assert count == (places if sides[who] == "train" else -(-places // HORIZON))
    told = artifacts.read_sensitive_features("toy")["size"]
    assert set(zip(got.people["person_id"], told, strict=True)) == {("a", "small"), ("b", "big")}
    load = table(50, seed=2)["load"].cast(float).to_numpy() / 50 - 1
    first = int(np.flatnonzero((got.people["person_id"] == "a").to_numpy())[0])
    np.testing.assert_allclose(
        got.sequences.batch(np.array([first])).inputs[0, :, 0], load[:WINDOW], atol=1e-6
    )


def test_served_series_by_person() -> None:
    data = data_of(person="meter", split={"salt": "s"})
    served = encode(two_series(), data)
    assert served.person_ids.to_list() == ["a", "b"]
    load = table(50, seed=2)["load"].cast(float).to_numpy() / 50 - 1
    np.testing.assert_allclose(served.sequences[:WINDOW, 0], load[-WINDOW:], atol=1e-6)


def test_scale_is_the_error_of_repeating_the_first_season_in_training() -> None:
    load = table()["load"].cast(float).to_numpy()[:CUT]
    run(table(), scale="training")
    known = artifacts.read_json(_schema())["series"]
    assert known["scale"] == pytest.approx(np.abs(load[4:] - load[:-4]).mean(), rel=1e-5)
    run(table(), scale=7.5)
    assert artifacts.read_json(_schema())["series"]["scale"] == 7.5


@pytest.mark.parametrize(
    ("row", "changes", "words"),
    [
        ("12", {}, "column when, row 3: '12' is a number: layout series needs dates"),
        ("soon", {}, "row 3: 'soon' is neither a number nor an ISO date"),
        ("9020-01-01", {}, "2020-01-01T00:00 to 9020-01-01T00:00; at most 5,000,000 are allowed"),
        (None, {"window": 238}, "data.sequence.window: no series is long enough"),
        (None, {"scale": "training", "seasons": [8], "same": True}, "is never wrong in 142"),
    ],
)
def test_a_mistake_is_one_line(row: str | None, changes: dict[str, Any], words: str) -> None:
    frame = table()
    changes = dict(changes)
    if changes.pop("same", False):
        frame = frame.with_columns(pl.lit("5").alias("load"))
    if row is not None:
        when = frame["when"].to_list()
        frame = frame.with_columns(pl.Series("when", [*when[:2], row, *when[3:]]))
    with pytest.raises(UserError) as caught:
        run(frame, **changes)
    assert words in str(caught.value) and "\n" not in str(caught.value)


SERIES = block()["sequence"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"every": "1mo"}, "must be a whole number of seconds, minutes, hours or days"),
        ({"every": "1d", "calendar": ["hour"]}, "which is the same in every step of 1d"),
        ({"usual": [3]}, "sequence.usual has 3: at least target.horizon = 4"),
        ({"seasons": [4, 24]}, "sequence.seasons has 24: at most sequence.window = 8"),
        ({"seasons": [8, 4]}, "sequence.seasons = [8, 4] must rise"),
        ({"calendar": ["hour", "hour"]}, "has an entry twice"),
        ({"split": {"salt": "s"}}, "split.as_of is not set"),
        ({"split": {"salt": "s", "column": "side"}}, "split.column is not for sequence.layout"),
        (
            {"split": {"salt": "s", "as_of": {"column": "day", "date": "2020-01-01"}}},
            "split.as_of.column = 'day' must be sequence.time = 'when'",
        ),
        (
            {"target": {"column": "load", "kind": "regression", "bounds": [0, 100]}},
            "is for a forecast, not for regression",
        ),
        (
            {"target": {"column": "load", "kind": "forecast", "horizon": 4, "bounds": [0, 50]}},
            "must also be among sequence.features, with bounds [0.0, 50.0]",
        ),
        (
            {"features": [{"name": "sky", "column": "sky", "values": [1, 2], "aggregate": "sum"}]},
            "feature 'sky': aggregate = sum is for numbers",
        ),
        (
            {
                "features": [
                    {
                        "name": "load",
                        "column": "load",
                        "private_bounds": {"epsilon": 1, "range": [0, 9]},
                    }
                ]
            },
            "layout series takes public bounds and values alone",
        ),
    ],
)
def test_a_wrong_setting_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        data_of(**changes)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_forecast_of_anything_else_is_refused() -> None:
    wide = {
        "layout": "wide",
        "steps": ["a"],
        "features": [{"name": "load", "columns": ["load"], "bounds": [0, 100]}],
    }
    with pytest.raises(UserError, match=r"forecast needs sequence\.layout = series, not wide"):
        validate(DataConfig, {**block(), "person": "id", "sequence": wide}, "test")
