"""A person's sequences: sampled, kept and clipped together."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from rnn.batch import PreparedSequences
from rnn.config import InputShape, ModelConfig, TrainConfig
from rnn.fit import Fit, Mechanism
from rnn.losses import example_losses
from rnn.model import build
from rnn.privacy.engine import accumulate_clipped
from rnn.privacy.noise import Keystream
from rnn.recurrent import CELLS
from rnn.units import Population, Sample
from tests.rnn.reference import CLIP, check, flat_sum, forget

UNITS = torch.tensor([2, 0, 0, 3, 1, 0, 3, 4])
COUNT = len(UNITS)


def _numbers(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _sequence_losses(cell, tokens, seed=0):
    shape = InputShape(
        input_size=0 if tokens else 3,
        vocabulary_size=6 if tokens else 0,
        static_size=1,
        output_size=1,
        task="binary",
    )
    config = ModelConfig(
        cell=cell, hidden_size=4, embedding_size=3, pooling="attention", bidirectional=True
    )
    model = build(config, shape, 0).double()
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 6, (COUNT,), generator=generator)
    inputs = torch.randint(1, 6, (COUNT, 5), generator=generator)
    if not tokens:
        inputs = 5 * _numbers(COUNT, 5, 3, seed=seed)
    static, targets = 5 * _numbers(COUNT, 1, seed=seed), torch.arange(COUNT) % 2

    def losses(rows):
        logits = model(inputs[rows], lengths[rows], static[rows])
        return 3 * example_losses(logits, targets[rows], "binary")

    return model, losses


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("tokens", [True, False])
def test_person_equals_the_sum_of_the_sequences(cell, tokens):
    model, losses = _sequence_losses(cell, tokens)
    check(model, losses, COUNT, UNITS)


class _Mixed(nn.Module):
    """Every kind of record, some of them shared."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(6, 4)
        self.conv = nn.Conv1d(4, 4, 3, padding=1)
        self.norm, self.group = nn.LayerNorm(4), nn.GroupNorm(2, 4)
        self.output = nn.Linear(4, 6)
        self.output.weight = self.table.weight

    def forward(self, tokens):
        hidden = self.norm(self.table(tokens))
        for _ in range(2):
            hidden = torch.tanh(self.conv(hidden.transpose(1, 2)))
            hidden = self.group(hidden).transpose(1, 2)
        return self.output(hidden)


def test_person_over_every_kind_of_layer():
    torch.manual_seed(0)
    model = _Mixed().double()
    tokens = torch.randint(0, 6, (COUNT, 5))
    check(model, lambda rows: model(tokens[rows]).square().sum((1, 2)), COUNT, UNITS)


def _largest_move(losses, model, units):
    def total(rows):
        forget(model)
        accumulate_clipped(
            model, lambda: losses(rows), CLIP, None if units is None else units[rows]
        )
        return flat_sum(model)

    whole = total(torch.arange(COUNT))
    return max(
        float((whole - total((person != UNITS).nonzero()[:, 0])).norm())
        for person in UNITS.unique().tolist()
    )


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_removing_a_person_moves_the_sum_by_at_most_the_bound(cell, seed):
    model, losses = _sequence_losses(cell, False, seed)
    assert 0 < _largest_move(losses, model, UNITS) <= CLIP + 1e-12


def test_clipping_sequences_one_by_one_is_caught():
    moves = []
    for seed in range(4):
        model, losses = _sequence_losses("gru", False, seed)
        moves.append(_largest_move(losses, model, None))
    assert max(moves) > CLIP * 1.1


def test_one_bad_sequence_refuses_the_person():
    layer = nn.Linear(2, 1).double()
    inputs = _numbers(4, 2)
    inputs[1] = torch.inf
    units = torch.tensor([7, 5, 5, 9])
    forget(layer)
    _, seen = accumulate_clipped(layer, lambda: layer(inputs).sum(1), 1e9, units)
    assert seen.refused == 1
    assert seen.norms.isfinite().tolist() == [False, True, True]
    expected = torch.cat([inputs[0] + inputs[3], torch.tensor([2.0], dtype=torch.float64)])
    torch.testing.assert_close(flat_sum(layer), expected)


