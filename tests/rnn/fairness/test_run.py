"""Mitigations in the loop: losses of single rows, resumed runs, what is learnt."""

import numpy as np
import pytest
import torch

from rnn.fairness.adversary import guess_losses, reverse
from rnn.fairness.config import GroupClipping, Reweight
from rnn.fairness.groups import Groups
from rnn.fairness.run import Mitigator
from rnn.private import make_private
from tests.rnn.fairness.problem import ALL, LABELS, SHAPE, in_double, make_fit
from tests.rnn.reference import check


def _warm(method, **settings):
    fit = in_double(make_fit(method, **settings))
    for _ in range(2):
        fit.step()
    fit.trained.eval()
    return fit


@pytest.mark.parametrize("method", sorted(ALL))
def test_changing_one_row_moves_no_other_loss_or_gradient(method):
    fit = _warm(method)
    rows = np.arange(6)

    def values(change):
        batch = fit.sequences.batch(rows)
        if change is not None:
            batch.inputs[change] += 7.0
            batch.static[change] -= 3.0
            batch.targets[change] = 1 - batch.targets[change]
        batch.inputs.requires_grad_()
        return fit.mitigator.losses(batch, rows)[0], batch.inputs

    before, _ = values(None)
    for row in rows:
        after, inputs = values(row)
        rest = rows[rows != row]
        torch.testing.assert_close(after[rest], before[rest], rtol=0, atol=0)
        assert not torch.equal(after[row], before[row])
        (gradient,) = torch.autograd.grad(after[rest].sum(), inputs)
        assert torch.count_nonzero(gradient[row]) == 0
        assert torch.count_nonzero(gradient[rest[0]]) > 0


@pytest.mark.parametrize("method", ["reweight", "bounded_group_loss", "gradient_reversal"])
def test_changing_the_group_of_one_row_moves_no_other_loss(method):
    fit = _warm(method)
    rows = np.arange(6)
    batch = fit.sequences.batch(rows)
    weights = torch.tensor([3.0, 0.5, 1.0], dtype=torch.float64)
    if fit.mitigator.weights is not None:
        fit.mitigator.weights.values = weights
    before = fit.mitigator.losses(batch, rows)[0]
    changed = 0
    for row in rows:
        codes = fit.mitigator.groups.codes.copy()
        codes[row] = (codes[row] + 1) % 3
        other = Mitigator(
            fit.mitigator.config,
            Groups(codes, LABELS),
            fit.model,
            fit.sequences.targets,
            releases=fit.mechanism.releases(8),
            expected_batch_size=8,
            seed=0,
        )
        if other.weights is not None:
            other.weights.values = weights
        other.trained, other.adversary = _with(other, fit)
        after = other.losses(batch, rows)[0]
        rest = rows[rows != row]
        torch.testing.assert_close(after[rest], before[rest], rtol=0, atol=0)
        changed += not torch.equal(after[row], before[row])
    assert changed >= 2


def _with(other, fit):
    """The trained modules of another run."""
    return fit.mitigator.trained, fit.mitigator.adversary if other.adversary else None


