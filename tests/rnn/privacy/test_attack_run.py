"""The attack run through the real layers and engine: sound runs pass, planted defects do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rnn.config import AdaptiveConfig, InputShape, ModelConfig, TrainConfig
from rnn.fairness.config import (
    BoundedGroupLoss,
    GlobalAdapt,
    GradientReversal,
    GroupClipping,
    Reweight,
)
from rnn.privacy import attack_run as module
from rnn.privacy import engine
from rnn.privacy.attack_run import attack_run
from rnn.privacy.evidence import Evidence
from rnn.privacy.invented import InputBounds
from rnn.privacy.ledger import training_event
from rnn.privacy.lower_bounds import lower_bound, violated
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.noise import Keystream
from rnn.privacy.null_verdict import promised_curve

COUNT, STEPS, RATE, NOISE, BATCH = 200, 40, 0.5, 5.0, 64
SHAPE = InputShape(input_size=6, vocabulary_size=0, static_size=1, output_size=1, task="binary")
MODEL = ModelConfig(hidden_size=12, dropout=0.3)
TRAIN = TrainConfig(steps=STEPS, expected_batch_size=BATCH, learning_rate=0.02, threads=1)
MECHANISM = Mechanism(RATE, NOISE, 1.0)


def run(mechanism=MECHANISM, count=COUNT, seed=0, steps=STEPS, model=MODEL, **options):
    """One run on tiny settings."""
    options = {"bystanders": 20, "inputs": InputBounds(SHAPE, 2, 4), **options}
    train = replace(TRAIN, steps=steps)
    inputs = options.pop("inputs")
    return attack_run(model, inputs, train, mechanism, canaries=count, seed=seed, **options)


@pytest.fixture(scope="module")
def curve():
    """What the ledger promises of the tiny settings."""
    event = training_event(noise_multiplier=NOISE, sample_rate=RATE, steps=STEPS)
    return promised_curve(event, 1e-5)


@pytest.fixture(scope="module")
def sound():
    """A run as it should be."""
    return run()


def refuted(found, curve):
    """Whether a run's guesses reject the ledger's curve."""
    return violated(found.scores, found.present, curve, 0.001)


def test_a_sound_run_is_consistent_and_tells_something(sound, curve):
    assert not refuted(sound, curve) and not sound.rejected
    assert sound.contribution.value == pytest.approx(1, abs=0.4)
    ranks = sound.scores[sound.present][:, None] > sound.scores[~sound.present][None]
    # 20 steps or so with each canary at a fifth of the noise: an ideal attack has 0.69.
    assert 0.58 < ranks.mean() < 0.85
    assert len(sound.scores) == COUNT and sound.rows_each == 2
    assert sound.crosstalk < 0.05


def test_a_run_is_the_same_again_and_another_seed_is_another(sound):
    assert np.array_equal(run().scores, sound.scores)
    assert not np.array_equal(run(seed=1).scores, sound.scores)


def test_noise_that_is_off_is_found(monkeypatch, curve):
    real = engine.noised
    monkeypatch.setattr(
        engine, "noised", lambda total, stream, scale, grid: real(total, stream, 0.1 * scale, grid)
    )
    assert refuted(run(), curve)


@pytest.mark.parametrize("factor", [0.5, 0.95, 1.05])
def test_another_noise_scale_is_found(monkeypatch, factor):
    real = engine.noised
    monkeypatch.setattr(
        engine, "noised",
        lambda total, stream, scale, grid: real(total, stream, factor * scale, grid),
    )  # fmt: skip
    found = run()
    assert "noise_scale" in found.rejected
    assert found.noise_scale.value / found.noise_scale.claimed == pytest.approx(factor, rel=0.02)


def test_clipping_that_is_off_is_found(monkeypatch):
    monkeypatch.setattr(engine, "clip_factors", lambda norms, bound: torch.ones_like(norms))
    assert {"noise_scale", "contribution"} <= set(run().rejected)


def test_factors_that_go_to_the_wrong_rows_are_found(monkeypatch):
    real = engine.clip_factors
    monkeypatch.setattr(engine, "clip_factors", lambda norms, bound: real(norms, bound).roll(1))
    assert "contribution" in run().rejected


def test_a_sampling_rate_that_is_not_the_claimed_one_is_found(monkeypatch):
    real = Keystream.bernoulli

    def more(stream, rate, count):
        return real(stream, 0.6 if rate == RATE and count > COUNT // 2 else rate, count)

    monkeypatch.setattr(Keystream, "bernoulli", more)
    assert run().rejected == ("sampling",)


def test_coins_that_nothing_depends_on_bound_nothing(sound, curve):
    rng = np.random.default_rng(7)
    bounds = [lower_bound(sound.scores, rng.random(COUNT) < 0.5, 1e-5).epsilon for _ in range(100)]
    # 13 of 100 is the 0.1 % point of 5 %.
    assert sum(bound > 0 for bound in bounds) <= 12


TEXT = replace(SHAPE, input_size=0, vocabulary_size=12)
KINDS = {
    "forecast": (replace(SHAPE, task="forecast", output_size=6, quantiles=(0.1, 0.5, 0.9)), {}),
    "next_token": (replace(TEXT, task="next_token", output_size=12), {}),
    "untied": (
        replace(TEXT, task="next_token", output_size=12), {"cell": "lstm", "tie_weights": False},
    ),
    "ctc": (replace(SHAPE, task="ctc", output_size=5), {"bidirectional": True}),
    "seq2seq": (replace(TEXT, task="seq2seq", output_size=9), {}),
    "dot": (replace(TEXT, task="seq2seq", output_size=9), {"cell": "lstm", "attention": "dot"}),
}  # fmt: skip


def kind(name):
    """Options of a run of a kind whose target is a sequence."""
    shape, config = KINDS[name]
    return {
        "inputs": InputBounds(shape, 3, 5),
        "model": ModelConfig(hidden_size=10, embedding_size=6, **config),
    }


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_attacked_with_success(name, monkeypatch):
    monkeypatch.setattr(engine, "noised", lambda total, stream, scale, grid: total)
    found = run(count=60, steps=8, **kind(name))
    ranks = found.scores[found.present][:, None] > found.scores[~found.present][None]
    # Gradients of tied tables are more alike: others' canaries stand in for noise.
    assert ranks.mean() > 0.8


@pytest.mark.parametrize("name", ["next_token", "ctc", "seq2seq"])
def test_every_kind_is_what_it_claims_and_not_when_noise_is_missing(name, monkeypatch):
    assert run(count=60, steps=6, **kind(name)).rejected == ()
    real = engine.noised
    monkeypatch.setattr(
        engine, "noised", lambda total, stream, scale, grid: real(total, stream, 0.8 * scale, grid)
    )
    assert "noise_scale" in run(count=60, steps=6, **kind(name)).rejected


@pytest.mark.parametrize("options", [{}, *map(kind, ["next_token", "ctc", "seq2seq"])])
def test_the_attacker_knows_the_very_gradients_that_were_summed(options, monkeypatch):
    """Without noise, what is left after the sampled canaries' gradients is nothing."""
    monkeypatch.setattr(engine, "noised", lambda total, stream, scale, grid: total)
    left = []

    class Watching(Evidence):
        def add(self, seen, gradients, noise):
            sizes = gradients.square().sum(1)
            assert torch.allclose(sizes, torch.ones_like(sizes), atol=1e-3)
            gram = gradients @ gradients.T
            found = torch.linalg.lstsq(gram, (gradients @ seen)[:, None], driver="gelsd").solution
            left.append(float((found[:, 0] - found[:, 0].round()).abs().max()))
            left.append(float((seen - found[:, 0].round() @ gradients).norm()))

    monkeypatch.setattr(module, "Evidence", Watching)
    run(count=60, steps=5, **options)
    assert len(left) == 10 and max(left) < 0.02


