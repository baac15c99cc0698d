"""Shapley values of groups of cells, from orders of the players or by regression.

B people of one length, T steps, F features of the sequence, G static features, P players, K
coalitions.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.explaining.question import Groups, Question

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Players = tuple[NDArray[np.int64], NDArray[np.int64]]


def by_length(question: Question) -> Iterator[tuple[Tensor, Question]]:
    """Yield rows int64 [b] and the question about them, people of one length at a time."""
    for length in question.lengths.unique().tolist():
        rows = (question.lengths == length).nonzero()[:, 0]
        yield rows, question.take(rows)


def players(steps: int, groups: Groups, most: int) -> Players:
    """Return the player of each cell; neighbouring steps of a feature share one if need be.

    Args:
        steps: T.
        groups: F and G features.
        most: players of the sequence at most, as far as one a feature allows.

    Returns:
        int64 [T, F] and [G], numbered from 0.

    Source: Bento et al. (2021), TimeSHAP: events and features as players.
    """
    features, static = groups.sizes
    windows = max(1, min(steps, most // features))
    # Windows end with the latest step, and the first may be shorter.
    window = np.arange(steps - 1, -1, -1) // -(-steps // windows)
    window = window.max() - window
    sequence = window[:, None] * features + np.arange(features)
    return sequence, int(sequence.max()) + 1 + np.arange(static)


def values_of(
    question: Question, groups: Groups, masks: Players, present: Flags, at_once: int
) -> Floats:
    """Return the outputs of coalitions, float64 [K, B].

    Args:
        question: about B people of one length.
        groups: the channels of each feature.
        masks: what `players` returns.
        present: bool [K, P].
        at_once: rows in one pass.
    """
    like, people, found = question.embedded, len(question), []
    cells, fixed = (torch.from_numpy(present[:, m]).to(like) for m in masks)
    for i in range(0, len(present) * people, at_once):
        row = torch.arange(i, min(i + at_once, len(present) * people))
        draw, who = row // people, row % people
        with torch.no_grad():
            value = question.answer_with(cells[draw], fixed[draw], groups, who)
        found.append(value.double().cpu().numpy())
    return np.concatenate(found).reshape(len(present), people)


def sampled(
    question: Question, groups: Groups, masks: Players, orders: int, seed: int, at_once: int
) -> Floats:
    """Return each player's mean change of the output when it joins, float64 [B, P].

    Each order is followed by its reverse, in which a player meets those whom it did not meet:
    what depends on two players evens out. The shares add up exactly.

    Args:
        question: about B people of one length.
        groups: the channels of each feature.
        masks: what `players` returns.
        orders: of the players, rounded up to an even number.
        seed: of the orders.
        at_once: rows in one pass.

    Source: Castro, Gómez, Tejada (2009); reverses after Mitchell et al. (2022), section 4.1.
    """
    count = int(max(m.max(initial=-1) for m in masks)) + 1
    half = np.random.default_rng(seed).random((-(-orders // 2), count)).argsort(axis=1)
    order = np.concatenate([half, half[:, ::-1]])
    place = order.argsort(axis=1)
    size = np.arange(count + 1)
    present = place[:, None] < size[:, None]
    values = values_of(question, groups, masks, present.reshape(-1, count), at_once)
    joined = np.diff(values.reshape(len(order), count + 1, -1), axis=1)
    return np.asarray(np.take_along_axis(joined, place[..., None], 1).mean(0).T)


def coalitions(count: int, draws: int, seed: int) -> Flags:
    """Return bool [K, P]: nobody, everybody, and random coalitions, each with its opposite.

    Sizes are drawn by the weight of the Shapley kernel, so that the regression needs none.

    Args:
        count: P.
        draws: K, rounded to an even number, 2 more than none at least.
        seed: of the draws.

    Source: Lundberg and Lee (2017), theorem 2; pairs after Covert and Lee (2021), section 3.2.
    """
    generator = np.random.default_rng(seed)
    half = max(1, draws // 2 - 1) if count > 1 else 0
    sizes = np.arange(1, count)
    weights = 1 / (sizes * (count - sizes))
    size = generator.choice(sizes, half, p=weights / weights.sum()) if half else sizes[:0]
    place = generator.random((half, count)).argsort(axis=1).argsort(axis=1)
    some = place < size[:, None]
    whole = np.ones((1, count), dtype=bool)
    return np.concatenate([~whole, whole, some, ~some])


def regress(present: Flags, values: Floats) -> Floats:
    """Return the shares that foretell the coalitions' values best and add up exactly.

    Args:
        present: bool [K, P], nobody first, everybody second.
        values: float64 [K, B].

    Returns:
        float64 [B, P].

    Source: Covert and Lee (2021), equation 7.
    """
    whole = values[1] - values[0]
    joined = present[2:].astype(np.float64)
    count = present.shape[1]
    if not len(joined):
        return np.repeat(whole[:, None] / count, count, axis=1)
    rest = values[2:] - values[0]
    gram = np.linalg.pinv(joined.T @ joined / len(joined))
    free = gram @ (joined.T @ rest / len(joined))
    excess = (free.sum(0) - whole) / gram.sum()
    return np.asarray((free - gram.sum(1)[:, None] * excess).T)
