"""What was said against what was heard: edits, and the sums that figures are made of.

n people asked for; symbols are class + 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnn.batch import PreparedSequences
from tasks.kinds.base import Array, Judged, Rows


def edits(wanted: Sequence[int], said: Sequence[int]) -> int:
    """Return the fewest insertions, deletions and exchanges from one sequence to another.

    Source: Wagner and Fischer (1974).

    Example:
        >>> edits([1, 2, 3], [1, 3, 3, 4])
        2
    """
    row = list(range(len(said) + 1))
    for i, symbol in enumerate(wanted, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(said, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (symbol != other))
    return row[-1]


def targets_of(sequences: PreparedSequences, rows: Rows) -> list[list[int]]:
    """Return the symbols of some people, class + 1."""
    offsets = sequences.target_offsets
    assert offsets is not None
    return [np.asarray(sequences.targets[offsets[r] : offsets[r + 1]]).tolist() for r in rows]


def judged(
    wanted: list[list[int]], said: list[list[int]], losses: Array, schema: Mapping[str, Any]
) -> Judged:
    """Return the sums of some transcriptions.

    Args:
        wanted: symbols of each person, class + 1.
        said: of a model.
        losses: float64 [n], nats a symbol.
        schema: with the symbols' names.
    """
    sizes = np.array([len(symbols) for symbols in wanted], dtype=np.float64)
    wrong = np.array([edits(a, b) for a, b in zip(wanted, said, strict=True)], dtype=np.float64)
    sums = {
        "edits": wrong,
        "symbols": sizes,
        "exact": (wrong == 0).astype(np.float64),
        "sequences": np.ones(len(wanted)),
        "nll": losses * sizes,
    }
    return Judged(losses, sums, words(wanted, schema), words(said, schema))


def words(symbols: list[list[int]], schema: Mapping[str, Any]) -> list[str]:
    """Return symbols as text, spaces between."""
    names = [str(name) for name in schema["target"]["names"]]
    return [" ".join(names[k - 1] for k in some) for some in symbols]
