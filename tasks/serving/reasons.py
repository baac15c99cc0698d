"""Principal reasons of an answer: how the score would change if one feature were the reference's.

Whole features are taken away, one at a time: all steps and all readings of a name together. A
person costs one row of the network a feature, beside the one that was scored. For a model that
adds up its features this is each one's exact part; else it misses what only two features
together do.

n people, K features, V variants, C logits, D channels a step, S static channels.

Source: Zeiler and Fergus (2014), occlusion, of features in place of patches.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rnn.batch import PreparedSequences
from tasks.evidence.contributions import UNKNOWN_ID, Rows
from tasks.evidence.reasons import LEAST_SHARE
from tasks.params import UserError
from tasks.recipe import DataConfig
from tasks.serving.features import Features

Array = NDArray[np.float64]
Logits = Callable[[PreparedSequences], Array]
Reasons = list[dict[str, Any]]

# Steps of all variants of one request, and of those in memory at once.
MOST_STEPS = 5_000_000
STEPS_AT_ONCE = 200_000
# Digits of log-odds that do not depend on who else is in a batch: ties stay ties.
DIGITS = 4
# A column of them in a table.
REASONS = pl.List(
    pl.Struct(
        {
            "feature": pl.String,
            "code": pl.String,
            "text": pl.String,
            "reference": pl.String,
            "sensitive": pl.Boolean,
            "points": pl.Float64,
            "share": pl.Float64,
        }
    )
)


@dataclass(frozen=True)
class Variants:
    """One person without one feature, V of them, by person and then by feature.

    Attributes:
        person: int64 [V].
        feature: int64 [V].
    """

    person: Rows
    feature: Rows

    def part(self, some: slice) -> "Variants":
        """Return some of them."""
        return Variants(self.person[some], self.feature[some])


def variants_of(people: PreparedSequences, rows: Rows, features: Features) -> Variants:
    """Return which features are taken away from whom.

    Args:
        people: encoded.
        rows: int64 [n], who is asked about.
        features: of the model.
    """
    first = len(features.names)
    named = np.concatenate([features.owners, features.static_owners])
    if not people.is_tokens:
        every = np.arange(first)
        return Variants(np.repeat(rows, first), np.tile(every, len(rows)))
    person, feature = [rows[:0]], [rows[:0]]
    for row in rows.tolist():
        tokens = np.unique(people.sequences[people.offsets[row] : people.offsets[row + 1]])
        # What is unknown already cannot be taken away.
        own = np.concatenate([tokens[tokens > UNKNOWN_ID] - UNKNOWN_ID, np.unique(named)])
        person.append(np.full(len(own), row, dtype=np.int64))
        feature.append(own.astype(np.int64))
    return Variants(np.concatenate(person), np.concatenate(feature))


def without(people: PreparedSequences, of: Variants, features: Features) -> PreparedSequences:
    """Return each person with one feature at the reference, at every step that there is.

    Args:
        people: encoded.
        of: V variants.
        features: of the model.
    """
    starts, ends = people.offsets[of.person], people.offsets[of.person + 1]
    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    where = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    gone = np.repeat(of.feature, lengths)
    values, missing = people.sequences[where], people.missing
    if people.is_tokens:
        values = np.where(values == gone + UNKNOWN_ID, UNKNOWN_ID, values).astype(values.dtype)
    else:
        mine = gone[:, None] == features.owners
        values = np.where(mine, features.reference, values)
        missing = None if missing is None else np.where(mine, 0, missing[where]).astype(np.uint8)
    fixed = of.feature[:, None] == features.static_owners
    return replace(
        people,
        sequences=values,
        missing=missing,
        offsets=offsets,
        static=np.where(fixed, features.static_reference, people.static[of.person]),
        targets=np.zeros(len(of.person), dtype=np.int64),
    )


def _at_once(people: PreparedSequences, of: Variants) -> Iterator[slice]:
    """Parts of the variants with few steps each, one variant at least."""
    total = np.cumsum(np.diff(people.offsets)[of.person])
    start = 0
    while start < len(total):
        before = total[start - 1] if start else 0
        end = int(np.searchsorted(total, before + STEPS_AT_ONCE, side="right"))
        end = max(end, start + 1)
        yield slice(start, end)
        start = end


def quantity(logits: Array, data: DataConfig, chosen: Rows) -> Array:
    """Return the number that reasons are about, float64 [V].

    Args:
        logits: float64 [V, C].
        data: target and decision.
        chosen: int64 [V], class of the answer; read for several classes alone.

    Returns:
        Log-odds of the unfavourable outcome where something is decided, of the event where
        nothing is, or of the answer's class; of a number the prediction in -1..1.
    """
    if data.target.kind != "multiclass":
        decision, classes = data.decision, data.target.classes
        event = decision is not None and classes.index(decision.favourable) == 1
        return -logits[:, 0] if event else logits[:, 0]
    every = np.arange(len(logits))
    others = logits.copy()
    others[every, chosen] = -np.inf
    most = others.max(1, keepdims=True)
    rest = np.log(np.exp(others - most).sum(1)) + most[:, 0]
    return np.asarray(logits[every, chosen] - rest)


@dataclass(frozen=True)
class Reasoner:
    """Reasons of one model.

    Attributes:
        features: of the model.
        data: target and decision.
        ask: the model: people to logits float64 [n, C].
    """

    features: Features
    data: DataConfig
    ask: Logits

    def reasons(
        self,
        people: PreparedSequences,
        logits: Array,
        rows: Rows,
        most: int,
        most_steps: int | None = None,
    ) -> list[Reasons]:
        """Return each person's principal reasons, most important first; of others none.

        Where something is decided only what speaks against the person is a reason; else whatever
        moved the answer, by size. What is below 5 % of the whole is left out.

        Args:
            people: encoded, [n].
            logits: float64 [n, C], theirs.
            rows: int64, who is asked about, rising.
            most: reasons of one person.
            most_steps: of all variants; None: any number.

        Raises:
            UserError: they are more.
        """
        of = variants_of(people, rows, self.features)
        _check_size(people, of, most_steps)
        found = self.effects(people, logits, of)
        size = np.maximum(found, 0) if self.data.decision is not None else np.abs(found)
        told: list[Reasons] = [[] for _ in range(len(people))]
        for row in rows.tolist():
            own = slice(*np.searchsorted(of.person, [row, row + 1]).tolist())
            whole = size[own].sum()
            for at in (np.argsort(-size[own], kind="stable")[:most] + own.start).tolist():
                if size[at] > LEAST_SHARE * whole:
                    points = self._in_units(float(found[at]))
                    said = self.features.said(int(of.feature[at]))
                    share = round(float(size[at] / whole), DIGITS)
                    told[row].append({**said, "points": points, "share": share})
        return told

    def effects(self, people: PreparedSequences, logits: Array, of: Variants) -> Array:
        """Return by how much each variant's feature raises what is asked about, float64 [V].

        Args:
            people: encoded, [n].
            logits: float64 [n, C], theirs.
            of: V variants.
        """
        chosen, found = logits.argmax(1), np.zeros(len(of.person))
        for some in _at_once(people, of):
            part = of.part(some)
            whose = chosen[part.person]
            after = self.ask(without(people, part, self.features))
            before = quantity(logits[part.person], self.data, whose)
            found[some] = before - quantity(after, self.data, whose)
        return found.round(DIGITS)

    def _in_units(self, effect: float) -> float:
        """Log-odds as they are; of a number in its own unit."""
        bounds = self.data.target.bounds
        if self.data.target.kind != "regression" or bounds is None:
            return effect
        return effect * (bounds[1] - bounds[0]) / 2


def _check_size(people: PreparedSequences, of: Variants, most: int | None) -> None:
    """Raise where reasons would keep others waiting."""
    steps = int(np.diff(people.offsets)[of.person].sum())
    if most is not None and steps > most:
        raise UserError(
            f"reasons: these people need {steps:,} steps of the network, {most:,} are allowed in "
            "one request; ask about fewer people or for 0 reasons"
        )
