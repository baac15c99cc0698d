"""Candidates: from the stated distribution, independent, or the same for the same results."""

import math

import numpy as np

from tasks.candidates import following, independent, values_of
from tasks.settings.sweep import AdaptiveSweep, Between, RandomSweep

PARAMETERS = {
    "train.learning_rate": Between(low=0.01, high=1.0, log=True),
    "privacy.max_grad_norm": Between(low=1.0, high=3.0),
    "model.hidden_size": Between(low=2.0, high=5.0),
    "model.head_sizes": ((), (8,), (8, 4)),
}


def test_independent_candidates_follow_the_stated_distribution():
    sweep = RandomSweep(rule="random", parameters=PARAMETERS)
    drawn = [independent(sweep, seed) for seed in range(600)]
    rates = np.log10([c["train.learning_rate"] for c in drawn])
    # Evenly from -2 to 0: a standard error of the mean is 0.024. On the plain scale it is -0.43.
    assert rates.min() >= -2 and rates.max() <= 0
    assert abs(rates.mean() + 1) < 0.1
    norms = np.array([c["privacy.max_grad_norm"] for c in drawn])
    assert norms.min() >= 1 and norms.max() <= 3 and abs(norms.mean() - 2) < 0.1
    sizes = [c["model.hidden_size"] for c in drawn]
    assert set(sizes) == {2, 3, 4, 5} and all(isinstance(s, int) for s in sizes)
    heads = [c["model.head_sizes"] for c in drawn]
    assert all(150 < heads.count(head) < 250 for head in ((), (8,), (8, 4)))
    # No parameter tells another.
    assert abs(np.corrcoef(rates, norms)[0, 1]) < 4 / math.sqrt(600)


def test_without_a_seed_no_two_candidates_are_the_same(caplog, capsys):
    sweep = RandomSweep(rule="random", parameters=PARAMETERS)
    drawn = [independent(sweep, None)["train.learning_rate"] for _ in range(20)]
    assert len(set(drawn)) == 20
    # A line a candidate would count them.
    assert caplog.text == "" and capsys.readouterr() == ("", "")


def test_a_following_trial_hangs_on_the_results_alone():
    sweep = AdaptiveSweep(rule="adaptive", parameters=PARAMETERS, trials=6)
    results = []
    for score in (0.3, 0.9, 0.5, 0.7):
        trial = following(sweep, results)
        assert following(sweep, results).params == trial.params
        results.append(
            {"drawn": trial.params, "state": "COMPLETE", "score": score, "looks": [score]}
        )
    other = [{**r, "score": -r["score"]} for r in results]
    values = [values_of(PARAMETERS, following(sweep, found).params) for found in (results, other)]
    assert values[0] != values[1]


def test_a_trial_below_the_median_of_those_before_is_stopped():
    sweep = AdaptiveSweep(rule="adaptive", parameters=PARAMETERS, trials=6, looks=2)
    results = []
    for score in (0.6, 0.7, 0.8):
        trial = following(sweep, results)
        results.append(
            {"drawn": trial.params, "state": "COMPLETE", "score": score, "looks": [score, score]}
        )
    for value, stops in ((0.2, True), (0.9, False)):
        trial = following(sweep, results)
        trial.report(value, 0)
        assert trial.should_prune() == stops
