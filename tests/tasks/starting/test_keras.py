"""Keras weights: converted ones give what Keras' equations give, and other files are refused."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from rnn.config import InputShape, ModelConfig
from rnn.model import build
from tasks.params import UserError
from tasks.starting.keras import read_keras

V, E, H, C, STEPS = 6, 3, 4, 2, 5
LSTM = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}


def write(path: Path, lstm: dict[str, Any] | None = None, kinds: tuple[str, ...] = ()) -> Path:
    """A file as Keras writes it, with random weights."""
    numbers = np.random.default_rng(0)
    arrays = {
        "embedding": {"embeddings": (V, E)},
        "lstm": {"kernel": (E, 4 * H), "recurrent_kernel": (H, 4 * H), "bias": (4 * H,)},
        "dense": {"kernel": (H, C), "bias": (C,)},
    }
    listed = kinds or ("InputLayer", "Embedding", "LSTM", "Dense")
    with h5py.File(path, "w") as file:
        layers = [
            {"class_name": kind, "config": {"name": kind.lower(), **(LSTM | (lstm or {}))}}
            for kind in listed
        ]
        file.attrs["model_config"] = json.dumps({"config": {"layers": layers}})
        for name, shapes in arrays.items():
            group = file.create_group(f"model_weights/{name}")
            group.attrs["weight_names"] = [f"{name}/{part}:0".encode() for part in shapes]
            for part, shape in shapes.items():
                group[f"{name}/{part}:0"] = numbers.normal(size=shape).astype(np.float32)
    return path


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Keras' recurrent activation."""
    return 1 / (1 + np.exp(-x))


def keras_states(path: Path, tokens: np.ndarray) -> np.ndarray:
    """Keras' own equations, float64: z = x W + h U + b, gates in the order i, f, c, o."""
    with h5py.File(path) as file:
        root = file["model_weights"]
        table = root["embedding/embedding/embeddings:0"][()].astype(np.float64)
        kernel, recurrent, bias = (
            root[f"lstm/lstm/{part}:0"][()].astype(np.float64)
            for part in ("kernel", "recurrent_kernel", "bias")
        )
    h = c = np.zeros(recurrent.shape[0])
    states = []
    for token in tokens:
        i, f, candidate, o = np.split(table[token] @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.stack(states)


def our_states(weights: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """The same through our network."""
    rows, width = weights["embedding.weight"].shape
    hidden = weights["recurrent.weight_hh_l0"].shape[1]
    shape = InputShape(
        input_size=0, vocabulary_size=rows, static_size=0, output_size=C, task="multiclass"
    )
    model = build(ModelConfig(cell="lstm", hidden_size=hidden, embedding_size=width), shape, 0)
    for name, parameter in model.named_parameters():
        if not name.startswith("head"):
            parameter.data = torch.from_numpy(weights[name])
    batch = torch.from_numpy(tokens)[None]
    with torch.no_grad():
        found = model.states(model.embedding.weight[batch], torch.tensor([len(tokens)]))
    return found[0].double().numpy()


def test_converted_weights_give_what_keras_equations_give(tmp_path: Path) -> None:
    path = write(tmp_path / "w.h5")
    tokens = np.array([1, 3, 0, 5, 2])
    weights = read_keras(path)
    expected = keras_states(path, tokens)
    np.testing.assert_allclose(our_states(weights, tokens), expected, atol=2e-7)
    # Two gates in each other's place would show.
    turned = np.roll(weights["recurrent.weight_ih_l0"], H, 0)
    other = our_states({**weights, "recurrent.weight_ih_l0": turned}, tokens)
    assert np.abs(other - expected).max() > 0.1
    assert weights["dense.weight"].shape == (C, H) and not weights["recurrent.bias_hh_l0"].any()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lstm": {"recurrent_activation": "hard_sigmoid"}}, "recurrent_activation = 'hard_sig"),
        ({"lstm": {"go_backwards": True}}, "go_backwards = True; allowed is False"),
        ({"kinds": ("Embedding", "Conv1D", "LSTM", "Dense")}, "Conv1D"),
    ],
)
def test_another_network_is_one_line(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    path = write(tmp_path / "w.h5", **options)
    with pytest.raises(UserError, match=told) as error:
        read_keras(path)
    assert "\n" not in str(error.value) and "start.package.member: w.h5" in str(error.value)


@pytest.mark.parametrize("kind", ["external link", "soft link", "external data", "virtual", "text"])
def test_nothing_outside_of_the_file_is_read(tmp_path: Path, kind: str) -> None:
    path, other = write(tmp_path / "w.h5"), tmp_path / "other.h5"
    write(other)
    name = "model_weights/dense/dense/bias:0"
    with h5py.File(path, "a") as file:
        del file[name]
        if kind == "external link":
            file[name] = h5py.ExternalLink("other.h5", name)
        elif kind == "soft link":
            file[name] = h5py.SoftLink("/model_weights/lstm/lstm/bias:0")
        elif kind == "external data":
            file.create_dataset(name, (C,), "f4", external=[(str(other), 0, 4 * C)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((C,), "f4")
            layout[:] = h5py.VirtualSource(str(other), name, (C,))
            file.create_virtual_dataset(name, layout)
        else:
            file[name] = "words"
    with pytest.raises(UserError, match=r"leads out of it|is no table of numbers"):
        read_keras(path)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "w.h5")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"w\.h5 is no Keras model in HDF5"):
        read_keras(path)
    path.write_text("words")
    with pytest.raises(UserError, match=r"w\.h5 is no Keras model in HDF5"):
        read_keras(path)
