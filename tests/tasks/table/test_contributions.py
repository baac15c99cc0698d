"""Who contributes what to a private release: training people alone, and K values each."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.params import validate
from tasks.recipe import DataConfig
from tasks.table.contributions import Contribution, Contributions, limited, placeholder
from tasks.table.people import group

PEOPLE = 40


def _limited(sizes: list[int], most: int, share: list[float]) -> pl.DataFrame:
    units = np.repeat(np.arange(len(sizes)), sizes)
    places = np.concatenate([np.arange(size) for size in sizes])
    own = np.array(share)[units]
    return limited(pl.DataFrame({"__unit__": units, "__value__": places, "__share__": own}), most)


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_a_unit_keeps_all_or_exactly_so_many(most: int) -> None:
    rng = np.random.default_rng(0)
    sizes = [1, 2, 3, 5, 7, 8, 100, 333]
    for _ in range(50):
        kept = _limited(sizes, most, rng.random(len(sizes)).tolist())
        counts = kept["__unit__"].value_counts().sort("__unit__")["count"].to_list()
        assert counts == [min(size, most) for size in sizes]
    # Next to 1 rounding may lose a value; it never adds one.
    for share in (0.0, 2**-53, 1 - 2**-53):
        assert most - 1 <= len(_limited([10], most, [share])) <= most


def test_every_value_of_a_unit_is_as_likely() -> None:
    shares = (np.arange(3000) + 0.5) / 3000
    kept = _limited([5] * 3000, 2, shares.tolist())
    often = np.bincount(kept["__value__"].to_numpy(), minlength=5)
    assert np.abs(often - 1200).max() <= 3


def _wide(**changes: Any) -> DataConfig:
    asked = {"epsilon": 1.0, "range": [-1000, 1000], "max_values": 2}
    number = {"name": "x", "columns": ["x1", "x2", "x3"], "private_bounds": asked}
    ward = {"epsilon": 1.0, "max_values": 2}
    kind = {"name": "k", "columns": ["k1", "k2", "k3"], "private_values": ward}
    block = {
        "source": {"kind": "path", "path": "-"},
        "person": "id",
        "sequence": {"layout": "wide", "steps": ["a", "b", "c"], "features": [number, kind]},
        "target": {"column": "y", "kind": "binary", "classes": [0, 1]},
        "sensitive": [{"name": "sex", "column": "sex", "labels": {"f": "women", "m": "men"}}],
        "split": {"salt": "s"},
        "private_counts": {"feature": "sex", "epsilon": 1.0},
    }
    return validate(DataConfig, {**block, **changes}, "test")


def _rows() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "id": [f"p{i}" for i in range(PEOPLE)],
            **{f"x{k}": (np.arange(PEOPLE) * 10 + k).astype(float) for k in (1, 2, 3)},
            **{f"k{k}": rng.choice(list("abcd"), PEOPLE) for k in (1, 2, 3)},
            "sex": rng.choice(["f", "m", None], PEOPLE),
            "y": ["0"] * PEOPLE,
        }
    )


def _found(
    rows: pl.DataFrame, data: DataConfig, unit: str = "person", pieces: int = 1
) -> list[Contribution]:
    """Everything that training people contribute; every third row is held out."""
    collected = Contributions(data)
    ids = []
    for piece in rows.iter_slices(-(-len(rows) // pieces)):
        grouping = group(piece, data)
        collected.add(piece, grouping)
        ids += grouping.table["__person__"].to_list()
    split = ["test" if int(i[1:].split("-")[0]) % 3 == 0 else "train" for i in ids]
    return collected.of_training(pl.DataFrame({"person_id": ids, "split": split}), unit)


def test_training_people_alone_and_so_many_values_each() -> None:
    bounds, values, counts = _found(_rows(), _wide())
    owners = np.bincount((bounds.numbers // 10).astype(int), minlength=PEOPLE)
    assert owners.tolist() == [0 if i % 3 == 0 else 2 for i in range(PEOPLE)]
    train = _rows().filter(pl.int_range(pl.len()) % 3 != 0)
    have = [min(2, len({row["k1"], row["k2"], row["k3"]})) for row in train.to_dicts()]
    assert sum(values.counts.values()) == sum(have)
    exact = train["sex"].replace({"f": "women", "m": "men"}).fill_null("unknown").value_counts()
    assert counts.counts == dict(exact.iter_rows())


def test_pieces_change_nothing() -> None:
    whole, parts = _found(_rows(), _wide()), _found(_rows(), _wide(), pieces=7)
    for one, other in zip(whole, parts, strict=True):
        assert one.counts == other.counts
        np.testing.assert_array_equal(np.sort(one.numbers), np.sort(other.numbers))


@pytest.mark.parametrize("gone", [0, 1, 5, 39])
def test_one_person_less_takes_away_that_persons_values_alone(gone: int) -> None:
    rest = _rows().filter(pl.int_range(pl.len()) != gone)
    trained = gone % 3 != 0
    for one, other in zip(_found(_rows(), _wide()), _found(rest, _wide()), strict=True):
        lost = len(one.numbers) - len(other.numbers)
        left = [v for v in one.numbers.tolist() if v not in set(other.numbers.tolist())]
        assert len(left) == lost == (2 if trained and len(one.numbers) else 0)
        moves = [one.counts.get(v, 0) - other.counts.get(v, 0) for v in "abcd"]
        assert set(moves) <= {0, 1} and sum(moves) <= (2 if trained else 0)


def _texts(unit_column: bool) -> tuple[pl.DataFrame, DataConfig]:
    """Three records of each of four people."""
    rows = pl.DataFrame(
        {
            "id": [f"p{1 + i // 3}" for i in range(12)],
            "t": ["Ab", "bc", "CD", "ab", "", None, "xyz", "xyz", "xyz", "a", "b", "c"],
            "y": ["0"] * 12,
        }
    )
    asked = {"epsilon": 1.0, "max_values": 3}
    layout = {"layout": "text", "columns": ["t"], "private_alphabet": asked}
    data = _wide(
        sequence=layout, sensitive=[], private_counts=None, person="id" if unit_column else None
    )
    return rows, data


def test_records_count_alone_or_together_as_the_unit_says() -> None:
    rows, data = _texts(True)
    (records,) = _found(rows, data, "record")
    # p3 is held out; an empty record has no character.
    assert records.counts == {"a": 3, "b": 4, "c": 3, "d": 1}
    (people,) = _found(rows, data, "person")
    assert sum(people.counts.values()) == 3 + 2 + 3
    assert people.counts["a"] <= 3 and set(people.counts) <= set("abcd")


def test_events_of_a_person_are_drawn_by_that_person_alone() -> None:
    asked = {"epsilon": 1.0, "range": [0, 1000], "max_values": 2}
    number = {"name": "v", "column": "v", "private_bounds": asked}
    data = _wide(
        sequence={"layout": "long", "time": "t", "features": [number]},
        static=[{"name": "size", "column": "s", "private_bounds": asked}],
        sensitive=[],
        private_counts=None,
    )
    counts = [1, 2, 5, 9, 3, 3, 8]
    rows = pl.DataFrame(
        [
            {"id": f"p{i}", "t": str(k), "v": 100.0 * i + k, "s": float(i), "y": "0"}
            for i, count in enumerate(counts)
            for k in range(count)
        ]
    )
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=3)
    events, sizes = _found(shuffled, data)
    owners = np.bincount((events.numbers // 100).astype(int), minlength=7)
    assert owners.tolist() == [0, 2, 2, 0, 2, 2, 0]
    assert sorted(sizes.numbers) == [1, 2, 4, 5]
    others = shuffled.filter(pl.col("id") != "p2")
    left = set(_found(others, data)[0].numbers)
    assert left == {v for v in events.numbers.tolist() if v // 100 != 2}


def test_stand_ins_are_public() -> None:
    data = placeholder(_wide())
    first, second = data.sequence.features  # type: ignore[union-attr]
    assert first.bounds == (-1000, 1000) and second.values == ("-",)
    assert data.private_counts is None
