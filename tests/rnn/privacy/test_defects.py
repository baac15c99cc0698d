"""Eighteen ways in which private training of recurrences went wrong, each designed out."""

import math
import pickle
from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from rnn import LSTM, make_private
from rnn.batch import PreparedSequences
from rnn.config import AdaptiveConfig, InputShape, ModelConfig, TrainConfig
from rnn.fit import Fit, Mechanism
from rnn.losses import example_losses
from rnn.model import build
from rnn.privacy.accounting import epsilon_spent
from rnn.privacy.clipping import layer_bounds
from rnn.privacy.effective import centred_count, effective_noise
from rnn.privacy.engine import PrivateOptimizer, accumulate_clipped, rounding_margin
from rnn.privacy.noise import Keystream
from rnn.privacy.ranks import Ranks
from rnn.units import Sample
from tests.rnn.reference import CLIP, clipped, flat_sum, forget, gradients

SHAPE = InputShape(input_size=2, vocabulary_size=0, static_size=0, output_size=1, task="binary")
PEOPLE = 60


def _fit(people=PEOPLE, rate=0.2, steps=4, seed=0, **mechanism):
    numbers = np.random.default_rng(0)
    lengths = numbers.integers(1, 6, people)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    sequences = PreparedSequences(
        4 * numbers.standard_normal((offsets[-1], 2)).astype(np.float32),
        None,
        offsets,
        np.zeros((people, 0), dtype=np.float32),
        numbers.integers(0, 2, people),
    )
    config = TrainConfig(
        steps=steps, expected_batch_size=12, physical_batch_size=5, optimizer="sgd"
    )
    return Fit(
        build(ModelConfig(cell="lstm", hidden_size=3), SHAPE, 0),
        sequences,
        np.arange(people),
        config,
        sample_rate=rate,
        mechanism=Mechanism(rate, 1.0, 0.5, **mechanism),
        keystream=Keystream.from_seed(seed),
    )


def _ragged(count=8):
    """A model and its losses on rows of mixed lengths, longest not first, in double precision."""
    model = build(ModelConfig(cell="lstm", hidden_size=3, bidirectional=True), SHAPE, 0).double()
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([2, 5, 1, 4, 5, 3, 1, 2])[:count]
    inputs = 5 * torch.randn(count, 5, 2, generator=generator, dtype=torch.float64)
    static, targets = torch.zeros(count, 0), torch.arange(count) % 2

    def losses(rows):
        logits = model(inputs[rows], lengths[rows], static[rows])
        return 4 * example_losses(logits, targets[rows], "binary")

    return model, losses


def _total(model, losses, rows):
    forget(model)
    accumulate_clipped(model, lambda: losses(rows), CLIP)
    return flat_sum(model)


def test_01_original_order():
    """1: recurrent and other layers give per-example gradients in one order, the rows' own."""
    model, losses = _ragged()
    rows = torch.arange(8)
    whole = _total(model, losses, rows)
    torch.testing.assert_close(whole, clipped(gradients(model, losses, 8)))
    for row in rows:
        assert float((whole - _total(model, losses, rows[rows != row])).norm()) <= CLIP + 1e-12


def test_02_losses_with_a_second_axis():
    """2: losses [B, 1] do not broadcast to [B, B]: they are refused."""
    model = nn.Linear(2, 1)
    with pytest.raises(ValueError, match="one number an example"):
        accumulate_clipped(model, lambda: model(torch.ones(3, 2)), 1.0)


def test_03_adaptive_clipping_clips():
    """3: under clipping = adaptive one outlier moves the step by no more than the bound."""
    fit = _fit(rate=1.0, clipping="adaptive")
    bound = fit.bound.value
    fit.sequences.sequences[:5] *= 1e6
    part = fit.population.draw(Keystream.from_seed(0), 1.0)
    fit.optimizer.zero_grad()
    one = Sample(part.rows[:1], part.units[:1])
    fit._physical(one)
    assert float(flat_sum(fit.model).norm()) <= bound * (1 + 1e-5)


