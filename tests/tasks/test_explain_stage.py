"""The explain stage from files to files: what it leaves, for whom, and the same again."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from rnn.config import ModelConfig
from rnn.model import build
from tasks import artifacts
from tasks import explain as stage
from tasks.params import UserError
from tasks.recipe import AuditConfig, ExplainConfig
from tests.subject import subject

RECIPE = "small"
SETTINGS = {
    "people": 200, "quality_people": 30, "local_people": 2, "orders": 4, "compare": ("occlusion",),
    "permutations": 99, "probe_shuffles": 2, "n_steps": 4, "max_steps": 8,
}  # fmt: skip


def write_inputs(**settings: object) -> None:
    """Everything that the stage reads, in the current folder."""
    made = subject(200)
    root = artifacts.folder(RECIPE, "prepared", "arrays")
    root.mkdir(parents=True)
    arrays = made.prepared.sequences
    for name in ("sequences", "missing", "offsets", "static", "targets"):
        np.save(root / f"{name}.npy", getattr(arrays, name))
    made.prepared.people.write_parquet(root / "people.parquet")
    artifacts.write_json(root / "schema.json", made.prepared.schema)
    made.sensitive.write_parquet(root.parent / "sensitive_features.parquet")
    predictions = artifacts.folder(RECIPE, "predictions", "internal")
    predictions.mkdir(parents=True)
    made.predictions.write_parquet(predictions / "test.parquet")
    model = artifacts.folder(RECIPE, "model")
    model.mkdir()
    artifacts.write_model(model, made.model, made.model.state_dict())
    for section, config in {
        "target": made.target,
        "data": made.data,
        "explain": ExplainConfig(**{**SETTINGS, **settings}),  # type: ignore[arg-type]
        "audit": AuditConfig(references={"sex": "men"}),
    }.items():
        artifacts.write_section(RECIPE, section, config)


def run() -> dict[str, bytes]:
    """Run the stage and return every file that it left."""
    threads = torch.get_num_threads()
    try:
        stage.main([RECIPE])
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
    root = artifacts.folder(RECIPE, "attributions")
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}


def test_files_for_inside_and_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs()
    found = run()
    assert sorted(found) == [
        "internal/people.json",
        "internal/reasons.parquet",
        "published/attributions.json",
    ]
    outside = found["published/attributions.json"].decode()
    assert "id-" not in outside
    published, internal = (
        json.loads(found[name]) for name in ("published/attributions.json", "internal/people.json")
    )
    assert {"quality", "groups", "proxies", "reasons", "by_feature"} <= set(published)
    assert published["reasons"]["other_method"] == "occlusion"
    assert "gradient_flow" in internal and "gradient_flow" not in published
    rules = [person["rule"] for person in internal["people"]]
    assert rules[2:] == [f"middle score of {g}" for g in ("sex men", "sex women", "town A",
                                                        "town B", "town C")]  # fmt: skip
    assert "id-" not in found["internal/people.json"].decode(), "under no name"
    table = pl.read_parquet(tmp_path / "data/small/attributions/internal/reasons.parquet")
    assert table["person_id"].n_unique() == 100
    assert run() == found


def test_a_second_model_is_asked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(second_model="other", reason_people=20)
    like = artifacts.read_model(artifacts.folder(RECIPE, "model"))
    Path("other").mkdir()
    artifacts.write_model(Path("other"), like, like.state_dict())
    found = json.loads(run()["published/attributions.json"])
    assert set(found["reasons"]["ways"]) == {"method", "change", "run"}
    inside = artifacts.read_json(artifacts.folder(RECIPE, "attributions/internal/people.json"))
    assert inside["reasons"]["ways"]["run"]["found_again"] == 1, "the same model says the same"


def test_a_second_model_of_other_data_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(second_model="other")
    like = artifacts.read_model(artifacts.folder(RECIPE, "model"))
    shape = type(like.shape)(**{**vars(like.shape), "static_size": 5})
    other = build(ModelConfig(hidden_size=2), shape, 0)
    Path("other").mkdir()
    artifacts.write_model(Path("other"), other, other.state_dict())
    with pytest.raises(UserError, match=r"second_model = 'other' was trained on data of another"):
        run()
    Path("other/config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json is missing"):
        run()
