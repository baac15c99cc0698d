"""Vectors of words that others learnt from public text: what a network's embedding begins with.

V tokens, E numbers a vector.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.params import UserError
from tasks.recipe import DataConfig
from tasks.table.encode import codec
from tasks.table.tokens import PADDING_ID
from tasks.table.vocabulary import brought, read_list

_FIELD = "data.sequence.vocabulary.package"


def vectors_of(
    asked: DataConfig, stated: DataConfig, paths: Sequence[Path]
) -> NDArray[np.float32] | None:
    """Return the first weights of an embedding; None where a recipe names no vectors.

    A token that the public list lacks gets random numbers as large as the others'; padding is 0.

    Args:
        asked: the plan's data block.
        stated: the same with its vocabulary stated.
        paths: of `vocabulary.lists_of`, in its order.

    Returns:
        float32 [V, E].

    Raises:
        UserError: the file is no table of vectors, or shorter than the list.
    """
    found = next((one for one in brought(asked, paths) if one.side == "sequence"), None)
    if found is None or found.vectors is None:
        return None
    size = found.package.size
    try:
        table = np.load(found.vectors, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise UserError(f"{_FIELD}.vectors: {' '.join(str(error).split())}") from None
    if table.ndim != 2 or len(table) < size or table.dtype.kind != "f":
        raise UserError(
            f"{_FIELD}.vectors: {table.dtype} {list(table.shape)} is no table of {size} vectors"
        )
    rows = {token: row for row, token in enumerate(read_list(found.path, size, _FIELD))}
    names = codec(stated).vocabulary
    known = [(number, rows[name]) for number, name in enumerate(names) if name in rows]
    spread = float(np.asarray(table[:size], dtype=np.float64).std())
    random = np.random.default_rng(0).normal(0.0, spread, (len(names), table.shape[1]))
    vectors = random.astype(np.float32)
    if known:
        numbers, places = (list(column) for column in zip(*known, strict=True))
        vectors[numbers] = table[places]
    vectors[PADDING_ID] = 0
    return vectors