def test_04_batch_that_was_left_half_done():
    """4: what a broken logical batch left behind does not enter the next one."""
    fit, clean = _fit(), _fit()
    fit._physical(Sample(np.arange(5), np.arange(5)))
    assert float(flat_sum(fit.model).norm()) > 0
    fit.step()
    clean.step()
    for one, other in zip(fit.model.parameters(), clean.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_05_normaliser_is_a_constant():
    """5: one person more changes neither the sample rate nor what sums are divided by."""
    one, other = _fit(PEOPLE), _fit(PEOPLE + 1)
    assert one.optimizer.expected_batch_size == other.optimizer.expected_batch_size == 12
    assert one.sample_rate == other.sample_rate
    one.step()
    assert one.optimizer.expected_batch_size == 12


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_06_no_example_hears_another(task):
    """6: a loss depends on its own row alone; layers that mix rows are refused."""
    logits = torch.randn(4, 3 if task == "multiclass" else 1)
    targets = torch.tensor([0, 1, 1, 0])
    jacobian = torch.autograd.functional.jacobian(
        lambda x: example_losses(x, targets, task), logits
    ).abs()
    across = jacobian.sum(2) * (1 - torch.eye(4))
    assert float(across.max()) == 0 < float(jacobian.max())
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    with pytest.raises(TypeError, match="mixes the examples"):
        accumulate_clipped(model, lambda: model(torch.ones(2, 3)).sum(1), 1.0)


@pytest.mark.parametrize("bad", [math.inf, math.nan, 1e200])
def test_07_one_bad_row(bad):
    """7: a gradient that is not finite counts as zero, in every layer, and is counted."""
    model, losses = _ragged()
    rows = torch.tensor([0, 1, 2, 3])
    expected = _total(model, losses, rows[rows != 2])
    forget(model)
    _, seen = accumulate_clipped(
        model, lambda: losses(rows) * torch.tensor([1.0, 1.0, bad, 1.0]).double(), CLIP
    )
    torch.testing.assert_close(flat_sum(model), expected)
    assert seen.refused == 1


def test_08_steps_are_a_number():
    """8: a run has steps, not epochs over a rate, and the account counts the same ones."""
    names = {field.name for field in fields(TrainConfig)}
    assert "steps" in names
    assert not names & {"epochs", "epoch"}
    fit = _fit(rate=0.3, steps=7)
    for _ in range(fit.config.steps):
        fit.step()
    assert fit.step_count == 7


def test_09_empty_sample():
    """9: a sample of nobody is a batch like any: it runs, it steps, it is counted."""
    fit = _fit(rate=1e-12)
    before = [p.detach().clone() for p in fit.model.parameters()]
    assert fit.step().rows == 0
    assert fit.step_count == 1
    assert all(not torch.equal(p, b) for p, b in zip(fit.model.parameters(), before, strict=True))
    batch = fit.sequences.batch(np.zeros(0, dtype=np.int64))
    assert type(batch).__name__ == "SequenceBatch"
    assert fit.model(batch.inputs, batch.lengths, batch.static).shape == (0, 1)
    values, _ = accumulate_clipped(
        fit.model, lambda: fit.model(batch.inputs, batch.lengths, batch.static).squeeze(1), 1.0
    )
    assert len(values) == 0


def test_10_sampling_is_poisson():
    """10: sample sizes vary as Poisson sampling's do; no other sampler can be asked for."""
    fit = _fit(rate=0.2, steps=400)
    sizes = [len(fit.population.draw(fit.keystream.child(step), 0.2).rows) for step in range(400)]
    low, high = stats.chi2(399).ppf([1e-4, 1 - 1e-4])
    variance = PEOPLE * 0.2 * 0.8
    assert low < np.var(sizes) * 400 / variance < high
    assert not {f.name for f in fields(TrainConfig)} & {"sampler", "shuffle", "drop_last"}


def test_11_adaptive_and_per_layer_accounts():
    """11: the count's noise is paid for; per layer, noise covers the root of the squares."""
    claimed = {"sample_rate": 0.01, "steps": 1000, "delta": 1e-5}
    for count_noise in (1.0, 2.0, 12.8):
        fit = _fit(clipping="adaptive", adaptive=AdaptiveConfig(count_noise=count_noise))
        paid = effective_noise(fit.optimizer.noise_multiplier, centred_count(count_noise))
        assert paid == pytest.approx(1.0)
        assert epsilon_spent(noise_multiplier=paid, **claimed) > epsilon_spent(
            noise_multiplier=fit.optimizer.noise_multiplier, **claimed
        )
    bounds = {"recurrent": 3.0, "head.1": 4.0}
    fit = _fit(clipping="per_layer", layer_max_grad_norms=bounds)
    assert fit.optimizer.max_grad_norm == 5.0
    assert layer_bounds(fit.model, 1.0).total == pytest.approx(1.0)


def test_12_explaining_leaves_nothing_behind():
    """12: gradients of inputs in train mode fill nothing that the next step would use."""
    fit, clean = _fit(), _fit()
    fit.model.train()
    inputs = torch.randn(3, 4, 2, requires_grad=True)
    logits = fit.model.forward_embedded(inputs, torch.tensor([4, 2, 1]), torch.zeros(3, 0))
    torch.autograd.grad(logits.sum(), inputs)
    assert all(not m._forward_hooks and not m._backward_hooks for m in fit.model.modules())
    for p in fit.model.parameters():
        assert p.summed_grad is None
        assert not hasattr(p, "grad_sample")
    fit.step()
    clean.step()
    for one, other in zip(fit.model.parameters(), clean.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_13_layers_behave_as_torch_s():
    """13: dropout between layers alone, torch's names when nested, dtype kept."""
    single = LSTM(2, 3, 1, bidirectional=True).train()
    inputs, lengths = torch.randn(4, 5, 2), torch.tensor([5, 2, 3, 1])
    torch.testing.assert_close(single(inputs, lengths), single.eval()(inputs, lengths))
    stacked = LSTM(2, 3, 2, dropout=0.9).train()
    first, second = stacked(inputs, lengths), stacked(inputs, lengths)
    assert not torch.equal(first, second)
    # Outputs of the last layer are not dropped.
    assert torch.count_nonzero(first) == first.numel()
    ours = nn.ModuleDict({"inner": LSTM(2, 3, 2, bidirectional=True)})
    theirs = nn.ModuleDict({"inner": nn.LSTM(2, 3, 2, bidirectional=True, batch_first=True)})
    theirs.load_state_dict(ours.state_dict())
    assert single.double()(inputs.double(), lengths).dtype == torch.float64


def test_14_cryptographic_noise_works():
    """14: noise comes from a keystream of the operating system; torch's seeds do not repeat it."""
    noises = []
    for _ in range(2):
        torch.manual_seed(0)
        np.random.default_rng(0)
        noises.append(Keystream.from_system().normal(4))
    assert not np.array_equal(*noises)


def test_15_processes_stay_in_step():
    """15: a process without rows takes part; tests of two processes are in test_ranks.py."""
    sample = Sample(np.array([3, 3]), np.array([1, 1]))
    assert [len(sample.part(rank, 2).rows) for rank in (0, 1)] == [2, 0]
    layer = nn.Linear(2, 1)
    optimizer = PrivateOptimizer(
        torch.optim.SGD(layer.parameters(), lr=1.0),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=1,
    )
    optimizer.zero_grad()
    assert optimizer._sum().tolist() == [0.0, 0.0, 0.0]
    assert Ranks(1, 2).share(np.arange(1)).size == 0


def test_16_going_on():
    """16: no seed or key is saved; a seeded run repeats its steps; unsaved steps are not counted.

    A run from the system's entropy goes on with other noise: its unreleased steps are gone.
    """
    fit = _fit()
    fit.step()
    saved = {name: value.clone() for name, value in fit.tensors().items()}
    assert {name.split("/")[0] for name in saved} <= {"step", "weight", "average", "optimizer"}
    with pytest.raises(TypeError):
        pickle.dumps(fit.keystream)
    fit.step()
    again = _fit()
    again.load_tensors(saved)
    assert again.step_count == 1
    again.step()
    for one, other in zip(fit.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    moving = _fit(clipping="adaptive")
    moving.step()
    later = _fit(clipping="adaptive")
    later.load_tensors(moving.tensors())
    assert later.bound.value == moving.bound.value != 0.5


def test_17_room_for_rounding(monkeypatch):
    """17: the noise is scaled for sums that overshoot in single precision."""
    scales = []
    monkeypatch.setattr(
        "rnn.privacy.engine.noised",
        lambda total, stream, scale, grid: scales.append(scale) or total,
    )
    _fit().step()
    assert set(scales) == {0.5 * (1 + rounding_margin(12))}
    assert rounding_margin(2048) > 3.4e-5


def test_18_names_of_weights():
    """18: making a model private renames nothing."""
    model = nn.Sequential(LSTM(2, 3), nn.Linear(3, 1))
    before = list(model.state_dict())
    private = make_private(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        sample_rate=0.5,
        expected_batch_size=1,
        max_grad_norm=1.0,
        noise_multiplier=1.0,
    )
    private.sample(4)
    assert list(model.state_dict()) == before
    assert all("_module" not in name for name in _fit().tensors())
