"""Macro F1 against scikit-learn, and its paired difference."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tasks.evidence.metrics import Predictions, compare, measure
from tasks.recipe import PredictConfig

PLAN = PredictConfig(bootstraps=400)


def made(seed, truth, skill):
    """Scores of three classes, right as often as `skill` says."""
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet([1, 1, 1], len(truth))
    right = rng.random(len(truth)) < skill
    scores[right, truth[right]] += 1
    scores /= scores.sum(1, keepdims=True)
    return Predictions(
        scores, scores.argmax(1), -np.log(scores[np.arange(len(truth)), truth]), None
    )


def test_macro_f1_is_scikit_learns_and_its_interval_holds_it():
    truth = np.random.default_rng(0).choice(3, 3000, p=[0.6, 0.3, 0.1])
    one, other = made(1, truth, 0.7), made(2, truth, 0.5)
    figure = measure(truth, one, PLAN)["macro_f1"]
    wanted = f1_score(truth, one.predicted, average="macro")
    assert figure["value"] == pytest.approx(wanted)
    assert wanted - 0.05 < figure["low"] < wanted < figure["high"] < wanted + 0.05
    gap = compare(truth, one, other, PLAN)["macro_f1"]
    assert gap["value"] == pytest.approx(wanted - f1_score(truth, other.predicted, average="macro"))
    assert gap["low"] > 0


def test_a_class_that_nobody_has_or_says_counts_as_nothing():
    truth = np.array([0, 1] * 50)
    scores = np.eye(3)[truth] * 0.9 + 0.05
    figure = measure(truth, Predictions(scores, truth, np.zeros(100), None), PLAN)["macro_f1"]
    assert figure["value"] == pytest.approx(2 / 3)
