"""Reference models: halves of people, the same bytes again, and a real overfit model."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnn.config import ModelConfig
from rnn.model import SequenceModel
from tasks import artifacts, stats
from tasks.artifacts import Prepared
from tasks.evidence import membership_study, references, rmia
from tasks.evidence.attacked import threads_for
from tasks.params import UserError
from tasks.recipe import AttackConfig
from tasks.starting.fresh import fresh_model
from tests.heldout import RECIPE, TWIN, write_tree

PLAN = AttackConfig(references=4, reference_steps=4, shuffles=99)


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    monkeypatch.chdir(tmp_path)
    write_tree("binary", people=300)
    return artifacts.read_prepared(RECIPE)


def test_everybody_is_in_half_of_the_models() -> None:
    persons = np.repeat(np.arange(50), 2)
    seen = references.halves(persons, 6, seed=1)
    assert seen.shape == (6, 100)
    assert (seen.sum(0) == 3).all()
    assert (seen.sum(1) == 50).all()
    assert (seen[0::2] != seen[1::2]).all()
    # A person's rows stay together; another pair has another halving.
    assert (seen[:, 0::2] == seen[:, 1::2]).all()
    assert 0 < (seen[0] != seen[2]).mean() < 1
    assert (references.halves(persons, 6, seed=1) == seen).all()
    assert (references.halves(persons, 6, seed=2) != seen).any()
    assert references.halves(np.arange(5), 0, seed=1).shape == (0, 5)


def test_models_are_trained_on_their_half_alone_and_repeat(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[list[int]] = []
    real = references.train_reference

    def spy(plan, given, rows, steps, seed) -> SequenceModel:  # type: ignore[no-untyped-def]
        trained.append(rows.tolist())
        return real(plan, given, rows, steps, seed)

    monkeypatch.setattr(references, "train_reference", spy)
    seen = references.halves(np.arange(300), 2, seed=0)
    first = references.reference_losses(TWIN, prepared, seen, np.arange(40), 4, seed=0)
    again = references.reference_losses(TWIN, prepared, seen, np.arange(40), 4, seed=0)
    other = references.reference_losses(TWIN, prepared, seen, np.arange(40), 4, seed=1)
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert trained[0] == np.flatnonzero(seen[0]).tolist()
    assert sorted(trained[0] + trained[1]) == list(range(300))


def test_a_reference_that_diverges_is_one_line(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(*given: Any) -> SequenceModel:
        model = fresh_model(*given)
        with torch.no_grad():
            next(model.parameters()).fill_(math.inf)
        return model

    monkeypatch.setattr(references, "fresh_model", diverging)
    with pytest.raises(UserError, match=r"not finite after 4 steps; lower twin\.learning_rate"):
        references.train_reference(TWIN, prepared, np.arange(100), 4, 0)


def test_it_finds_the_members_of_a_real_overfit_model_better_than_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree("binary", people=400)
    prepared = artifacts.read_prepared(RECIPE)
    plan = replace(
        TWIN,
        model=ModelConfig(hidden_size=16),
        train=replace(TWIN.train, learning_rate=0.03, expected_batch_size=64),
    )
    everyone, member = np.arange(400), np.arange(300) < 150
    with threads_for(plan):
        model = references.train_reference(plan, prepared, np.arange(150), 60, seed=9)
        seen = references.halves(everyone, 4, seed=0)
        losses = references.reference_losses(plan, prepared, seen, everyone, 60, seed=0)
    target = references.losses(model, prepared, everyone)
    score = rmia.attack_scores(
        target, rmia.Referees(losses, seen), np.arange(300, 400), variant="online", gamma=1.0,
        offline_a=1.0,
    )[:300]  # fmt: skip
    assert stats.auc(member, score).low > 0.57
    assert stats.auc_difference(member, score, -target[:300]).value > 0.03


def test_the_study_of_a_small_recipe(prepared: Prepared) -> None:
    found = membership_study.study(RECIPE, prepared, 1e-4, PLAN)
    assert (found["members"], found["non_members"], found["population"]) == (96, 96, 24)
    for name in ("model", "twin"):
        for attack in ("loss", "rmia"):
            one = found[name][attack]
            # Neither was trained at all.
            assert one["auc"]["low"] < 0.5 < one["auc"]["high"]
            assert one["not_measurable"] == [0.001, 0.01, 0.1]
            assert one["tpr"] == []
            assert [feature["name"] for feature in one["by_group"]] == ["sex"]
        bound = found[name]["epsilon_lower_bound"]
        assert (bound["value"], bound["confidence"]) == (0.0, 0.999)
    again = membership_study.study(RECIPE, prepared, 1e-4, PLAN)
    assert again == found


def test_without_references_there_are_losses_alone(prepared: Prepared) -> None:
    found = membership_study.study(RECIPE, prepared, 1e-4, replace(PLAN, references=0))
    assert (found["members"], found["population"]) == (120, 0)
    assert set(found["model"]) == {"loss", "epsilon_lower_bound"}
    offline = replace(PLAN, variant="offline")
    found = membership_study.study(RECIPE, prepared, 1e-4, offline)
    assert 0.0 <= found["twin"]["rmia"]["offline_a"] <= 1.0


def test_one_row_a_person(prepared: Prepared) -> None:
    names = [f"p{i // 3}" for i in range(300)]
    people = prepared.people.with_columns(person_id=np.array(names))
    persons, rows = membership_study.persons_of(replace(prepared, people=people))
    assert len(rows) == 100
    assert sorted({names[row] for row in rows}) == sorted(set(names))
    assert all((persons[0::3] == persons[1::3]) & (persons[1::3] == persons[2::3]))


def test_nobody_held_out_is_one_line(prepared: Prepared) -> None:
    people = prepared.people.with_columns(split=np.array(["train"] * 300))
    with pytest.raises(UserError, match="needs people in train and in test"):
        membership_study.study(RECIPE, replace(prepared, people=people), 1e-4, PLAN)


def test_references_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="references = 3 must be even"):
        AttackConfig(references=3)
