"""The loop: resumes to the bit, samples at the promised rate, learns, averages."""

import numpy as np
import pytest
import torch
from scipy import stats

from rnn.batch import PreparedSequences
from rnn.config import InputShape, ModelConfig, TrainConfig
from rnn.fit import Fit, Mechanism, learning_rate
from rnn.model import build
from rnn.privacy.noise import Keystream

SHAPE = InputShape(input_size=2, vocabulary_size=0, static_size=1, output_size=1, task="binary")


def _sequences(people=200, seed=0):
    numbers = np.random.default_rng(seed)
    lengths = numbers.integers(1, 6, people)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = numbers.standard_normal((offsets[-1], 2)).astype(np.float32)
    targets = np.array([values[end - 1, 0] > 0 for end in offsets[1:]], dtype=np.int64)
    static = np.zeros((people, 1), dtype=np.float32)
    return PreparedSequences(values, None, offsets, static, targets)


def _fit(config, private=True, seed=3, rows=None):
    sequences = _sequences()
    rate = config.expected_batch_size / len(sequences)
    return Fit(
        build(ModelConfig(hidden_size=6, num_layers=2, dropout=0.2), SHAPE, config.seed),
        sequences,
        np.arange(len(sequences)) if rows is None else rows,
        config,
        sample_rate=rate,
        mechanism=Mechanism(rate, 0.5, 1.0) if private else None,
        keystream=Keystream.from_seed(seed),
    )


def _config(**changes):
    values = {"steps": 12, "expected_batch_size": 50, "physical_batch_size": 20, "averaging": 0.5}
    return TrainConfig(**{**values, **changes})


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_resumed_run_ends_in_the_same_bytes(private, optimizer):
    config = _config(optimizer=optimizer, warmup_steps=3, schedule="cosine")
    straight = _fit(config, private)
    for _ in range(config.steps):
        straight.step()
    first = _fit(config, private)
    for _ in range(5):
        first.step()
    saved = {name: t.clone() for name, t in first.tensors().items()}
    first.step()
    second = _fit(config, private)
    second.load_tensors(saved)
    assert second.step_count == 5
    while second.step_count < config.steps:
        second.step()
    for name, value in straight.tensors().items():
        assert torch.equal(second.tensors()[name], value), name


def test_state_names_no_key_or_seed():
    fit = _fit(_config())
    fit.step()
    kinds = {name.split("/")[0] for name in fit.tensors()}
    assert kinds == {"step", "weight", "average", "optimizer"}


def test_sample_sizes_follow_the_rate():
    fit = _fit(_config(steps=60), private=False)
    drawn = sum(fit.step().rows for _ in range(60))
    assert stats.binomtest(drawn, 60 * 200, 0.25).pvalue > 1e-4


def test_a_training_set_of_nobody_still_steps():
    fit = _fit(_config(), rows=np.arange(0))
    before = {n: p.detach().clone() for n, p in fit.model.named_parameters()}
    report = fit.step()
    assert report.rows == 0
    assert all(not torch.equal(p, before[n]) for n, p in fit.model.named_parameters())


def test_learns_without_privacy():
    fit = _fit(_config(steps=150, learning_rate=0.02), private=False)
    losses = [fit.step().loss for _ in range(150)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_values_of_the_rows_do_not_matter_to_what_is_sampled():
    one, other = _fit(_config()), _fit(_config())
    other.sequences = PreparedSequences(
        one.sequences.sequences * 2,
        None,
        one.sequences.offsets,
        one.sequences.static,
        one.sequences.targets,
    )
    assert [one.step().rows for _ in range(5)] == [other.step().rows for _ in range(5)]


def test_learning_rates_by_hand():
    config = _config(learning_rate=1.0, schedule="cosine", warmup_steps=2, steps=12)
    rates = [learning_rate(config, step) for step in range(12)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[7] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.5 * (1 + np.cos(np.pi * 0.9)))
    assert {learning_rate(_config(), step) for step in range(12)} == {0.01}


def test_other_schedules_by_hand():
    linear = _config(learning_rate=1.0, schedule="linear", warmup_steps=2, steps=12)
    assert [learning_rate(linear, step) for step in (0, 2, 7, 11)] == pytest.approx(
        [0.5, 1, 0.5, 0.1]
    )
    halving = _config(learning_rate=1.0, schedule="halving", steps=10)
    assert [learning_rate(halving, step) for step in range(10)] == pytest.approx(
        [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625]
    )


def test_a_whole_gradient_is_clipped_without_privacy_alone():
    def moved(clip, private):
        fit = _fit(_config(optimizer="sgd", learning_rate=1.0, gradient_clip=clip), private=private)
        before = [p.detach().clone() for p in fit.model.parameters()]
        fit.step()
        pairs = zip(before, fit.model.parameters(), strict=True)
        return torch.stack([(p.detach() - b).square().sum() for b, p in pairs]).sum().sqrt()

    free = moved(None, private=False)
    assert moved(0.01, private=False) == pytest.approx(0.01, rel=1e-4) and free > 0.011
    assert moved(0.01, private=True) == moved(None, private=True)


def test_average_of_weights_by_hand():
    fit = _fit(_config(averaging=0.5), private=False)
    average = {n: t.clone() for n, t in fit.average.items()}
    for step in range(1, 15):
        fit.step()
        decay = min(0.5, step / (step + 10))
        for name, parameter in fit.model.named_parameters():
            average[name] = decay * average[name] + (1 - decay) * parameter.detach()
    for name, value in average.items():
        torch.testing.assert_close(fit.average[name], value, rtol=1e-5, atol=1e-7)


def test_no_averaging_releases_the_last_weights():
    fit = _fit(_config(averaging=0.0))
    fit.step()
    for name, parameter in fit.model.named_parameters():
        assert torch.equal(fit.average[name], parameter)
