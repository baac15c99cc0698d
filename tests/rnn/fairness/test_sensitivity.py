"""What one person moves: gradients and counts together, for every mitigation."""

import numpy as np
import pytest
import torch
from scipy import stats

from rnn.fairness.config import GroupClipping
from rnn.privacy.effective import Release, effective_noise, gradient_noise
from rnn.privacy.engine import rounding_margin
from rnn.privacy.moving import GlobalBound, GroupBounds, total_bound
from rnn.privacy.noise import Keystream
from rnn.privacy.ranks import Ranks
from rnn.units import Sample
from tests.rnn.fairness.problem import ALL, in_double, make_fit
from tests.rnn.reference import flat_sum, forget

COUNTING = ["reweight", "outcome", "bounded_group_loss", "dpsgd_f", "global_adapt"]


def _counts(fit, part):
    """What is released beside the gradients, each block over its noise; and the blocks."""
    releases = fit.mechanism.releases(fit.config.expected_batch_size)
    if isinstance(fit.bound, GlobalBound):
        above = part.seen.norms_above(fit.bound.config.threshold * fit.bound.value)
        whole = (above.double() - 0.5).sum()[None]
    elif isinstance(fit.bound, GroupBounds):
        whole = fit.bound.counts(part.seen)
    elif fit.mitigator.weights is not None and releases:
        whole = fit.mitigator.weights.counts(part.seen)
    else:
        whole = torch.zeros(0)
    return list(whole.chunk(len(releases))) if releases else [], releases


def _released(fit, rows, units):
    """The joint vector of one step at unit noise, and its blocks beside the gradients."""
    forget(fit.trained)
    part = fit._physical(Sample(rows, units))
    scale = total_bound(fit.bound) * fit.optimizer.noise_multiplier
    blocks, releases = _counts(fit, part)
    scaled = [b.double() / r.noise for b, r in zip(blocks, releases, strict=True)]
    return torch.cat([flat_sum(fit.trained).double() / scale, *scaled]), blocks


def _warm(method, by_person, seed):
    """A run after some steps, so that bounds and weights have moved."""
    fit = in_double(make_fit(method, by_person=by_person, seed=seed))
    for _ in range(3):
        fit.step()
    return fit


