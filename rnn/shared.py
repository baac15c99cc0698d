"""Norms of a parameter that a pass used more than once.

The gradient is the sum of the uses' gradients, so its squared norm is the sum of all inner
products between them. Uses of one weight as a linear map are one longer sequence of steps; a
table that is looked up and multiplied by has its inner products read off the tokens; all else is
materialised a few examples at a time.

B examples, T and S steps of two uses.
"""

from itertools import combinations

import torch
from torch import Tensor

from rnn.records import CHUNK_ELEMENTS, EmbeddingRecord, LinearRecord, Record, trainable


def _joined(records: list[Record]) -> list[Record]:
    """Linear uses of the same weight and bias, end to end; the others as they are."""
    out: list[Record] = []
    linear: dict[tuple[int, int], list[LinearRecord]] = {}
    for record in records:
        if isinstance(record, LinearRecord):
            linear.setdefault((id(record.weight), id(record.bias)), []).append(record)
        else:
            out.append(record)
    for uses in linear.values():
        if len(uses) == 1:
            out.append(uses[0])
            continue
        parts = [use.parts() for use in uses]
        activation, delta = (torch.cat([part[i] for part in parts], 1) for i in (0, 1))
        out.append(LinearRecord(uses[0].weight, uses[0].bias, activation, delta))
    return out


def _tied(linear: LinearRecord, table: EmbeddingRecord) -> Tensor:
    """Inner products [B] of a table's two uses: row v of the linear gradient meets token v."""
    activation, left = linear.parts()
    tokens, delta = table.parts()
    index = tokens[:, None, :].expand(-1, left.shape[1], -1)
    return (left.gather(2, index) * (activation @ delta.transpose(1, 2))).sum((1, 2))


def _lookups(one: EmbeddingRecord, other: EmbeddingRecord) -> Tensor:
    """Inner products [B] of two lookups in one table."""
    (tokens, delta), (others, deltas) = one.parts(), other.parts()
    same = tokens[:, :, None] == others[:, None, :]
    return ((delta @ deltas.transpose(1, 2)) * same).sum((1, 2))


def _biases(one: LinearRecord, other: LinearRecord) -> Tensor:
    """Inner products [B] of two uses of one bias."""
    return (one.parts()[1].sum(1) * other.parts()[1].sum(1)).sum(1)


def _inner(one: Record, other: Record, common: set[int]) -> Tensor | None:
    """Inner products [B] of two uses without materialising, where a formula is known."""
    if isinstance(other, LinearRecord) and isinstance(one, EmbeddingRecord):
        one, other = other, one
    if isinstance(one, LinearRecord) and isinstance(other, EmbeddingRecord):
        return _tied(one, other) if common == {id(one.weight)} else None
    if isinstance(one, EmbeddingRecord) and isinstance(other, EmbeddingRecord):
        return _lookups(one, other)
    if isinstance(one, LinearRecord) and isinstance(other, LinearRecord):
        biases = one.bias is not None and one.bias is other.bias
        return _biases(one, other) if biases and common == {id(one.bias)} else None
    return None


def _materialised(records: list[Record]) -> Tensor:
    """Squared norms [B] from the gradients themselves, a few examples at a time."""
    widest = sum(p.numel() for record in records for p in record.parameters)
    size = max(1, CHUNK_ELEMENTS // widest)
    norms = []
    for start in range(0, records[0].rows, size):
        sums: dict[int, Tensor] = {}
        for record in records:
            for parameter, gradient in record.per_example(slice(start, start + size)):
                key = id(parameter)
                sums[key] = sums[key] + gradient if key in sums else gradient
        norms.append(torch.stack([g.flatten(1).square().sum(1) for g in sums.values()]).sum(0))
    return torch.cat(norms)


def joint_squared_norms(records: list[Record]) -> Tensor:
    """Return float [B], the squared norms of gradients that share parameters.

    Args:
        records: at least one, of the same examples.
    """
    records = _joined(records)
    total = torch.stack([record.squared_norms() for record in records]).sum(0)
    for one, other in combinations(records, 2):
        theirs = {id(p) for p in other.parameters}
        common = {id(p) for p in one.parameters if id(p) in theirs and trainable(p)}
        if not common:
            continue
        inner = _inner(one, other, common)
        if inner is None:
            return _materialised(records)
        total = total + 2 * inner
    return total.clamp(min=0)
