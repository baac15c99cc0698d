"""The smoothed n-gram model: by hand, against its definition, and as a probability."""

import math
from collections import Counter, defaultdict
from functools import cache
from itertools import product

import numpy as np
import polars as pl
import pytest

from rnn.batch import PreparedSequences
from tasks.artifacts import Prepared
from tasks.kinds.kneser_ney import FALLBACK, START_ID, KneserNey, Steps, discounts_of

END = 3


def _texts(*words: str) -> list[np.ndarray]:
    """Texts of the letters a, b, ...: ids from 4 on, between <start> and <end>."""
    return [np.array([START_ID, *(ord(c) - ord("a") + 4 for c in w), END]) for w in words]


def _chance(model: KneserNey, text: np.ndarray) -> np.ndarray:
    """Chance of every token of one text but its start."""
    steps = Steps.of([text])
    return model.chances(model.numbers(steps), steps.targets)


def test_bigrams_by_hand() -> None:
    # ab three times, aa once. Discounts: too few counts, so 0.5, 1, 1.5.
    model = KneserNey.of(_texts("ab", "ab", "ab", "aa"), size=6, order=2)
    # Kinds of bigrams: <s>a, ab, aa, b</s>, a</s>: a after 2 tokens, b after 1, </s> after 2.
    # Lowest order: 5 kinds, V = 4 tokens that can be said (<unknown>, </s>, a, b).
    lost = (1.0 + 0.5 + 1.0) / 5
    low = {"a": 1 / 5 + lost / 4, "b": 0.5 / 5 + lost / 4, "</s>": 1 / 5 + lost / 4}
    # After a: b 3 times, a once, </s> once; they lose 1.5 + 0.5 + 0.5 of 5.
    after_a = {"b": 1.5 / 5 + 0.5 * low["b"], "a": 0.5 / 5 + 0.5 * low["a"]}
    # After <s>: a 4 times of 4; after b: </s> 3 times of 3.
    expected = [2.5 / 4 + 1.5 / 4 * low["a"], after_a["b"], 1.5 / 3 + 1.5 / 3 * low["</s>"]]
    assert _chance(model, _texts("ab")[0]) == pytest.approx(expected, rel=1e-12)
    # <unknown> was never seen, c is no token behind <unknown>: only the lowest order speaks.
    unknown = _chance(model, np.array([START_ID, 1, 5, END]))
    assert unknown[0] == pytest.approx(1.5 / 4 * lost / 4, rel=1e-12)
    assert unknown[1] == pytest.approx(low["b"], rel=1e-12)


def test_discounts_are_those_of_chen_and_goodman() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [40, 10, 5, 3, 7])
    share = 40 / 60
    expected = (1 - 2 * share * 10 / 40, 2 - 3 * share * 5 / 10, 3 - 4 * share * 3 / 5)
    assert discounts_of(counts) == pytest.approx(expected)
    assert discounts_of(np.array([1, 1, 5])) == FALLBACK


class Brute:
    """The same from its definition, one probability at a time."""

    def __init__(self, texts: list[list[int]], size: int, order: int) -> None:
        """Count n-grams as tuples."""
        self.size, self.order = size, order
        raw: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order + 1)]
        for text in texts:
            for n in range(1, order + 1):
                for i in range(max(n - 1, 1), len(text)):
                    raw[n][tuple(text[i - n + 1 : i + 1])] += 1
        self.counts: list[dict[tuple[int, ...], int]] = [{} for _ in range(order + 1)]
        for n in range(1, order + 1):
            left = defaultdict(set)
            for gram in raw[n + 1] if n < order else ():
                left[gram[1:]].add(gram[0])
            self.counts[n] = {
                g: c if n == order or (g[0] == START_ID and n > 1) else len(left[g])
                for g, c in raw[n].items()
            }
        self.discounts = [
            discounts_of(np.array(list(found.values()))) if found else FALLBACK
            for found in self.counts
        ]
        self.chance = cache(self._chance)

    def _chance(self, history: tuple[int, ...], token: int) -> float:
        """P(token | history)."""
        n = len(history) + 1
        lower = (
            self.chance(history[1:], token)
            if history
            else (0.0 if token in (0, START_ID) else 1 / (self.size - 2))
        )
        after = {g[-1]: c for g, c in self.counts[n].items() if g[:-1] == history}
        if not after:
            return lower

        def taken(count: int) -> float:
            return self.discounts[n][min(count, 3) - 1] if count else 0.0

        count, total = after.get(token, 0), sum(after.values())
        lost = sum(map(taken, after.values()))
        return (count - taken(count)) / total + lost / total * lower


