"""Probes: they find what is there, on people whom they have not seen, and nothing else."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tasks.evidence.probe import FOLDS, fit_probe, shuffled_aucs

RNG = np.random.default_rng(0)


def blobs(people: int, classes: int, apart: float, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, classes, people)
    states = rng.normal(size=(people, width))
    states[:, 0] += apart * (codes == 1)
    return states, codes


def test_what_is_there_is_found() -> None:
    states, codes = blobs(600, 3, 3.0)
    probe = fit_probe(states, codes, 0)
    assert probe is not None
    found = probe.auc(states, 1, 0.95)
    # Normal scores 3 apart: AUC is Phi(3 / sqrt 2) = 0.983.
    assert found.low < 0.983 < found.high
    assert found.low > 0.96


def test_states_wider_than_there_are_people_tell_nothing_by_heart() -> None:
    """In sample this probe is perfect; over people it has not seen it guesses."""
    states, codes = blobs(120, 2, 0.0, width=150)
    probe = fit_probe(states, codes, 0)
    assert probe is not None
    found = probe.auc(states, 1, 0.95)
    assert found.low < 0.5 < found.high
    fold = probe.folds[0]
    seen = np.setdiff1d(np.arange(120), fold.rows)
    assert roc_auc_score(codes[seen] == 1, fold.logits(states[seen])[:, 1]) > 0.99


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_those_of_a_logistic_regression(classes: int) -> None:
    states, codes = blobs(400, classes, 1.0)
    probe = fit_probe(states, codes, 0)
    assert probe is not None
    values = []
    for fold in probe.folds:
        train = np.setdiff1d(np.arange(400), fold.rows)
        scaled = (states - states[train].mean(0)) / states[train].std(0)
        model = LogisticRegression(tol=1e-8, max_iter=1000).fit(scaled[train], codes[train])
        values.append(
            roc_auc_score(codes[fold.rows] == 1, model.predict_proba(scaled[fold.rows])[:, 1])
        )
    assert probe.auc(states, 1, 0.95).value == pytest.approx(np.mean(values), abs=2e-3)


def test_everybody_is_tested_once() -> None:
    states, codes = blobs(203, 3, 1.0)
    probe = fit_probe(states, codes, 0)
    assert probe is not None
    assert len(probe.folds) == FOLDS
    assert sorted(np.concatenate([f.rows for f in probe.folds])) == list(range(203))


def test_small_groups_take_no_part_and_one_group_has_no_probe() -> None:
    states = RNG.normal(size=(90, 3))
    codes = np.r_[np.zeros(40, dtype=int), np.ones(40, dtype=int), np.full(10, 2)]
    probe = fit_probe(states, codes, 0)
    assert probe is not None
    assert probe.groups.tolist() == [0, 1]
    assert max(f.rows.max() for f in probe.folds) < 80
    assert fit_probe(states, np.r_[np.zeros(80, dtype=int), np.ones(10, dtype=int)], 0) is None


def test_shuffled_labels_are_about_one_half_where_the_real_ones_are_not() -> None:
    states, codes = blobs(300, 2, 2.0)
    found = shuffled_aucs(states, codes, 5, 0, 0.95)
    assert len(found[1]) == 5
    assert 0.42 < np.mean(found[1]) < 0.58
    assert found == shuffled_aucs(states, codes, 5, 0, 0.95)


def test_the_interval_covers(people: int = 150) -> None:
    """Fixed scores, known AUC: DeLong's variances over folds, 95 % of 200 samples."""
    covered = 0
    for turn in range(200):
        rng = np.random.default_rng(turn)
        codes = rng.integers(0, 2, people)
        states = rng.normal(size=(people, 1)) + 1.0 * codes[:, None]
        probe = fit_probe(states, codes, turn)
        assert probe is not None
        found = probe.auc(states, 1, 0.95)
        covered += found.low <= 0.7602 <= found.high
    assert 182 <= covered <= 199
