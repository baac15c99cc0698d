"""Figures of alternatives by hand and against sklearn; intervals over people and runs."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tasks.evidence.alternatives import (
    People,
    Trials,
    auc,
    disagreement,
    figures,
    interval,
    resamples,
    summary,
)

ONCE = np.ones((1, 8))
PEOPLE = People(
    np.array([1, 1, 0, 0, 1, 1, 0, 0]), np.array([0, 0, 0, 0, 1, 1, 1, 2]), ("a", "b", "c", "d"), 0
)
SCORES = np.array([0.9, 0.4, 0.6, 0.1, 0.8, 0.3, 0.2, 0.7])
DECIDED = (SCORES >= 0.5).astype(np.int64)


def test_figures_by_hand():
    found = {k: float(v[0]) for k, v in figures(ONCE, PEOPLE, SCORES, DECIDED).items()}
    assert found["accuracy"] == 4 / 8
    assert found["accuracy/a"] == 2 / 4
    assert found["accuracy/b"] == 2 / 3
    assert found["worst_group_accuracy"] == 0.0
    assert found["gap/b"] == pytest.approx(1 / 3 - 2 / 4)
    assert found["impact_ratio/b"] == pytest.approx((1 / 3) / (2 / 4))
    assert found["tpr_gap/b"] == 0.0
    # Nobody is in group d, and the reference is not compared with itself.
    assert not [name for name in found if name.endswith(("/d", "gap/a"))]


def test_area_equals_another_implementation_with_weights():
    rng = np.random.default_rng(0)
    y, scores = rng.integers(0, 2, 300), rng.integers(0, 1001, 300) / 1000
    weights = rng.integers(0, 4, (3, 300)).astype(float)
    found = auc(weights, y, np.rint(scores * 1000).astype(int))
    for row, value in zip(weights, found, strict=True):
        assert value == pytest.approx(roc_auc_score(y, scores, sample_weight=row), abs=1e-12)


def _trials(runs, people=400, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, people)
    scores = np.clip(0.3 * y + 0.7 * rng.random((runs, people)), 0, 1)
    who = People(y, rng.integers(0, 2, people), ("a", "b"), 0)
    return Trials("t", 3.0, 0.1, scores, (scores >= 0.5).astype(np.int64)), who


def test_summary_is_the_mean_over_runs_and_more_people_are_surer():
    trials, people = _trials(3)
    weights = resamples(400, 300, 0)
    found = summary(trials, people, weights, 0.95, 0)
    each = [
        figures(weights[:1], people, s, d)["accuracy"][0]
        for s, d in zip(trials.scores, trials.decisions, strict=True)
    ]
    assert found["accuracy"].value == pytest.approx(np.mean(each))
    assert found["accuracy"].low < found["accuracy"].value < found["accuracy"].high
    many, others = _trials(3, people=6400)
    wide = found["accuracy"].high - found["accuracy"].low
    narrow = summary(many, others, resamples(6400, 300, 0), 0.95, 0)["accuracy"]
    assert narrow.high - narrow.low < wide / 2


def test_runs_are_part_of_the_interval():
    one, people = _trials(1)
    right = (one.decisions == people.y)[0]
    # A second run that is always wrong where the first is right.
    both = Trials("t", 3.0, 0.0, np.stack([one.scores[0], 1 - one.scores[0]]),
                  np.stack([one.decisions[0], 1 - one.decisions[0]]))  # fmt: skip
    found = summary(both, people, resamples(400, 300, 0), 0.95, 0)["accuracy"]
    assert found.value == pytest.approx(0.5)
    assert found.low < 1 - right.mean() + 0.05
    assert found.high > right.mean() - 0.05


def test_disagreement_by_hand():
    decisions = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1]])
    who = People(np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1]), ("a", "b"), 0)
    trials = Trials("t", 3.0, 0.0, decisions / 1.0, decisions)
    found = disagreement(trials, who, resamples(4, 100, 0), 0.95)
    # Pairs: (0, 1) differ on one, (0, 2) on two, (1, 2) on one of four people.
    assert found["everybody"].value == pytest.approx((1 + 2 + 1) / 3 / 4)
    assert found["a"].value == pytest.approx((1 + 1 + 0) / 3 / 2)
    assert found["b"].value == pytest.approx((0 + 1 + 1) / 3 / 2)
    single = Trials("t", 3.0, 0.0, decisions[:1] / 1.0, decisions[:1])
    assert disagreement(single, who, resamples(4, 100, 0), 0.95) == {}


def test_a_figure_without_draws_has_no_ends():
    found = interval(np.array([0.5, np.nan, np.nan]), 0.95)
    assert found.value == 0.5
    assert np.isnan(found.low)
    assert np.isnan(found.high)
