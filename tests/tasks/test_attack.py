"""The stage holds the claim against the attacks, and tells little to the public."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import artifacts
from tasks import attack as stage
from tasks.params import UserError
from tasks.recipe import AttackRunConfig
from tests.heldout import ATTACK, RECIPE, SPENT, TRAIN, write_tree


def _outputs() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the stage published, and what it kept inside."""
    root = artifacts.folder(RECIPE, "attack")
    published, internal = (
        artifacts.read_json(root / name / "attack.json") for name in ("published", "internal")
    )
    return published, internal


def test_either_attack_violates_the_claim() -> None:
    assert stage.verdict(2.5, 1.0) == "violated"
    assert stage.verdict(2.5, 8.0) == "consistent"
    assert stage.verdict(0.0, 8.0, refuted=True) == "violated"


def test_stage_publishes_the_verdict_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree("multiclass", tokens=True)
    stage.main([RECIPE])
    published, internal = _outputs()
    assert set(published) == {"verdict", "method", "claim", "note"}
    assert (published["verdict"], published["claim"]) == ("consistent", SPENT.epsilon)
    assert set(internal) == {
        "claim", "delta", "run", "no_run", "secrets", "no_secrets", "membership"
    }  # fmt: skip
    assert internal["run"]["refutes_curve"] is False and internal["no_run"] is None
    membership = internal["membership"]
    assert (membership["members"], membership["non_members"], membership["population"]) == (
        160, 160, 40,
    )  # fmt: skip
    assert set(membership["model"]) == {"loss", "rmia", "epsilon_lower_bound"}
    assert set(membership["model"]) == set(membership["twin"])
    root = artifacts.folder(RECIPE, "attack")
    first = artifacts.digest_folder(root)
    stage.main([RECIPE])
    assert artifacts.digest_folder(root) == first
    with pytest.raises(UserError, match="usage"):
        stage.main([])


def test_a_run_with_less_noise_than_the_ledger_says_is_violated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree("binary")
    # Trained with a tenth of the noise that the account claims.
    privacy = replace(TRAIN.privacy, noise_multiplier=0.5)
    loud = replace(TRAIN, privacy=privacy, noise_multiplier=0.5, sample_rate=0.5)
    # A model with room for many canaries.
    size = replace(TRAIN.model, hidden_size=16)
    loud = replace(loud, train=replace(TRAIN.train, steps=40), model=size)
    claimed = replace(SPENT, noise_multiplier=5.0, sample_rate=0.5, steps=40)
    config = replace(ATTACK, run=AttackRunConfig(canaries=200, bystanders=20, simulations=1))
    for name, section in (("attack", config), ("train", loud)):
        artifacts.write_section(RECIPE, name, section)
    spent = artifacts.folder(RECIPE, "model", "privacy_spent.json")
    artifacts.write_json(spent, vars(claimed))
    stage.main([RECIPE])
    published, internal = _outputs()
    assert published["verdict"] == "violated"
    assert internal["run"]["rejected"] == ["curve"]
    assert internal["run"]["lower_bound"]["epsilon"] > 2.7


def test_without_canaries_the_stage_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree("regression")
    config = replace(ATTACK, run=AttackRunConfig(canaries=0))
    artifacts.write_section(RECIPE, "attack", config)
    stage.main([RECIPE])
    published, internal = _outputs()
    assert published["verdict"] == "consistent"
    assert internal["run"] is None and internal["no_run"] == "attack.run.canaries is 0"
