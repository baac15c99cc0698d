"""Templates of whole symbols matched to a sequence of them: connected words before networks.

Where a symbol begins and ends in a training sequence is found with the templates themselves, which
begin as equal parts. B sequences, T steps, D channels, U symbols of a sequence, W templates, S
steps of a template, C classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from rnn.batch import PreparedSequences
from tasks.artifacts import Prepared
from tasks.kinds.base import Array, Judged, Rows
from tasks.kinds.transcripts import edits, judged, targets_of
from tasks.params import UserError

Steps = NDArray[np.float32]
# Where a symbol begins, where it ends (exclusive), and the template that it was matched to.
Part = tuple[int, int, int]

TEMPLATES = 16
ROUNDS = 5
# Rounds with one template a symbol: equal parts say too little for more.
COARSE = 2
MOST_SEQUENCES = 600
BLOCK = 64
PENALTIES = (0.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_NEVER = np.float32(1e30)


def match(
    costs: Steps, lengths: Rows, symbols: Rows | None = None, penalty: float = 0.0
) -> list[list[Part]]:
    """Return the cheapest way to cover each sequence with whole templates.

    A template is read from its first or second step to its last or last but one; each step of the
    sequence stays at a step of it, goes to the next, or skips one.

    Args:
        costs: float32 [B, T, U, W, S], of each step of a sequence at each step of a template.
        lengths: int64 [B], steps.
        symbols: int64 [B], each in 1..U: template sets are read in their order, so many of them.
            None: U is 1, and any template may follow any.
        penalty: for each template after the first.

    Returns:
        The parts of each sequence in order; none where it is too short for its symbols.

    Source: Ney (1984), "The use of a one-stage dynamic programming algorithm for connected word
    recognition"; moves of Itakura (1975).
    """
    count, steps, sets, _, size = costs.shape
    score = np.full((count, sets, costs.shape[3], size + 2), _NEVER)
    began = np.zeros(score.shape, dtype=np.int32)
    entry = np.full((count, sets), _NEVER)
    entry[:, 0] = 0
    ends, starts, which = (np.zeros((steps, count, sets)) for _ in range(3))
    for t in range(steps):
        # Behind the first step of a template stands the way into it.
        score[..., 1], began[..., 1] = entry[..., None], t
        moves = np.stack([score[..., 2 - k : size + 2 - k] for k in range(3)])
        chosen = moves.argmin(0)
        origin = np.stack([began[..., 2 - k : size + 2 - k] for k in range(3)])
        began[..., 2:] = np.take_along_axis(origin, chosen[None], 0)[0]
        best = np.take_along_axis(moves, chosen[None], 0)[0] + costs[:, t]
        score[..., 2:] = np.minimum(best, _NEVER)
        out = score[..., -2:].reshape(count, sets, -1)
        at = out.argmin(2)[..., None]
        ends[t] = np.take_along_axis(out, at, 2)[..., 0]
        starts[t] = np.take_along_axis(began[..., -2:].reshape(out.shape), at, 2)[..., 0]
        which[t] = at[..., 0] // 2
        entry[:, :1] = _NEVER if symbols is not None else ends[t] + penalty
        entry[:, 1:] = ends[t][:, :-1] + penalty
    last = np.zeros(count, dtype=np.int64) if symbols is None else symbols - 1
    return [
        _traced(
            ends[:, b], starts[:, b], which[:, b], int(lengths[b]), int(last[b]), symbols is None
        )
        for b in range(count)
    ]


def _traced(
    ends: Array, starts: Array, which: Array, length: int, at: int, free: bool
) -> list[Part]:
    """The parts of one sequence, from its end back to its beginning."""
    if length == 0 or ends[length - 1, at] >= _NEVER:
        return []
    parts: list[Part] = []
    stop = length
    while stop > 0:
        start = int(starts[stop - 1, at])
        parts.append((start, stop, int(which[stop - 1, at])))
        stop, at = start, at if free else at - 1
    return parts[::-1]


def resampled(steps: Steps, size: int) -> Steps:
    """Return a part [T, D] at `size` evenly spaced times, [size, D].

    Example:
        >>> resampled(np.array([[0.0], [4.0]], dtype=np.float32), 3).ravel().tolist()
        [0.0, 2.0, 4.0]
    """
    where = np.linspace(0, len(steps) - 1, size)
    low = where.astype(np.int64)
    high = np.minimum(low + 1, len(steps) - 1)
    share = (where - low)[:, None].astype(np.float32)
    return steps[low] * (1 - share) + steps[high] * share


@dataclass(frozen=True)
class OneStage:
    """Templates of each symbol.

    Attributes:
        scale: float32 [D], what channels are divided by.
        templates: float32 [W, S, D], divided by it.
        symbols: int64 [W], class + 1 of each.
        penalty: for each symbol after the first, the best of PENALTIES on training sequences.
    """

    scale: Steps
    templates: Steps
    symbols: Rows
    penalty: float = 0.0

    @classmethod
    def fit(cls, prepared: Prepared, seed: int) -> "OneStage":
        """Cut training sequences into symbols and cluster these, in turns.

        Raises:
            UserError: the input is text.

        Source: Rabiner, Wilpon, Juang (1986), "A segmental k-means training procedure for
        connected word recognition".
        """
        sequences = prepared.sequences
        if sequences.is_tokens:
            raise UserError("predict.baseline = 'one_stage' needs numbers as input, not text")
        rows = prepared.rows("train")[:MOST_SEQUENCES]
        scale = np.asarray(_values(sequences, rows).std(0) + 1e-3, dtype=np.float32)
        steps = [_values(sequences, rows[i : i + 1]) / scale for i in range(len(rows))]
        wanted = targets_of(sequences, rows)
        parts = [_equal(len(x), len(said)) for x, said in zip(steps, wanted, strict=True)]
        size = max(2, round(0.8 * sum(map(len, steps)) / max(1, sum(map(len, wanted)))))
        found = cls(scale, *_clustered(steps, wanted, parts, size, 1, seed))
        for turn in range(1, ROUNDS):
            aligned = zip(found._forced(steps, wanted), parts, strict=True)
            parts = [new or old for new, old in aligned]
            count = 1 if turn < COARSE else TEMPLATES
            found = cls(scale, *_clustered(steps, wanted, parts, size, count, seed))
        tried = [cls(scale, found.templates, found.symbols, penalty) for penalty in PENALTIES]
        some = slice(0, MOST_SEQUENCES // 4)
        return min(tried, key=lambda one: one._errors(steps[some], wanted[some]))

    def _costs(self, steps: Steps) -> Steps:
        """Squared distances [..., W, S] from steps [..., D], less what all templates share."""
        flat = self.templates.reshape(-1, self.templates.shape[2])
        costs = np.square(flat).sum(1) - 2 * steps @ flat.T
        return costs.reshape(*steps.shape[:-1], *self.templates.shape[:2])

    def _forced(self, steps: list[Steps], wanted: list[list[int]]) -> list[list[Part]]:
        """Parts of sequences whose symbols are known."""
        each = [np.flatnonzero(self.symbols == k) for k in range(int(self.symbols.max()) + 1)]
        widest = max(map(len, each))
        parts = []
        for some, padded, lengths in _blocks(steps):
            told = [wanted[i] for i in some]
            costs = self._costs(padded)
            most = max(map(len, told))
            laid = np.full((*costs.shape[:2], most, widest, costs.shape[3]), _NEVER)
            for b, said in enumerate(told):
                for u, symbol in enumerate(said):
                    own = each[symbol]
                    laid[b, :, u, : len(own)] = costs[b][:, own]
            counts = np.array([len(said) for said in told], dtype=np.int64)
            parts += match(laid, lengths, counts)
        return parts

    def transcribed(self, steps: list[Steps]) -> list[list[int]]:
        """Return the symbols of sequences [T, D] that were divided by `scale`."""
        said = []
        for _, padded, lengths in _blocks(steps):
            found = match(self._costs(padded)[:, :, None], lengths, penalty=self.penalty)
            said += [[int(self.symbols[template]) for _, _, template in parts] for parts in found]
        return said

    def _errors(self, steps: list[Steps], wanted: list[list[int]]) -> int:
        """Edits of some sequences."""
        return sum(map(edits, wanted, self.transcribed(steps)))

    def judge(self, prepared: Prepared, rows: Rows) -> Judged:
        """Return the same sums as of a model; a distance is no probability: losses are NaN."""
        sequences = prepared.sequences
        steps = [_values(sequences, rows[i : i + 1]) / self.scale for i in range(len(rows))]
        losses = np.full(len(rows), np.nan)
        said = self.transcribed(steps)
        return judged(targets_of(sequences, rows), said, losses, prepared.schema)


def _values(sequences: PreparedSequences, rows: Rows) -> Steps:
    """Channels of some people end to end, float32 [T, D]."""
    offsets = sequences.offsets
    parts = [sequences.sequences[offsets[row] : offsets[row + 1]] for row in rows]
    return np.concatenate(parts).astype(np.float32)


def _equal(length: int, count: int) -> list[Part]:
    """A sequence cut into parts of equal length, as far as there are steps."""
    cuts = [length * i // count for i in range(count + 1)]
    return [(a, max(b, a + 1), 0) for a, b in pairwise(cuts) if a < length]


def _blocks(steps: list[Steps]) -> Iterator[tuple[range, Steps, Rows]]:
    """Sequences in their order, padded, with their lengths."""
    for start in range(0, len(steps), BLOCK):
        some = range(start, min(start + BLOCK, len(steps)))
        lengths = np.array([len(steps[i]) for i in some], dtype=np.int64)
        padded = np.zeros((len(some), int(lengths.max()), steps[0].shape[1]), dtype=np.float32)
        for b, i in enumerate(some):
            padded[b, : lengths[b]] = steps[i]
        yield some, padded, lengths


def _clustered(
    steps: list[Steps],
    wanted: list[list[int]],
    parts: list[list[Part]],
    size: int,
    count: int,
    seed: int,
) -> tuple[Steps, Rows]:
    """At most `count` templates of each symbol, from its parts at one length."""
    each: dict[int, list[Steps]] = {}
    for x, said, cut in zip(steps, wanted, parts, strict=True):
        for symbol, (start, stop, _) in zip(said, cut, strict=False):
            each.setdefault(symbol, []).append(resampled(x[start:stop], size).ravel())
    templates, symbols = [], []
    for symbol in sorted(each):
        own = np.stack(each[symbol])
        clusters = min(count, len(np.unique(own, axis=0)))
        centres = KMeans(clusters, n_init=1, random_state=seed).fit(own).cluster_centers_
        templates.append(centres.reshape(clusters, size, -1).astype(np.float32))
        symbols += [symbol] * clusters
    return np.concatenate(templates), np.array(symbols, dtype=np.int64)