EVERY = pytest.mark.parametrize(
    "mechanism",
    [
        replace(MECHANISM, unit="record"),
        replace(MECHANISM, clipping="per_layer"),
        replace(MECHANISM, clipping="adaptive", adaptive=AdaptiveConfig(count_noise=20.0)),
        replace(MECHANISM, mitigation=GlobalAdapt(method="global_adapt", count_noise=20.0)),
        replace(
            MECHANISM,
            mitigation=GroupClipping(method="dpsgd_f", feature="g", count_noise=20.0),
            groups=3,
        ),
        replace(
            MECHANISM,
            mitigation=Reweight(method="reweight", feature="g", count_noise=20.0),
            groups=3,
        ),
        replace(
            MECHANISM,
            mitigation=BoundedGroupLoss(
                method="bounded_group_loss", feature="g", count_noise=20.0, loss_noise=20.0
            ),
            groups=3,
        ),
        replace(
            MECHANISM,
            mitigation=GradientReversal(method="gradient_reversal", feature="g"),
            groups=3,
        ),
    ],
    ids=lambda m: m.mitigation.method if m.mitigation.method != "none" else m.unit + m.clipping,
)


@EVERY
def test_every_mechanism_is_attacked_with_success(mechanism, monkeypatch):
    real = engine.noised
    monkeypatch.setattr(
        engine, "noised", lambda total, stream, scale, grid: real(total, stream, 0.02 * scale, grid)
    )
    labels = ("a", "b", "unknown") if mechanism.groups else ()
    found = run(mechanism, count=100, steps=12, labels=labels)
    ranks = found.scores[found.present][:, None] > found.scores[~found.present][None]
    assert ranks.mean() > 0.9


@EVERY
def test_every_mechanism_is_what_it_claims(mechanism):
    labels = ("a", "b", "unknown") if mechanism.groups else ()
    assert run(mechanism, count=100, steps=12, labels=labels).rejected == ()


@pytest.mark.parametrize(
    ("shape", "model"),
    [
        (replace(SHAPE, input_size=0, vocabulary_size=9, task="multiclass", output_size=3),
         ModelConfig(cell="lstm", hidden_size=10, embedding_size=6, pooling="mean")),
        (replace(SHAPE, task="regression"),
         ModelConfig(cell="rnn", hidden_size=10, num_layers=2, head_sizes=(5,))),
        (replace(SHAPE, static_size=0),
         ModelConfig(hidden_size=6, bidirectional=True, pooling="attention")),
    ],
)  # fmt: skip
def test_every_model_is_attacked_with_success(shape, model, monkeypatch):
    monkeypatch.setattr(engine, "noised", lambda total, stream, scale, grid: total)
    found = run(count=100, steps=12, model=model, inputs=InputBounds(shape, 1, 5))
    ranks = found.scores[found.present][:, None] > found.scores[~found.present][None]
    assert ranks.mean() > 0.9


def test_a_large_model_gets_fewer_canaries_and_one_too_large_none(monkeypatch):
    monkeypatch.setattr(module, "MOST_NUMBERS", 110_000)
    assert len(run(steps=1).scores) == 110_000 // 734
    monkeypatch.setattr(module, "MOST_NUMBERS", 1)
    assert len(run(steps=1).scores) == 100
    monkeypatch.setattr(module, "ROOM", 73_000)
    with pytest.raises(ValueError, match="734 parameters: the gradients of 100 canaries"):
        run()
