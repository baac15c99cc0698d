"""Decoding against every path, spelt out."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp

from rnn.ctc_decoding import best_path, collapsed, prefix_search


def _chances(steps, classes, seed, scale=1.5):
    numbers = np.random.default_rng(seed)
    return log_softmax(scale * numbers.standard_normal((steps, classes + 1)), axis=1)


def _every(chances):
    """Log-probability of each sequence of symbols, summed over all paths one by one."""
    found = {}
    for path in product(range(chances.shape[1]), repeat=len(chances)):
        kept, before = [], None
        for k in path:
            if k != before and k != 0:
                kept.append(k)
            before = k
        chance = sum(chances[t, k] for t, k in enumerate(path))
        found.setdefault(tuple(kept), []).append(chance)
    return {said: float(logsumexp(parts)) for said, parts in found.items()}


@pytest.mark.parametrize("seed", range(6))
def test_a_wide_beam_is_exact(seed):
    chances = _chances(5, 2, seed)
    wanted = _every(chances)
    found = dict(prefix_search(chances, width=1000, least=-np.inf))
    assert set(found) == set(wanted)
    for said, chance in wanted.items():
        assert found[said] == pytest.approx(chance, abs=1e-10)
    assert logsumexp(list(found.values())) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_the_first_is_the_likeliest_and_order_falls(seed):
    chances = _chances(4, 3, 10 + seed)
    wanted = _every(chances)
    found = prefix_search(chances, width=1000)
    assert found[0][0] == max(wanted, key=wanted.get)
    values = [chance for _, chance in found]
    assert values == sorted(values, reverse=True)


def test_the_likeliest_symbols_are_not_those_of_the_likeliest_path():
    # Two blanks are the best path (0.36); one symbol is said by three paths (0.64).
    chances = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert best_path(chances) == ()
    said, chance = prefix_search(chances)[0]
    assert said == (1,)
    assert np.exp(chance) == pytest.approx(0.64)


def test_the_chance_is_what_the_loss_says():
    chances = _chances(12, 4, 3)
    for said, chance in prefix_search(chances, width=400, least=-np.inf)[:3]:
        loss = torch.nn.functional.ctc_loss(
            torch.from_numpy(chances)[:, None],
            torch.tensor([said]),
            torch.tensor([12]),
            torch.tensor([len(said)]),
            reduction="none",
        )
        # What fell out of the beam is missing from the sum.
        assert -loss.item() == pytest.approx(chance, abs=2e-3)
        assert chance <= -loss.item() + 1e-9


def test_a_wider_beam_is_never_less_likely():
    chances = _chances(30, 5, 4, scale=0.5)
    best = [prefix_search(chances, width)[0][1] for width in (1, 4, 16, 64)]
    assert best == sorted(best)
    assert best[-1] > best[0]


def test_repeats_need_a_blank_between():
    sure = np.log(np.full((3, 2), 1e-9))
    sure[[0, 2], 1] = sure[1, 0] = 0.0
    assert prefix_search(sure)[0][0] == best_path(sure) == (1, 1)
    sure[1] = [np.log(1e-9), 0.0]
    assert prefix_search(sure)[0][0] == best_path(sure) == (1,)


def test_collapsed_and_nothing_to_read():
    assert collapsed([0, 3, 3, 0, 3, 1, 1, 0]) == (3, 3, 1)
    assert collapsed([]) == ()
    assert prefix_search(np.zeros((0, 3)))[0] == ((), 0.0)
