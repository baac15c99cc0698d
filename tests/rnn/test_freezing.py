"""Frozen layers: no gradient, no share of the norm, no noise, no decay; bit for bit the same."""

import numpy as np
import pytest
import torch
from scipy import stats

from rnn.batch import PreparedSequences
from rnn.config import InputShape, ModelConfig, TrainConfig
from rnn.fit import Fit, Mechanism
from rnn.freezing import Freezer, parameters_of
from rnn.model import build
from rnn.privacy.attack_run import attack_run
from rnn.privacy.engine import PrivateOptimizer, accumulate_clipped, rounding_margin
from rnn.privacy.invented import InputBounds
from rnn.privacy.noise import Keystream

SHAPE = InputShape(input_size=0, vocabulary_size=7, static_size=0, output_size=3, task="multiclass")
MODEL = ModelConfig(cell="lstm", hidden_size=5, embedding_size=4, num_layers=2)
TRAIN = TrainConfig(
    steps=8, expected_batch_size=20, learning_rate=0.05, weight_decay=0.1, averaging=0.5
)
FREEZE = {"embedding": None, "recurrent.0": 3}


def _people(count=60, seed=0):
    numbers = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(numbers.integers(1, 5, count))])
    tokens = numbers.integers(1, 7, offsets[-1]).astype(np.int32)
    static = np.zeros((count, 0), dtype=np.float32)
    return PreparedSequences(tokens, None, offsets, static, numbers.integers(0, 3, count))


def _fit(private=True, freeze=FREEZE, rows=None, clipping="flat", train=TRAIN, noise=0.5):
    people = _people()
    rate = train.expected_batch_size / len(people)
    return Fit(
        build(MODEL, SHAPE, 0),
        people,
        np.arange(len(people)) if rows is None else rows,
        train,
        sample_rate=rate,
        mechanism=Mechanism(rate, noise, 1.0, clipping=clipping) if private else None,
        keystream=Keystream.from_seed(1),
        freeze=freeze,
    )


def _weights(fit):
    return {name: p.detach().clone() for name, p in fit.model.named_parameters()}


def _changed(fit, before):
    """Layers of which any parameter, or its released average, is not what it was."""
    same = {
        name
        for name, p in fit.model.named_parameters()
        if torch.equal(p, before[name]) and torch.equal(fit.average[name], before[name])
    }
    layers = ("embedding", "recurrent.0", "recurrent.1", "head")
    return {one for one in layers if not set(parameters_of(fit.model, one)) <= same}


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("clipping", ["flat", "per_layer", "adaptive"])
def test_frozen_weights_are_bit_identical_until_their_step(private, clipping):
    fit = _fit(private, clipping=clipping)
    before = _weights(fit)
    for step in range(5):
        fit.step()
        moved = {"recurrent.1", "head"} | ({"recurrent.0"} if step >= 3 else set())
        assert _changed(fit, before) == moved, step


def test_without_the_freezer_noise_and_decay_would_move_them(monkeypatch):
    monkeypatch.setattr(Freezer, "at", lambda *_: None)
    monkeypatch.setattr(Freezer, "always", lambda *_: None)
    for rows in (None, np.arange(0)):
        fit = _fit(rows=rows)
        before = _weights(fit)
        fit.step()
        assert {"embedding", "recurrent.0"} <= _changed(fit, before)


def test_a_resumed_run_freezes_what_the_straight_one_does():
    straight, first = _fit(), _fit()
    for _ in range(6):
        straight.step()
    for _ in range(2):
        first.step()
    saved = {name: t.clone() for name, t in first.tensors().items()}
    second = _fit()
    second.load_tensors(saved)
    for _ in range(4):
        second.step()
    for name, value in straight.tensors().items():
        assert torch.equal(second.tensors()[name], value), name


