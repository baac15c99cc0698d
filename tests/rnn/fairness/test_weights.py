"""Weights and bounds by hand, from what was released."""

import math

import numpy as np
import pytest
import torch

from rnn.config import AdaptiveConfig
from rnn.fairness.config import BoundedGroupLoss, GlobalAdapt, GroupClipping, Reweight
from rnn.fairness.groups import Groups
from rnn.fairness.weights import CountedWeights, LossWeights, once_counted
from rnn.privacy.clipping import clip_factors
from rnn.privacy.counts import Seen, Sizes, by_group, by_unit, mean_by_unit
from rnn.privacy.effective import releases_of
from rnn.privacy.engine import accumulate_clipped
from rnn.privacy.moving import GlobalBound, GroupBounds, current, rescale, total_bound
from tests.rnn.reference import flat_sum, forget


def _double(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_shares_are_means_of_all_steps_and_never_below_two_errors():
    sizes = Sizes.of(3, 10.0, 100)
    assert sizes.shares().tolist() == pytest.approx([1 / 3] * 3)
    sizes.add(_double(70, 30, -4))
    assert sizes.shares().tolist() == pytest.approx([0.7, 0.3, 0.2])
    assert sizes.known().tolist() == [True, True, False]
    for _ in range(399):
        sizes.add(_double(70, 25, 5))
    assert sizes.shares().tolist() == pytest.approx([0.7, 0.2500125, 0.05], rel=1e-2)
    assert sizes.known().all()


def test_weights_by_counts_by_hand():
    weights = CountedWeights(Reweight(method="reweight", feature="f"), 1, Sizes.of(2, 0.0, 100))
    assert weights.values.tolist() == [1.0, 1.0]
    weights.update(_double(80, 20))
    # 1 / share is 1.25 and 5, whose mean over people is 2.
    assert weights.values.tolist() == pytest.approx([0.625, 2.5])
    half = Reweight(method="reweight", feature="f", power=0.5, max_weight=1.5)
    softer = CountedWeights(half, 1, Sizes.of(2, 0.0, 100))
    softer.update(_double(80, 20))
    mean = 0.8 * 0.8**-0.5 + 0.2 * 0.2**-0.5
    assert softer.values.tolist() == pytest.approx([0.8**-0.5 / mean, 1.5])


def test_weights_counted_once_are_constants_of_the_released_numbers():
    once = Reweight(method="reweight", feature="f", counted="once")
    groups = Groups(np.zeros(3, dtype=np.int64), ("a", "b"), (800, 200), 2.0)
    assert once_counted(once, groups).values.tolist() == pytest.approx([0.625, 2.5])
    # Numbers that noise made negative are no share, and have no say.
    noised = Groups(np.zeros(3, dtype=np.int64), ("a", "b", "c"), (800, 200, -5), 2.0)
    found = once_counted(once, noised).values.tolist()
    assert found[:2] == pytest.approx([0.625, 2.5]) and found[2] == 4.0
    with pytest.raises(ValueError, match=r"needs the numbers that data\.private_counts releases"):
        once_counted(once, Groups(np.zeros(3, dtype=np.int64), ("a", "b")))
    # No step releases anything, so that none of its noise is for counts.
    flat = {"clipping": "flat", "adaptive": AdaptiveConfig(), "noise_multiplier": 2.0}
    every = Reweight(method="reweight", feature="f")
    assert releases_of(mitigation=once, expected_batch_size=100, **flat) == ()
    assert len(releases_of(mitigation=every, expected_batch_size=100, **flat)) == 1
    with pytest.raises(ValueError, match="once is by label alone"):
        Reweight(method="reweight", feature="f", counted="once", outcome=True)


def test_weights_by_group_and_class_make_them_independent():
    config = Reweight(method="reweight", feature="f", outcome=True)
    weights = CountedWeights(config, 2, Sizes.of(4, 0.0, 100))
    counts = _double(10, 40, 30, 20)
    weights.update(counts)
    # P(group) P(class) / P(group, class): 0.5 x 0.4 / 0.1, 0.5 x 0.6 / 0.4, ...
    assert weights.values.tolist() == pytest.approx([2.0, 0.75, 2 / 3, 1.5])
    table = (counts * weights.values).view(2, 2)
    assert table[0, 0] / table[0].sum() == pytest.approx(table[1, 0] / table[1].sum())


def test_a_cell_that_may_be_empty_has_no_say():
    weights = CountedWeights(Reweight(method="reweight", feature="f"), 1, Sizes.of(3, 5.0, 100))
    weights.update(_double(80, 20, 3))
    assert weights.values[:2].tolist() == pytest.approx([0.625, 2.5])


def _losses(bound=None, **changes):
    config = BoundedGroupLoss(
        method="bounded_group_loss", feature="f", bound=bound, loss_clip=2.0, **changes
    )
    zeros = torch.zeros(2, dtype=torch.float64)
    return LossWeights(config, 0.0, Sizes.of(2, 0.0, 100), zeros, zeros)


def _sums(losses, sizes, clip=2.0):
    """What a step without noise releases."""
    centred = [(loss / clip - 0.5) * size for loss, size in zip(losses, sizes, strict=True)]
    return _double(*centred, *sizes)


def test_released_losses_are_the_means_and_the_worse_group_weighs_more():
    weights = _losses(rate=1.0)
    for _ in range(3):
        weights.update(_sums([0.4, 1.2], [80, 20]))
    assert weights.losses().tolist() == pytest.approx([0.4, 1.2])
    # Excess over the mean 0.56, three times; only the difference of the tilts counts.
    odds = math.exp(3 * 0.8)
    parts = [0.8, 0.2 * odds]
    raw = [0.5 + 0.5 * p / sum(parts) / s for p, s in zip(parts, [0.8, 0.2], strict=True)]
    assert weights.values.tolist() == pytest.approx(raw)
    assert 0.8 * raw[0] + 0.2 * raw[1] == pytest.approx(1.0)


def test_with_a_bound_nobody_below_it_weighs_more():
    weights = _losses(bound=1.5, rate=1.0)
    for _ in range(30):
        weights.update(_sums([0.4, 0.5], [80, 20]))
    assert weights.values.tolist() == pytest.approx([1.0, 1.0], abs=1e-3)
    tight = _losses(bound=0.45, rate=1.0)
    for _ in range(60):
        tight.update(_sums([0.4, 0.8], [80, 20]))
    assert float(tight.values[1]) > 2 * float(tight.values[0])


def _global(**changes):
    config = GlobalAdapt(method="global_adapt", **changes)
    return GlobalBound.of(config, 2.0, 1.0, 100)


def test_global_bound_by_hand_and_within_limits():
    bound = _global(start=20.0, rate=0.1)
    assert (current(bound, None), total_bound(bound), rescale(bound)) == (20.0, 20.0, 0.1)
    # 30 of 100 above: the centred count is -20.
    bound.update(-20.0)
    assert bound.value == pytest.approx(20 * math.exp(0.3 - 0.1))
    bound.update(-1e9)
    assert bound.value == pytest.approx(20 * math.exp(0.2 - 0.1))
    for _ in range(100):
        bound.update(-50.0)
    assert bound.value == 2.0
    for _ in range(100):
        bound.update(50.0)
    assert bound.value == 1000.0
    assert _global().value == 20.0


def test_global_adapt_is_its_definition():
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 1, bias=False).double()
    inputs = torch.randn(12, 3, dtype=torch.float64) * torch.logspace(-1, 2, 12)[:, None].double()
    target, z = 0.5, 4.0
    norms = inputs.norm(dim=1)
    assert (norms < z).any()
    assert (norms > z).any()
    factors = torch.where(norms <= z, target / z, target / norms)
    bound = GlobalBound(z, target, GlobalAdapt(method="global_adapt"), 1.0, 12)
    forget(layer)
    accumulate_clipped(layer, lambda: layer(inputs)[:, 0], current(bound, None))
    expected = (inputs * factors[:, None]).sum(0)
    torch.testing.assert_close(flat_sum(layer) * rescale(bound), expected)


