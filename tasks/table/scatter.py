"""Events of any number, brought together person by person through files, in little memory."""

import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

_WEIGHTS = 1024
_PART = "__part__"


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every bit over all bits (splitmix64's last step)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def stable_hash(texts: pl.Series) -> NDArray[np.uint64]:
    """Return a hash of each text that no version of any package changes.

    Args:
        texts: str [N], no nulls; empty texts hash to one value.

    Returns:
        uint64 [N]. Not keyed and not secret: it only says which file an event goes to.

    Source: multilinear hashing (Lemire and Kaser 2014), then splitmix64 (Steele et al. 2014).
    """
    lengths = texts.str.len_bytes().to_numpy().astype(np.int64)
    sums = lengths.astype(np.uint64)
    filled = np.flatnonzero(lengths)
    if len(filled):
        joined = np.frombuffer(texts.str.join("")[0].encode(), dtype=np.uint8)
        starts = np.concatenate([[0], np.cumsum(lengths)])[filled]
        position = np.arange(len(joined)) - np.repeat(starts, lengths[filled])
        golden = np.uint64(0x9E3779B97F4A7C15)
        weights = _mixed(np.arange(1, _WEIGHTS + 1, dtype=np.uint64) * golden)
        products = joined.astype(np.uint64) * weights[position % _WEIGHTS]
        sums[filled] += np.add.reduceat(products, starts)
    return _mixed(sums)


def scatter(
    batches: Iterable[pl.DataFrame], key: str, parts: int, folder: Path
) -> Iterator[pl.DataFrame]:
    """Yield the rows of all batches again, all rows of one key in one frame.

    Args:
        batches: frames of the same columns.
        key: text column; its stable hash says which part a row goes to.
        parts: number of frames.
        folder: an empty folder for files, which are gone when the iterator ends.

    Returns:
        Frames in the order of the parts, rows in the order in which they came; empty parts are
        left out.
    """
    blocks: list[list[int]] = [[] for _ in range(parts)]
    paths = [folder / f"{part:05d}.arrow" for part in range(parts)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for batch in batches:
            number = pl.Series(_PART, stable_hash(batch[key]) % np.uint64(parts))
            pieces = batch.with_columns(number).partition_by(
                _PART, include_key=False, as_dict=True, maintain_order=True
            )
            for (part,), piece in pieces.items():
                before = files[part].tell()
                piece.write_ipc_stream(files[part], compression="lz4")
                blocks[part].append(files[part].tell() - before)
    for path, sizes in zip(paths, blocks, strict=True):
        if sizes:
            with path.open("rb") as file:
                frames = [pl.read_ipc_stream(io.BytesIO(file.read(size))) for size in sizes]
            yield pl.concat(frames, how="vertical_relaxed", rechunk=True)
        path.unlink()
