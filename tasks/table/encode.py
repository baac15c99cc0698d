"""Raw rows in the user's own layout to arrays, by public settings alone.

Nothing here is fitted: bounds, categories and alphabets stand in the recipe. `prepare` and the
served model call the same functions, so that they cannot drift apart.

N people, T steps, D channels a step, S static channels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rnn.config import InputShape
from tasks.recipe import DataConfig, LongLayout, TextLayout, WideLayout
from tasks.table.cells import canonical, canonical_scalar, times
from tasks.table.channels import Floats, channels, fill, named, scale, unscale, width
from tasks.table.labels import (
    encode_sensitive,
    encode_targets,
    known_labels,
    label_of,
    training_labels,
)
from tasks.table.people import PERSON, Grouping, cells_of, columns, group

__all__ = [
    "Encoded",
    "columns",
    "encode",
    "encode_sensitive",
    "encode_targets",
    "input_shape",
    "scale",
    "schema",
    "unscale",
]

PADDING_ID, UNKNOWN_ID = 0, 1


@dataclass(frozen=True)
class Encoded:
    """People as arrays; see rnn.batch.PreparedSequences.

    Attributes:
        person_ids: str [N].
        sequences: float32 [total, D], or int32 [total] tokens.
        missing: uint8 [total, D], 1 where the value was missing; None for tokens.
        offsets: int64 [N + 1].
        static: float32 [N, S].
    """

    person_ids: pl.Series
    sequences: NDArray[np.float32] | NDArray[np.int32]
    missing: NDArray[np.uint8] | None
    offsets: NDArray[np.int64]
    static: Floats

    def __len__(self) -> int:
        """Return N."""
        return len(self.offsets) - 1


def _wide(frame: pl.DataFrame, data: DataConfig, layout: WideLayout, grouping: Grouping) -> Encoded:
    """Named columns for each step."""
    count, steps = len(frame), len(layout.steps)
    size = sum(map(width, layout.features))
    values = np.zeros((count, steps, size), dtype=np.float32)
    missing = np.zeros((count, steps, size), dtype=np.uint8)
    at = end = 0
    for feature in layout.features:
        for step, name in enumerate(feature.columns):
            cells = cells_of(frame, data, name, f"data.sequence.features.{feature.name}")
            end = fill(feature, cells, at, values[:, step], missing[:, step])
        at = end
    return Encoded(
        grouping.table[PERSON],
        values.reshape(-1, size),
        missing.reshape(-1, size),
        np.arange(count + 1, dtype=np.int64) * steps,
        _static(frame, data),
    )


def _long(frame: pl.DataFrame, data: DataConfig, layout: LongLayout, grouping: Grouping) -> Encoded:
    """Events of each person in the order of time, the latest ones where there are too many."""
    persons = grouping.table
    assert grouping.codes is not None
    when = times(cells_of(frame, data, layout.time, "data.sequence.time"), layout.time_format)
    order = np.lexsort((when.to_numpy(), grouping.codes))
    counts = np.bincount(grouping.codes, minlength=len(persons))
    # From the end of each person's events: 0 is the latest.
    age = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(order))
    kept = order[age < layout.max_length]
    size = sum(map(width, layout.features))
    values = np.zeros((len(frame), size), dtype=np.float32)
    missing = np.zeros((len(frame), size), dtype=np.uint8)
    at = 0
    for feature in layout.features:
        cells = cells_of(frame, data, feature.column, f"data.sequence.features.{feature.name}")
        at = fill(feature, cells, at, values, missing)
    offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, layout.max_length))])
    return Encoded(
        persons[PERSON],
        values[kept],
        missing[kept],
        offsets.astype(np.int64),
        _static(persons, data),
    )


def alphabet(layout: TextLayout) -> list[str]:
    """Return the characters with an id of their own, from id 2 on."""
    return list(dict.fromkeys(layout.alphabet))


def texts_of(frame: pl.DataFrame, data: DataConfig, layout: TextLayout) -> pl.Series:
    """Return each record's text as it is read; U+FFFF for an empty one."""
    parts = {
        f"{i}": canonical(cells_of(frame, data, name, "data.sequence.columns").values)
        for i, name in enumerate(layout.columns)
    }
    joined = pl.DataFrame(parts).select(
        pl.concat_str(pl.all(), separator=layout.separator, ignore_nulls=True)
    )
    text = joined.to_series().str.slice(0, layout.max_length)
    if layout.lowercase:
        text = text.str.to_lowercase().str.slice(0, layout.max_length)
    # U+FFFF is no character, so it is in no alphabet.
    return text.set(text == "", "\uffff").fill_null("\uffff")


