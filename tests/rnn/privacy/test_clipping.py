"""Bounds by layer and bounds that adapt: sensitivity, accounting, updates."""

import math

import dp_accounting
import pytest
import torch
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from torch import nn

from rnn.config import AdaptiveConfig, PrivacyConfig
from rnn.privacy.clipping import AdaptiveBound, layer_bounds
from rnn.privacy.effective import centred_count, effective_noise, gradient_noise
from rnn.privacy.engine import accumulate_clipped
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.noise import Keystream
from rnn.recurrent import GRU
from tests.rnn.reference import flat_sum, forget, gradients

COUNT = 9


class _Model(nn.Module):
    """Three layers, one of them recurrent."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.recurrent = GRU(3, 4, bidirectional=True)
        self.norm = nn.LayerNorm(8)
        self.output = nn.Linear(8, 1)

    def forward(self, inputs):
        return self.output(self.norm(self.recurrent(inputs))).sum((1, 2))


def _problem(seed=0):
    model = _Model().double()
    generator = torch.Generator().manual_seed(seed)
    inputs = 5 * torch.randn(COUNT, 4, 3, generator=generator, dtype=torch.float64)
    return model, lambda rows: model(inputs[rows]).square()


def _sum(model, losses, rows, bound, units=None):
    forget(model)
    report = accumulate_clipped(
        model, lambda: losses(rows), bound, None if units is None else units[rows]
    )[1]
    return flat_sum(model), report


def test_bound_by_layer_equals_one_backward_an_example():
    model, losses = _problem()
    bounds = layer_bounds(model, 1.0, {"recurrent": 0.5, "norm": 0.1, "output": 2.0})
    vectors = gradients(model, losses, COUNT)
    expected, start = torch.zeros(vectors.shape[1], dtype=torch.float64), 0
    for name, parameters in [(n, list(m.parameters())) for n, m in model.named_children()]:
        width = sum(p.numel() for p in parameters)
        part = vectors[:, start : start + width]
        bound = dict(zip(bounds.names, bounds.bounds, strict=True))[name]
        factors = (bound / part.norm(dim=1)).clamp(max=1)
        expected[start : start + width] = (part * factors[:, None]).sum(0)
        start += width
    got, report = _sum(model, losses, torch.arange(COUNT), bounds)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(report.norms, vectors.norm(dim=1), rtol=1e-10, atol=0)


def test_equal_shares_make_up_the_whole_bound():
    model, _ = _problem()
    bounds = layer_bounds(model, 0.6)
    assert bounds.names == ("recurrent", "norm", "output")
    assert bounds.total == pytest.approx(0.6)
    uneven = layer_bounds(model, 0.6, {"recurrent": 3.0, "norm": 4.0, "output": 12.0})
    assert uneven.total == 13.0
    assert Mechanism.total_bound(uneven) == 13.0


def test_layers_that_share_a_parameter_are_one():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    assert set(layer_bounds(model, 1.0).names) == {"1", "0+2"}


@pytest.mark.parametrize("names", [{"recurrent": 1.0}, {"other": 1.0}])
def test_bounds_name_every_layer(names):
    with pytest.raises(ValueError, match="the model has"):
        layer_bounds(_problem()[0], 1.0, names)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by_person", [False, True])
def test_removing_a_unit_moves_the_layers_by_at_most_the_root_of_squares(seed, by_person):
    model, losses = _problem(seed)
    units = torch.arange(COUNT) // 2 if by_person else torch.arange(COUNT)
    bounds = layer_bounds(model, 1.0, {"recurrent": 0.5, "norm": 0.1, "output": 0.3})
    whole, _ = _sum(model, losses, torch.arange(COUNT), bounds, units)
    moves = []
    for unit in units.unique():
        rest, _ = _sum(model, losses, (units != unit).nonzero()[:, 0], bounds, units)
        moves.append(float((whole - rest).norm()))
    assert max(moves) <= bounds.total + 1e-12
    # Noise for the largest single bound would not cover it.
    assert max(moves) > 0.5 + 1e-3


def test_effective_noise_is_that_of_both_releases_composed():
    noise, count = 1.1, 3.0
    effective = effective_noise(noise, centred_count(count))
    pair = dp_accounting.ComposedDpEvent(
        [dp_accounting.GaussianDpEvent(noise), dp_accounting.GaussianDpEvent(2 * count)]
    )
    sampled = []
    for event in (pair, dp_accounting.GaussianDpEvent(effective)):
        accountant = RdpAccountant()
        accountant.compose(dp_accounting.PoissonSampledDpEvent(0.05, event), 200)
        sampled.append(accountant.get_epsilon(1e-6))
    assert sampled[0] == pytest.approx(sampled[1], rel=1e-9)
    plain = []
    for event in (pair, dp_accounting.GaussianDpEvent(effective)):
        accountant = PLDAccountant()
        accountant.compose(event, 5)
        plain.append(accountant.get_epsilon(1e-6))
    assert plain[0] == pytest.approx(plain[1], rel=1e-3)


def test_gradient_noise_undoes_effective_noise():
    count = centred_count(2.0)
    assert effective_noise(gradient_noise(0.9, count), count) == pytest.approx(0.9)
    assert gradient_noise(0.9) == 0.9
    with pytest.raises(ValueError, match="must be above half"):
        gradient_noise(2.0, centred_count(1.0))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by_person", [False, True])
def test_the_released_pair_moves_by_at_most_one_effective_noise(seed, by_person):
    model, losses = _problem(seed)
    units = torch.arange(COUNT) // 2 if by_person else torch.arange(COUNT)
    noise, count_noise = 0.8, 1.5

    def released(rows, clip):
        total, report = _sum(model, losses, rows, clip, units)
        centred = float((~report.clipped).sum()) - len(report.clipped) / 2
        scaled = torch.tensor([centred / count_noise], dtype=torch.float64)
        return torch.cat([total / (clip * noise), scaled])

    for clip in (0.5, 20.0, 1e4):
        whole = released(torch.arange(COUNT), clip)
        for unit in units.unique():
            rest = released((units != unit).nonzero()[:, 0], clip)
            limit = 1 / effective_noise(noise, centred_count(count_noise))
            assert float((whole - rest).norm()) <= limit + 1e-9
            # The count moves by half, neither nothing nor one.
            assert abs(float(whole[-1] - rest[-1])) * count_noise == pytest.approx(0.5)


def _bound(**changes):
    values = {
        "value": 1.0,
        "quantile": 0.5,
        "rate": 0.2,
        "lowest": 0.1,
        "highest": 3.0,
        "count_noise": 2.0,
        "expected_batch_size": 100,
    }
    return AdaptiveBound(**{**values, **changes})


def test_update_by_hand_and_within_limits():
    bound = _bound()
    bound.update(20.0)
    assert bound.value == pytest.approx(math.exp(-0.2 * 0.2))
    bound = _bound()
    for _ in range(100):
        bound.update(-50.0)
    assert bound.value == 3.0
    for _ in range(100):
        bound.update(50.0)
    assert bound.value == 0.1
    wild = _bound()
    wild.update(-1e9)
    assert wild.value == pytest.approx(math.exp(0.2))


def test_bound_finds_the_quantile():
    generator = torch.Generator().manual_seed(0)
    bound = _bound(quantile=0.8, expected_batch_size=500, highest=10.0)
    for step in range(200):
        norms = torch.rand(500, generator=generator) * 4
        clipped = norms > bound.value
        centred = float((~clipped).sum()) - 250
        bound.update(bound.release(centred, Keystream.from_seed(3).child(step)))
    assert bound.value == pytest.approx(3.2, rel=0.05)


def test_count_noise_has_its_scale_and_lies_on_the_grid():
    bound = _bound()
    draws = [bound.release(0.5, Keystream.from_seed(1).child(i)) - 0.5 for i in range(4000)]
    assert all((d * 2**30).is_integer() for d in draws)
    spread = math.sqrt(sum(d * d for d in draws) / len(draws))
    assert 0.95 < spread / 2.0 < 1.05


def _mechanism(**changes):
    settings = {"clipping": "adaptive", "noise_multiplier": 0.9, "population": 1000, "delta": 1e-5}
    privacy = PrivacyConfig(**{**settings, **changes})
    return Mechanism.of(privacy, sample_rate=0.1, noise_multiplier=0.9)


def test_mechanism_of_settings():
    adaptive = _mechanism()
    assert adaptive.count_noise(100) == 5.0
    left = adaptive.gradient_noise(100)
    assert effective_noise(left, centred_count(5.0)) == pytest.approx(0.9)
    assert _mechanism().count_noise(4) == 0.9
    assert _mechanism(clipping="flat").gradient_noise(100) == 0.9
    assert _mechanism(adaptive=AdaptiveConfig(count_noise=7.0)).count_noise(100) == 7.0


def test_settings_that_contradict_each_other():
    with pytest.raises(ValueError, match="for clipping per_layer, not for adaptive"):
        _mechanism(layer_max_grad_norms={"head": 1.0})
    with pytest.raises(ValueError, match=r"max_grad_norm = 1 must be from adaptive\.lowest = 2"):
        _mechanism(adaptive=AdaptiveConfig(lowest=2.0))
    with pytest.raises(ValueError, match="lowest = 3 must be below highest = 2"):
        AdaptiveConfig(lowest=3.0, highest=2.0)
