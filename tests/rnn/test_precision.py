"""Norms and sums hold to single precision, whatever precision the model runs in."""

import pytest
import torch
from torch import nn

from rnn import precision
from rnn.config import InputShape, ModelConfig
from rnn.losses import example_losses
from rnn.model import build
from rnn.precision import exact_arithmetic, wide
from rnn.privacy.clipping import clip_factors
from rnn.records import EmbeddingRecord, LinearRecord
from rnn.recurrent import CELLS
from rnn.tape import recording

ROWS, CLIP = 12, 0.01
MODES = ("weights", "autocast")


def _model(cell):
    config = ModelConfig(
        cell=cell, hidden_size=16, embedding_size=8, head_sizes=(8,), pooling="attention"
    )
    shape = InputShape(
        input_size=0, vocabulary_size=9, static_size=2, output_size=3, task="multiclass"
    )
    return build(config, shape, seed=1)


def _tape(model, mode):
    """The records of one backward pass in bfloat16."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(1, 9, (ROWS, 15), generator=generator)
    lengths = torch.randint(1, 16, (ROWS,), generator=generator)
    static = torch.randn(ROWS, 2, generator=generator)
    targets = torch.randint(3, (ROWS,), generator=generator)
    if mode == "weights":
        model, static = model.bfloat16(), static.bfloat16()
    with recording(model) as tape, torch.autocast("cpu", torch.bfloat16, mode == "autocast"):
        losses = example_losses(model(tokens, lengths, static), targets, "multiclass")
        losses.sum().backward()
    return tape


def _norm_of_share(model, tape, factors, row):
    """Norm of what one row adds to the clipped sums."""
    for p in model.parameters():
        p.summed_grad = None
    tape.add_clipped(factors * (torch.arange(ROWS) == row))
    return float(torch.cat([p.summed_grad.double().flatten() for p in model.parameters()]).norm())


def _shares(cell, mode, around):
    model = _model(cell)
    tape = _tape(model, mode)
    with around:
        norms = tape.squared_norms().sqrt()
        assert float(norms.min()) > 2 * CLIP, "every row is to be clipped"
        factors = clip_factors(norms, CLIP)
        return torch.tensor([_norm_of_share(model, tape, factors, row) for row in range(ROWS)])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("surrounded", [False, True])
def test_a_share_in_half_precision_is_the_bound_to_single_precision(cell, mode, surrounded):
    around = torch.autocast("cpu", torch.bfloat16, surrounded)
    shares = _shares(cell, mode, around)
    torch.testing.assert_close(shares, torch.full_like(shares, CLIP), rtol=2e-5, atol=0)


def test_the_same_in_half_precision_throughout_would_pass_the_bound(monkeypatch):
    for module in ("rnn.recurrent_record.wide", "rnn.dense.wide"):
        monkeypatch.setattr(module, lambda tensor: tensor)
    for module in ("rnn.records.wide_type", "rnn.dense.wide_type"):
        monkeypatch.setattr(module, lambda dtype: dtype)
    shares = _shares("lstm", "weights", torch.autocast("cpu", enabled=False))
    assert float(shares.max()) > CLIP * (1 + 3e-4)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.LayerNorm])
def test_other_layers_keep_to_the_bound_in_half_precision(kind):
    torch.manual_seed(0)
    layer = (nn.Conv1d(6, 5, 3) if kind is nn.Conv1d else nn.LayerNorm(6)).bfloat16()
    inputs = torch.randn(ROWS, 6, 6).bfloat16()
    with recording(layer) as tape:
        layer(inputs).square().sum().backward()
    factors = clip_factors(tape.squared_norms().sqrt(), CLIP)
    for row in range(ROWS):
        assert _norm_of_share(layer, tape, factors, row) == pytest.approx(CLIP, rel=2e-5)


PLACES = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)


def _older():
    torch.set_float32_matmul_precision("medium")


def _newer():
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    torch.backends.cuda.matmul.fp32_precision = "tf32"


@pytest.fixture
def settings():
    """What products may round to, put back after the test."""
    before = [place.fp32_precision for place in PLACES]
    yield
    torch.set_float32_matmul_precision("highest")
    for place, setting in zip(PLACES, before, strict=True):
        place.fp32_precision = setting


@pytest.mark.parametrize("coarsen", [_older, _newer])
def test_exact_arithmetic_multiplies_in_full_and_puts_settings_back(coarsen, settings):
    coarsen()
    was = [place.fp32_precision for place in PLACES]
    one, other = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(ZeroDivisionError), exact_arithmetic():
            error = (one @ other - one.double() @ other.double()).abs().max()
            assert float(error) < 1e-4
            assert [place.fp32_precision for place in PLACES] == ["ieee", "ieee"]
            raise ZeroDivisionError
        assert torch.is_autocast_enabled("cpu")
    assert was == [place.fp32_precision for place in PLACES]
    assert was == ["tf32", "bf16"]


def test_exact_arithmetic_ends_autocast():
    one, other = torch.ones(2, 2), torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (one @ other).dtype is torch.bfloat16
        with exact_arithmetic():
            assert (one @ other).dtype is torch.float32


def test_wide_copies_halves_alone():
    single = torch.ones(2)
    assert wide(single) is single
    assert wide(single.double()).dtype is torch.float64
    assert wide(single.half()).dtype is torch.float32
    assert precision.wide_type(torch.float64) is torch.float64


def test_sums_ask_nothing_that_waits_for_a_device():
    # A meta tensor has no values: whoever asks for one fails.
    weight = nn.Parameter(torch.zeros(4, 3, device="meta"))
    factors = torch.ones(2, device="meta")
    linear = LinearRecord(weight, None, torch.zeros(2, 5, 3, device="meta"))
    linear.keep_delta(torch.zeros(2, 5, 4, device="meta"))
    table = EmbeddingRecord(weight, torch.zeros(2, 5, dtype=torch.int64, device="meta"), 0)
    table.keep_delta(torch.zeros(2, 5, 3, device="meta"))
    for record in (linear, table):
        assert record.squared_norms().shape == (2,)
        weight.summed_grad = None
        record.add_clipped(factors)
        assert weight.summed_grad.shape == (4, 3)