def _by_group(noise=0.0, **changes):
    config = GroupClipping(method="dpsgd_f", feature="f", **changes)
    return GroupBounds.of(config, 1.0, noise, 100, 2)


def test_bounds_by_group_by_hand():
    bound = _by_group()
    assert bound.values.tolist() == [1.0, 1.0]
    assert _by_group(base=3.0).values.tolist() == [6.0, 6.0]
    # Clipped: 20 of 80, and 15 of 20; all together 35 of 100.
    bound.update(_double(-20, 5, 80, 20))
    ratio = [1 + 0.25 / 0.35, 1 + 0.75 / 0.35]
    assert bound.values.tolist() == pytest.approx([0.5 * r for r in ratio])
    assert total_bound(bound) == pytest.approx(0.5 * ratio[1])
    rows = current(bound, torch.tensor([1, 0]))
    assert rows.tolist() == pytest.approx([0.5 * ratio[1], 0.5 * ratio[0]])
    assert _capped().tolist() == pytest.approx([0.5 * ratio[0], 1.0])


def _capped():
    bound = _by_group(max_ratio=2.0)
    bound.update(_double(-20, 5, 80, 20))
    return bound.values


def test_where_nothing_is_clipped_groups_are_alike():
    bound = _by_group(noise=5.0)
    for _ in range(50):
        bound.update(_double(-40, -10, 80, 20))
    assert bound.values.tolist() == pytest.approx([1.0, 1.0])


