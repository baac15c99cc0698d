"""A file's scores are serving's, in pieces and in memory that does not grow; whole or not there."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks import score as module
from tasks.params import UserError
from tasks.score import flat, score, table_of, target
from tasks.serving.scorer import Scorer
from tasks.table import rows as table_rows
from tests import fake


def _written(made: fake.Fake, scorer: Scorer, folder: Path, suffix: str = ".csv") -> Path:
    path = folder / f"rows{suffix}"
    table = made.raw.select(scorer.columns)
    table.write_csv(path) if suffix == ".csv" else table.write_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_pieces_give_what_serving_gives(made, scorer, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(table_rows, "BATCH_ROWS", 7)
    monkeypatch.setattr(table_rows, "PART_ROWS", 20)
    scorer = replace(scorer, threshold=0.0)
    wanted = table_of(scorer.score(made.raw.select(scorer.columns), 2)).sort("person_id")
    (tmp_path / "work dir").mkdir()
    out = tmp_path / f"out{suffix}"
    path = _written(made, scorer, tmp_path, suffix)
    count = score(scorer, path, out, tmp_path / "work dir", 2)
    wanted = flat(wanted) if suffix == ".csv" else wanted
    found = pl.read_csv(out, schema=wanted.schema) if suffix == ".csv" else pl.read_parquet(out)
    assert count == len(found) == len(wanted)
    found = found.sort("person_id")
    if made.data.person is not None:
        assert found["person_id"].to_list() == wanted["person_id"].to_list()
        for name in (n for n in found.columns if n.startswith("score")):
            np.testing.assert_allclose(found[name], wanted[name], atol=1e-6)
        assert found["reasons"].to_list() == wanted["reasons"].to_list()
        if suffix == ".csv":
            assert any(json.loads(text) for text in found["reasons"])
    assert list((tmp_path / "work dir").iterdir()) == []


def test_a_bad_row_leaves_what_was_there(made, scorer, tmp_path):
    if made.data.sequence.layout == "text":
        return
    number = {"wide": "d1", "long": "amount"}[made.data.sequence.layout]
    table = made.raw.select(scorer.columns).with_columns(pl.col(number).cast(pl.String))
    bad = table.with_row_index("at").with_columns(
        pl.when(pl.col("at") == 4).then(pl.lit("much")).otherwise(pl.col(number)).alias(number)
    )
    path, out = tmp_path / "bad.csv", tmp_path / "out.parquet"
    bad.drop("at").write_csv(path)
    out.write_bytes(b"before")
    (tmp_path / "w").mkdir()
    with pytest.raises(UserError, match=rf"{number}, row 5: 'much' is not a number"):
        score(scorer, path, out, tmp_path / "w")
    assert out.read_bytes() == b"before"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".out")]


def test_names_and_mistakes(scorer, made, tmp_path, monkeypatch):
    assert target(Path("a/people.csv"), None) == Path("a/people.csv.scores.parquet")
    for wrong, match in ((("x.csv", "y.txt"), "must end in"), (("x.csv", "x.csv"), "that is read")):
        with pytest.raises(UserError, match=match):
            target(Path(wrong[0]), wrong[1])
    empty = tmp_path / "empty.csv"
    empty.write_text(",".join(scorer.columns) + "\n")
    (tmp_path / "w").mkdir()
    with pytest.raises(UserError, match=r"empty\.csv has no rows"):
        score(scorer, empty, tmp_path / "o.csv", tmp_path / "w")
    assert not (tmp_path / "o.csv").exists()
    with pytest.raises(UserError, match=r"^--reasons 21 must be 0 to 20$"):
        module.main(["other", "people.csv", "--reasons", "21"])
    (tmp_path / "params.yaml").write_text("recipes: {}\n")
    with pytest.raises(UserError, match=r"recipes\.other is not there"):
        module.main(["other", "people.csv"])