@pytest.mark.parametrize("method", ["outcome", "bounded_group_loss", "gradient_reversal"])
@pytest.mark.parametrize("by_person", [False, True])
def test_one_joint_gradient_is_clipped(method, by_person):
    fit = _warm(method)
    everyone = np.arange(8)

    def losses(rows):
        chosen = everyone[rows.numpy()]
        batch = fit.sequences.batch(chosen)
        # Gradients long enough to be clipped.
        return 5 * fit.mitigator.losses(batch, chosen)[0]

    check(fit.trained, losses, 8, torch.arange(8) // 2 if by_person else None)


def test_the_encoder_gets_the_reversed_gradient_and_the_adversary_its_own():
    fit = _warm("gradient_reversal")
    rows = np.flatnonzero(fit.mitigator.groups.codes < 2)[:5]
    batch = fit.sequences.batch(rows)
    adversary = fit.mitigator.adversary
    encoder = fit.model.recurrent.weight_hh_l0

    def gradient(strength, own):
        adversary.strength = strength
        logits, guesses = fit.trained(batch.inputs, batch.lengths, batch.static)
        codes = torch.from_numpy(fit.mitigator.groups.codes[rows])
        loss = guess_losses(guesses, codes).sum() + (logits.square().sum() if own else 0)
        return torch.autograd.grad(loss, [encoder, adversary.hidden.weight])

    forwards, backwards = gradient(-1.0, False), gradient(2.0, False)
    torch.testing.assert_close(backwards[0], -2 * forwards[0])
    torch.testing.assert_close(backwards[1], forwards[1])


def test_reversal_keeps_values_and_unknown_is_not_guessed():
    x = torch.randn(3, requires_grad=True)
    assert torch.equal(reverse(x, 2.0), x)
    losses = guess_losses(torch.zeros(3, 2), torch.tensor([0, 1, 2]))
    assert losses.tolist() == pytest.approx([np.log(2), np.log(2), 0.0])


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("method", sorted(ALL))
def test_resumed_run_ends_in_the_same_bytes(method, private):
    straight = make_fit(method, private=private)
    for _ in range(12):
        straight.step()
    first = make_fit(method, private=private)
    for _ in range(5):
        first.step()
    saved = {name: t.clone() for name, t in first.tensors().items()}
    first.step()
    second = make_fit(method, private=private)
    second.load_tensors(saved)
    while second.step_count < 12:
        second.step()
    for name, value in straight.tensors().items():
        assert torch.equal(second.tensors()[name], value), name


def test_what_moves_is_in_the_saved_state():
    kinds = {
        method: {n.split("/")[0] for n in make_fit(method).tensors()} - {"step", "average"}
        for method in ALL
    }
    assert kinds["none"] == {"weight"}
    assert kinds["reweight"] == kinds["bounded_group_loss"] == {"weight", "weights"}
    assert kinds["dpsgd_f"] == kinds["global_adapt"] == {"weight", "bound"}
    names = set(make_fit("gradient_reversal").tensors())
    assert "weight/adversary.output.bias" in names
    assert "average/adversary.output.bias" not in names


def test_the_released_model_has_no_adversary():
    fit = make_fit("gradient_reversal")
    fit.step()
    assert set(fit.average) == {n for n, _ in fit.model.named_parameters()}
    fit.model.load_state_dict(fit.average)


@pytest.mark.parametrize("method", ["reweight", "outcome", "bounded_group_loss"])
def test_weights_move_and_stay_near_one_on_average(method):
    fit = make_fit(method)
    for _ in range(10):
        fit.step()
    weights = fit.mitigator.weights.values
    assert float(weights.max()) > float(weights.min())
    assert 0 < float(weights.min()) <= float(weights.max()) <= 4.0


def test_groups_are_needed_and_labels_are_never_inputs():
    with pytest.raises(ValueError, match="needs each person's group"):
        Mitigator(
            ALL["reweight"], None, make_fit("none").model, np.zeros(3),
            releases=(), expected_batch_size=4, seed=0,
        )  # fmt: skip
    one, other = make_fit("constant"), make_fit("constant")
    codes = (other.mitigator.groups.codes + 1) % 3
    other.mitigator.groups = Groups(codes, LABELS)
    batch = one.sequences.batch(np.arange(5))
    one.model.eval()
    other.model.eval()
    args = batch.inputs, batch.lengths, batch.static
    assert torch.equal(one.model(*args), other.model(*args))
    assert one.model.shape == SHAPE


def test_a_loop_of_ones_own_with_bounds_by_group():
    torch.manual_seed(0)
    layer = torch.nn.Linear(2, 1)
    settings = {"sample_rate": 0.5, "expected_batch_size": 10, "max_grad_norm": 0.5}
    config = GroupClipping(method="dpsgd_f", feature="f", count_noise=0.1)
    private = make_private(
        layer,
        torch.optim.SGD(layer.parameters(), lr=0.01),
        noise_multiplier=0.05,
        mitigation=config,
        groups=2,
        insecure_seed=0,
        **settings,
    )
    data = torch.randn(20, 2)
    groups = (torch.arange(20) >= 15).long()
    # The second group's gradients are far longer.
    scale = torch.where(groups == 1, 50.0, 0.01)
    for _ in range(10):
        rows = private.sample(20)
        private.step(lambda r=rows: layer(data[r])[:, 0] * scale[r], groups=groups[rows])
    assert float(private.bound.values[1]) > 1.5 * float(private.bound.values[0])
    with pytest.raises(ValueError, match="need groups, the public number"):
        make_private(
            layer, torch.optim.SGD(layer.parameters(), lr=0.1), noise_multiplier=1.0,
            mitigation=config, **settings,
        )  # fmt: skip


def test_outcome_needs_classes():
    with pytest.raises(ValueError, match="constants by label"):
        Reweight(method="reweight", feature="f", weights={"a": 2.0}, outcome=True)
