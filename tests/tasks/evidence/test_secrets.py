"""Secrets in invented text: remembered without noise, forgotten with it, and held to the ledger."""

from dataclasses import replace

import numpy as np
import pytest

from rnn.beam import END_ID as END
from rnn.beam import START_ID as START
from rnn.config import InputShape, ModelConfig, TrainConfig
from rnn.fairness.config import Reweight
from rnn.losses import batch_losses
from rnn.model import build
from tasks.evidence import secrets
from tasks.evidence.secrets import FIRST, format_of, invented_texts, plant, study
from tasks.params import UserError, validate
from tasks.recipe import AttackConfig, SecretsConfig
from tests.heldout import SPENT, TRAIN

SHAPE = InputShape(
    input_size=0, vocabulary_size=20, static_size=1, output_size=20, task="next_token"
)
CONFIG = AttackConfig(secrets=SecretsConfig(count=100, slots=4, candidates=200, bystanders=30))
PLAN = replace(
    TRAIN,
    model=ModelConfig(hidden_size=24, embedding_size=12),
    train=TrainConfig(steps=60, expected_batch_size=30, learning_rate=0.05, threads=1),
    privacy=replace(TRAIN.privacy, noise_multiplier=8.0),
    sample_rate=0.5,
    noise_multiplier=8.0,
)
CLAIM = replace(SPENT, noise_multiplier=8.0, sample_rate=0.5, steps=60, delta=1e-5)


def test_a_secret_is_two_fixed_words_and_ten_tokens_a_slot() -> None:
    found = format_of(20, 3)
    assert found is not None and found.size == 1000
    assert found.slots[:2] == ((4,), (5,)) and set(found.slots[2:]) == {tuple(range(6, 16))}
    small = format_of(FIRST + 4, 3)
    assert small is not None and small.size == 2**3, "as many as there are"
    assert format_of(FIRST + 3, 3) is None


def test_invented_texts_follow_one_another_more_than_chance() -> None:
    texts = invented_texts(20, 400, 6, seed=0)
    assert {len(t) for t in texts} == set(range(1, 7))
    assert all(t.min() >= FIRST and t.max() < 20 for t in texts)
    counts = np.zeros((20, 20))
    for text in texts:
        np.add.at(counts, (text[:-1], text[1:]), 1)
    seen = counts[counts.sum(1) > 20]
    # Three followers take four fifths of what comes next; of 16 at random three would a fifth.
    assert (np.sort(seen, 1)[:, -3:].sum(1) / seen.sum(1)).mean() > 0.7
    assert len(np.argwhere(counts)) > 60, "and others too"


def test_what_is_planted() -> None:
    planted = plant(SHAPE, CONFIG.secrets, 3)
    assert planted is not None
    texts, count = planted.texts, 100
    assert len(texts) == 330 and planted.size == 10**4
    rows = planted.rows
    assert set(rows[rows < 300]) == set(np.flatnonzero(planted.present)), "no candidate is in"
    assert set(range(300, 330)) <= set(rows) and 30 <= planted.present.sum() <= 70
    first = texts.sequences[texts.offsets[0] : texts.offsets[1]]
    assert first.tolist()[:3] == [START, 4, 5] and first[-1] == END and len(first) == 8
    model = build(ModelConfig(hidden_size=4), SHAPE, 0).eval()
    surprise = planted.surprise(model)
    batch = texts.batch(np.array([count]))
    whole = float(batch_losses(model.outputs(batch), batch, SHAPE).detach()[0]) * 7
    assert surprise.shape == (300,) and surprise[count] == pytest.approx(whole, rel=1e-5)
    other = plant(SHAPE, CONFIG.secrets, 4)
    assert other is not None and not np.array_equal(other.texts.sequences, texts.sequences)
    assert plant(replace(SHAPE, vocabulary_size=6), CONFIG.secrets, 3) is None
    few = replace(CONFIG.secrets, slots=2)
    assert plant(SHAPE, few, 3) is None, "there are but a hundred"


def test_what_is_remembered_without_privacy_is_forgotten_with_it() -> None:
    found, why = study(PLAN, CLAIM, SHAPE, CONFIG)
    assert why is None and found is not None
    private, plain = found["private"], found["plain"]
    assert private["mean"]["low"] < private["forgotten"] + 0.2
    assert private["p_value"] > 0.001
    assert plain["mean"]["value"] > 5 and plain["p_value"] < 1e-6
    assert plain["highest"]["value"] > private["highest"]["value"]
    assert found["refutes_curve"] is False and found["lower_bound"]["epsilon"] < 1
    assert found["settings"] == {
        "inserted": private["secrets"], "texts": private["secrets"] + 30, "steps": 60, "slots": 4,
    }  # fmt: skip
    assert private["candidates"] == 300 - private["secrets"]


def test_it_is_the_same_again_and_another_seed_is_another() -> None:
    quick = replace(PLAN, train=replace(PLAN.train, steps=2))
    claim = replace(CLAIM, steps=2)
    few = replace(CONFIG, secrets=SecretsConfig(count=20, slots=4, candidates=10, bystanders=9))
    first, again = (study(quick, claim, SHAPE, few)[0] for _ in range(2))
    other, _ = study(quick, claim, SHAPE, replace(few, seed=1))
    assert first == again != other


def test_a_run_without_the_noise_that_is_claimed_contradicts_the_ledger() -> None:
    privacy = replace(PLAN.privacy, noise_multiplier=0.01)
    quiet = replace(PLAN, privacy=privacy, noise_multiplier=0.01)
    found, _ = study(quiet, replace(CLAIM, noise_multiplier=40.0), SHAPE, CONFIG)
    assert found is not None and found["refutes_curve"] is True
    # The same run does not contradict what it was.
    assert found["lower_bound"]["epsilon"] > 1


def test_why_there_are_none() -> None:
    none = replace(CONFIG, secrets=SecretsConfig(count=0))
    assert study(PLAN, CLAIM, SHAPE, none) == (None, "attack.secrets.count is 0")
    said = {
        "next token": study(PLAN, CLAIM, replace(SHAPE, task="multiclass"), CONFIG),
        "without privacy": study(replace(PLAN, privacy=None), CLAIM, SHAPE, CONFIG),
        "too few tokens": study(PLAN, CLAIM, replace(SHAPE, vocabulary_size=7), CONFIG),
        "no groups": study(
            replace(PLAN, mitigation=Reweight(method="reweight", feature="sex")),
            CLAIM,
            SHAPE,
            CONFIG,
        ),
    }
    for words, (found, why) in said.items():
        assert found is None and why is not None and words in why
    with pytest.raises(UserError, match=r"secrets\.count = 5 must be 0 or at least 20"):
        validate(AttackConfig, {"secrets": {"count": 5}}, "attack")


def test_weights_that_are_not_finite_are_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(secrets.Planted):
        def surprise(self, model: object) -> np.ndarray:
            return np.full(300, np.nan)

    real = plant(SHAPE, CONFIG.secrets, 0)
    assert real is not None
    monkeypatch.setattr(secrets, "plant", lambda *_: Broken(**vars(real)))
    quick = replace(PLAN, train=replace(PLAN.train, steps=1))
    assert study(quick, CLAIM, SHAPE, CONFIG) == (None, "the run's weights are not finite")
