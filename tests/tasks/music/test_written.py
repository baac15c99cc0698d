"""Music made up on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from rnn.config import ModelConfig
from rnn.model import build
from tasks import artifacts, generate
from tasks.params import UserError, validate
from tasks.recipe import DataConfig
from tasks.table.encode import input_shape
from tests.fake import COMMON

TOKENS = ["major", "minor", "4/4", "3/4", "|", "@4", "@8", "@12", "S72", "S74", "A67", "A65",
          "T64", "T-", "B48", "B50"]  # fmt: skip
DATA: dict[str, Any] = {
    **COMMON,
    "sequence": {
        "layout": "text", "columns": ["t"], "tokens": "symbols", "lowercase": False,
        "max_length": 40, "vocabulary": {"values": TOKENS},
    },
    "target": {"kind": "next_token"},
}  # fmt: skip
BEGIN = "minor 4/4 @12 S72 A67 T64 B48 | S74"


@pytest.fixture(autouse=True)
def _tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model of music."""
    monkeypatch.chdir(tmp_path)
    data = validate(DataConfig, DATA, "data")
    artifacts.write_section("toy", "data", data)
    root = artifacts.folder("toy", "model")
    root.mkdir(parents=True)
    model = build(ModelConfig(hidden_size=5, embedding_size=4), input_shape(data), 0)
    artifacts.write_model(root, model, dict(model.named_parameters()))


def _files(folder: Path) -> dict[str, bytes]:
    """What was written, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_of_music_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        argv = ["--count", "2", "--seed", seed, "--begin", BEGIN, "--out", str(tmp_path / name)]
        generate.main(["toy", *argv])
    first, again, other = (_files(tmp_path / name) for name in "abc")
    assert first == again and first != other
    endings = {"mid", "abc", "svg"}
    assert set(first) == {f"piece-{i}.{e}" for i in (1, 2) for e in endings} | {"pieces.json"}
    told = json.loads(first["pieces.json"])
    assert all(piece["tokens"].startswith(BEGIN) for piece in told["pieces"])
    assert set(told["shares"]) == {"in_range", "in_metre"}
    assert first["piece-2.mid"].startswith(b"MThd") and b"K:Am" in first["piece-2.abc"]


def test_other_files_of_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    generate.main(["toy", "--count", "1", "--out", str(tmp_path / "mine")])
    assert (tmp_path / "mine" / "notes.txt").read_text() == "kept"
    assert len(_files(tmp_path / "mine")) == 5


def test_without_a_folder_a_tune_book_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    generate.main(["toy", "--count", "2", "--begin", BEGIN])
    book = capsys.readouterr().out
    assert book.startswith("X:1\nT:Piece 1") and "\n\nX:2\nT:Piece 2" in book
    generate.main(["toy", "--count", "2", "--begin", BEGIN, "--as", "text"])
    assert all(line.startswith(BEGIN) for line in capsys.readouterr().out.splitlines())


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a folder is needed for music"):
        generate.main(["toy", "--out", str(tmp_path / "file")])
