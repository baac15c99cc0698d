"""A small training run with groups, for tests of mitigations."""

import numpy as np
import torch

from rnn.batch import PreparedSequences
from rnn.config import InputShape, ModelConfig, TrainConfig
from rnn.fairness.config import (
    BoundedGroupLoss,
    GlobalAdapt,
    GradientReversal,
    GroupClipping,
    NoMitigation,
    Reweight,
)
from rnn.fairness.groups import Groups
from rnn.fit import Fit
from rnn.model import build
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.noise import Keystream

SHAPE = InputShape(input_size=2, vocabulary_size=0, static_size=1, output_size=1, task="binary")
LABELS = ("a", "b", "unknown")
RATE = 0.3
ALL = {
    "none": NoMitigation(),
    "constant": Reweight(method="reweight", feature="f", weights={"a": 3.0, "b": 0.5}),
    "reweight": Reweight(method="reweight", feature="f", count_noise=3.0),
    "outcome": Reweight(method="reweight", feature="f", outcome=True, count_noise=3.0),
    "bounded_group_loss": BoundedGroupLoss(
        method="bounded_group_loss", feature="f", loss_noise=2.0, count_noise=3.0
    ),
    "gradient_reversal": GradientReversal(method="gradient_reversal", feature="f", hidden_size=3),
    "dpsgd_f": GroupClipping(method="dpsgd_f", feature="f", count_noise=3.0),
    "global_adapt": GlobalAdapt(method="global_adapt", start=1.0, lowest=0.01, count_noise=3.0),
}


def make_fit(method, *, people=24, private=True, seed=0, double=False, by_person=False, **changes):
    """Return a run at its first step; half of the people are alike in group and class."""
    numbers = np.random.default_rng(seed)
    lengths = numbers.integers(1, 5, people)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    persons = np.arange(people) // 2 if by_person else None
    codes = numbers.integers(0, 3, people)
    sequences = PreparedSequences(
        4 * numbers.standard_normal((offsets[-1], 2)).astype(np.float32),
        None,
        offsets,
        numbers.standard_normal((people, 1)).astype(np.float32),
        numbers.integers(0, 2, people),
        units=persons,
    )
    settings = {"steps": 12, "expected_batch_size": 8, "physical_batch_size": 5, "averaging": 0.5}
    config = TrainConfig(**{**settings, **changes})
    mitigation = ALL[method] if isinstance(method, str) else method
    mechanism = Mechanism(RATE, 1.0, 0.4, mitigation=mitigation, groups=3) if private else None
    model = build(ModelConfig(hidden_size=4, head_sizes=(3,)), SHAPE, 0)
    return Fit(
        model.double() if double else model,
        sequences,
        np.arange(people),
        config,
        sample_rate=RATE,
        mechanism=mechanism,
        keystream=Keystream.from_seed(seed),
        mitigation=mitigation,
        groups=Groups(codes[persons] if by_person else codes, LABELS),
    )


def in_double(fit):
    """Numbers in double precision, so that rounding does not show."""
    plain = fit.sequences.batch

    def batch(rows):
        got = plain(rows)
        object.__setattr__(got, "inputs", got.inputs.double())
        object.__setattr__(got, "static", got.static.double())
        return got

    object.__setattr__(fit.sequences, "batch", batch)
    fit.trained.double()
    fit.average = {name: value.double() for name, value in fit.average.items()}
    return fit


def flat(module):
    """All weights as one vector."""
    return torch.cat([p.detach().flatten() for p in module.parameters()])
