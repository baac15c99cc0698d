"""What gradients can touch: all that they do, and nothing is lost by leaving the rest out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rnn.config import InputShape, ModelConfig, TrainConfig
from rnn.fairness.config import NoMitigation
from rnn.fairness.run import Mitigator
from rnn.model import build
from rnn.privacy import engine
from rnn.privacy.attack_run import attack_run
from rnn.privacy.invented import InputBounds, invented
from rnn.privacy.loud import LoudLosses
from rnn.privacy.mechanism import Mechanism

WORDS = 300
TEXT = InputShape(
    input_size=0, vocabulary_size=WORDS, static_size=0, output_size=3, task="multiclass"
)
KINDS = {
    "multiclass": (TEXT, ModelConfig(hidden_size=8, embedding_size=5), {"embedding.weight"}),
    "next_token": (
        replace(TEXT, task="next_token", output_size=WORDS),
        ModelConfig(hidden_size=8, embedding_size=5), set(),
    ),
    "untied": (
        replace(TEXT, task="next_token", output_size=WORDS),
        ModelConfig(hidden_size=8, embedding_size=5, tie_weights=False), {"embedding.weight"},
    ),
    "seq2seq": (
        replace(TEXT, task="seq2seq", output_size=WORDS),
        # The decoder's table is multiplied by too.
        ModelConfig(hidden_size=8, embedding_size=5), {"embedding.weight"},
    ),
    "two tables": (
        replace(TEXT, task="seq2seq", output_size=WORDS),
        ModelConfig(hidden_size=8, embedding_size=5, tie_weights=False),
        {"embedding.weight", "head.embedding.weight"},
    ),
    "numbers": (
        replace(TEXT, input_size=4, vocabulary_size=0), ModelConfig(hidden_size=8), set(),
    ),
}  # fmt: skip
CANARIES, EACH = 6, 2
ROWS = np.arange(CANARIES * EACH + 4)


def subject(name, look=True):
    """Losses of a model of a kind, its people, and its parameters by name."""
    shape, config, _ = KINDS[name]
    people = invented(InputBounds(shape, 3, 5), len(ROWS), 0)
    model = build(config, shape, 0)
    inner = Mitigator(
        NoMitigation(), None, model, people.targets,
        releases=(), expected_batch_size=8, seed=0,
    )  # fmt: skip
    loud = LoudLosses(inner, CANARIES, EACH, 5, 0)
    if look:
        loud.look((people.batch(part), part) for part in np.array_split(ROWS, 3))
    return loud, people, dict(model.named_parameters())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("each", [1, EACH])
def test_gradients_are_nothing_but_zeros_elsewhere(name, each):
    (loud, people, parameters), (whole, _, same) = subject(name), subject(name, look=False)
    # A unit of one row is one of the others, whose losses are the task's own.
    rows = ROWS[: CANARIES * EACH] if each == EACH else ROWS[CANARIES * EACH :]
    within = loud.gradients(people.batch(rows), rows, each, list(parameters.values()))
    everything = whole.gradients(people.batch(rows), rows, each, list(same.values()))
    columns = loud.reach.columns(list(parameters.values()))
    assert torch.equal(torch.zeros_like(everything).index_copy_(1, columns, within), everything)
    assert within.shape[1] == sum(loud.reach.sizes(list(parameters.values())))


@pytest.mark.parametrize("name", KINDS)
def test_tables_that_are_only_looked_up_are_narrowed(name):
    loud, _, parameters = subject(name)
    narrowed = {name for name, p in parameters.items() if loud.reach.shape(p) != tuple(p.shape)}
    assert narrowed == KINDS[name][2]
    for name in narrowed:
        assert loud.reach.shape(parameters[name])[0] <= len(ROWS) * 5 + 2


def test_a_token_that_no_row_had_is_refused():
    loud, people, parameters = subject("multiclass")
    loud.look([(people.batch(ROWS[:1]), ROWS[:1])])
    with pytest.raises(RuntimeError, match="a token occurs that is not among those kept"):
        loud.gradients(people.batch(ROWS), ROWS, 1, list(parameters.values()))


TRAIN = TrainConfig(steps=12, expected_batch_size=32, learning_rate=0.02, threads=1)


def attack(name, mechanism):
    """A run on a model of a kind."""
    shape, config, _ = KINDS[name]
    inputs = InputBounds(shape, 2, 4)
    return attack_run(config, inputs, TRAIN, mechanism, canaries=40, bystanders=20)


@pytest.mark.parametrize("clipping", ["flat", "per_layer"])
@pytest.mark.parametrize("name", ["multiclass", "seq2seq"])
def test_a_run_finds_the_same_as_one_that_looks_at_everything(name, clipping, monkeypatch):
    mechanism = Mechanism(0.5, 5.0, 1.0, clipping=clipping)
    found = attack(name, mechanism)
    monkeypatch.setattr(LoudLosses, "look", lambda self, batches: None)
    same = attack(name, mechanism)
    assert np.allclose(found.scores, same.scores, rtol=1e-3, atol=1e-3)
    assert np.array_equal(found.present, same.present)
    assert found.noise_scale.value == pytest.approx(same.noise_scale.value, rel=1e-6)
    assert found.contribution.value == pytest.approx(same.contribution.value, abs=1e-3)
    assert found.sampling == same.sampling


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_noise_that_is_off_where_nobody_reaches_is_found(factor, monkeypatch):
    """Rows of words that no canary says are released too."""
    mechanism = Mechanism(0.5, 5.0, 1.0)
    assert attack("multiclass", mechanism).rejected == ()
    real = engine.noised

    def elsewhere(total, stream, scale, grid):
        out = real(total, stream, scale, grid)
        untouched = total == 0
        assert untouched.any()
        return np.where(untouched, out * factor, out)

    monkeypatch.setattr(engine, "noised", elsewhere)
    assert "noise_scale" in attack("multiclass", mechanism).rejected
