"""The whole stage: what it writes, what it refuses, and that it never harms what was there."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks import artifacts, prepare
from tasks.params import UserError, as_json, validate
from tasks.recipe import DataConfig
from tasks.table import rows as table_rows
from tasks.table.arrays import GrowingArray
from tasks.table.scatter import scatter, stable_hash
from tasks.table.sources import resolve
from tasks.table.split import shares

PEOPLE = 60


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(count: int = PEOPLE) -> pl.DataFrame:
    """One row a person, as text."""
    number = range(count)
    return pl.DataFrame(
        {
            "id": [f"p{i}" for i in number],
            "x1": [str(i % 7) for i in number],
            "x2": [str(i % 5) for i in number],
            "y": [str(i % 2) for i in number],
            "sex": ["m" if i % 3 else "f" for i in number],
            "side": ["test" if i % 5 < 2 else "train" for i in number],
            "day": [f"2020-01-{1 + i % 28:02d}" for i in number],
        }
    )


def block(**changes: Any) -> dict[str, Any]:
    """A wide recipe's data."""
    base = {
        "source": {"kind": "path", "path": "table*.csv"},
        "person": "id",
        "sequence": {
            "layout": "wide",
            "steps": ["one", "two"],
            "features": [{"name": "x", "bounds": [0, 6], "columns": ["x1", "x2"]}],
        },
        "target": {"column": "y", "kind": "binary", "classes": [0, 1]},
        "sensitive": [{"name": "sex", "column": "sex"}],
        "split": {"salt": "s", "train": 0.7},
    }
    return {**base, **changes}


def plan(values: dict[str, Any]) -> None:
    """Write what prepare reads."""
    data = validate(DataConfig, values, "test")
    artifacts.write_section("toy", "data", data)
    files = [as_json(file) for file in resolve(data.source)]
    artifacts.write_json(artifacts.folder("toy", "raw", "manifest.json"), {"files": files})


def run(frame: pl.DataFrame, values: dict[str, Any] | None = None) -> artifacts.Prepared:
    """Prepare one CSV."""
    frame.write_csv("table.csv")
    plan(values or block())
    prepare.main(["toy"])
    return artifacts.read_prepared("toy")


def test_wide_writes_what_the_contract_says() -> None:
    got = run(table())
    assert got.people.columns == ["person_id", "split", "length"]
    assert got.people["person_id"].to_list() == table()["id"].to_list()
    assert set(got.people["split"]) == {"train", "test"}
    batch = got.sequences.batch(np.array([3, 59]))
    expected = np.array([[3, 3], [59 % 7, 59 % 5]]) / 3.0 - 1.0
    np.testing.assert_allclose(batch.inputs[:, :, 0].numpy(), expected, atol=1e-6)
    assert batch.targets.tolist() == [1, 1] and got.sequences.targets.dtype == np.int64
    sensitive = artifacts.read_sensitive_features("toy")
    assert sensitive["sex"].to_list() == table()["sex"].to_list()
    assert sorted(p.name for p in artifacts.folder("toy", "prepared").iterdir()) == [
        "arrays",
        "sensitive_features.parquet",
    ]


def test_twice_is_the_same_to_the_byte() -> None:
    run(table())
    before = artifacts.digest_folder(artifacts.folder("toy", "prepared"))
    prepare.main(["toy"])
    assert artifacts.digest_folder(artifacts.folder("toy", "prepared")) == before


def test_batches_change_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    run(table())
    before = artifacts.digest_folder(artifacts.folder("toy", "prepared"))
    monkeypatch.setattr(table_rows, "BATCH_ROWS", 7)
    prepare.main(["toy"])
    assert artifacts.digest_folder(artifacts.folder("toy", "prepared")) == before


def test_removing_a_person_changes_nobody_elses_side() -> None:
    whole = dict(run(table()).people.select("person_id", "split").rows())
    for gone in (0, 17, 59):
        frame = table().filter(pl.int_range(pl.len()) != gone)
        rest = dict(run(frame).people.select("person_id", "split").rows())
        assert rest == {p: side for p, side in whole.items() if p != f"p{gone}"}


def test_shares_are_uniform_and_keyed() -> None:
    ids = pl.Series([f"p{i}" for i in range(20_000)])
    one, other = shares(ids, "a"), shares(ids, "b")
    # Kolmogorov's bound at 1 in 10,000; a share from the id's last digit would fail it.
    steps = np.abs(np.sort(one) - (np.arange(20_000) + 0.5) / 20_000).max()
    assert steps < 2.23 / np.sqrt(20_000)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
    assert shares(ids[5:6], "a")[0] == one[5]


def events(shuffled: bool = True) -> pl.DataFrame:
    """Several events a person."""
    rows = table().join(pl.DataFrame({"t": ["1", "2", "3"]}), how="cross")
    rows = rows.with_columns(pl.Series("v", [str(i % 6) for i in range(len(rows))]))
    return rows.sample(fraction=1.0, shuffle=True, seed=1) if shuffled else rows


