"""Vocabularies that stand elsewhere: in files, in packages, in training rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rnn.config import ModelConfig, TrainConfig
from tasks import artifacts, prepare
from tasks.params import UserError, as_json, validate
from tasks.recipe import DataConfig, SourceFile, TrainPlan
from tasks.starting.fresh import begun
from tasks.table import sources
from tasks.table.encode import encode, input_shape
from tasks.table.released import read_data
from tasks.table.vocabulary import brought, lists_of, read_list, stand_in, with_lists, written_out

PACKAGE = {"package": "words==1", "member": "w.parquet", "sha256": "0" * 64, "size": 4}
VECTORS = {"member": "v.npy", "sha256": "1" * 64}


@pytest.fixture(autouse=True)
def _checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a table, whose held-out words are others, and a public list."""
    monkeypatch.chdir(tmp_path)
    rows = {
        "t": ["b b a c", "B a", "a b", "d", "zz zz zz zz", "zz"],
        "y": [0, 1, 0, 1, 0, 1],
        "side": ["train"] * 4 + ["test"] * 2,
    }
    pl.DataFrame(rows).write_csv("table.csv")
    pl.DataFrame({"word": ["the", "a", "b", "low", "lower"]}).write_parquet("w.parquet")
    np.save("v.npy", np.arange(15, dtype=np.float32).reshape(5, 3) + 1)


def _data(tokens: str = "words", **vocabulary: Any) -> DataConfig:
    """Texts with a vocabulary."""
    block = {
        "source": {"kind": "path", "path": "table.csv"},
        "sequence": {
            "layout": "text", "columns": ["t"], "tokens": tokens, "vocabulary": vocabulary,
        },
        "target": {"column": "y", "kind": "binary", "classes": [0, 1]},
        "split": {"salt": "s", "column": "side"},
    }  # fmt: skip
    return validate(DataConfig, block, "data")


def _prepared(data: DataConfig, *lists: str) -> artifacts.Prepared:
    """What prepare writes; public lists lie where fetch leaves them."""
    artifacts.write_section("toy", "data", data)
    raw = artifacts.folder("toy", "raw")
    raw.mkdir(parents=True)
    files = {"files": [as_json(file) for file in sources.resolve(data.source)]}
    for name in lists:
        (raw / name).write_bytes(Path(name).read_bytes())
    brought_files = [as_json(SourceFile(path=name, sha256="0", size=1)) for name in lists]
    artifacts.write_json(raw / "manifest.json", files | {"lists": brought_files})
    prepare.main(["toy"])
    return artifacts.read_prepared("toy")


def test_training_rows_alone_are_counted_ties_in_the_order_of_letters() -> None:
    prepared = _prepared(_data(training=3))
    assert prepared.schema["input"]["vocabulary"] == ["<padding>", "<unknown>", "b", "a", "c"]
    tokens, offsets = prepared.sequences.sequences, prepared.sequences.offsets
    assert tokens[offsets[0] : offsets[1]].tolist() == [2, 2, 3, 4]
    assert tokens[offsets[3] :].tolist() == [1] * 6
    # What is served reads the same words.
    again = encode(pl.DataFrame({"t": ["c B zz"]}), read_data("toy"))
    assert again.sequences.tolist() == [4, 2, 1]


def test_a_package_and_its_vectors() -> None:
    data = _data(values=["b", "!"], package={**PACKAGE, "vectors": VECTORS})
    members = [file.member for file in lists_of(data)]
    assert members == ["w.parquet", "v.npy"]
    assert len(list(brought(data, [Path("a"), Path("b")]))) == 1
    prepared = _prepared(data, "w.parquet", "v.npy")
    names = ["<padding>", "<unknown>", "b", "!", "the", "a", "low"]
    assert prepared.schema["input"]["vocabulary"] == names
    assert prepared.vectors is not None and prepared.vectors.shape == (7, 3)
    assert prepared.vectors[[0, 2, 4, 5, 6]].tolist() == [
        [0, 0, 0], [7, 8, 9], [1, 2, 3], [4, 5, 6], [10, 11, 12],
    ]  # fmt: skip
    train = TrainConfig(steps=1, expected_batch_size=1)
    plan = TrainPlan(model=ModelConfig(embedding_size=3), train=train, sample_rate=0.5)
    model, told = begun(plan, prepared, 0)
    assert told is not None and told["weights"][0]["data"] == "text that the recipe does not name"
    assert model.embedding.weight[4].tolist() == [1, 2, 3]
    with pytest.raises(UserError, match=r"embedding_size = 32: the vectors .* have 3 numbers"):
        begun(replace(plan, model=ModelConfig()), prepared, 0)


def test_pieces_are_learnt_from_the_list_by_rank() -> None:
    data = with_lists(_data("subwords", package={**PACKAGE, "pieces": 8}), [Path("w.parquet")])
    (values,) = (spec.vocabulary.values for spec in data.texts.values() if spec.vocabulary)
    # the 1, a 1/2, b 1/3, low 1/4: characters by these counts, then the commonest pair.
    assert values == ("##e", "##h", "t", "a", "b", "##o", "##w", "l")


def test_files_are_written_out() -> None:
    Path("list.txt").write_text("the\n\ncat\n", encoding="utf-8")
    data = written_out(_data(values=["!"], file="list.txt"))
    (spec,) = data.texts.values()
    assert spec.is_stated and spec.vocabulary is not None
    assert spec.vocabulary.values == ("!", "the", "cat")
    Path("list.txt").write_text("the\nthe\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"data.sequence.vocabulary: 'the' stands there twice"):
        written_out(_data(file="list.txt"))


@pytest.mark.parametrize(
    ("asked", "size"), [({"training": 9}, 9), ({"package": PACKAGE}, 4), ({"values": ["a"]}, 1)]
)
def test_a_stand_in_is_as_large_as_what_is_to_come(asked: dict[str, Any], size: int) -> None:
    assert input_shape(stand_in(_data(**asked))).vocabulary_size == size + 2


def test_lists_that_cannot_be_vocabularies() -> None:
    with pytest.raises(UserError, match=r"f\.size = 9: w\.parquet has 5 tokens"):
        read_list(Path("w.parquet"), 9, "f")
    with pytest.raises(UserError, match=r"f = 'none\.txt' is not there"):
        read_list(Path("none.txt"), None, "f")
    Path("own.txt").write_text("<unknown>\n", encoding="utf-8")
    with pytest.raises(UserError, match="'<unknown>' is there already"):
        written_out(_data(file="own.txt"))
    other = replace(_data(package=PACKAGE), sequence=_data(values=["a"]).sequence)
    assert lists_of(other) == ()