@pytest.mark.parametrize("method", sorted(ALL))
@pytest.mark.parametrize("by_person", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_removing_a_person_moves_the_release_by_at_most_one_effective_noise(
    method, by_person, seed
):
    fit = _warm(method, by_person, seed)
    rows = np.arange(16)
    units = rows // 2 if by_person else rows
    releases = fit.mechanism.releases(fit.config.expected_batch_size)
    assert effective_noise(fit.optimizer.noise_multiplier, *releases) == pytest.approx(1.0)
    limit = 1 / effective_noise(fit.optimizer.noise_multiplier, *releases)
    whole, blocks = _released(fit, rows, units)
    moved = np.zeros(len(releases))
    for unit in np.unique(units):
        rest, without = _released(fit, rows[units != unit], units[units != unit])
        assert float((whole - rest).norm()) <= limit + 1e-9
        steps = [float((a - b).norm()) for a, b in zip(blocks, without, strict=True)]
        moved = np.maximum(moved, steps)
    for release, most in zip(releases, moved, strict=True):
        assert most <= release.sensitivity + 1e-12
        # Losses seldom reach their ends; counts always do.
        if release.setting != "mitigation.loss_noise":
            assert most == pytest.approx(release.sensitivity)


def test_losses_at_both_ends_move_their_sum_by_half_the_clip():
    fit = make_fit("bounded_group_loss")
    seen = fit._physical(Sample(np.arange(4), np.arange(4))).seen
    for loss in (0.0, 1e9, float("nan"), float("inf")):
        object.__setattr__(seen, "losses", torch.full((4,), loss))
        sums = fit.mitigator.weights.counts(seen)[:3]
        assert sums.abs().sum() == 4 * 0.5


@pytest.mark.parametrize("method", ["dpsgd_f"])
def test_noise_for_the_smallest_bound_would_not_cover(method):
    fit = _warm(method, False, 0)
    fit.bound.values = torch.tensor([0.1, 0.4, 0.2], dtype=torch.float64)
    rows = np.arange(16)
    forget(fit.trained)
    fit._physical(Sample(rows, rows))
    whole = flat_sum(fit.trained)
    moves = []
    for row in rows:
        forget(fit.trained)
        fit._physical(Sample(rows[rows != row], rows[rows != row]))
        moves.append(float((whole - flat_sum(fit.trained)).norm()))
    for row, move in zip(rows, moves, strict=True):
        own = float(fit.bound.values[fit.mitigator.groups.codes[row]])
        assert move <= own * (1 + 1e-6)
    assert max(moves) > 0.2 + 1e-3


def _chi2(values, scale):
    """Chance of a spread this far off, were the scale right."""
    total = float((np.asarray(values) / scale) @ (np.asarray(values) / scale))
    below = stats.chi2.cdf(total, len(values))
    return 2 * min(below, 1 - below)


@pytest.mark.parametrize("method", COUNTING)
def test_every_count_has_noise_of_its_scale_and_no_less(method):
    fit = make_fit(method)
    draws = _draws(fit, 8000)
    releases = fit.mechanism.releases(fit.config.expected_batch_size)
    for release, values in zip(releases, draws, strict=True):
        assert _chi2(values, release.noise) > 1e-3
        assert _chi2(values / 0.95, release.noise) < 1e-3
        assert _chi2(values * 0.95, release.noise) < 1e-3
        assert all((v * 2**30).is_integer() for v in values[:50].tolist())


def _draws(fit, count):
    """Released blocks of empty steps: noise alone."""
    got = []
    follower = fit.bound if isinstance(fit.bound, GlobalBound | GroupBounds) else None
    follower = follower or fit.mitigator.weights
    follower.update = lambda released: got.append(torch.as_tensor(released).flatten())
    for number in range(count):
        follower.step([], Keystream.from_seed(number), Ranks())
    releases = fit.mechanism.releases(fit.config.expected_batch_size)
    blocks = torch.stack(got).double().chunk(len(releases), 1)
    return [block.flatten().numpy() for block in blocks]


@pytest.mark.parametrize("method", ["dpsgd_f", "global_adapt"])
def test_noise_of_gradients_is_scaled_to_the_largest_bound(method):
    fit = make_fit(method)
    if method == "dpsgd_f":
        fit.bound.values = torch.tensor([0.1, 1.5, 0.7], dtype=torch.float64)
        largest = 1.5
    else:
        fit.bound.value = 2.5
        # Scaled by max_grad_norm / Z afterwards.
        largest = 0.4
    wanted = fit.optimizer.noise_multiplier * largest * (1 + rounding_margin(8)) / 8
    values = []
    for number in range(100):
        fit.optimizer.zero_grad()
        fit._private_step(fit.optimizer, Keystream.from_seed(number), [])
        values.append(torch.cat([p.grad.flatten() for p in fit.trained.parameters()]))
        # Where the bound moved to does not matter here.
        if method == "dpsgd_f":
            fit.bound.values = torch.tensor([0.1, 1.5, 0.7], dtype=torch.float64)
        else:
            fit.bound.value = 2.5
    flat = torch.cat(values).double().numpy()
    assert _chi2(flat, wanted) > 1e-3
    assert _chi2(flat / 0.95, wanted) < 1e-3


def test_gradient_noise_undoes_several_releases():
    releases = (Release("x", 0.5, 3.0), Release("y", 1.0, 5.0))
    by_hand = (0.8**-2 + (0.5 / 3) ** 2 + (1 / 5) ** 2) ** -0.5
    assert effective_noise(0.8, *releases) == pytest.approx(by_hand)
    assert gradient_noise(by_hand, *releases) == pytest.approx(0.8)
    with pytest.raises(ValueError, match=r"y = 0\.5 must be above the noise multiplier, 0\.8"):
        gradient_noise(0.8, Release("y", 1.0, 0.5))


def test_a_run_refuses_a_mechanism_that_accounts_for_less():
    fit = make_fit("none")
    with pytest.raises(ValueError, match="accounts for another mitigation"):
        type(fit)(
            fit.model,
            fit.sequences,
            np.arange(4),
            fit.config,
            sample_rate=0.3,
            mechanism=fit.mechanism,
            keystream=Keystream.from_seed(0),
            mitigation=ALL["reweight"],
            groups=fit.mitigator.groups,
        )
    with pytest.raises(ValueError, match="moves the bound"):
        make = make_fit("none").mechanism
        mitigation = GroupClipping(method="dpsgd_f", feature="f")
        wrong = type(make)(0.3, 1.0, 0.4, clipping="per_layer", mitigation=mitigation)
        wrong.bound(fit.model, 8)
