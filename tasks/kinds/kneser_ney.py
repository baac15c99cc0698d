"""How often a token follows the four before it, smoothed: the language model to beat.

Interpolated modified Kneser-Ney. The highest order counts how often a token followed a context;
lower orders count after how many different tokens it followed there, or how often at the start of
a text, where there is no token before. Three discounts an order are estimated from counts of
counts; what they take from a context goes to the context that is one token shorter, and what they
take from no context at all goes to all tokens alike.

n texts, m tokens that are to be said, V tokens of the vocabulary; of a context of k tokens: C
different ones, P different pairs of a context and the token behind it.

Source: Kneser and Ney (1995), "Improved backing-off for m-gram language modeling"; Chen and Goodman
(1999), "An empirical study of smoothing techniques for language modeling", equations 24 to 26.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.artifacts import Prepared
from tasks.kinds.base import Array, Judged, Parts, Rows, shares

ORDER = 5
PADDING_ID, UNKNOWN_ID, START_ID = 0, 1, 2
# Discounts where there are too few counts to estimate them.
FALLBACK = (0.5, 1.0, 1.5)
_CHUNK = 500_000
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Steps:
    """Tokens to be said, of some texts end to end.

    Attributes:
        tokens: int64 [all], with each text's <start>.
        said: int64 [m], places in `tokens` of those to be said.
        depth: int64 [m], how many tokens of the same text stand before.
        text: int64 [m], which text.
    """

    tokens: Whole
    said: Whole
    depth: Whole
    text: Whole

    @classmethod
    def of(cls, texts: Sequence[NDArray[np.generic]]) -> "Steps":
        """Lay texts end to end; each begins with <start>, which nobody says."""
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        ends = np.cumsum(lengths)
        place = np.arange(int(lengths.sum()))
        text = np.repeat(np.arange(len(texts)), lengths)
        depth = place - (ends - lengths)[text]
        tokens = np.concatenate([*texts, np.zeros(0)]).astype(np.int64)
        return cls(tokens, place[depth > 0], depth[depth > 0], text[depth > 0])

    @property
    def targets(self) -> Whole:
        """Return the tokens to be said, [m]."""
        return self.tokens[self.said]

    def before(self, k: int) -> Whole:
        """Return the k-th token before each, [m]; <padding> where the text had not begun."""
        return np.where(self.depth >= k, self.tokens[self.said - np.minimum(k, self.depth)], 0)


def discounts_of(counts: Whole) -> tuple[float, float, float]:
    """Return what is taken from counts of 1, of 2, and of 3 or more.

    Args:
        counts: of all n-grams of one order.

    Example:
        >>> discounts_of(np.repeat([1, 2, 3, 4], [8, 4, 2, 1]))
        (0.5, 1.25, 2.0)
    """
    one, two, three, four = (int((counts == size).sum()) for size in (1, 2, 3, 4))
    if not (one and two and three):
        return FALLBACK
    share = one / (one + 2 * two)
    found = (1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three)
    # Counts that do not fall as usual could ask for less than nothing, or for more than is there.
    low, middle, high = (float(np.clip(d, 0.0, size)) for size, d in enumerate(found, start=1))
    return low, middle, high


@dataclass(frozen=True)
class Order:
    """What followed contexts of k tokens.

    Attributes:
        contexts: int64 [C], rising: the token farthest back * `shorter` + the number of the
            context without it.
        shorter: how many contexts there are of k - 1 tokens.
        pairs: int64 [P], rising: number of the context * V + token.
        kept: float64 [P], what discounts leave of a pair's count, over its context's total.
        lost: float64 [C], what discounts take from a context, over its total.
    """

    contexts: Whole
    shorter: int
    pairs: Whole
    kept: Array
    lost: Array

    @property
    def parents(self) -> Whole:
        """Return each context's number without its farthest token, [C]."""
        return self.contexts % self.shorter


def _number(known: Whole, wanted: Whole) -> Whole:
    """Places of values in a rising array, -1 for those that are not there."""
    if not len(known):
        return np.full(wanted.shape, -1)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, place, -1)


def _order(contexts: Whole, shorter: int, pairs: Whole, counts: Whole, size: int) -> Order:
    """One order from its adjusted counts."""
    taken = np.array([0.0, *discounts_of(counts)])[np.minimum(counts, 3)]
    owner = pairs // size
    totals = np.bincount(owner, counts, minlength=len(contexts))
    lost = np.bincount(owner, taken, minlength=len(contexts)) / totals
    return Order(contexts, shorter, pairs, (counts - taken) / totals[owner], lost)


