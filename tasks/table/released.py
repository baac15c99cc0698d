"""A recipe's data block with what was drawn from training people filled in."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tasks import artifacts
from tasks.params import UserError
from tasks.recipe import ColumnFeature, DataConfig, LongLayout, TextLayout, WideFeature, WideLayout
from tasks.settings.preparation import drawn_of, of_feature
from tasks.settings.tokens import Vocabulary
from tasks.table import vocabulary
from tasks.table.labels import training_labels

FILE = "preparation.json"
F = TypeVar("F", WideFeature, ColumnFeature)


def resolved(data: DataConfig, values: Sequence[Any]) -> DataConfig:
    """Return the data block with bounds, values and alphabets in place of what draws them.

    Args:
        data: the recipe's data block.
        values: what was released, in the order of `drawn_of`.
    """
    drawn = drawn_of(data)
    if not drawn:
        return data
    known = {one.key: value for one, value in zip(drawn, values, strict=True)}
    layout = data.sequence
    if isinstance(layout, TextLayout):
        if layout.private_alphabet is not None:
            (letters,) = (v for one, v in zip(drawn, values, strict=True) if one.kind == "alphabet")
            layout = replace(layout, alphabet="".join(letters), private_alphabet=None)
        if layout.vocabulary is not None and layout.vocabulary.private is not None:
            (found,) = (v for one, v in zip(drawn, values, strict=True) if one.kind == "tokens")
            layout = replace(layout, vocabulary=Vocabulary(values=tuple(found)))
    elif isinstance(layout, WideLayout):  # noqa: SIM114 (their features differ in type)
        layout = replace(layout, features=tuple(_filled(f, known, False) for f in layout.features))
    elif isinstance(layout, LongLayout):
        layout = replace(layout, features=tuple(_filled(f, known, False) for f in layout.features))
    static = tuple(_filled(feature, known, True) for feature in data.static)
    return replace(data, sequence=layout, static=static, private_counts=None)


def _filled(feature: F, known: Mapping[tuple[object, ...], Any], static: bool) -> F:
    """A feature with what was drawn for it."""
    changes: dict[str, Any] = {}
    for drawn in of_feature(feature, "", static):
        value = known[drawn.key]
        if drawn.kind == "bounds":
            changes |= {"bounds": (float(value[0]), float(value[1])), "private_bounds": None}
        elif drawn.kind == "values":
            changes |= {"values": tuple(value), "private_values": None}
        else:
            changes |= {"missing": float(value), "private_missing": None}
    return replace(feature, **changes) if changes else feature


def read_data(recipe: str) -> DataConfig:
    """Return a recipe's data block as prepare used it: every later stage encodes by this one.

    Raises:
        UserError: what was drawn is missing, or was drawn for other settings.
    """
    data = _with_drawn(recipe, artifacts.read_section(recipe, "data", DataConfig))
    if all(spec.is_stated for spec in data.texts.values()):
        return data
    path = artifacts.folder(recipe, "prepared", "arrays", vocabulary.FILE)
    return vocabulary.with_values(data, artifacts.read_json(path))


def _with_drawn(recipe: str, data: DataConfig) -> DataConfig:
    """A data block with what was drawn from training people."""
    drawn = drawn_of(data)
    if not drawn:
        return data
    path = artifacts.folder(recipe, "prepared", "arrays", FILE)
    releases = artifacts.read_json(path)["releases"]
    asked = [one.as_json() for one in drawn]
    if [release["asked"] for release in releases] != _plain(asked):
        raise UserError(f"{path} was drawn for other settings: run the stage prepare again")
    return resolved(data, [release["value"] for release in releases])


def group_sizes(data: DataConfig, releases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what schema.json says of the sizes of the groups that training reads.

    Args:
        data: as prepare was asked, with private_counts.
        releases: as they stand in preparation.json.

    Returns:
        Released numbers by label, "unknown" last, and the standard deviation of their noise;
        empty where nobody counted these groups.
    """
    counts = data.private_counts
    if counts is None or counts.feature != data.training_groups:
        return {}
    (value,) = (r["value"] for r in releases if r["asked"]["kind"] == "counts")
    # Discrete Laplace noise of scale 1 / epsilon.
    step = math.exp(-counts.epsilon)
    noise = math.sqrt(2 * step) / (1 - step)
    return {"sizes": [value[label] for label in training_labels(data)], "noise": noise}


def _plain(values: Any) -> Any:
    """Values as JSON gives them back: tuples are lists."""
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    return [_plain(value) for value in values] if isinstance(values, list | tuple) else values