def test_units_of_a_wrong_shape():
    layer = nn.Linear(2, 1)
    with pytest.raises(ValueError, match=r"shape \(3,\): one a row, \(2,\)"):
        accumulate_clipped(
            layer, lambda: layer(torch.ones(2, 2)).sum(1), 1.0, torch.tensor([0, 1, 2])
        )


def test_persons_are_sampled_at_the_rate_whatever_they_contribute():
    units = np.repeat(np.arange(300), np.arange(300) % 5 + 1)
    population = Population(np.arange(len(units)), units, 16)
    assert population.size == 300
    heads = np.zeros(300)
    for step in range(200):
        sample = population.draw(Keystream.from_seed(1).child(step), 0.1)
        present, counts = np.unique(units[sample.rows], return_counts=True)
        assert (counts == present % 5 + 1).all()
        heads[present] += 1
    assert stats.binomtest(int(heads.sum()), 300 * 200, 0.1).pvalue > 1e-4
    many = heads[np.arange(300) % 5 == 4]
    assert stats.binomtest(int(many.sum()), len(many) * 200, 0.1).pvalue > 1e-4


def test_contribution_is_bounded_and_drawn_afresh():
    units = np.repeat(np.arange(3), [1, 3, 40])
    population = Population(np.arange(44), units, 4)
    seen = []
    for step in range(400):
        sample = population.draw(Keystream.from_seed(2).child(step), 1.0)
        assert np.bincount(units[sample.rows]).tolist() == [1, 3, 4]
        seen.append(sample.rows[4:] - 4)
    counts = np.bincount(np.concatenate(seen), minlength=40)
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_physical_batches_keep_a_person_together(size):
    numbers = np.random.default_rng(0)
    units = numbers.integers(0, 20, 60)
    sample = Sample(np.arange(60), units)
    parts = sample.batches(numbers.integers(1, 9, 60), size)
    assert sorted(np.concatenate([p.rows for p in parts]).tolist()) == list(range(60))
    homes = [set(p.units.tolist()) for p in parts]
    assert sum(map(len, homes)) == len(set(units.tolist()))
    for part, home in zip(parts, homes, strict=True):
        assert len(part.rows) <= size or len(home) == 1


def test_batches_of_rows_and_of_nobody():
    lengths = np.array([3, 1, 2, 1])
    parts = Sample(np.arange(4), np.arange(4)).batches(lengths, 3)
    assert [p.rows.tolist() for p in parts] == [[1, 3, 2], [0]]
    nobody = np.zeros(0, dtype=np.int64)
    assert Sample(nobody, nobody).batches(nobody, 3) == []


def _person_fit(units, unit="person", physical=4):
    numbers = np.random.default_rng(1)
    people = len(units)
    sequences = PreparedSequences(
        numbers.standard_normal((people * 3, 2)).astype(np.float32) * 5,
        None,
        np.arange(people + 1) * 3,
        np.zeros((people, 0), dtype=np.float32),
        numbers.integers(0, 2, people),
        units=units,
    )
    shape = InputShape(input_size=2, vocabulary_size=0, static_size=0, output_size=1, task="binary")
    config = TrainConfig(
        steps=3, expected_batch_size=10, physical_batch_size=physical, optimizer="sgd"
    )
    return Fit(
        build(ModelConfig(hidden_size=3), shape, 0),
        sequences,
        np.arange(people),
        config,
        sample_rate=1.0,
        mechanism=Mechanism(1.0, 1e-9, 0.01, unit=unit),
        keystream=Keystream.from_seed(0),
    )


def test_a_run_clips_by_person_unless_the_record_is_the_unit():
    moved = {}
    for unit in ("person", "record"):
        fit = _person_fit(np.zeros(12, dtype=np.int64), unit)
        before = torch.cat([p.detach().flatten().clone() for p in fit.model.parameters()])
        fit.step()
        after = torch.cat([p.detach().flatten() for p in fit.model.parameters()])
        moved[unit] = float((before - after).norm()) * 10 / 0.01 / 0.01
    assert moved["person"] == pytest.approx(1.0, rel=1e-3)
    assert moved["record"] > 1.5


def test_physical_batch_size_does_not_change_a_step():
    units = np.arange(40) % 13
    weights = []
    for physical in (3, 100):
        fit = _person_fit(units, physical=physical)
        fit.step()
        weights.append(torch.cat([p.detach().flatten() for p in fit.model.parameters()]))
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-7)
