"""The null block through the real engine: a sound run passes, planted defects do not."""

import numpy as np
import pytest
import torch

from rnn.privacy import engine
from rnn.privacy.canaries import (
    LOUDNESS,
    SHARE,
    NullAccount,
    NullBlock,
    contribution,
    evenness,
    noise_scale,
    sampling,
    spread_of_contributions,
)
from rnn.privacy.clipping import LayerBounds
from rnn.privacy.engine import Batch, PrivateOptimizer, accumulate_clipped, clip_together
from rnn.privacy.lower_bounds import gaussian_epsilon, lower_bound
from rnn.privacy.noise import Keystream
from rnn.units import Population

COUNT, STEPS, RATE, NOISE, BOUND, BATCH = 400, 60, 0.1, 1.5, 0.5, 64


def run(noise=NOISE, rate=RATE, bound=BOUND, seed=0):
    """Train nothing but the block; what is claimed of it stays the same."""
    stream = Keystream.from_seed(seed)
    block = NullBlock.drawn(COUNT, stream.child(10**6))
    optimizer = PrivateOptimizer(
        torch.optim.SGD(block.parameters(), lr=0.1),
        noise_multiplier=noise,
        max_grad_norm=BOUND,
        expected_batch_size=BATCH,
    )
    account = NullAccount(COUNT, RATE, NOISE)
    population = Population(block.present.nonzero()[0], None, 1)
    for step in range(STEPS):
        own = stream.child(step)
        taken = torch.from_numpy(population.draw(own, rate).rows)
        optimizer.zero_grad()
        accumulate_clipped(block, lambda taken=taken: block.losses(taken, (BOUND,)), bound)
        optimizer.keystream = own
        optimizer.step()
        noisy = block.tables[0].weight.grad[:, 0].double().numpy() * BATCH / BOUND
        account.add(noisy, taken.numpy())
    return block, account


def refuted(block, account):
    tests = (noise_scale(account), contribution(account), sampling(account, block.present))
    return {
        name
        for name, bad in zip(
            ("noise", "contribution", "sampling", "order", "evenness"),
            (
                *(t.refuted for t in tests),
                spread_of_contributions(account) < SHARE,
                evenness(account) < SHARE,
            ),
            strict=True,
        )
        if bad
    }


def test_a_sound_run_is_not_refuted():
    for seed in range(3):
        block, account = run(seed=seed)
        assert refuted(block, account) == set()
        assert noise_scale(account).value == pytest.approx(NOISE, rel=0.02)
        assert contribution(account).value == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 1.05])
def test_a_wrong_noise_scale_is_refuted(share):
    assert "noise" in refuted(*run(noise=NOISE * share))


def test_a_missing_clip_is_refuted():
    assert "contribution" in refuted(*run(bound=1e9))


def test_a_wrong_sampling_rate_is_refuted():
    assert "sampling" in refuted(*run(rate=0.8 * RATE))


def test_factors_in_the_wrong_order_are_refuted(monkeypatch):
    right = engine.clip_factors
    monkeypatch.setattr(engine, "clip_factors", lambda norms, bound: right(norms, bound).flip(0))
    assert refuted(*run()) & {"order", "contribution"}


def test_a_wrong_normaliser_is_refuted(monkeypatch):
    """The sum is divided by what was sampled, not by the constant."""

    def divided(self):
        for p in self.params:
            p.grad /= 1.2 * self.expected_batch_size

    monkeypatch.setattr(PrivateOptimizer, "scale_grad", divided)
    assert "noise" in refuted(*run())