def _random(seed: int) -> tuple[list[np.ndarray], int]:
    """Texts in which tokens depend on the one before, and V."""
    rng = np.random.default_rng(seed)
    letters = 4
    follows = rng.dirichlet(np.full(letters, 0.4), letters)
    texts = []
    for length in rng.integers(0, 9, 120):
        text = [0]
        for _ in range(length):
            text.append(int(rng.choice(letters, p=follows[text[-1]])))
        texts.append(np.array([START_ID, *(4 + t for t in text[1:]), END]))
    return texts, 4 + letters + 1


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_definition_gives_the_same(order: int) -> None:
    texts, size = _random(order)
    model = KneserNey.of(texts[:100], size, order)
    brute = Brute([text.tolist() for text in texts[:100]], size, order)
    for text in [*texts[100:], np.array([START_ID, 8, 4, 1, 5, END])]:
        expected = [
            brute.chance(tuple(text[max(0, i - order + 1) : i].tolist()), int(text[i]))
            for i in range(1, len(text))
        ]
        assert _chance(model, text) == pytest.approx(expected, rel=1e-10)


def test_chances_add_up_to_1_behind_any_context() -> None:
    texts, size = _random(9)
    model = KneserNey.of(texts, size)
    contexts = [*product(range(4, size), repeat=2), (1,), (), *product(range(4, 6), repeat=5)]
    said = [np.array([START_ID, *context, w]) for context in contexts for w in range(size)]
    last = np.array([_chance(model, text)[-1] for text in said])
    assert last.reshape(-1, size).sum(1) == pytest.approx(1.0, abs=1e-12)
    assert (last >= 0).all() and (last.reshape(-1, size)[:, [0, START_ID]] == 0).all()


def test_the_likeliest_token_is_the_likeliest() -> None:
    texts, size = _random(4)
    model = KneserNey.of(texts[:80], size)
    steps = Steps.of(texts[80:])
    numbers = model.numbers(steps)
    everything = np.stack(
        [model.chances(numbers, np.full(len(steps.said), token)) for token in range(size)], axis=1
    )
    best = model.likeliest(numbers)
    at_best = everything[np.arange(len(best)), best]
    assert at_best == pytest.approx(everything.max(1), abs=1e-14)


def test_judged_as_a_network_is() -> None:
    texts, size = _random(2)
    lengths = [len(text) for text in texts]
    sequences = PreparedSequences(
        sequences=np.concatenate(texts).astype(np.int32),
        missing=None,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        static=np.zeros((len(texts), 0), dtype=np.float32),
        targets=np.zeros(len(texts), dtype=np.int32),
        next_token=True,
    )
    split = ["train"] * 100 + ["test"] * (len(texts) - 100)
    names = ["<padding>", "<unknown>", "<start>", "<end>", "a", "b", "c", "d", "e"]
    prepared = Prepared(
        sequences=sequences,
        people=pl.DataFrame({"split": split}),
        schema={
            "input": {"kind": "tokens", "size": 0, "vocabulary": names},
            "target": {"kind": "next_token"},
            "task": "next_token",
        },
    )
    model, rows = KneserNey.fit(prepared, 0), np.array([119, 100, 7])
    found = model.judge(prepared, rows)
    for i, row in enumerate(rows):
        chances = _chance(model, texts[row])
        assert found.sums["nll"][i] == pytest.approx(-np.log(chances).sum())
        assert found.sums["tokens"][i] == len(texts[row]) - 1 == len(chances)
    assert found.losses == pytest.approx(found.sums["nll"] / found.sums["tokens"])
    everyone = model.judge(prepared, prepared.rows("test"))
    better = math.exp(everyone.sums["nll"].sum() / everyone.sums["tokens"].sum())
    assert better < size - 2 and (everyone.sums["right"] <= everyone.sums["tokens"]).all()
    assert model.judge(prepared, rows[:0]).losses.shape == (0,)