def _gradient(fit, row):
    """A person's gradient over what is trained, by plain autograd."""
    live = [p for p in fit.model.parameters() if p.requires_grad]
    batch = fit.sequences.batch(np.array([row]))
    value = fit.mitigator.losses(batch, np.array([row]))[0].sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, live)])


@pytest.mark.parametrize("bound", [0.05, 100.0])
def test_a_step_is_as_sensitive_to_one_person_as_its_bound_says(bound):
    """The clipped sum with a person more is that of the rest and the person's, clipped."""
    fit = _fit()
    sums = []
    for rows in (np.arange(6), np.arange(7)):
        fit.optimizer.zero_grad()
        batch = fit.sequences.batch(rows)
        _, seen = accumulate_clipped(
            fit.model, lambda b=batch, r=rows: fit.mitigator.losses(b, r)[0], bound
        )
        live = fit.optimizer.params
        sums.append(torch.cat([p.summed_grad.flatten() for p in live]))
    person = _gradient(fit, 6)
    assert float(seen.norms[6]) == pytest.approx(float(person.norm()), rel=1e-4)
    clipped = person * min(1.0, bound / float(person.norm()))
    torch.testing.assert_close(sums[1] - sums[0], clipped, rtol=1e-3, atol=1e-6)
    frozen = [p for p in fit.model.parameters() if not p.requires_grad]
    assert len(frozen) == 5 and all(getattr(p, "summed_grad", None) is None for p in frozen)


def test_noise_of_what_is_trained_is_what_is_claimed():
    """Of an empty sample the gradient is noise alone; a wrong scale by 5 % fails surely."""
    fit = _fit(rows=np.arange(0), noise=2.0, train=TRAIN)
    seen = []

    def keep(optimizer: PrivateOptimizer) -> None:
        seen.append(torch.cat([p.grad.flatten() for p in optimizer.params]).double().numpy())

    fit.optimizer.attach_step_hook(keep)
    for _ in range(60):
        fit.step()
    every = sum(p.numel() for p in fit.model.parameters()) - 28
    first = sum(p.numel() for n, p in fit.model.named_parameters() if "_l0" in n)
    assert [len(seen[0]), len(seen[3])] == [every - first, every]
    noise = np.concatenate(seen) * 20 / (2.0 * (1 + rounding_margin(20)))
    assert len(noise) > 20_000

    def fits(values):
        # The keystream is seeded: what passes once passes always.
        total = float((values**2).sum())
        tail = min(stats.chi2.cdf(total, len(values)), stats.chi2.sf(total, len(values)))
        return tail > 1e-6

    assert fits(noise) and not fits(noise * 1.05) and not fits(noise / 1.05)


def test_bounds_by_layer_are_shared_among_what_is_ever_trained():
    names = _fit(clipping="per_layer").bound.names
    assert names == ("recurrent", "head.1")


@pytest.mark.parametrize(
    ("freeze", "told"),
    [
        ({"conv": None}, "no such layer"),
        (dict.fromkeys(("embedding", "recurrent", "head")), "nothing"),
    ],
)
def test_layers_that_cannot_be_frozen_are_named(freeze, told):
    with pytest.raises(ValueError, match=told):
        _fit(freeze=freeze)


def test_the_attack_run_freezes_as_the_recipe_does():
    """Its noise is what is claimed where a layer is let go of on the way, and starts are kept."""
    start = build(MODEL, SHAPE, 9)
    before = {n: p.detach().clone() for n, p in start.named_parameters()}
    found = attack_run(
        MODEL,
        InputBounds(SHAPE, 2, 4),
        TrainConfig(steps=12, expected_batch_size=20),
        Mechanism(0.3, 1.0, 1.0),
        canaries=100,
        bystanders=20,
        start=start,
        freeze={"embedding": None, "recurrent.0": 6},
    )
    assert found.rejected == ()
    assert torch.equal(start.embedding.weight, before["embedding.weight"])
    assert not torch.equal(start.recurrent.weight_hh_l0, before["recurrent.weight_hh_l0"])