@dataclass(frozen=True)
class KneserNey:
    """A fitted model.

    Attributes:
        size: V.
        orders: contexts of 0, 1, ... tokens.
        best: by order int64 [C], the likeliest token behind each context.
    """

    size: int
    orders: tuple[Order, ...]
    best: tuple[Whole, ...] = ()

    @classmethod
    def of(cls, texts: Sequence[NDArray[np.generic]], size: int, order: int = ORDER) -> "KneserNey":
        """Count texts.

        Args:
            texts: ids, each from <start> to <end>.
            size: V, <padding>, <unknown> and <start> among them.
            order: tokens of the longest n-gram.
        """
        steps = Steps.of(texts)
        number = np.zeros(len(steps.said), dtype=np.int64)
        contexts, pairs, counts = [np.zeros(1, dtype=np.int64)], [], []
        for k in range(order):
            if k:
                keys = np.where(number < 0, -1, steps.before(k) * len(contexts[-1]) + number)
                keys[steps.depth < k] = -1
                if not (keys >= 0).any():
                    # No text is so long.
                    break
                contexts.append(np.unique(keys[keys >= 0]))
                number = np.where(keys < 0, -1, np.searchsorted(contexts[-1], keys))
            there = number >= 0
            found = np.unique(number[there] * size + steps.targets[there], return_counts=True)
            pairs.append(found[0])
            counts.append(found[1])
        sizes = [1, *map(len, contexts)]
        last = len(contexts) - 1
        adjusted = [_continued(pairs, counts, contexts, k, size) for k in range(last)]
        adjusted.append(counts[last])
        orders = tuple(
            _order(contexts[k], sizes[k], pairs[k], adjusted[k], size) for k in range(last + 1)
        )
        return cls(size, orders).with_best()

    @classmethod
    def fit(cls, prepared: Prepared, seed: int) -> "KneserNey":
        """Count the training texts; nothing is random."""
        return cls.of(_texts(prepared, prepared.rows("train")), prepared.shape.vocabulary_size)

    def numbers(self, steps: Steps) -> list[Whole]:
        """Return the number of each order's context before each token, -1 for an unknown one."""
        found = [np.zeros(len(steps.said), dtype=np.int64)]
        for k, order in enumerate(self.orders[1:], start=1):
            keys = steps.before(k) * order.shorter + found[-1]
            known = (found[-1] >= 0) & (steps.depth >= k)
            found.append(np.where(known, _number(order.contexts, keys), -1))
        return found

    def chances(self, numbers: Sequence[Whole], tokens: Whole) -> Array:
        """Return the probability of tokens, float64 [m].

        Args:
            numbers: of the contexts before them, from the empty one on.
            tokens: int64 [m].
        """
        # Neither padding nor the start of a text is ever said.
        found = np.where((tokens == PADDING_ID) | (tokens == START_ID), 0.0, 1 / (self.size - 2))
        for order, number in zip(self.orders, numbers, strict=False):
            at = np.maximum(number, 0)
            pair = _number(order.pairs, at * self.size + tokens)
            kept = np.where(pair >= 0, order.kept[pair], 0.0)
            found = np.where(number >= 0, kept + order.lost[at] * found, found)
        return found

    def with_best(self) -> "KneserNey":
        """Return the model with the likeliest token behind every context.

        It followed this context, or it is the likeliest behind the one that is shorter.
        """
        best: list[Whole] = []
        for k, order in enumerate(self.orders):
            count = len(order.contexts)
            owner, tokens = order.pairs // self.size, order.pairs % self.size
            if k:
                owner = np.concatenate([owner, np.arange(count)])
                tokens = np.concatenate([tokens, best[-1][order.parents]])
            numbers = [owner]
            for shorter in reversed(self.orders[1 : k + 1]):
                numbers.insert(0, shorter.parents[numbers[0]])
            chances = self.chances(numbers, tokens)
            # The last of a context's places in rising order of chance is its best.
            rising = np.lexsort((-tokens, chances, owner))
            last = np.flatnonzero(np.diff(owner[rising], append=count))
            best.append(tokens[rising[last]])
        return replace(self, best=tuple(best))

    def likeliest(self, numbers: Sequence[Whole]) -> Whole:
        """Return the likeliest token behind each longest context that is known, [m]."""
        found = self.best[0][numbers[0]]
        for best, number in zip(self.best[1:], numbers[1:], strict=True):
            found = np.where(number >= 0, best[np.maximum(number, 0)], found)
        return found

    def judge(self, prepared: Prepared, rows: Rows) -> Judged:
        """Return the same sums as of a network."""
        parts, texts = Parts(len(rows)), _texts(prepared, rows)
        for places in _chunks(texts):
            steps = Steps.of([texts[place] for place in places])
            numbers, tokens = self.numbers(steps), steps.targets
            sums = {
                "nll": -np.log(self.chances(numbers, tokens)),
                "tokens": np.ones(len(tokens)),
                "right": (self.likeliest(numbers) == tokens).astype(np.float64),
                "unknown": (tokens == UNKNOWN_ID).astype(np.float64),
            }
            added = {
                name: np.bincount(steps.text, values, minlength=len(places))
                for name, values in sums.items()
            }
            parts.put(places, **added)
        names = ("nll", "tokens", "right", "unknown")
        return Judged(shares(parts["nll"], parts["tokens"]), parts.sums(*names))


def _continued(
    pairs: Sequence[Whole], counts: Sequence[Whole], contexts: Sequence[Whole], k: int, size: int
) -> Whole:
    """After how many different tokens each pair stood; how often, where a text began there."""
    longer = contexts[k + 1][pairs[k + 1] // size] % len(contexts[k])
    place = np.searchsorted(pairs[k], longer * size + pairs[k + 1] % size)
    found = np.bincount(place, minlength=len(pairs[k]))
    if not k:
        return found
    farthest = contexts[k][pairs[k] // size] // len(contexts[k - 1])
    return np.where(farthest == START_ID, counts[k], found)


def _texts(prepared: Prepared, rows: Rows) -> list[NDArray[np.generic]]:
    """Ids of some texts."""
    tokens, offsets = prepared.sequences.sequences, prepared.sequences.offsets
    return [tokens[offsets[row] : offsets[row + 1]] for row in rows]


def _chunks(texts: Sequence[NDArray[np.generic]]) -> Iterator[Rows]:
    """Places of texts whose tokens fit into memory together."""
    sizes = np.cumsum([len(text) for text in texts])
    part = sizes // _CHUNK if len(texts) else sizes
    for number in np.unique(part):
        yield np.flatnonzero(part == number)
