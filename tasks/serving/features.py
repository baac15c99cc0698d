"""Whole features of a served model, and the public reference that each is compared with.

D channels a step, S static channels, K features: of a text every token, the unknown one first,
then the static ones; else by name, whatever stands in the sequence and beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.evidence.contributions import Rows, token_names
from tasks.evidence.local import shown
from tasks.recipe import DataConfig, ReasonConfig, Scalar
from tasks.settings.serve import readings
from tasks.table.cells import Column
from tasks.table.channels import Floats, channels
from tasks.table.encode import schema


@dataclass(frozen=True)
class Features:
    """What a reason may be about.

    Attributes:
        names: of the features, K.
        owners: int64 [D], feature of each channel of a step; empty for a text.
        static_owners: int64 [S].
        reference: float32 [D], what the channels of a step are at the reference.
        static_reference: float32 [S].
        compared: the reference of each feature in words, K.
        codes: code and text of the house by feature.
        sensitive: features that are sensitive and fed.
    """

    names: tuple[str, ...]
    owners: Rows
    static_owners: Rows
    reference: Floats
    static_reference: Floats
    compared: tuple[str, ...]
    codes: Mapping[str, ReasonConfig]
    sensitive: frozenset[str]

    def said(self, feature: int) -> dict[str, Any]:
        """Return what an answer says about a feature, whoever the person is."""
        name = self.names[feature]
        told = self.codes.get(name, ReasonConfig())
        return {
            "feature": name,
            "code": told.code,
            "text": told.text or name,
            "reference": self.compared[feature],
            "sensitive": name in self.sensitive,
        }


def features_of(data: DataConfig, codes: Mapping[str, ReasonConfig]) -> Features:
    """Return the features of a recipe; nothing here depends on a person.

    Args:
        data: of the registered model.
        codes: by the name of the feature, what the recipe says of it.
    """
    known = schema(data)
    tokens = token_names(known) if known["input"]["kind"] == "tokens" else []
    step = [str(c["feature"]) for c in known["channels"]]
    static = [str(c["feature"]) for c in known["static"]]
    own = list(dict.fromkeys([*step, *static]))
    place = {name: len(tokens) + index for index, name in enumerate(own)}
    at = {name: code.reference for name, code in codes.items()}
    return Features(
        (*tokens, *own),
        np.array([place[name] for name in step], dtype=np.int64),
        np.array([place[name] for name in static], dtype=np.int64),
        _at(data, "sequence", len(step), at),
        _at(data, "static", len(static), at),
        (*["any unknown token"] * len(tokens), *(_in_words(data, name, at) for name in own)),
        dict(codes),
        frozenset(s.name for s in data.sensitive if s.feed),
    )


def _at(data: DataConfig, kind: str, size: int, at: Mapping[str, Scalar | None]) -> Floats:
    """Channels of the reference: those of stated values, else 0, as an encoder has them."""
    static = len(data.static)
    every = readings(data)
    parts = every[len(every) - static :] if kind == "static" else every[: len(every) - static]
    found = [np.zeros(0, dtype=np.float32)]
    for feature in parts:
        stated = at.get(feature.name)
        cells = Column(feature.name, pl.Series([stated if stated is not None else 0]), None)
        values: NDArray[np.float32] = channels(feature, cells)[0][0]
        found.append(values if stated is not None else np.zeros_like(values))
    # Labels of fed sensitive features stand last: none of them is the reference.
    joined = np.concatenate(found)
    return np.concatenate([joined, np.zeros(size - len(joined), dtype=np.float32)])


def _in_words(data: DataConfig, name: str, at: Mapping[str, Scalar | None]) -> str:
    """The reference of a feature as a person reads it."""
    own = [f for f in readings(data) if f.name == name]
    value = at.get(name)
    if value is None:
        return "middle of the bounds" if any(f.is_number for f in own) else "none of its values"
    unit = next((f.unit for f in own if f.unit), "")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{shown(float(value)) if number else value} {unit}".strip()
