"""Texts from a trained recipe on the command line."""

import dataclasses
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

WORDS = ["never", "again", "sordino", "play"]
DATA: dict[str, Any] = {
    **COMMON,
    "sequence": {
        "layout": "text", "columns": ["t"], "tokens": "words", "max_length": 6,
        "vocabulary": {"values": WORDS},
    },
    "target": {"kind": "next_token"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random language model, and a recipe that is none."""
    monkeypatch.chdir(tmp_path)
    data = validate(DataConfig, DATA, "data")
    artifacts.write_section("toy", "data", data)
    root = artifacts.folder("toy", "model")
    root.mkdir(parents=True)
    model = build(ModelConfig(hidden_size=5, embedding_size=4), input_shape(data), 0)
    artifacts.write_model(root, model, dict(model.named_parameters()))
    target = {"column": "y", "kind": "multiclass", "classes": ["a", "b"]}
    scored = validate(DataConfig, {**DATA, "target": target}, "data")
    artifacts.write_section("scored", "data", scored)


def _said(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    """Lines of standard output."""
    generate.main(["toy", *argv])
    return capsys.readouterr().out.splitlines()


def test_the_same_seed_prints_the_same_texts(capsys: pytest.CaptureFixture[str]) -> None:
    first = _said(capsys, "--count", "4", "--seed", "3")
    assert len(first) == 4 and first == _said(capsys, "--count", "4", "--seed", "3")
    assert first != _said(capsys, "--count", "4", "--seed", "4")
    assert all(len(line.split()) <= 6 and set(line.split()) <= set(WORDS) for line in first)


def test_a_text_begins_as_asked_and_goes_into_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "texts.txt"
    assert _said(capsys, "--begin", "Never play", "--count", "2", "--out", str(out)) == []
    lines = out.read_text().splitlines()
    assert len(lines) == 2 and all(line.startswith("never play") for line in lines)


REFUSED = [
    (["scored"], "recipes.scored.data.target.kind = 'multiclass' writes nothing"),
    (["toy", "--temperature", "0"], "--temperature = 0 must be above 0"),
    (["toy", "--top-p", "2"], "--top-p = 2 must be above 0 and at most 1"),
    (["toy", "--count", "0"], "--count 0: at least 1 is needed"),
    (["toy", "--as", "wav"], "--as wav: allowed are"),
    (["toy", "--begin", "zebra"], "--begin 'zebra': the vocabulary does not have all of it"),
    (["nowhere"], "data.json is missing"),
]


@pytest.mark.parametrize(("argv", "message"), REFUSED)
def test_refused_in_one_line(argv: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        generate.main(argv)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_every_renderer_is_a_word() -> None:
    assert all(name.isalpha() for name in generate.RENDERERS)
    assert "text" in generate.RENDERERS and dataclasses.is_dataclass(generate.Choice)