def test_the_block_has_no_influence_on_other_parameters():
    """Same keystream, with and without canaries: the model's clipped sums are the same."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    inputs = torch.randn(5, 3)
    sums = []
    for canaries in (False, True):
        layer.zero_grad()
        for p in layer.parameters():
            p.summed_grad = None
        accumulate_clipped(layer, lambda: layer(inputs).square().sum(1), BOUND)
        if canaries:
            block = NullBlock(np.ones(8, dtype=bool))
            accumulate_clipped(block, lambda b=block: b.losses(torch.arange(8), (BOUND,)), BOUND)
            total = block.tables[0].weight.summed_grad
            assert torch.allclose(total, torch.full((8, 1), BOUND))
        sums.append([p.summed_grad.clone() for p in layer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*sums, strict=True))


def test_scores_are_the_log_likelihood_ratio_by_hand():
    account = NullAccount(2, 0.25, 2.0)
    account.add(np.array([1.0, -0.5]), np.array([0]))
    expected = [np.log(0.75 + 0.25 * np.exp((2 * x - 1) / 8)) for x in (1.0, -0.5)]
    assert account.scores == pytest.approx(expected)
    assert account.sums[1] == pytest.approx([0.0, 0.25])
    assert account.sums[2:].tolist() == [[1.0, 0.0], [1.0, 0.0]]


def test_an_empty_run_refutes_nothing():
    account = NullAccount(4, 0.5, 1.0)
    account.add(np.zeros(4), np.zeros(0, dtype=np.int64))
    assert contribution(account) is None
    assert sampling(account, np.zeros(4, dtype=bool)) is None
    assert spread_of_contributions(account) == 1


def test_the_scores_bound_epsilon_from_below_and_not_above_the_truth():
    """Full sampling: 60 Gaussian releases, whose epsilon is known exactly."""
    rng = np.random.default_rng(5)
    present = rng.random(1000) < 0.5
    noise = 12.0
    account = NullAccount(1000, 1.0, noise)
    for _ in range(60):
        taken = present.nonzero()[0]
        account.add(present + noise * rng.standard_normal(1000), taken)
    truth = gaussian_epsilon(np.sqrt(60) / noise, 1e-5)
    found = lower_bound(account.scores, present, 1e-5)
    assert 0.1 * truth < found.epsilon < truth


def test_losses_by_hand():
    block = NullBlock(np.ones(6, dtype=bool), groups=2)
    values = block.losses(torch.tensor([1, 4]), (0.5, 2.0))
    assert values.tolist() == [0.0, 0.0]
    values.sum().backward()
    loud = [0.0, LOUDNESS[1], 0.0, 0.0, LOUDNESS[0], 0.0]
    for table, bound in zip(block.tables, (0.5, 2.0), strict=True):
        assert table.weight.grad[:, 0].tolist() == [bound * value for value in loud]


def noises(seed, steps=200, count=300):
    return np.random.default_rng(seed).standard_normal((steps, count))


def accounted(noisy, claimed=1.0):
    account = NullAccount(noisy.shape[1], 0.5, claimed)
    for row in noisy:
        account.add(row, np.zeros(0, dtype=np.int64))
    return account


def test_evenness_accepts_fresh_noise():
    values = [evenness(accounted(noises(seed))) for seed in range(40)]
    assert min(values) > 0.001
    assert 3 <= sum(value < 0.2 for value in values) <= 14


def test_evenness_rejects_steps_that_differ_where_the_mean_scale_does_not():
    rng = np.random.default_rng(3)
    factors = 1 + 0.06 * rng.standard_normal((200, 1))
    noisy = noises(0) * factors / np.sqrt((factors**2).mean())
    assert not noise_scale(accounted(noisy)).refuted
    assert evenness(accounted(noisy)) < SHARE


def test_evenness_rejects_noise_that_comes_back():
    noisy = noises(0)
    noisy[100:] = noisy[:100]
    assert not noise_scale(accounted(noisy)).refuted
    assert evenness(accounted(noisy)) < SHARE


def test_evenness_survives_no_noise_at_all():
    assert evenness(accounted(np.zeros((5, 10)))) == 0.0


@pytest.mark.parametrize("groups", [1, 2])
def test_known_gradients_are_those_of_a_pass(groups):
    """What is written down without a pass is what the pass would record."""
    taken, bounds = torch.tensor([0, 5, 2]), (0.5, 2.0)[:groups]
    sums = []
    for known in (False, True):
        block = NullBlock(np.ones(8, dtype=bool), groups=groups)
        whole: object = 0.7
        if groups == 2:
            whole = LayerBounds(
                {id(t.weight): i for i, t in enumerate(block.tables)}, bounds, ("", "")
            )
        if known:
            clip_together([Batch(block.tape(taken, bounds), None, whole)])
        else:
            accumulate_clipped(block, lambda b=block: b.losses(taken, bounds), whole)
        sums.append(torch.cat([p.summed_grad for p in block.parameters()]))
    assert torch.equal(*sums)
    assert int((sums[0] != 0).sum()) == 3 * groups