def long_block(**changes: Any) -> dict[str, Any]:
    """A long recipe's data."""
    features = [{"name": "v", "bounds": [0, 5], "column": "v"}]
    layout = {"layout": "long", "time": "t", "max_length": 2, "features": features}
    return block(sequence=layout, **changes)


@pytest.mark.parametrize("part_rows", [10_000, 25])
def test_long_in_memory_and_through_files(part_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_rows, "PART_ROWS", part_rows)
    monkeypatch.setattr(table_rows, "BATCH_ROWS", 11)
    got = run(events(), long_block())
    truth = events(shuffled=False).filter(pl.col("t") != "1")
    values = {k[0]: v["v"].cast(float).to_list() for k, v in truth.group_by("id")}
    assert sorted(got.people["person_id"]) == sorted(values)
    for row, person in enumerate(got.people["person_id"]):
        batch = got.sequences.batch(np.array([row]))
        expected = [2 * v / 5 - 1 for v in values[person]]
        np.testing.assert_allclose(batch.inputs.ravel().numpy(), expected, atol=1e-6)
        assert int(batch.targets[0]) == int(person[1:]) % 2
    sex = artifacts.read_sensitive_features("toy")["sex"].to_list()
    assert sex == ["m" if int(p[1:]) % 3 else "f" for p in got.people["person_id"]]
    before = artifacts.digest_folder(artifacts.folder("toy", "prepared"))
    prepare.main(["toy"])
    assert artifacts.digest_folder(artifacts.folder("toy", "prepared")) == before


def test_parquet_gives_what_csv_gives() -> None:
    run(events(), long_block())
    before = artifacts.digest_folder(artifacts.folder("toy", "prepared"))
    typed = events().with_columns(pl.col("t", "y").cast(pl.Int64), pl.col("v").cast(pl.Float64))
    typed.write_parquet("table.parquet")
    plan(long_block(source={"kind": "path", "path": "table.parquet"}))
    prepare.main(["toy"])
    assert artifacts.digest_folder(artifacts.folder("toy", "prepared")) == before


def test_a_stated_split_and_an_as_of_date() -> None:
    got = run(table(), block(split={"salt": "s", "column": "side"}))
    assert got.people["split"].to_list() == table()["side"].to_list()
    as_of = {"column": "day", "date": "2020-01-15"}
    dated = run(table(), block(split={"salt": "s", "train": 0.7, "as_of": as_of})).people
    hashed = run(table()).people["split"].to_list()
    late = (table()["day"] >= "2020-01-15").to_list()
    assert dated["split"].to_list() == [
        "test" if after else side for after, side in zip(late, hashed, strict=True)
    ]
    events_dated = run(events(), long_block(split={"salt": "s", "train": 0.7, "as_of": as_of}))
    assert dict(events_dated.people.select("person_id", "split").rows()) == dict(
        dated.select("person_id", "split").rows()
    )


def cell(column: str, row: int, value: str | None) -> pl.DataFrame:
    """The table with one other cell; `row` counts from 1."""
    here = pl.int_range(1, pl.len() + 1) == row
    return table().with_columns(pl.when(here).then(pl.lit(value)).otherwise(column).alias(column))


AS_OF = {"salt": "s", "as_of": {"column": "day", "date": "2020-01-15"}}
ALL_TRAIN = {"split": {"salt": "s", "train": 0.9999999}}
BAD: list[tuple[str, pl.DataFrame, dict[str, Any], str]] = [
    (
        "number",
        cell("x2", 17, "abc"),
        {},
        "features.x: column x2, row 17: 'abc' is not a number",
    ),
    ("infinite", cell("x1", 2, "inf"), {}, "column x1, row 2: 'inf' is not a finite number"),
    (
        "class",
        cell("y", 9, "2"),
        {},
        "data.target: column y, row 9: '2' is not among target.classes [0, 1]",
    ),
    ("target", cell("y", 9, None), {}, "data.target: column y, row 9: the value is missing"),
    ("person", cell("id", 5, None), {}, "data.person: column id, row 5: the value is missing"),
    (
        "twice",
        cell("id", 9, "p2"),
        {},
        "person id = p2 stands in rows 3 and 9: layout wide",
    ),
    ("column", table().drop("x2"), {}, "data.sequence.features.x: column x2 is not in the data"),
    (
        "date",
        cell("day", 4, "soon"),
        {"split": AS_OF},
        "column day, row 4: 'soon' is neither",
    ),
    (
        "as-of date",
        table(),
        {"split": {"salt": "s", "as_of": {"column": "day", "date": "later"}}},
        "data.split.as_of.date = 'later': 'later' is neither a number nor an ISO date",
    ),
    (
        "side",
        cell("side", 6, "dev"),
        {"split": {"salt": "s", "column": "side"}},
        "data.split.column: column side, row 6: 'dev' is neither 'train' nor 'test'",
    ),
    ("one class", table().with_columns(y=pl.lit("1")), {}, "column y: train has one class only, 1"),
    (
        "nobody",
        table(),
        {"split": {"salt": "s", "train": 0.9999999}},
        "nobody of 60 people is in test",
    ),
    ("no rows", table().clear(), {}, "data.source: the table has no rows"),
    (
        "format",
        table(),
        {"source": {"kind": "path", "path": "table.csv", "format": "parquet"}},
        "data.source: table.csv cannot be read as parquet",
    ),
]


