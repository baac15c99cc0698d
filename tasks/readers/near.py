"""Texts that are nearly the same, and all that such pairs link together. N texts."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

# Names a group of texts without a letter.
NAMELESS = "-"

_SIZE = 3
_ROWS = 512


def triples(text: str) -> set[str]:
    """Return a text's character triples, a space before and after it.

    Example:
        >>> sorted(triples("to"))
        [' to', 'to ']
    """
    padded = f" {text} "
    return {padded[i : i + _SIZE] for i in range(max(1, len(padded) - _SIZE + 1))}


def pairs_alike(texts: Sequence[str], least: float) -> NDArray[np.int64]:
    """Return pairs i < j of texts that share enough triples, [2, pairs].

    Args:
        texts: N.
        least: triples of both over triples of either, at least.

    Source: Broder (1997), "On the resemblance and containment of documents".
    """
    numbers: dict[str, int] = {}
    found = [
        [numbers.setdefault(triple, len(numbers)) for triple in sorted(triples(text))]
        for text in texts
    ]
    sizes = np.array([len(own) for own in found], dtype=np.float64)
    rows = np.repeat(np.arange(len(texts)), sizes.astype(np.int64))
    columns = np.concatenate([np.array(own, dtype=np.int64) for own in found])
    shape = (len(texts), len(numbers))
    table = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    pieces = []
    for start in range(0, len(texts), _ROWS):
        common = (table[start : start + _ROWS] @ table.T).tocoo()
        first, second = common.row.astype(np.int64) + start, common.col.astype(np.int64)
        # Whole numbers are compared, so that a share of exactly `least` counts everywhere.
        either = sizes[first] + sizes[second] - common.data
        near = (common.data >= least * either - 1e-9) & (first < second)
        pieces.append(np.stack([first[near], second[near]]))
    return np.concatenate(pieces, axis=1)


def groups_of(readings: Sequence[Sequence[str]], least: float) -> pl.Series:
    """Return the name of each text's group: all that pairs that are alike link together.

    Args:
        readings: one or more texts of the same N things, such as two languages; being alike in
            one of them is enough.
        least: as in `pairs_alike`.

    Returns:
        str [N], the first text of the group by its letters, in the first reading.
    """
    count = len(readings[0])
    if not count:
        return pl.Series([], dtype=pl.String)
    links = np.concatenate([pairs_alike(texts, least) for texts in readings], axis=1)
    graph = sparse.coo_matrix((np.ones(links.shape[1]), (links[0], links[1])), (count, count))
    labels = connected_components(graph, directed=False)[1]
    frame = pl.DataFrame({"label": labels, "text": [text or NAMELESS for text in readings[0]]})
    return frame.select(pl.col("text").min().over("label")).to_series()
