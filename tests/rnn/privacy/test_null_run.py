"""The null block inside a real run: what it measures, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rnn.batch import PreparedSequences
from rnn.config import AdaptiveConfig, InputShape, ModelConfig, TrainConfig
from rnn.fairness.config import GlobalAdapt, GradientReversal, GroupClipping, NoMitigation
from rnn.fairness.groups import Groups
from rnn.fit import Fit
from rnn.model import build
from rnn.privacy.engine import rounding_margin
from rnn.privacy.ledger import training_event
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.moving import current
from rnn.privacy.noise import Keystream
from rnn.privacy.null_verdict import judge
from rnn.privacy.ranks import Ranks

SHAPE = InputShape(input_size=2, vocabulary_size=0, static_size=0, output_size=1, task="binary")
PEOPLE, RATE, NOISE, BATCH, COUNT = 40, 0.25, 1.5, 10, 400
MITIGATIONS = {
    "dpsgd_f": GroupClipping(method="dpsgd_f", feature="f", count_noise=4.0),
    "global_adapt": GlobalAdapt(method="global_adapt", start=1.0, lowest=0.01, count_noise=4.0),
    "gradient_reversal": GradientReversal(method="gradient_reversal", feature="f", hidden_size=3),
}
KINDS = ["flat", "per_layer", "adaptive", "by_person", *MITIGATIONS]


def make(kind="flat", *, canaries=COUNT, seed=0, ranks=None, optimizer="adam", **changes):
    """Return a run at its first step."""
    numbers = np.random.default_rng(0)
    by_person = kind == "by_person"
    sequences = PreparedSequences(
        3 * numbers.standard_normal((PEOPLE * 3, 2)).astype(np.float32),
        None,
        np.arange(PEOPLE + 1) * 3,
        np.zeros((PEOPLE, 0), dtype=np.float32),
        numbers.integers(0, 2, PEOPLE),
        units=np.arange(PEOPLE) // 2 if by_person else None,
    )
    mitigation = MITIGATIONS.get(kind, NoMitigation())
    mechanism = Mechanism(
        RATE,
        NOISE,
        0.4,
        clipping=kind if kind in ("per_layer", "adaptive") else "flat",
        adaptive=AdaptiveConfig(count_noise=4.0),
        mitigation=mitigation,
        groups=3,
    )
    config = TrainConfig(
        steps=30,
        expected_batch_size=BATCH,
        physical_batch_size=6,
        averaging=0.5,
        optimizer=optimizer,
        weight_decay=0.1,
        **changes,
    )
    return Fit(
        build(ModelConfig(hidden_size=3), SHAPE, 0),
        sequences,
        np.arange(PEOPLE),
        config,
        sample_rate=RATE,
        mechanism=mechanism,
        keystream=Keystream.from_seed(seed),
        ranks=ranks,
        mitigation=mitigation,
        groups=Groups(np.arange(PEOPLE) % 3, ("a", "b", "unknown")),
        null_canaries=canaries,
    )


def judged(fit, steps=30, claimed=None):
    """Take steps; return the verdict."""
    for _ in range(steps):
        fit.step()
    event = training_event(noise_multiplier=NOISE, sample_rate=RATE, steps=claimed or steps)
    return judge(fit.null.account, fit.null.block.present, event, 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_run_is_consistent_whatever_is_clipped(kind):
    fit = make(kind)
    found = judged(fit)
    assert found.rejected == ()
    assert found.blind == ()
    claimed = fit.mechanism.gradient_noise(BATCH) * (1 + rounding_margin(BATCH))
    assert found.noise_scale.claimed == claimed
    assert found.noise_scale.value == pytest.approx(claimed, rel=0.025)
    assert found.contribution.value == pytest.approx(1, abs=0.15)
    assert found.sampling.value == pytest.approx(RATE, abs=0.03)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_run_on_a_gpu_is_consistent(kind):
    fit = make(kind, device="cuda")
    assert judged(fit).rejected == ()
    assert fit.null.block.loudness.is_cuda


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.9, 1.1])
def test_a_wrong_noise_scale_is_rejected_whatever_is_clipped(kind, share):
    fit = make(kind)
    fit.optimizer.noise_multiplier *= share
    assert "noise_scale" in judged(fit).rejected


@pytest.mark.parametrize("kind", ["flat", "by_person", "dpsgd_f", "adaptive"])
def test_a_bound_that_is_not_kept_is_rejected(kind, monkeypatch):
    """Everybody is clipped to twice what the noise is scaled to."""
    fit = make(kind)
    monkeypatch.setattr("rnn.fit.current", lambda *args: 2 * current(*args))
    found = judged(fit)
    assert found.contribution.value == pytest.approx(2, abs=0.15)
    assert "contribution" in found.rejected


def test_layers_whose_bounds_add_up_to_too_much_are_rejected(monkeypatch):
    """Each layer is clipped to the bound of all of them together."""
    fit = make("per_layer")
    bound = fit.bound
    wrong = replace(bound, bounds=(bound.total,) * len(bound.bounds))
    monkeypatch.setattr("rnn.fit.current", lambda *args: wrong)
    found = judged(fit)
    assert found.contribution.value == pytest.approx(len(bound.bounds) ** 0.5, abs=0.15)
    assert "contribution" in found.rejected


def test_rows_of_a_person_clipped_one_by_one_are_rejected(monkeypatch):
    fit = make("by_person")
    monkeypatch.setattr(fit, "_units", lambda part: None)
    monkeypatch.setattr("rnn.fit.numbered", lambda units, rows: torch.arange(rows))
    found = judged(fit)
    assert found.contribution.value == pytest.approx(2, abs=0.2)
    assert "contribution" in found.rejected


def test_another_sampling_rate_than_the_account_s_is_rejected():
    fit = make()
    fit.sample_rate = 0.5
    assert "sampling" in judged(fit).rejected


def test_a_normaliser_that_follows_the_batch_is_rejected(monkeypatch):
    fit = make()
    right = fit._sample

    def sample(stream):
        got = right(stream)
        fit.optimizer.expected_batch_size = max(1, len(got.rows))
        return got

    monkeypatch.setattr(fit, "_sample", sample)
    assert {"noise_scale", "evenness"} & set(judged(fit).rejected)


def test_steps_that_nobody_counts_are_seen():
    fit = make()
    plain = fit.optimizer.step
    spare = Keystream.from_seed(99)

    def twice():
        plain()
        fit.optimizer.keystream = spare.child(fit.step_count)
        plain()

    fit.optimizer.step = twice
    found = judged(fit, steps=15)
    assert (found.steps, found.claimed_steps) == (30, 15)
    assert "steps" in found.rejected


@pytest.mark.parametrize("kind", KINDS)
def test_people_s_clipped_sums_are_the_same_with_the_block_and_without(kind):
    """What each person puts into the sum, and so how far one may move it, is unchanged."""
    sums = []
    for canaries in (0, COUNT):
        fit = make(kind, canaries=canaries)
        mine = []
        for person in range(0, PEOPLE, 2):
            fit.optimizer.zero_grad()
            sample = fit.population.draw(Keystream.from_seed(0), 1.0)
            one = sample.units == (person // 2 if kind == "by_person" else person)
            beside = fit._canaries(fit.null, Keystream.from_seed(1)) if canaries else None
            fit._physical(type(sample)(sample.rows[one], sample.units[one]), beside)
            trained = list(fit.trained.parameters())
            mine.append(torch.cat([p.summed_grad.flatten() for p in trained]))
            if canaries:
                assert float(fit.null.block.tables[0].weight.summed_grad.abs().max()) > 0
        sums.append(torch.stack(mine))
    assert torch.equal(*sums)
    assert (sums[0].norm(dim=1) <= 10 * 0.4).all()


def test_canaries_are_in_no_count():
    """Bounds that follow counts move as they would without canaries, given the same counts."""
    fit = make("adaptive", learning_rate=1e-12)
    fit.optimizer.noise_multiplier = 1e-9
    counts = []
    fit.bound.release = lambda centred, stream: counts.append(centred) or centred
    for _ in range(5):
        report = fit.step()
        assert abs(2 * counts[-1]) <= report.rows


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_block_is_noised_and_never_updated(optimizer):
    fit = make(optimizer=optimizer)
    fit.step()
    assert all(float(p.detach().abs().max()) == 0 for p in fit.null.parameters())
    assert float(fit.null.parameters()[0].grad.abs().min()) > 0
    assert not any(p in fit.plain.state for p in fit.null.parameters())
    released = {name for name, _ in fit.model.named_parameters()}
    assert set(fit.average) == released == set(fit.model.state_dict())


@pytest.mark.parametrize("kind", ["flat", "by_person", "per_layer"])
def test_a_run_that_was_stopped_measures_what_it_would_have(kind):
    straight = make(kind)
    for _ in range(12):
        straight.step()
    first = make(kind)
    for _ in range(5):
        first.step()
    saved = {name: value.clone() for name, value in first.tensors().items()}
    first.step()
    second = make(kind)
    second.load_tensors(saved)
    assert second.null.account.steps == 5
    while second.step_count < 12:
        second.step()
    for name, value in straight.tensors().items():
        assert torch.equal(second.tensors()[name], value), name
    assert {"null/present", "null/sums", "null/unevenness", "null/steps"} <= set(saved)


def test_coins_survive_a_new_key():
    """A run from the system's entropy goes on under another key with the same canaries."""
    first = make(seed=1)
    for _ in range(15):
        first.step()
    second = make(seed=2)
    assert not np.array_equal(first.null.block.present, second.null.block.present)
    second.load_tensors(first.tensors())
    assert np.array_equal(first.null.block.present, second.null.block.present)
    assert judged(second, steps=15, claimed=30).rejected == ()


def test_coins_are_fair_and_tell_nothing_of_people_s_sampling():
    fits = [make(seed=seed) for seed in range(20)]
    shares = [fit.null.block.present.mean() for fit in fits]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert len({fit.null.block.present.tobytes() for fit in fits}) == 20
    with_block, without = make(), make(canaries=0)
    assert [with_block.step().rows for _ in range(8)] == [without.step().rows for _ in range(8)]


def test_another_process_has_no_canaries():
    fit = make(ranks=Ranks(1, 1))
    fit.step()
    assert fit.null.account.steps == 0
    assert len(fit.null.population.rows) == 0


def test_no_block_where_there_is_no_privacy():
    fit = make(canaries=0)
    assert fit.null is None
    assert not any(name.startswith("null") for name in fit.tensors())
