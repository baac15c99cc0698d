"""Scores of canaries from noisy sums: the ideal ones where nothing is in the way."""

import numpy as np
import pytest
import torch

from rnn.privacy.evidence import Evidence, ideal_scores
from rnn.privacy.lower_bounds import gaussian_epsilon, lower_bound


def test_orthogonal_canaries_get_the_ideal_score():
    rng = np.random.default_rng(3)
    evidence = Evidence(4, 0.3)
    expected = np.zeros(4)
    for _ in range(5):
        seen = rng.normal(size=6)
        evidence.add(torch.from_numpy(seen), torch.eye(6, dtype=torch.float64)[:4], 1.7)
        expected += np.log(0.7 + 0.3 * np.exp((2 * seen[:4] - 1) / (2 * 1.7**2)))
    assert evidence.scores == pytest.approx(expected)
    assert evidence.crosstalk == pytest.approx(0, abs=1e-9)


def test_crosstalk_of_canaries_that_are_alike_is_counted_as_noise():
    """Two canaries a direction: each one's variance has the other's sampling in it."""
    evidence = Evidence(400, 0.5)
    alike = torch.eye(200, dtype=torch.float64).repeat(2, 1)
    spread = np.repeat([0.2, 0.1], 200)
    found = [evidence._shared(spread, alike, np.ones(400)) for _ in range(20)]
    assert np.mean(found) == pytest.approx(0.15, abs=0.02)


def test_what_others_are_known_to_add_is_taken_away():
    """A canary beside one that is surely there, and alike, is judged by what is left."""
    rng = np.random.default_rng(1)
    alike = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    kept, blind = Evidence(2, 0.5), 0.0
    for _ in range(400):
        sampled = rng.random() < 0.5
        seen = torch.from_numpy(sampled * alike[0].numpy() + 0.5 * rng.normal(size=2))
        kept.add(seen, alike, 0.5)
        aimed = float(alike[1] @ seen)
        blind += np.log(0.5 + 0.5 * np.exp((2 * aimed - 1) / (2 * 0.5**2)))
    # Without cancellation the absent one looks as if it were there.
    assert kept.scores[0] > 10 and kept.scores[1] < blind
    assert kept.scores[1] < 0 < blind


def test_the_ideal_attack_is_bounded_by_the_closed_form_without_sampling():
    scores, present = ideal_scores(2000, 9, 1.0, 3.0, seed=5)
    # Nine steps at noise 3 are one at noise 1; its likelihood ratio has mean -1/2 and +1/2.
    assert scores[present].mean() == pytest.approx(0.5, abs=0.1)
    assert scores[~present].mean() == pytest.approx(-0.5, abs=0.1)
    assert scores[~present].std() == pytest.approx(1.0, abs=0.07)
    assert 0.5 < lower_bound(scores, present, 1e-5).epsilon < gaussian_epsilon(1.0, 1e-5)
