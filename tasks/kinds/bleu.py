"""BLEU and chrF from statistics that add over texts, so that resamples of people have theirs too.

n texts; ... leading axes of totals.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from tasks.kinds.base import Array, shares

_WORDS, _CHARACTERS, _BETA = 4, 6, 2


@cache
def _metric() -> BLEU:
    """What cuts texts into words and counts them; texts in lower case are no mistake."""
    return BLEU(effective_order=True, force=True)


def bleu_parts(said: Sequence[str], truth: Sequence[str]) -> Array:
    """Return lengths, and runs of 1 to 4 words that are right and that there are, float64 [n, 10].

    Args:
        said: n translations.
        truth: what was to be said, one text each.

    Returns:
        Words said, words to be said, right runs of 1..4 words, all runs of 1..4 words said.
    """
    parts = np.zeros((len(said), 2 + 2 * _WORDS))
    for row, (one, wanted) in zip(parts, zip(said, truth, strict=True), strict=True):
        found = _metric().sentence_score(one, [wanted])
        row[:] = [found.sys_len, found.ref_len, *found.counts, *found.totals]
    return parts


def bleu(parts: Array) -> Array:
    """Return BLEU, 0 to 100, from totals [..., 10]; runs without a hit count as half of one.

    The second order without a hit counts as a quarter, and so on.

    Source: Papineni et al. (2002); Chen and Cherry (2014), method 3; Post (2018), whose signature
    of this is nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp.
    """
    said, wanted = parts[..., 0], parts[..., 1]
    right, there = parts[..., 2 : 2 + _WORDS], parts[..., 2 + _WORDS :]
    missed = np.cumsum(right == 0, axis=-1)
    hits = np.where(right == 0, 0.5**missed, right)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(there > 0, hits / there, 0.0)
        geometric = np.exp(np.log(precision).mean(-1))
        brevity = np.where(said < wanted, np.exp(1 - wanted / said), 1.0)
    score = np.where(right.any(-1), 100 * brevity * geometric, 0.0)
    return np.where(wanted > 0, score, np.nan)


def chrf_parts(said: Sequence[str], truth: Sequence[str]) -> Array:
    """Return runs of 1 to 6 characters: said, to be said, in both, float64 [n, 18].

    Spaces are left out. Runs of a length that the truth does not have are not counted as said.
    """
    parts = np.zeros((len(said), _CHARACTERS, 3))
    for row, (one, wanted) in zip(parts, zip(said, truth, strict=True), strict=True):
        for order in range(_CHARACTERS):
            ours, theirs = _runs(one, order + 1), _runs(wanted, order + 1)
            count = ours.total() if theirs else 0
            row[order] = count, theirs.total(), (ours & theirs).total()
    return parts.reshape(len(said), 3 * _CHARACTERS)


def _runs(text: str, size: int) -> Counter[str]:
    """Runs of characters of one length."""
    plain = "".join(text.split())
    return Counter(plain[i : i + size] for i in range(len(plain) - size + 1))


def chrf(parts: Array) -> Array:
    """Return chrF2, 0 to 100, from totals [..., 18].

    Source: Popovic (2015), "chrF: character n-gram F-score for automatic MT evaluation"; Post
    (2018), whose signature of this is nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no.
    """
    table = parts.reshape(*parts.shape[:-1], _CHARACTERS, 3)
    said, wanted, both = table[..., 0], table[..., 1], table[..., 2]
    counted = (said > 0) & (wanted > 0)
    orders = counted.sum(-1).astype(np.float64)
    precision = shares(np.where(counted, shares(both, said), 0.0).sum(-1), orders)
    recall = shares(np.where(counted, shares(both, wanted), 0.0).sum(-1), orders)
    factor = float(_BETA**2)
    found = 100 * shares((1 + factor) * precision * recall, factor * precision + recall)
    # Nothing in common is 0; no text at all is nothing.
    return np.where(wanted[..., 0] > 0, np.nan_to_num(found), np.nan)