def test_bounds_by_group_need_groups():
    with pytest.raises(ValueError, match="group of each row"):
        current(_by_group(), None)
    seen = Seen(torch.ones(2), torch.ones(2).bool(), torch.ones(2))
    with pytest.raises(ValueError, match="group of each unit"):
        _by_group().counts(seen)


def test_a_norm_that_is_not_a_number_is_above_any_bound():
    seen = Seen(torch.tensor([1.0, 3.0, math.nan, math.inf]), torch.ones(4).bool(), torch.ones(4))
    assert seen.norms_above(2.0).tolist() == [False, True, True, True]


def test_units_and_groups():
    units = torch.tensor([1, 0, 1, 2])
    assert by_unit(torch.tensor([5, 3, 5, 4]), units).tolist() == [3, 5, 4]
    assert mean_by_unit(torch.tensor([1.0, 2.0, 3.0, 4.0]), units).tolist() == [2.0, 2.0, 4.0]
    sums = by_group(torch.tensor([0.25, 1.0, -0.5]), torch.tensor([1, 1, 0]), 3)
    assert sums.tolist() == [-0.5, 1.25, 0.0]
    third = by_group(torch.tensor([1 / 3, -1 / 3]).double(), torch.tensor([0, 1]), 2)
    assert 0 < float(third[0]) <= 1 / 3
    assert (third[0] * 2**20).item().is_integer()
    assert -1 / 3 <= float(third[1]) < 0


def test_one_bound_a_row_and_the_least_of_a_persons():
    factors = clip_factors(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 4.0]))
    assert factors.tolist() == [0.5, 1.0]
    layer = torch.nn.Linear(2, 1, bias=False).double()
    inputs = 10 * torch.ones(3, 2, dtype=torch.float64)
    units = torch.tensor([7, 7, 9])
    bounds = _double(3.0, 1.0, 2.0)
    forget(layer)
    report = accumulate_clipped(layer, lambda: layer(inputs)[:, 0], bounds, units)[1]
    assert float(flat_sum(layer).norm()) == pytest.approx(1.0 + 2.0)
    assert report.clipped.tolist() == [True, True]
