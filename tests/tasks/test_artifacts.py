"""data/ is written whole or not at all, and read back as it was."""

import json
import os

import pytest
import torch

from rnn.config import InputShape, ModelConfig
from rnn.model import build
from tasks.artifacts import (
    digest_folder,
    read_json,
    read_model,
    read_section,
    replacing,
    replacing_file,
    write_json,
    write_model,
    write_section,
)
from tasks.params import UserError
from tasks.recipe import GateConfig


def test_folder_appears_whole(tmp_path):
    target = tmp_path / "a b" / "model"
    with replacing(target) as draft:
        (draft / "one").write_text("1")
        assert not target.exists()
    assert [p.name for p in target.iterdir()] == ["one"]
    with replacing(target) as draft:
        (draft / "two").write_text("2")
    assert [p.name for p in target.iterdir()] == ["two"]
    assert [p.name for p in target.parent.iterdir()] == ["model"]


def test_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "model"
    with replacing(target) as draft:
        (draft / "one").write_text("1")
    with pytest.raises(RuntimeError), replacing(target) as draft:
        (draft / "two").write_text("2")
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["one"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    file = tmp_path / "f"
    file.write_text("old")
    with pytest.raises(RuntimeError), replacing_file(file) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert file.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "model"]


def test_drafts_of_killed_processes_are_swept_and_others_stay(tmp_path):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    (tmp_path / f".model-{child}-abc").mkdir()
    (tmp_path / f".model-{os.getppid()}-abc").mkdir()
    with replacing(tmp_path / "model") as draft:
        (draft / "one").write_text("1")
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".model-{os.getppid()}-abc", "model"]


def test_json_is_canonical_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a", {"b": 1, "a": [1.5, None]})
    write_json(tmp_path / "b", {"a": [1.5, None], "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "c", {"a": float("nan")})


def test_missing_and_damaged_files_are_one_line(tmp_path):
    with pytest.raises(UserError, match="is missing: run the stage that writes it"):
        read_json(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"half\.json is not JSON"):
        read_json(tmp_path / "half.json")


def test_section_comes_back_as_its_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = GateConfig(max_epsilon=3.0, min_auc=0.7)
    write_section("r", "gate", config)
    assert read_section("r", "gate", GateConfig) == config
    path = tmp_path / "data/r/plan/gate.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "extra": 1}))
    with pytest.raises(UserError, match=r"gate\.json\.extra = 1: unknown key"):
        read_section("r", "gate", GateConfig)


def test_digest_sees_names_and_contents(tmp_path):
    digests = set()
    for name, text in (("a", "1"), ("b", "1"), ("a", "2")):
        with replacing(tmp_path / "f") as draft:
            (draft / name).write_text(text)
        digests.add(digest_folder(tmp_path / "f"))
    assert len(digests) == 3


def test_model_comes_back_with_the_same_numbers(tmp_path):
    shape = InputShape(input_size=2, vocabulary_size=0, static_size=0, output_size=1, task="binary")
    model = build(ModelConfig(hidden_size=3, bidirectional=True), shape, 0)
    write_model(tmp_path, model, dict(model.named_parameters()))
    again = read_model(tmp_path)
    arguments = torch.ones(2, 4, 2), torch.tensor([4, 2]), torch.zeros(2, 0)
    assert torch.equal(model.eval()(*arguments), again(*arguments))
    assert not again.training
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "weights.safetensors"]
