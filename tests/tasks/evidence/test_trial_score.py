"""Scores of trials: hand-computed values, one person's share, and noise of the stated size."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rnn.privacy.noise import Keystream
from tasks.evidence import trial_score
from tasks.evidence.trial_score import STEPS, counts_of, mechanism_of, people_of, read_score, score
from tasks.settings.sweep import ScoreConfig

PUBLIC = {"people": "public", "reason": "a table that anybody may download"}
BINARY = np.array([[-2.0], [-0.5], [0.5], [2.0]])
CLASSES = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.2, 0.5, 0.3]]))


def of(logits, targets, task, **fields):
    config = ScoreConfig(**{**PUBLIC, **fields})
    return read_score(counts_of(logits, np.array(targets), task, config), config)


def test_auc_by_hand():
    assert of(BINARY, [0, 0, 1, 1], "binary", metric="auc") == 1
    assert of(BINARY, [1, 1, 0, 0], "binary", metric="auc") == 0
    # Of four pairs three are in order.
    assert of(BINARY, [0, 1, 0, 1], "binary", metric="auc") == 0.75
    # Two people in one bin are a tie.
    same = np.array([[1.0], [1.0]])
    assert of(same, [0, 1], "binary", metric="auc") == 0.5
    beyond = np.array([[-40.0], [40.0]])
    assert of(beyond, [0, 1], "binary", metric="auc") == 1


def test_accuracy_by_hand():
    assert of(BINARY, [0, 0, 1, 0], "binary", metric="accuracy") == 0.75
    assert of(CLASSES, [0, 1, 2, 2], "multiclass", metric="accuracy") == 0.75


def test_loss_by_hand():
    losses = -np.log(np.array([0.7, 0.8, 0.4, 0.3]))
    found = of(CLASSES, [0, 1, 2, 2], "multiclass", metric="loss", loss_clip=3.0)
    assert found == pytest.approx(-losses.mean(), abs=3 / STEPS)
    clipped = of(CLASSES, [0, 1, 2, 2], "multiclass", metric="loss", loss_clip=0.5)
    assert clipped == pytest.approx(-np.minimum(losses, 0.5).mean(), abs=0.5 / STEPS)
    scaled = of(np.array([[0.5], [-1.0]]), [0.0, 0.0], "regression", metric="loss")
    assert scaled == pytest.approx(-(0.125 + 0.5) / 2, abs=3 / STEPS)


@pytest.mark.parametrize("metric", ["auc", "accuracy", "loss"])
def test_one_person_moves_the_counts_by_the_sensitivity_at_most(metric):
    """Neighbours: any one person is replaced by nothing."""
    rng = np.random.default_rng(0)
    config = ScoreConfig(metric=metric)
    logits = rng.normal(scale=30, size=(200, 1))
    logits[:3, 0] = [math.inf, -math.inf, 0.0]
    targets = rng.integers(0, 2, 200)
    whole = counts_of(logits, targets, "binary", config)
    assert (whole % 1 == 0).all()
    moved = []
    for gone in range(200):
        kept = np.arange(200) != gone
        less = counts_of(logits[kept], targets[kept], "binary", config)
        moved.append(np.linalg.norm(whole - less))
    sensitivity = mechanism_of(config).sensitivity
    assert 0.7 * sensitivity < max(moved) <= sensitivity + 1e-9
    # A sensitivity of half of it would be passed.
    assert max(moved) > sensitivity / 2


def test_a_person_of_several_sequences_counts_once():
    units = np.array([7, 7, 3, 3, 3, 9, 1])
    prepared = SimpleNamespace(
        rows=lambda split: np.array([0, 1, 2, 3, 4, 5]) if split == "train" else np.array([6]),
        sequences=SimpleNamespace(units=units),
    )
    config = ScoreConfig(metric="accuracy")
    assert people_of(prepared, config, "person").tolist() == [0, 2, 5]
    assert people_of(prepared, config, "record").tolist() == [0, 1, 2, 3, 4, 5]
    held_out = ScoreConfig(metric="accuracy", people="held_out")
    assert people_of(prepared, held_out, "person").tolist() == [6]


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_noise_has_the_stated_size(monkeypatch, metric):
    """Accepts the stated noise multiplier, rejects 0.95x and 1.05x."""
    config = ScoreConfig(metric=metric, noise_multiplier=8.0)
    exact = np.array([500.0, 1500.0]) if metric == "accuracy" else np.array([700.0, 2000.0 * STEPS])
    seen = []
    monkeypatch.setattr(trial_score, "people_of", lambda *arguments: np.arange(1))
    monkeypatch.setattr(trial_score, "model_logits", lambda *arguments: np.zeros((1, 1)))
    monkeypatch.setattr(trial_score, "counts_of", lambda *arguments: exact)
    monkeypatch.setattr(
        trial_score, "read_score", lambda counts, config: seen.append(counts - exact) or 0.0
    )
    prepared = SimpleNamespace(
        sequences=SimpleNamespace(targets=np.zeros(1)), schema={"task": "binary"}
    )
    stream = Keystream.from_seed(1)
    for _ in range(4000):
        score(torch.nn.Identity(), prepared, config, "person", stream)
    unit = 1.0 if metric == "accuracy" else STEPS * math.sqrt(2)
    found = float(np.std(np.concatenate(seen))) / unit
    # 8,000 draws: one standard error is 0.8 %.
    assert abs(found / 8.0 - 1) < 0.03
    assert abs(found / (0.95 * 8.0) - 1) > 0.03 and abs(found / (1.05 * 8.0) - 1) > 0.03


def test_public_people_are_scored_exactly():
    config = ScoreConfig(metric="accuracy", **PUBLIC)
    assert config.people == "public"
    noisy = [of(BINARY, [0, 0, 1, 0], "binary", metric="accuracy") for _ in range(3)]
    assert noisy == [0.75] * 3
