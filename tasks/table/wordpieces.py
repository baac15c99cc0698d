"""A list of subwords learnt from words: the commonest neighbours become one piece, again and again.

Source: Sennrich, Haddow, Birch (2016), "Neural machine translation of rare words with subword
units", algorithm 1; pieces are written, and texts later cut, as in Wu et al. (2016).
"""

from collections import Counter
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import pairwise

from tasks.table.splitting import CONTINUED, NOTHING

Pair = tuple[str, str]


class Pieces:
    """Words as pieces, and how often each pair of neighbours stands in them."""

    def __init__(self, counted: Mapping[str, int]) -> None:
        """Begin with single characters.

        Args:
            counted: word -> how often it stands.
        """
        found = {word: count for word, count in counted.items() if word != NOTHING}
        self.words = [_characters(word) for word in found]
        self.counts = list(found.values())
        self.pairs: Counter[Pair] = Counter()
        self.where: dict[Pair, set[int]] = {}
        for i in range(len(self.words)):
            self._count(i, 1)
        # Of each pair every count that it ever had; only the one that still holds is looked at.
        self.queue = [(-count, pair) for pair, count in self.pairs.items()]
        heapify(self.queue)

    def _count(self, i: int, sign: int) -> set[Pair]:
        """Add or take away the pairs of one word, and return them."""
        found = list(pairwise(self.words[i]))
        for pair in found:
            self.pairs[pair] += sign * self.counts[i]
            self.where.setdefault(pair, set()).add(i)
        return set(found)

    def commonest(self) -> Pair | None:
        """Return the commonest pair, of equals the first by its letters; None where none repeats.

        A pair that stands only once is no piece of anything.
        """
        while self.queue:
            count, pair = heappop(self.queue)
            if -count == self.pairs[pair]:
                return pair if -count >= 2 else None
        return None

    def merge(self, pair: Pair) -> str:
        """Make one piece of two wherever they are neighbours, and return it."""
        joined = pair[0] + pair[1].removeprefix(CONTINUED)
        changed: set[Pair] = set()
        for i in self.where.pop(pair):
            if pair not in pairwise(self.words[i]):
                continue
            changed |= self._count(i, -1)
            self.words[i] = _merged(self.words[i], pair, joined)
            changed |= self._count(i, 1)
        for one in changed:
            heappush(self.queue, (-self.pairs[one], one))
        return joined


def _characters(word: str) -> list[str]:
    """Single characters; those inside a word are marked."""
    return [character if not i else CONTINUED + character for i, character in enumerate(word)]


def _merged(pieces: list[str], pair: Pair, joined: str) -> list[str]:
    """One word with a pair made one piece."""
    out: list[str] = []
    for piece in pieces:
        # A piece that was joined just now may look like the first of the next pair.
        if out and (out[-1], piece) == pair:
            out[-1] = joined
        else:
            out.append(piece)
    return out


def learnt(counted: Mapping[str, int], size: int) -> list[str]:
    """Return a list of subwords for these words: single characters first, then what was merged.

    Args:
        counted: word -> how often it stands.
        size: pieces at most; where there are more characters, the commonest ones.

    Example:
        >>> learnt({"low": 2, "lower": 1, "new": 1}, 9)
        ['##w', '##o', 'l', '##e', '##r', 'n', '##ow', 'low']
    """
    pieces = Pieces(counted)
    single: Counter[str] = Counter()
    for word, count in zip(pieces.words, pieces.counts, strict=True):
        for piece in word:
            single[piece] += count
    found = [piece for piece, _ in sorted(single.items(), key=lambda one: (-one[1], one[0]))]
    found = found[:size]
    known = set(found)
    while len(found) < size and (pair := pieces.commonest()) is not None:
        joined = pieces.merge(pair)
        if joined not in known:
            found.append(joined)
            known.add(joined)
    return found
