"""How long training will take, timed on invented rows: no private row is touched."""

import time
from typing import Any

import numpy as np
import torch

from rnn.batch import PreparedSequences
from rnn.config import InputShape, TrainConfig
from rnn.fit import Fit, Mechanism
from rnn.model import build
from rnn.privacy.noise import Keystream
from tasks.recipe import Recipe, TrainPlan
from tasks.settings.data import Layout
from tasks.settings.target import RAGGED
from tasks.table.encode import input_shape
from tasks.table.vocabulary import stand_in, written_out

# Steps a sequence that a time estimate assumes where the layout does not say.
_GUESSED_LENGTH = 32
# Few texts are as long as the longest that is read.
_SHARE_OF_LONGEST = 0.5
# Steps that are timed; the quickest is the one that nothing else held up.
_TIMED = 3


def _invented(shape: InputShape, train: TrainConfig, length: int) -> PreparedSequences:
    """Random rows of the recipe's shape: no private row is needed to time a step."""
    count = min(train.expected_batch_size, train.physical_batch_size)
    numbers = np.random.default_rng(0)
    total = count * length
    if shape.vocabulary_size:
        sequences: Any = numbers.integers(1, shape.vocabulary_size, total).astype(np.int32)
    else:
        sequences = numbers.random((total, shape.input_size), dtype=np.float32)
    targets, target_offsets = _invented_targets(shape, numbers, count, length)
    return PreparedSequences(
        sequences=sequences,
        missing=None,
        offsets=np.arange(count + 1) * length,
        static=numbers.random((count, shape.static_size), dtype=np.float32),
        targets=targets,
        target_offsets=target_offsets,
        next_token=shape.task == "next_token",
    )


def _invented_targets(
    shape: InputShape, numbers: np.random.Generator, count: int, length: int
) -> tuple[Any, Any]:
    """Random targets of the shape's kind, and their offsets where they are ragged."""
    if shape.task == "regression":
        return numbers.random(count, dtype=np.float32), None
    if shape.task == "forecast":
        horizon = shape.output_size // len(shape.quantiles)
        return numbers.random((count, horizon), dtype=np.float32), None
    if shape.task in RAGGED:
        # A ctc model needs more steps than symbols.
        each = max(2, length // 4) if shape.task == "ctc" else max(2, length)
        tokens = numbers.integers(1, shape.output_size, count * each).astype(np.int32)
        return tokens, np.arange(count + 1) * each
    return numbers.integers(0, max(2, shape.output_size), count), None


def _length(layout: Layout) -> int:
    """Steps that a sequence of the layout has, as far as it says."""
    if layout.layout == "wide":
        return len(layout.steps)
    if layout.layout == "series":
        return layout.window
    if layout.layout == "text":
        return min(_GUESSED_LENGTH, max(1, round(_SHARE_OF_LONGEST * layout.max_length)))
    return _GUESSED_LENGTH


def _seconds(fit: Fit) -> float:
    """How long one step takes."""
    began = time.perf_counter()
    fit.step()
    return time.perf_counter() - began


def estimate_minutes(recipe: Recipe, plan: TrainPlan) -> float:
    """Return the training minutes to expect on this machine, from a few timed steps."""
    shape = input_shape(stand_in(written_out(recipe.data)))
    sample = _invented(shape, plan.train, _length(recipe.data.sequence))
    torch.set_num_threads(plan.train.threads)
    mechanism = None
    if plan.privacy is not None:
        noise = plan.noise_multiplier
        mechanism = Mechanism.of(plan.privacy, sample_rate=1.0, noise_multiplier=noise)
    fit = Fit(
        build(plan.model, shape, plan.train.seed),
        sample,
        np.arange(len(sample)),
        plan.train,
        sample_rate=1.0,
        mechanism=mechanism,
        keystream=Keystream.from_seed(0),
        # What is let go of on the way is timed as if it were from the start.
        freeze={name: None for name, step in plan.frozen.items() if step is None},
    )
    fit.step()
    seconds = min(_seconds(fit) for _ in range(_TIMED))
    return seconds * plan.train.steps * plan.train.expected_batch_size / len(sample) / 60
