"""Decoding against the taught decoder, and against every target that there is."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from rnn.batch import PreparedSequences, SequenceBatch
from rnn.beam import END_ID, START_ID, beam, greedy, length_penalty, stepper_of
from rnn.config import InputShape, ModelConfig
from rnn.losses import batch_losses
from rnn.model import SequenceModel, build

VOCABULARY, STEPS = 7, 3


def model_of(attention: str = "dot", cell: str = "gru", layers: int = 1, seed: int = 0):
    """A tiny model with weights so large that every token matters for the next."""
    shape = InputShape(
        input_size=0, vocabulary_size=6, static_size=1, output_size=VOCABULARY, task="seq2seq"
    )
    config = ModelConfig(
        cell=cell, num_layers=layers, hidden_size=5, embedding_size=4, attention=attention,
        bidirectional=True, tie_weights=False,
    )  # fmt: skip
    model = build(config, shape, seed).double().eval()
    with torch.no_grad():
        numbers = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.normal_(0, 1.2, generator=numbers)
    return model


def batch_of(count: int, seed: int = 0, targets: list[list[int]] | None = None) -> SequenceBatch:
    """Ragged inputs; the given targets, or the same one for each."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 5, count)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    targets = targets or [[START_ID, END_ID]] * count
    data = PreparedSequences(
        sequences=rng.integers(2, 6, int(ends[-1])).astype(np.int32),
        missing=None,
        offsets=ends,
        static=rng.normal(size=(count, 1)).astype(np.float32),
        targets=np.array([t for row in targets for t in row], dtype=np.int32),
        target_offsets=np.cumsum([0, *(len(row) for row in targets)]),
    )
    return data.batch(np.arange(count))


def totals_of(model: SequenceModel, count: int, seed: int, said: list[list[int]]) -> list[float]:
    """What the taught decoder says of one target for each sequence: nats."""
    batch = batch_of(count, seed, [[START_ID, *row, END_ID] for row in said])
    static = batch.static.double()
    outputs = model(batch.inputs, batch.lengths, static, batch.targets)
    losses = batch_losses(outputs, batch, model.shape)
    return (-losses * (batch.target_lengths - 1)).tolist()


@pytest.mark.parametrize("attention", ["additive", "dot"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_step_by_step_is_what_the_decoder_was_taught(attention, cell, layers):
    model = model_of(attention, cell, layers)
    targets = [[START_ID, 4, 5, 6], [START_ID, 6, 6, 4], [START_ID, 5, 4, 4]]
    batch = batch_of(3, 1, targets)
    logits = model(batch.inputs, batch.lengths, batch.static.double(), batch.targets)
    stepper = stepper_of(model, batch)
    for step in range(3):
        found = stepper(batch.targets[:, step])
        torch.testing.assert_close(found, logits[:, step].log_softmax(1))


@pytest.mark.parametrize("attention", ["additive", "dot"])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.5])
def test_a_beam_as_wide_as_everything_finds_the_best_target_there_is(attention, alpha):
    sayable = range(4, VOCABULARY)
    every = [list(t) for n in range(STEPS + 1) for t in product(sayable, repeat=n)]
    lengths = set()
    for seed in range(4):
        model, count = model_of(attention, seed=seed), 5
        scores = np.array([totals_of(model, count, seed, [row] * count) for row in every])
        penalties = np.array([((5 + len(row) + 1) / 6) ** alpha for row in every])
        best = (scores / penalties[:, None]).argmax(0)
        found = beam(model, batch_of(count, seed), STEPS, width=27, alpha=alpha)
        assert found.tokens == [every[i] for i in best]
        np.testing.assert_allclose(found.log_probabilities, scores[best, range(count)], rtol=1e-9)
        lengths |= {len(every[i]) for i in best}
    assert len(lengths) > 1


def test_the_penalty_moves_which_target_is_best():
    assert length_penalty(1, 0.6) == 1.0 == length_penalty(9, 0.0)
    assert length_penalty(7, 1.0) == pytest.approx(2.0)
    model, batch = model_of(seed=3), batch_of(5, 3)
    short, long = (beam(model, batch, STEPS, width=27, alpha=a).tokens for a in (0.0, 3.0))
    assert sum(map(len, short)) < sum(map(len, long))


def test_a_narrow_beam_says_no_less_likely_than_greedy_and_less_than_a_wide_one():
    gained = narrow_lost = 0.0
    for seed in range(6):
        model, batch = model_of(seed=seed), batch_of(5, seed)
        one = greedy(model, batch, STEPS).log_probabilities
        two = beam(model, batch, STEPS, width=2, alpha=0.0).log_probabilities
        wide = beam(model, batch, STEPS, width=27, alpha=0.0).log_probabilities
        assert bool((wide >= two - 1e-12).all())
        assert bool((wide >= one - 1e-12).all())
        gained += float((wide - one).sum())
        narrow_lost += float((wide - two).sum())
    assert gained > narrow_lost
    assert gained > 0.1


def test_greedy_takes_the_likeliest_token_each_time():
    model = model_of(seed=2)
    said = greedy(model, batch_of(4, 2), STEPS)
    for row in range(4):
        for at in range(len(said.tokens[row]) + 1):
            before = said.tokens[row][:at]
            options = {}
            for token in [END_ID, *range(4, VOCABULARY)] if at < STEPS else [END_ID]:
                rest = [*before, token] if token != END_ID else before
                targets = [[START_ID, *rest, END_ID]] * 4
                batch = batch_of(4, 2, targets)
                with torch.no_grad():
                    logits = model.outputs(replace(batch, static=batch.static.double()))
                options[token] = float(logits[row, at].log_softmax(0)[token])
            wanted = said.tokens[row][at] if at < len(said.tokens[row]) else END_ID
            assert max(options, key=options.__getitem__) == wanted
    totals = totals_of(model, 4, 2, said.tokens)
    np.testing.assert_allclose(said.log_probabilities, totals, rtol=1e-9)


@pytest.mark.parametrize("decode", [greedy, beam])
def test_a_sequence_s_answer_does_not_depend_on_the_others(decode):
    model = model_of("additive", "lstm", 2, seed=5)
    together = decode(model, batch_of(6, 7), STEPS)
    assert len(set(map(len, together.tokens))) > 1
    rows = batch_of(6, 7)
    for i in range(6):
        length = int(rows.lengths[i])
        alone = SequenceBatch(
            rows.inputs[i : i + 1, :length], rows.lengths[i : i + 1], rows.static[i : i + 1],
            rows.targets[i : i + 1], None,
        )  # fmt: skip
        found = decode(model, alone, STEPS)
        assert found.tokens == [together.tokens[i]]
        torch.testing.assert_close(found.log_probabilities, together.log_probabilities[i : i + 1])
    assert decode(model, batch_of(0), STEPS).tokens == []


def test_only_a_seq2seq_is_decoded():
    shape = InputShape(input_size=2, vocabulary_size=0, static_size=0, output_size=1, task="binary")
    with pytest.raises(ValueError, match="'binary' cannot be decoded"):
        greedy(build(ModelConfig(), shape, 0), batch_of(1), STEPS)
