"""Connected words by templates: the cheapest cover against every cover; parts are found again."""

from itertools import combinations, product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rnn.batch import PreparedSequences
from tasks.kinds.one_stage import OneStage, match, resampled
from tasks.kinds.transcripts import edits
from tasks.params import UserError


def _path_cost(costs: np.ndarray) -> float:
    """The cheapest way of T steps through S steps of one template, every way tried."""
    steps, size = costs.shape
    best = np.inf
    for path in product(range(size), repeat=steps):
        moves = np.diff(path)
        inside = path[0] <= 1 and path[-1] >= size - 2
        if inside and (moves >= 0).all() and (moves <= 2).all():
            best = min(best, sum(costs[t, s] for t, s in enumerate(path)))
    return float(best)


def _every_cover(steps: int) -> list[list[tuple[int, int]]]:
    """All ways to cut a sequence into parts."""
    return [
        list(zip((0, *cuts), (*cuts, steps), strict=True))
        for count in range(steps)
        for cuts in combinations(range(1, steps), count)
    ]


def _total(costs: np.ndarray, parts: list[Any], penalty: float) -> float:
    return sum(_path_cost(costs[a:b, w]) for a, b, w in parts) + penalty * (len(parts) - 1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_a_free_match_is_the_cheapest_of_all(seed: int, penalty: float) -> None:
    costs = np.random.default_rng(seed).standard_normal((6, 2, 3)).astype(np.float32)
    (parts,) = match(costs[None, :, None], np.array([6]), penalty=penalty)
    every = [
        _total(costs, [(a, b, w) for (a, b), w in zip(cover, words, strict=True)], penalty)
        for cover in _every_cover(6)
        for words in product(range(2), repeat=len(cover))
    ]
    assert [part[0] for part in parts[1:]] == [part[1] for part in parts[:-1]]
    assert (parts[0][0], parts[-1][1]) == (0, 6)
    assert _total(costs, parts, penalty) == pytest.approx(min(every), abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_a_match_of_known_symbols_keeps_their_order(seed: int) -> None:
    costs = np.random.default_rng(seed).standard_normal((7, 3, 2, 3)).astype(np.float32)
    (parts,) = match(costs[None], np.array([7]), np.array([3]))
    every = [
        sum(
            _path_cost(costs[a:b, u, w])
            for u, ((a, b), w) in enumerate(zip(cover, words, strict=True))
        )
        for cover in _every_cover(7)
        if len(cover) == 3
        for words in product(range(2), repeat=3)
    ]
    found = sum(_path_cost(costs[a:b, u, w]) for u, (a, b, w) in enumerate(parts))
    assert len(parts) == 3
    assert found == pytest.approx(min(every), abs=1e-5)


def test_padding_says_nothing_and_too_short_is_nothing() -> None:
    costs = np.random.default_rng(0).standard_normal((1, 6, 1, 2, 3)).astype(np.float32)
    padded = np.concatenate([costs, -100 * np.ones_like(costs)], axis=1)
    assert match(costs, np.array([6])) == match(padded, np.array([6]))
    wide = np.broadcast_to(costs[:, :1], (1, 1, 3, 2, 3))
    assert match(wide, np.array([1]), np.array([3])) == [[]]


def test_resampled_keeps_both_ends() -> None:
    steps = np.arange(10, dtype=np.float32)[:, None]
    assert resampled(steps, 4).ravel() == pytest.approx([0, 3, 6, 9])
    assert resampled(steps[:1], 3).ravel().tolist() == [0, 0, 0]


def _spoken(count: int, noise: float, seed: int) -> Any:
    """Strings of three "words": shapes over two channels, at any speed."""
    numbers = np.random.default_rng(seed)
    shapes = [
        np.array(s, dtype=float) for s in ([[0, 3], [3, 3], [3, 0]], [[-3, 0], [0, -3]], [[3, -3]])
    ]
    values, said = [], []
    for _ in range(count):
        words = numbers.integers(0, 3, numbers.integers(2, 6))
        parts = [resampled(shapes[w], int(numbers.integers(5, 9))) for w in words]
        whole = np.concatenate(parts)
        values.append(whole + noise * numbers.standard_normal(whole.shape))
        said.append(words + 1)
    lengths, sizes = [len(v) for v in values], [len(s) for s in said]
    sequences = PreparedSequences(
        np.concatenate(values).astype(np.float32),
        None,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.zeros((count, 0), dtype=np.float32),
        np.concatenate(said).astype(np.int32),
        target_offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
    )
    return SimpleNamespace(
        sequences=sequences,
        rows=lambda side: np.arange(count * 3 // 4),
        schema={"target": {"names": ["up", "down", "flat"]}},
    )


def test_words_are_found_without_being_told_where_they_are() -> None:
    prepared = _spoken(120, 0.3, 0)
    model = OneStage.fit(prepared, seed=0)
    judged = model.judge(prepared, np.arange(90, 120))
    assert judged.truth is not None and judged.said is not None
    wrong = sum(edits(a.split(), b.split()) for a, b in zip(judged.truth, judged.said, strict=True))  # type: ignore[arg-type]
    assert judged.sums["edits"].sum() == wrong
    assert judged.sums["edits"].sum() / judged.sums["symbols"].sum() < 0.1
    assert np.isnan(judged.losses).all()


def test_text_is_refused() -> None:
    tokens = _spoken(4, 0.1, 0)
    tokens.sequences = SimpleNamespace(is_tokens=True)
    with pytest.raises(UserError, match="one_stage"):
        OneStage.fit(tokens, seed=0)
