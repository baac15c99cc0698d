"""The ONNX graph gives what the model gives, whoever is beside whom and however long."""

import itertools

import numpy as np
import onnxruntime
import pytest
import torch

from rnn.config import ConvLayer, InputShape, ModelConfig
from rnn.model import SequenceModel, build
from tasks.serving.graph import onnx_model


def _model(**settings) -> SequenceModel:
    tokens = settings.pop("tokens", 0)
    static = settings.pop("static", 3)
    config = ModelConfig(hidden_size=8, embedding_size=6, **settings)
    shape = InputShape(
        input_size=0 if tokens else 5,
        vocabulary_size=tokens,
        static_size=static,
        output_size=2,
        task="multiclass",
    )
    model = build(config, shape, 1).eval()
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=random))
    return model


def _batch(model: SequenceModel, people=7, steps=9):
    rng = np.random.default_rng(3)
    shape = (people, steps)
    if model.shape.vocabulary_size:
        inputs = rng.integers(1, model.shape.vocabulary_size, shape)
    else:
        inputs = rng.normal(size=(*shape, model.shape.input_size)).astype(np.float32)
    lengths = rng.integers(1, steps + 1, people)
    lengths[0], lengths[-1] = steps, 1
    static = rng.normal(size=(people, model.shape.static_size)).astype(np.float32)
    return inputs, lengths, static


def _run(model: SequenceModel, inputs, lengths, static):
    session = onnxruntime.InferenceSession(onnx_model(model).SerializeToString())
    given = {"inputs": inputs, "lengths": lengths}
    if model.shape.static_size:
        given["static"] = static
    return session.run(["logits"], given)[0]


SETTINGS = [
    {"cell": cell, "pooling": pooling, "bidirectional": both, "num_layers": layers}
    for cell, pooling, both, layers in itertools.product(
        ("rnn", "lstm", "gru"), ("last", "mean", "attention"), (False, True), (1, 2)
    )
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_logits_are_the_models(settings):
    model = _model(**settings, head_sizes=(4,))
    inputs, lengths, static = _batch(model)
    with torch.no_grad():
        wanted = model(*map(torch.from_numpy, (inputs, lengths, static))).numpy()
    np.testing.assert_allclose(_run(model, inputs, lengths, static), wanted, atol=2e-6)
    assert wanted.std() > 0.05


def test_tokens_and_no_static():
    model = _model(tokens=11, static=0, cell="gru")
    inputs, lengths, static = _batch(model)
    with torch.no_grad():
        wanted = model(*map(torch.from_numpy, (inputs, lengths, static))).numpy()
    np.testing.assert_allclose(_run(model, inputs, lengths, static), wanted, atol=2e-6)


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
def test_padding_and_neighbours_change_nothing(pooling):
    model = _model(cell="gru", pooling=pooling, bidirectional=True)
    inputs, lengths, static = _batch(model)
    together = _run(model, inputs, lengths, static)
    filled = inputs.copy()
    filled[np.arange(9) >= lengths[:, None]] = 1e6
    np.testing.assert_allclose(_run(model, filled, lengths, static), together, atol=1e-6)
    one = slice(2, 3)
    alone = _run(model, inputs[one, : lengths[2]], lengths[one], static[one])
    np.testing.assert_allclose(alone, together[one], atol=1e-6)


@pytest.mark.parametrize("tokens", [0, 9])
@pytest.mark.parametrize("pooling", ["last", "attention"])
def test_convolutions_before_the_recurrence(tokens, pooling):
    conv = (ConvLayer(channels=6, kernel=4), ConvLayer(channels=3, kernel=3))
    model = _model(conv=conv, tokens=tokens, pooling=pooling, bidirectional=True)
    inputs, lengths, static = _batch(model)
    with torch.no_grad():
        wanted = model(*map(torch.from_numpy, (inputs, lengths, static))).numpy()
    np.testing.assert_allclose(_run(model, inputs, lengths, static), wanted, atol=2e-6)
    assert wanted.std() > 0.05
    inputs[np.arange(inputs.shape[1]) >= lengths[:, None]] = 5
    np.testing.assert_allclose(_run(model, inputs, lengths, static), wanted, atol=2e-6)
