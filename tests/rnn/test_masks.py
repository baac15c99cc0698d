"""Masks of dropout: as torch's without privacy, under the run's secret key with it."""

import numpy as np
import pytest
import torch
from torch import nn

from rnn import LSTM, dropout, make_private
from rnn.batch import PreparedSequences
from rnn.config import InputShape, ModelConfig, TrainConfig
from rnn.fit import Fit, Mechanism
from rnn.masks import chosen, masks_from
from rnn.model import build
from rnn.privacy.noise import Keystream

ROWS = 30


def _drawn(seed=1):
    return Keystream.from_seed(seed).bernoulli


def _every_third(rate, count):
    """Drops what stands at 0, 3, 6, ..."""
    assert rate == 0.75
    return np.arange(count) % 3 > 0


def test_what_is_dropped_is_made_up_for_by_the_rest_and_so_is_its_gradient():
    inputs = torch.arange(1.0, 7.0).view(2, 3).requires_grad_()
    with masks_from(_every_third, nn.Identity()):
        out = dropout(inputs, 0.25)
    out.sum().backward()
    kept = torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]) / 0.75
    assert torch.equal(out, inputs * kept) and torch.equal(inputs.grad, kept)


def test_every_dropout_of_a_model_is_drawn_and_torch_draws_again_afterwards():
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(LSTM(2, 4, 2, dropout=0.3)))
    inputs = torch.ones(3, 5, 2)
    with masks_from(_drawn(), model):
        first = model(inputs)
    torch.manual_seed(5)
    with masks_from(_drawn(), model):
        assert torch.equal(model(inputs), first)
    with masks_from(_drawn(2), model):
        assert not torch.equal(model(inputs), first)
    plain = model(inputs)
    torch.manual_seed(5)
    assert torch.equal(model(inputs), plain)


def test_nothing_is_dropped_where_nothing_is_asked_for():
    model, inputs = nn.Dropout(0.5), torch.ones(4)
    with masks_from(_drawn(), model):
        assert torch.equal(model.eval()(inputs), inputs)
        assert torch.equal(dropout(inputs, 0.0), inputs)
        assert torch.equal(dropout(inputs, 1.0), torch.zeros(4))


def test_the_share_that_is_chosen_is_the_rate():
    # 8 standard deviations of 160,000 draws: chance to fail below 1e-14 for a right rate.
    with masks_from(Keystream.from_system().bernoulli, nn.Identity()):
        share = float(chosen(torch.zeros(400, 400, dtype=torch.int64), 0.2).double().mean())
    assert abs(share - 0.2) < 8 * (0.2 * 0.8 / 160_000) ** 0.5


@pytest.mark.parametrize(
    "draw", [lambda x: nn.functional.dropout(x, 0.5), torch.rand_like, nn.AlphaDropout(0.5)]
)
def test_drawing_from_torch_is_an_error(draw):
    model = nn.Linear(2, 1)
    private = _private(model)
    rows = private.sample(ROWS)
    with pytest.raises(RuntimeError, match=r"use nn\.Dropout or rnn\.dropout"):
        private.step(lambda: model(draw(torch.ones(len(rows), 2)))[:, 0])


def _private(model, seed=1):
    return make_private(
        model,
        torch.optim.SGD(model.parameters(), lr=0.5),
        sample_rate=0.5,
        expected_batch_size=15,
        max_grad_norm=1.0,
        noise_multiplier=1e-6,
        insecure_seed=seed,
    )


def _own_loop(torch_seed, parts=1):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 1))
    inputs = torch.arange(ROWS * 6.0).view(ROWS, 6) / 100
    private = _private(model)
    torch.manual_seed(torch_seed)
    for _ in range(2):
        for rows in private.sample(ROWS).chunk(parts):
            private.accumulate(lambda r=rows: model(inputs[r])[:, 0].square())
        private.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_torchs_seed_says_nothing_of_the_masks_of_ones_own_loop():
    assert torch.equal(_own_loop(1), _own_loop(2))


def test_parts_of_a_sample_go_on_in_one_stream_of_masks():
    assert torch.allclose(_own_loop(1, parts=3), _own_loop(1), atol=1e-5)


def _pipeline(torch_seed, key, private=True):
    shape = InputShape(input_size=0, vocabulary_size=5, static_size=0, output_size=1, task="binary")
    tokens = np.arange(200, dtype=np.int32) % 5
    sequences = PreparedSequences(
        tokens, None, np.arange(0, 201, 4), np.zeros((50, 0), np.float32), np.arange(50) % 2
    )
    config = TrainConfig(steps=2, expected_batch_size=20, physical_batch_size=8)
    fit = Fit(
        build(ModelConfig(hidden_size=3, num_layers=2, dropout=0.4, token_dropout=0.3), shape, 0),
        sequences,
        np.arange(50),
        config,
        sample_rate=0.4,
        mechanism=Mechanism(0.4, 1e-6, 1.0) if private else None,
        keystream=Keystream.from_seed(key),
    )
    masks = []
    fit.model.head[0].register_forward_hook(lambda *seen: masks.append(seen[2] == 0))
    torch.manual_seed(torch_seed)
    fit.step()
    return torch.cat(masks)


def test_masks_of_a_private_run_come_from_its_key_alone():
    first = _pipeline(1, key=4)
    assert torch.equal(first, _pipeline(2, key=4))
    # The same key draws the same people, and torch other masks.
    other = _pipeline(1, key=4, private=False)
    assert first.shape == other.shape and not torch.equal(first, other)
