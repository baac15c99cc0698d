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
from tasks.recipe import DataConfig, LongLayout, SeriesLayout, Target, TextLayout, WideLayout
from tasks.settings.target import output_size
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
from tasks.table.series import described, ids_of, served
from tasks.table.splitting import normalised
from tasks.table.tokens import Codec, codec_of
from tasks.table.windows import Windows, named_ahead, named_steps

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


def joined(frame: pl.DataFrame, data: DataConfig, layout: TextLayout) -> pl.Series:
    """Return the text of each record, null where all its cells are."""
    parts = {
        f"{i}": canonical(cells_of(frame, data, name, "data.sequence.columns").values)
        for i, name in enumerate(layout.columns)
    }
    return (
        pl.DataFrame(parts)
        .select(pl.concat_str(pl.all(), separator=layout.separator, ignore_nulls=True))
        .to_series()
    )


def texts_of(frame: pl.DataFrame, data: DataConfig, layout: TextLayout) -> pl.Series:
    """Return each record's text as it is cut into tokens; U+FFFF for an empty one."""
    return normalised(joined(frame, data, layout), layout)


def codec(data: DataConfig) -> Codec:
    """Return how texts of a recipe become ids; a text that is its own target has its ends marked.

    Args:
        data: with layout text, its vocabulary known.
    """
    assert isinstance(data.sequence, TextLayout)
    return codec_of(data.sequence, data.target.kind == "next_token")


def _text(frame: pl.DataFrame, data: DataConfig, layout: TextLayout, grouping: Grouping) -> Encoded:
    """Tokens of the columns, joined; an empty record is one unknown token."""
    ids, offsets = codec(data).ids(joined(frame, data, layout))
    return Encoded(grouping.table[PERSON], ids, None, offsets, _static(frame, data))


def of_windows(windows: Windows, data: DataConfig, grouping: Grouping) -> Encoded:
    """Return windows of series as people; what is known of the steps to come is static.

    Args:
        windows: cut from the series of `grouping`.
        data: with layout series.
        grouping: of the rows that they were cut from.
    """
    persons = _static(grouping.table, data)[windows.series]
    return Encoded(
        ids_of(windows, data, grouping),
        windows.history,
        windows.missing,
        windows.offsets,
        np.concatenate([persons, windows.ahead], axis=1),
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
        Everyone in the frame: in the order of the rows for wide and text, by person id for long;
        of series the last window of each, by person id.

    Raises:
        UserError: a column is missing, or a cell cannot be read.
    """
    grouping = grouping or group(frame, data)
    if isinstance(data.sequence, WideLayout):
        return _wide(frame, data, data.sequence, grouping)
    if isinstance(data.sequence, LongLayout):
        return _long(frame, data, data.sequence, grouping)
    if isinstance(data.sequence, SeriesLayout):
        return of_windows(served(frame, data, grouping), data, grouping)
    return _text(frame, data, data.sequence, grouping)


def schema(data: DataConfig) -> dict[str, Any]:
    """Return schema.json: public, from the recipe alone."""
    layout, target = data.sequence, data.target
    tokens = isinstance(layout, TextLayout)
    series = isinstance(layout, SeriesLayout)
    if isinstance(layout, SeriesLayout):
        channels = named_steps(layout)
    else:
        channels = [] if isinstance(layout, TextLayout) else named(layout.features)
    fed = [
        {"feature": s.name, "value": label, "unit": ""}
        for s in data.sensitive
        if s.feed
        for label in known_labels(s)
    ]
    vocabulary = codec(data).vocabulary if isinstance(layout, TextLayout) else []
    groups = {"feature": data.training_groups, "labels": training_labels(data)}
    return {
        "layout": layout.layout,
        "input": {
            "kind": "tokens" if tokens else "numbers",
            "size": len(channels),
            "vocabulary": vocabulary,
            **_tokens(layout),
        },
        "channels": channels,
        "static": named(data.static) + fed + (named_ahead(data) if series else []),
        "steps": list(layout.steps) if isinstance(layout, WideLayout) else [],
        "missing_indicators": data.missing_indicators and not tokens,
        "target": {
            "kind": target.kind,
            "classes": list(target.classes),
            "names": list(target.names) or [canonical_scalar(c) for c in target.classes],
            **_of_sequences(target),
        },
        "task": target.kind,
        **({"groups": groups} if data.training_groups is not None else {}),
        **({"series": described(data)} if series else {}),
    }


def _tokens(layout: object) -> dict[str, str]:
    """What the tokens of a text are, where they are no characters."""
    if not isinstance(layout, TextLayout) or layout.tokens == "characters":
        return {}
    return {"tokens": layout.tokens}


def _of_sequences(target: Target) -> dict[str, Any]:
    """What else schema.json says of a target that is a sequence itself."""
    if target.kind == "forecast":
        assert target.bounds is not None
        return {
            "horizon": target.horizon,
            "quantiles": list(target.quantiles),
            "bounds": list(target.bounds),
        }
    if target.text is not None:
        return {
            "tokens": target.text.tokens,
            "vocabulary": codec_of(target.text, ends=True).vocabulary,
            "max_length": target.text.max_length,
        }
    return {}


def input_shape(data: DataConfig) -> InputShape:
    """Return what the data fix about the network: public, from the recipe alone."""
    known = schema(data)
    size = int(known["input"]["size"]) * (2 if known["missing_indicators"] else 1)
    vocabulary = len(known["input"]["vocabulary"])
    return InputShape(
        input_size=size,
        vocabulary_size=vocabulary,
        static_size=len(known["static"]),
        output_size=output_size(known["target"], vocabulary),
        task=data.target.kind,
        quantiles=tuple(known["target"].get("quantiles", ())),
    )
