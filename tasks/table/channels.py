"""A feature as channels between -1 and 1, by its public bounds or values alone.

n cells, k channels of one feature, D of all.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.recipe import ColumnFeature, Transform, WideFeature
from tasks.table.cells import Column, canonical_scalar, numbers, texts

Feature = WideFeature | ColumnFeature
Floats = NDArray[np.float32]


def scale(
    values: NDArray[np.float64], bounds: tuple[float, float], transform: Transform
) -> NDArray[np.float64]:
    """Return numbers clipped to public bounds, bent, and brought to -1..1.

    Args:
        values: finite, in the user's unit.
        bounds: low and high, in the user's unit.
        transform: linear; log for log(1 + x); signed_log for sign(x) log(1 + |x|).

    Example:
        >>> scale(np.array([-5.0, 0.0, 5.0, 99.0]), (0.0, 10.0), "linear").tolist()
        [-1.0, -1.0, 0.0, 1.0]
    """
    ends = _bend(np.array(bounds, dtype=np.float64), transform)
    bent = _bend(np.clip(values, *bounds), transform)
    return 2.0 * (bent - ends[0]) / (ends[1] - ends[0]) - 1.0


def unscale(
    values: NDArray[np.float64], bounds: tuple[float, float], transform: Transform = "linear"
) -> NDArray[np.float64]:
    """Return numbers in -1..1 in the user's unit: the inverse of `scale` inside the bounds."""
    low, high = _bend(np.array(bounds, dtype=np.float64), transform)
    bent = low + (values + 1.0) / 2.0 * (high - low)
    if transform == "log":
        return np.expm1(bent)
    return np.sign(bent) * np.expm1(np.abs(bent)) if transform == "signed_log" else bent


def _bend(values: NDArray[np.float64], transform: Transform) -> NDArray[np.float64]:
    """The transform before the linear map."""
    if transform == "log":
        return np.log1p(values)
    return np.sign(values) * np.log1p(np.abs(values)) if transform == "signed_log" else values


def channels(feature: Feature, cells: Column) -> tuple[Floats, NDArray[np.bool_]]:
    """Channels [n, k] of one column, 0 or the declared value where missing, and where [n]."""
    if feature.bounds is None:
        text = texts(cells)
        wanted = [canonical_scalar(value) for value in feature.values]
        gone = _missing(text)
        hits = [(text == value).to_numpy() == 1 for value in wanted]
        return np.stack(hits, axis=1).astype(np.float32), gone
    parsed = numbers(cells)
    missing = _missing(parsed)
    if missing.any():
        parsed = parsed.fill_null(feature.bounds[0])
    scaled = scale(parsed.to_numpy(), feature.bounds, feature.transform)
    scaled[missing] = 0.0
    if feature.missing is not None:
        declared = np.array([feature.missing], dtype=np.float64)
        scaled[missing] = scale(declared, feature.bounds, feature.transform)
    return scaled.astype(np.float32)[:, None], missing


def _missing(values: pl.Series) -> NDArray[np.bool_]:
    """Where a value is missing."""
    if values.has_nulls():
        return values.is_null().to_numpy()
    return np.zeros(len(values), dtype=np.bool_)


def width(feature: Feature) -> int:
    """Channels of one feature."""
    return 1 if feature.bounds is not None else len(feature.values)


def fill(
    feature: Feature, cells: Column, at: int, values: Floats, missing: NDArray[np.uint8]
) -> int:
    """Write a feature's channels from `at` on into [n, D]; return where the next begins."""
    mine, gone = channels(feature, cells)
    end = at + mine.shape[1]
    values[:, at:end] = mine
    missing[:, at:end] = gone[:, None]
    return end


def named(features: tuple[Feature, ...]) -> list[dict[str, Any]]:
    """Names of the channels of some features."""
    return [
        {"feature": feature.name, "value": value, "unit": feature.unit}
        for feature in features
        for value in (map(canonical_scalar, feature.values) if feature.values else [None])
    ]