def _text(frame: pl.DataFrame, data: DataConfig, layout: TextLayout, grouping: Grouping) -> Encoded:
    """Characters of the columns, joined; an empty record is one unknown character."""
    text = texts_of(frame, data, layout)
    points = np.frombuffer("".join(text.to_list()).encode("utf-32-le"), dtype=np.uint32)
    table = np.full(0x110000, UNKNOWN_ID, dtype=np.int32)
    for i, character in enumerate(alphabet(layout)):
        table[ord(character)] = UNKNOWN_ID + 1 + i
    offsets = np.concatenate([[0], np.cumsum(text.str.len_chars().to_numpy())])
    return Encoded(
        grouping.table[PERSON],
        table[points],
        None,
        offsets.astype(np.int64),
        _static(frame, data),
    )


def _static(persons: pl.DataFrame, data: DataConfig) -> Floats:
    """Static channels [N, S], those of fed sensitive features last."""
    blocks = [np.zeros((len(persons), 0), dtype=np.float32)]
    for feature in data.static:
        cells = cells_of(persons, data, feature.column, f"data.static.{feature.name}")
        blocks.append(channels(feature, cells)[0])
    for sensitive in data.sensitive:
        if sensitive.feed:
            label = label_of(persons, data, sensitive)
            hits = [(label == known).to_numpy() for known in known_labels(sensitive)]
            blocks.append(np.stack(hits, axis=1).astype(np.float32))
    return np.concatenate(blocks, axis=1)


def encode(frame: pl.DataFrame, data: DataConfig, grouping: Grouping | None = None) -> Encoded:
    """Return what the model reads of some people.

    Args:
        frame: raw rows in the user's layout, as text or typed; may have a column ROW for errors.
        data: the recipe's data block.
        grouping: of the same frame, where the caller has it already.

    Returns:
        Everyone in the frame: in the order of the rows for wide and text, by person id for long.

    Raises:
        UserError: a column is missing, or a cell cannot be read.
    """
    grouping = grouping or group(frame, data)
    if isinstance(data.sequence, WideLayout):
        return _wide(frame, data, data.sequence, grouping)
    if isinstance(data.sequence, LongLayout):
        return _long(frame, data, data.sequence, grouping)
    return _text(frame, data, data.sequence, grouping)


def schema(data: DataConfig) -> dict[str, Any]:
    """Return schema.json: public, from the recipe alone."""
    layout, target = data.sequence, data.target
    tokens = isinstance(layout, TextLayout)
    channels = [] if isinstance(layout, TextLayout) else named(layout.features)
    fed = [
        {"feature": s.name, "value": label, "unit": ""}
        for s in data.sensitive
        if s.feed
        for label in known_labels(s)
    ]
    vocabulary = (
        ["<padding>", "<unknown>", *alphabet(layout)] if isinstance(layout, TextLayout) else []
    )
    groups = {"feature": data.training_groups, "labels": training_labels(data)}
    return {
        "layout": layout.layout,
        "input": {
            "kind": "tokens" if tokens else "numbers",
            "size": len(channels),
            "vocabulary": vocabulary,
        },
        "channels": channels,
        "static": named(data.static) + fed,
        "steps": list(layout.steps) if isinstance(layout, WideLayout) else [],
        "missing_indicators": data.missing_indicators and not tokens,
        "target": {
            "kind": target.kind,
            "classes": list(target.classes),
            "names": list(target.names) or [canonical_scalar(c) for c in target.classes],
        },
        "task": target.kind,
        **({"groups": groups} if data.training_groups is not None else {}),
    }


def input_shape(data: DataConfig) -> InputShape:
    """Return what the data fix about the network: public, from the recipe alone."""
    known = schema(data)
    size = int(known["input"]["size"]) * (2 if known["missing_indicators"] else 1)
    return InputShape(
        input_size=size,
        vocabulary_size=len(known["input"]["vocabulary"]),
        static_size=len(known["static"]),
        output_size=len(data.target.classes) if data.target.kind == "multiclass" else 1,
        task=data.target.kind,
    )
