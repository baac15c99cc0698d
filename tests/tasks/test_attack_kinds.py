"""Attack and explain from files to files, for kinds whose target is a sequence."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnn.losses import batch_losses
from tasks import artifacts, explain
from tasks import attack as stage
from tasks.evidence import references, rmia
from tasks.evidence.attacked import threads_for
from tasks.evidence.scoring import row_losses
from tasks.pages import attacks
from tests.kinds import (
    ATTACK,
    KINDS,
    PLAIN,
    RECIPE,
    model_of,
    prepared_of,
    sequences_of,
    write_tree,
)


@pytest.mark.parametrize("task", KINDS)
def test_a_row_has_the_loss_that_training_counts_alone_or_among_others(task: str) -> None:
    model, data = model_of(task), sequences_of(task, 30)
    rows = np.array([7, 3, 29, 0])
    found = row_losses(model, data, rows)
    for row, loss in zip(rows, found, strict=True):
        batch = data.batch(np.array([row]))
        with torch.no_grad():
            assert float(batch_losses(model.outputs(batch), batch, model.shape)) == pytest.approx(
                loss, rel=1e-5
            )
    assert len(set(found.round(6))) == 4


def test_losses_of_forecasts_are_scaled_by_their_mean() -> None:
    losses = np.array([0.1, 0.3])
    assert rmia.scale_of(losses, "forecast") == pytest.approx(0.2)
    assert rmia.scale_of(losses, "regression") == pytest.approx(0.4)
    assert {rmia.scale_of(losses, t) for t in ("next_token", "ctc", "seq2seq", "binary")} == {1.0}


@pytest.mark.parametrize("task", KINDS)
def test_members_of_an_overfit_model_are_found_from_their_losses(task: str) -> None:
    """Random targets can only be known by heart."""
    prepared = prepared_of(task, 120, None)
    twin = replace(
        PLAIN, model=model_of(task).config, train=replace(PLAIN.train, learning_rate=0.03)
    )
    with threads_for(twin):
        mine = references.train_reference(twin, prepared, np.arange(40), 80, seed=1)
        losses = references.losses(mine, prepared, np.arange(120))
    ranks = losses[:40][:, None] < losses[40:][None]
    assert ranks.mean() > 0.7


def outputs() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the stage published, and what it kept inside."""
    root = artifacts.folder(RECIPE, "attack")
    published, internal = (
        artifacts.read_json(root / name / "attack.json") for name in ("published", "internal")
    )
    return published, internal


@pytest.mark.parametrize("task", KINDS)
def test_the_attack_stage_runs_without_sensitive_features(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree(task)
    stage.main([RECIPE])
    published, internal = outputs()
    assert set(published) == {"verdict", "method", "claim", "note"}
    assert published["verdict"] == "consistent"
    assert internal["run"]["rejected"] == []
    assert internal["membership"]["model"]["rmia"]["by_group"] == []
    assert (internal["secrets"] is None) == (task != "next_token")
    assert ("random secrets" in published["method"]) == (task == "next_token")
    told = attacks.secrets_table(internal["secrets"])
    if task == "next_token":
        assert told is not None and [row[0] for row in told.rows] == [
            "as the recipe trains", "without privacy",
        ]  # fmt: skip
        assert "exposure" not in str(published).lower(), "figures stay inside"
    else:
        assert told is None and "next token" in internal["no_secrets"]


def test_secrets_that_are_given_away_violate_the_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree("next_token")
    found = {"refutes_curve": True}
    monkeypatch.setattr(stage.secrets, "study", lambda *_: (found, None))
    artifacts.write_section(
        RECIPE, "attack", replace(ATTACK, references=0, run=replace(ATTACK.run, canaries=0))
    )
    stage.main([RECIPE])
    assert outputs()[0]["verdict"] == "violated"
    assert outputs()[1]["no_run"] == "attack.run.canaries is 0"


@pytest.mark.parametrize("task", ["forecast", "seq2seq"])
def test_the_explain_stage_runs_without_sensitive_features(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree(task, 80)
    threads = torch.get_num_threads()
    try:
        explain.main([RECIPE])
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
    root = artifacts.folder(RECIPE, "attributions")
    found = artifacts.read_json(root / "published" / "attributions.json")
    assert set(found["not_applicable"]) == {"groups", "proxies", "reasons"}
    assert not (root / "internal" / "reasons.parquet").exists()
