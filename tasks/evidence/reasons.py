"""Why a decision was unfavourable: principal reasons, and whether they would come out again.

N people, F features, R reasons at most.

A feature counts as a reason by how much further it pushes towards the unfavourable decision than
it does, on average, for the people who just got the favourable one. Regulation B's commentary
names this comparison among its methods.

Source: 12 CFR part 1002, Supplement I, comment 9(b)(2), paragraphs 1 and 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rnn.batch import PreparedSequences
from tasks.evidence.contributions import UNKNOWN_ID, Rows

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

MOST = 4
# What adds less than this share of all that speaks against a person is no principal reason.
LEAST_SHARE = 0.05
# The favourable decisions nearest to the threshold, as a share of all favourable ones.
NEAREST = 0.1
MIN_NEAREST = 30
# A small change of the input: this part of the range between a number's public bounds.
CHANGE = 0.01
NONE = -1
_TINY = 1e-12


@dataclass(frozen=True)
class Decided:
    """Whose decisions are explained, and with whom they are compared.

    Attributes:
        refused: int64, rows of prepared data with an unfavourable decision, rising.
        nearest: int64, rows of those who just got the favourable one, rising.
        toward: 1 where a higher output is less favourable, else -1.
        of: how many unfavourable decisions there are in all.
    """

    refused: Rows
    nearest: Rows
    toward: int
    of: int


def decided(
    rows: Rows, favoured: Flags, favourable_score: Floats, toward: int, most: int, seed: int
) -> Decided:
    """Return unfavourable decisions, a random part of them where they are too many.

    Args:
        rows: int64 [N], rows of prepared data.
        favoured: bool [N], who got the favourable decision.
        favourable_score: float64 [N], higher is more favourable.
        toward: as in `Decided`.
        most: unfavourable decisions to explain at most.
        seed: of the choice.
    """
    against, granted = np.flatnonzero(~favoured), np.flatnonzero(favoured)
    chosen = against
    if len(against) > most:
        chosen = np.random.default_rng(seed).choice(against, most, replace=False)
    close = granted[np.argsort(favourable_score[granted], kind="stable")]
    count = min(len(close), max(MIN_NEAREST, round(NEAREST * len(close))))
    return Decided(np.sort(rows[chosen]), np.sort(rows[close[:count]]), toward, len(against))


def points(signed: Floats, usual: Floats, toward: int) -> Floats:
    """Return how much each feature speaks against each refused person, float64 [N, F].

    Args:
        signed: float64 [N, F], contributions of the refused.
        usual: float64 [F], mean contributions of those who just got the favourable decision.
        toward: as in `Decided`.
    """
    return np.asarray(toward * (signed - usual))


def principal(against: Floats) -> Rows:
    """Return each person's principal reasons, most important first.

    Args:
        against: float64 [N, F], what `points` returns.

    Returns:
        int64 [N, R], feature numbers; NONE where there are fewer.
    """
    positive = np.maximum(against, 0.0)
    order = np.argsort(-positive, axis=1, kind="stable")[:, :MOST]
    value = np.take_along_axis(positive, order, 1)
    enough = value > np.maximum(LEAST_SHARE * positive.sum(1, keepdims=True), _TINY)
    return np.where(enough, order, NONE)


def found_again(reasons: Rows, others: Rows) -> Floats:
    """Return for each reason whether it is among another set's reasons, 1 or 0; NaN for none.

    Args:
        reasons: int64 [N, R].
        others: int64 [N, R], of the same people.
    """
    same = (reasons[:, :, None] == others[:, None, :]).any(2)
    return np.where(reasons == NONE, np.nan, same.astype(np.float64))


@dataclass(frozen=True)
class Stability:
    """How often reasons come out of other ways of asking.

    Attributes:
        again: by way of asking, float64 [N, R]: how often each reason came out again.
        whole: by way, float64 [N]: the mean over a person's reasons; NaN without reasons.
        first: by way, float64 [N]: how often the first reason came first again.
        stable: bool [N], every way finds at least the wanted share again.
    """

    again: Mapping[str, Floats]
    whole: Mapping[str, Floats]
    first: Mapping[str, Floats]
    stable: Flags


def stability(reasons: Rows, ways: Mapping[str, list[Rows]], wanted: float) -> Stability:
    """Compare reasons with those that came out otherwise.

    Args:
        reasons: int64 [N, R].
        ways: by name, one or more other sets of reasons of the same people.
        wanted: share of a person's reasons that each way must find again.
    """
    there = (reasons != NONE).any(1)
    again, whole, first = {}, {}, {}
    for name, sets in ways.items():
        again[name] = np.mean([found_again(reasons, other) for other in sets], axis=0)
        count = np.maximum((reasons != NONE).sum(1), 1)
        whole[name] = np.where(there, np.nansum(again[name], axis=1) / count, np.nan)
        same = np.mean([reasons[:, 0] == other[:, 0] for other in sets], axis=0)
        first[name] = np.where(there, same, np.nan)
    enough = [np.nan_to_num(share, nan=-1.0) >= wanted - _TINY for share in whole.values()]
    stable = np.logical_and.reduce(enough) if enough else np.zeros(len(reasons), dtype=bool)
    return Stability(again, whole, first, np.asarray(stable) & there)


def changed(
    sequences: PreparedSequences, rows: Rows, owners: Rows, static_owners: Rows, seed: int
) -> PreparedSequences:
    """Return the data of some people with every number moved a little, or one character unknown.

    Categories, indicators and what is missing stay. Every number moves by a normal amount of
    `CHANGE` times the range between its bounds, and stays inside them; several readings of one
    feature move together.

    Args:
        sequences: prepared data.
        rows: int64 [n], whom to copy; the result holds them in this order, from 0.
        owners: int64 [D], number of each channel's feature, NONE where it is no number; ignored
            for a text.
        static_owners: int64 [S].
        seed: of the change.
    """
    generator = np.random.default_rng(seed)
    starts, ends = sequences.offsets[rows], sequences.offsets[rows + 1]
    where = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(ends - starts)]).astype(np.int64)
    values = np.array(sequences.sequences[where])
    static = _moved(np.array(sequences.static[rows]), static_owners, None, generator)
    missing = None if sequences.missing is None else np.array(sequences.missing[where])
    if sequences.is_tokens:
        at = offsets[:-1] + (generator.random(len(rows)) * np.diff(offsets)).astype(np.int64)
        values[at] = UNKNOWN_ID
    else:
        values = _moved(values, owners, missing, generator)
    return replace(
        sequences,
        sequences=values,
        missing=missing,
        offsets=offsets,
        static=static,
        targets=np.asarray(sequences.targets[rows]),
        units=None,
    )


def _moved(
    values: NDArray[np.float32],
    owners: Rows,
    missing: NDArray[np.uint8] | None,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Numbers moved inside -1..1, the rest as it was."""
    if (owners == NONE).all():
        return values
    noise = generator.normal(scale=2 * CHANGE, size=(len(values), int(owners.max()) + 1))
    moves = np.broadcast_to(owners != NONE, values.shape)
    if missing is not None:
        moves = moves & (missing == 0)
    moved = np.clip(values + noise[:, np.maximum(owners, 0)], -1, 1)
    return np.where(moves, moved, values).astype(np.float32)


def number_owners(channels: list[dict[str, object]]) -> Rows:
    """Return the number of each channel's feature, NONE for a category; int64 [D]."""
    names = list(dict.fromkeys(c["feature"] for c in channels))
    return np.array(
        [names.index(c["feature"]) if c["value"] is None else NONE for c in channels],
        dtype=np.int64,
    )
