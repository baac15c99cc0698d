"""A Keras model of Embedding, LSTM and Dense out of its HDF5 file, read as numbers alone.

Nothing of the file is run: no pickle, no TensorFlow, no links out of the file, no filters but
those that HDF5 itself has. Keras' LSTM has its gates in the order input, forget, cell, output,
which is torch's, kernels transposed, and one bias where torch has two.

V tokens, E numbers a token, H hidden units, L layers.
"""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tasks.params import UserError

Floats = NDArray[np.float32]
_MOST = 1 << 28
_WEIGHTS = "model_weights"
_LSTM = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "use_bias": True,
    "go_backwards": False,
}


def _member(group: Any, path: str) -> Any:
    """What stands in the file itself under a path, hard link by hard link."""
    for part in path.split("/"):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise UserError(f"{path} is not in the file, or leads out of it")
        group = group[part]
    return group


def _array(file: Any, path: str) -> Floats:
    """A table of numbers that stands in the file itself."""
    found = _member(file, path)
    plain = isinstance(found, h5py.Dataset) and not found.is_virtual and not found.external
    if not plain or found.dtype.kind != "f" or found.size > _MOST:
        raise UserError(f"{path} is no table of numbers")
    if found.compression not in (None, "gzip"):
        raise UserError(f"{path} is compressed by {found.compression}: allowed is gzip")
    return np.asarray(found[()], dtype=np.float32)


def _weights(file: Any, layer: str) -> dict[str, Floats]:
    """A layer's arrays by the last part of their names."""
    group = _member(file, f"{_WEIGHTS}/{layer}")
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs["weight_names"]]
    return {n.rsplit("/", 1)[-1].split(":")[0]: _array(file, f"{_WEIGHTS}/{layer}/{n}")
            for n in names}  # fmt: skip


def _layers(file: Any) -> list[dict[str, Any]]:
    """Kinds and settings of the layers, in order."""
    config = json.loads(file.attrs["model_config"])["config"]
    listed = config["layers"] if isinstance(config, dict) else config
    return [one for one in listed if one["class_name"] != "InputLayer"]


def lstm_of(found: dict[str, Floats], number: int) -> dict[str, Floats]:
    """Return one LSTM layer under torch's names.

    Args:
        found: kernel [E, 4H], recurrent_kernel [H, 4H], bias [4H].
        number: of the layer in its stack, from 0.

    Returns:
        weight_ih [4H, E], weight_hh [4H, H], bias_ih [4H] and bias_hh [4H], which is 0.
    """
    return {
        f"recurrent.weight_ih_l{number}": np.ascontiguousarray(found["kernel"].T),
        f"recurrent.weight_hh_l{number}": np.ascontiguousarray(found["recurrent_kernel"].T),
        f"recurrent.bias_ih_l{number}": found["bias"],
        f"recurrent.bias_hh_l{number}": np.zeros_like(found["bias"]),
    }


def read_keras(path: Path) -> dict[str, Floats]:
    """Return a Keras model's weights under our names.

    Args:
        path: an HDF5 file.

    Returns:
        embedding.weight [V, E], of each LSTM layer the four of `lstm_of`, and the last layer as
        dense.weight and dense.bias, whose classes are its own.

    Raises:
        UserError: the file is damaged, or the model is another.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(file)
    except UserError as error:
        raise UserError(f"start.package.member: {path.name}: {error}") from None
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"start.package.member: {path.name} is no Keras model in HDF5: {reason}"
        ) from None


def _read(file: Any) -> dict[str, Floats]:
    """The weights of an open file."""
    layers = _layers(file)
    kinds = [one["class_name"] for one in layers]
    if len(kinds) < 3 or kinds != ["Embedding", *["LSTM"] * (len(kinds) - 2), "Dense"]:
        raise UserError(f"its layers are {kinds}; allowed are Embedding, LSTM and Dense")
    out: dict[str, Floats] = {}
    for number, one in enumerate(layers[1:-1]):
        settings = {**_LSTM, **{k: v for k, v in one["config"].items() if k in _LSTM}}
        for key, wanted in _LSTM.items():
            if settings[key] != wanted:
                raise UserError(f"its LSTM has {key} = {settings[key]!r}; allowed is {wanted!r}")
        out |= lstm_of(_weights(file, one["config"]["name"]), number)
    dense = _weights(file, layers[-1]["config"]["name"])
    return {
        "embedding.weight": _weights(file, layers[0]["config"]["name"])["embeddings"],
        **out,
        "dense.weight": np.ascontiguousarray(dense["kernel"].T),
        "dense.bias": dense["bias"],
    }
