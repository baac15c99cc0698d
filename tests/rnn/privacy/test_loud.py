"""Loud losses: canaries' alone, the same in any batch, and unlike one another."""

import numpy as np
import pytest
import torch

from rnn.config import InputShape, ModelConfig
from rnn.fairness.config import NoMitigation
from rnn.fairness.run import Mitigator
from rnn.model import build
from rnn.privacy.invented import InputBounds, invented
from rnn.privacy.loud import LoudLosses, whitened

SHAPE = InputShape(input_size=7, vocabulary_size=0, static_size=2, output_size=1, task="binary")
CANARIES, EACH = 40, 2
ROWS = np.arange(CANARIES * EACH + 10)


@pytest.fixture
def subject():
    """Losses of a model, and invented people."""
    people = invented(InputBounds(SHAPE, 2, 6), len(ROWS), 0)
    model = build(ModelConfig(hidden_size=16, head_sizes=(8,)), SHAPE, 0)
    inner = Mitigator(
        NoMitigation(), None, model, people.targets,
        releases=(), expected_batch_size=8, seed=0,
    )  # fmt: skip
    return LoudLosses(inner, CANARIES, EACH, 6, 0), people, list(model.parameters())


def test_other_people_have_the_losses_of_the_task(subject):
    loud, people, _ = subject
    batch = people.batch(ROWS)
    values, own = loud.losses(batch, ROWS)
    others = ROWS >= CANARIES * EACH
    assert torch.equal(values[others], own[others])
    assert (values[~others] - own[~others]).abs().min() > 1e-3
    assert [len(rows) for rows in loud.used] == [len(ROWS)]


def test_a_canary_is_the_same_alone_and_among_longer_ones(subject):
    loud, people, parameters = subject
    all_rows = ROWS[: CANARIES * EACH]
    together = loud.gradients(people.batch(all_rows), all_rows, EACH, parameters)
    for canary in (0, 7, 39):
        rows = np.array([2 * canary, 2 * canary + 1])
        alone = loud.gradients(people.batch(rows), rows, EACH, parameters)
        assert torch.allclose(alone[0], together[canary], rtol=2e-3, atol=1e-2 * alone.abs().max())


def test_rows_may_come_in_any_order(subject):
    loud, people, _ = subject
    shuffled = np.random.default_rng(0).permutation(ROWS)
    straight = loud.losses(people.batch(ROWS), ROWS)[0]
    mixed = loud.losses(people.batch(shuffled), shuffled)[0]
    assert torch.allclose(mixed, straight[shuffled], rtol=1e-3, atol=1e-3)


def test_gradients_are_loud_and_nearly_orthogonal(subject):
    loud, people, parameters = subject
    rows = ROWS[: CANARIES * EACH]
    found = loud.gradients(people.batch(rows), rows, EACH, parameters)
    norms = found.norm(dim=1)
    assert norms.min() > 10
    unit = found / norms[:, None]
    gram = (unit @ unit.T).fill_diagonal_(0)
    assert gram.square().mean() < 0.01
    task = loud.gradients(people.batch(ROWS[-10:]), ROWS[-10:], 1, parameters)
    plain = task / task.norm(dim=1, keepdim=True)
    # People's own gradients are far more alike.
    assert (plain @ plain.T).fill_diagonal_(0).square().mean() > 0.1


def test_directions_are_others_in_the_next_step(subject):
    loud, people, parameters = subject
    rows = ROWS[: CANARIES * EACH]
    batch = people.batch(rows)
    first = loud.gradients(batch, rows, EACH, parameters)
    assert torch.equal(first, loud.gradients(batch, rows, EACH, parameters))
    loud.next_step()
    second = loud.gradients(batch, rows, EACH, parameters)
    alike = torch.nn.functional.cosine_similarity(first, second)
    assert alike.abs().max() < 0.6 and loud.used != []


def test_rebalancing_makes_gradients_less_alike(subject):
    loud, people, parameters = subject
    rows = ROWS[: CANARIES * EACH]
    batch = people.batch(rows)

    def likeness():
        unit = torch.nn.functional.normalize(loud.gradients(batch, rows, EACH, parameters))
        return float((unit @ unit.T).fill_diagonal_(0).square().mean())

    loud.emphasis["head.4"] = 50.0
    before = likeness()
    for _ in range(4):
        loud.rebalance(loud.gradients(batch, rows, EACH, parameters), parameters)
    assert likeness() < 0.3 * before


def test_whitened_directions_leave_out_what_steps_have_in_common():
    generator = torch.Generator().manual_seed(0)
    fed = torch.randn(50, 5, 12, generator=generator) * 0.3 + 1.0
    codes = torch.randn(50, 5, 20, generator=generator)
    real = torch.ones(50, 5, dtype=torch.bool)
    plain, found = (
        torch.einsum("pno,pni->poi", d, fed) for d in (codes, whitened(codes, fed, real))
    )

    def common_share(products):
        mean = fed.mean((0, 1)) / fed.mean((0, 1)).norm()
        return float(((products @ mean) ** 2).sum() / products.square().sum())

    assert common_share(plain) > 0.9
    assert common_share(found) < 0.3


def test_padding_gets_no_direction():
    codes, fed = torch.randn(3, 4, 2), torch.randn(3, 4, 5)
    real = torch.tensor([[True, True, False, False]] * 3)
    found = whitened(codes, fed, real)
    assert torch.equal(found[:, 2:], torch.zeros(3, 2, 2))
    assert torch.allclose(found[:, :2], whitened(codes[:, :2], fed[:, :2], real[:, :2]), atol=1e-5)