@pytest.mark.parametrize(
    ("frame", "changes", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_input_is_one_line_and_leaves_what_was_there(
    frame: pl.DataFrame, changes: dict[str, Any], message: str
) -> None:
    run(table())
    before = artifacts.digest_folder(artifacts.folder("toy", "prepared"))
    with pytest.raises(UserError) as caught:
        run(frame, block(**changes))
    assert message in str(caught.value)
    assert str(caught.value).startswith("recipes.toy.data") and "\n" not in str(caught.value)
    assert artifacts.digest_folder(artifacts.folder("toy", "prepared")) == before
    left = [p.name for p in artifacts.folder("toy").iterdir()]
    assert sorted(left) == ["plan", "prepared", "raw"]


@pytest.mark.parametrize("part_rows", [10_000, 25])
def test_bad_events_are_found_through_files_too(
    part_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_rows, "PART_ROWS", part_rows)
    frame = events(shuffled=False)
    at = pl.int_range(1, pl.len() + 1)
    bad = frame.with_columns(v=pl.when(at == 100).then(pl.lit("abc")).otherwise("v"))
    with pytest.raises(UserError, match=r"features.v: column v, row 100: 'abc' is not a number"):
        run(bad, long_block())
    found = "sensitive.sex: column sex: person p33 has 'f' in row 100 and 'm' in row 101"
    two = frame.with_columns(sex=pl.when(at == 100).then(pl.lit("f")).otherwise(pl.lit("m")))
    with pytest.raises(UserError, match=found):
        run(two, long_block())
    both = frame.with_columns(side=pl.when(at == 5).then(pl.lit("train")).otherwise("side"))
    message = "person p1 is in two splits: test in row 4, train in row 5"
    with pytest.raises(UserError, match=message):
        run(both, long_block(split={"salt": "s", "column": "side"}))
    assert not list(Path().rglob("*.arrow"))


def test_an_error_names_the_file_where_there_are_several() -> None:
    table(10).write_csv("table-a.csv")
    cell("x1", 3, "abc").write_csv("table-b.csv")
    plan(block())
    with pytest.raises(UserError, match=r"column x1, table-b.csv row 3: 'abc' is not a number"):
        prepare.main(["toy"])


def test_a_file_that_changed_since_fetch_is_refused() -> None:
    run(table())
    table(30).write_csv("table.csv")
    with pytest.raises(UserError, match=r"recipes.toy.data.source.path: table.csv has changed"):
        prepare.main(["toy"])


def test_records_without_a_person_and_their_repeats() -> None:
    frame = table().with_columns(id=pl.lit("same words"))
    layout = {"layout": "text", "columns": ["id"], "alphabet": "abcdefghijklmnopqrstuvwxyz "}
    values = block(person=None, sequence=layout, sensitive=[])
    got = run(frame, values)
    assert got.people["person_id"].n_unique() == PEOPLE
    assert got.sequences.sequences.dtype == np.int32 and got.people["length"].to_list()[0] == 10
    fewer = run(frame[1:], values)
    assert len(set(got.people["person_id"]) - set(fewer.people["person_id"])) == 1


def slow_hash(text: str) -> int:
    """The same hash in plain integers: length plus the sum of byte times weight, mixed."""

    def mixed(value: int) -> int:
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
        return value ^ (value >> 31)

    code = text.encode()
    weights = [mixed((i % 1024 + 1) * 0x9E3779B97F4A7C15 % 2**64) for i in range(len(code))]
    total = len(code) + sum(byte * weight for byte, weight in zip(code, weights, strict=True))
    return mixed(total % 2**64)


def test_the_hash_is_what_it_was_and_spreads() -> None:
    texts = ["", "a", "ab", "ba", "", "é" * 700, "12345"]
    assert stable_hash(pl.Series(texts)).tolist() == [slow_hash(text) for text in texts]
    assert f"{slow_hash('a'):016x}" == "371330e21157d5b8"
    counts = np.bincount(stable_hash(pl.Series(map(str, range(64_000)))) % np.uint64(64))
    assert counts.min() > 800 and counts.max() < 1200


def test_scatter_keeps_every_row_and_its_order(checkout: Path) -> None:
    frame = pl.DataFrame({"k": [str(i % 13) for i in range(200)], "n": range(200)})
    batches = (frame[start : start + 30] for start in range(0, 200, 30))
    parts = list(scatter(batches, "k", 4, checkout))
    assert sorted(n for part in parts for n in part["n"]) == list(range(200))
    assert all(part["n"].is_sorted() for part in parts)
    keys = [set(part["k"]) for part in parts]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 13
    assert list(checkout.iterdir()) == []


def test_a_growing_array_is_an_npy_file(checkout: Path) -> None:
    array = GrowingArray(checkout / "a.npy")
    pieces = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((1_000, 3), dtype=np.float32)]
    for piece in pieces:
        array.append(piece)
    array.close()
    np.testing.assert_array_equal(
        np.load(checkout / "a.npy", mmap_mode="r"), np.concatenate(pieces)
    )
