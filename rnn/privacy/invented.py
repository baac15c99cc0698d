"""People who do not exist: sequences within the declared bounds, drawn from a public seed.

N rows, T steps, D channels, H horizon, U symbols of a target.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnn.batch import PreparedSequences
from rnn.config import InputShape

Array = NDArray[np.float32]
Choices = Sequence[Sequence[int]]

# Share of cells without a value, where a recipe has such.
_MISSING = 0.1
# Ids of texts: padding, unknown, start, end, then the vocabulary.
_START, _END, _FIRST = 2, 3, 4


@dataclass(frozen=True)
class InputBounds:
    """What a permitted input is, beside its shape; numbers lie in [-1, 1].

    Attributes:
        shape: of the model's input.
        shortest: steps at least.
        longest: steps at most.
        choices: channels of a step of which exactly one is 1 and the others are 0.
        static_choices: the same beside the sequence.
        missing_indicators: the second half of the channels says what is missing in the first.
    """

    shape: InputShape
    shortest: int
    longest: int
    choices: Choices = ()
    static_choices: Choices = ()
    missing_indicators: bool = False


def _numbers(rows: int, width: int, choices: Choices, rng: np.random.Generator) -> Array:
    """Half of the numbers at an end of their bounds, the others anywhere within."""
    values = rng.uniform(-1, 1, (rows, width)).astype(np.float32)
    values = np.where(rng.random(values.shape) < 0.5, np.sign(values), values)
    for channels in choices:
        values[:, list(channels)] = 0
        values[np.arange(rows), rng.choice(channels, rows)] = 1
    return values


def _texts(
    sizes: NDArray[np.int64], vocabulary: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Random texts end to end, each from a start to an end; at least two tokens each."""
    total, ends = int(sizes.sum()), np.cumsum(sizes)
    found = rng.integers(min(_FIRST, vocabulary - 1), vocabulary, total, dtype=np.int32)
    # The unknown is a token that people's texts have too.
    found[rng.random(total) < 1 / vocabulary] = 1
    found[ends - sizes], found[ends - 1] = _START, _END
    return found


def _targets(
    bounds: InputBounds, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.generic], NDArray[np.int64] | None]:
    """Targets, and where each starts if they differ in length.

    Translations are all of one length, as the inputs then are, so that no output of any layer is
    padding.
    """
    shape = bounds.shape
    if shape.task == "forecast":
        horizon = shape.output_size // len(shape.quantiles)
        return rng.uniform(-1, 1, (count, horizon)).astype(np.float32), None
    if shape.task == "seq2seq":
        sizes = np.full(count, max(3, bounds.longest), dtype=np.int64)
        texts = _texts(sizes, shape.output_size, rng)
        return texts, np.concatenate([[0], np.cumsum(sizes)])
    if shape.task == "ctc":
        # Equal neighbours need a blank between them: half of the steps are always enough.
        sizes = rng.integers(1, max(1, bounds.shortest // 2), count, endpoint=True)
        symbols = rng.integers(1, shape.output_size, int(sizes.sum()), dtype=np.int32)
        return symbols, np.concatenate([[0], np.cumsum(sizes)])
    numbers = rng.uniform(-1, 1, count).astype(np.float32)
    if shape.task == "regression":
        return numbers, None
    return rng.integers(0, max(2, shape.output_size), count), None


def invented(
    bounds: InputBounds, count: int, seed: int, units: NDArray[np.int64] | None = None
) -> PreparedSequences:
    """Return sequences of people who do not exist, with targets as random as they are.

    Args:
        bounds: that inputs keep.
        count: N.
        seed: public.
        units: int64 [N], the person of each; None: each is a person's only one.
    """
    rng = np.random.default_rng(seed)
    shape = bounds.shape
    shortest = bounds.longest if shape.task == "seq2seq" else bounds.shortest
    lengths = rng.integers(shortest, bounds.longest, count, endpoint=True)
    if shape.task == "next_token":
        # The last token is not read.
        lengths = lengths + 1
    total = int(lengths.sum())
    sequences: NDArray[np.generic]
    missing = None
    if shape.task == "next_token":
        sequences = _texts(lengths, shape.vocabulary_size, rng)
    elif shape.vocabulary_size:
        # 0 is padding.
        sequences = rng.integers(1, shape.vocabulary_size, total, dtype=np.int32)
    else:
        width = shape.input_size // (2 if bounds.missing_indicators else 1)
        sequences = _numbers(total, width, bounds.choices, rng)
        if bounds.missing_indicators:
            missing = (rng.random((total, width)) < _MISSING).astype(np.uint8)
            sequences = np.where(missing == 1, np.float32(0), sequences)
    targets, target_offsets = _targets(bounds, count, rng)
    return PreparedSequences(
        sequences,
        missing,
        np.concatenate([[0], np.cumsum(lengths)]),
        _numbers(count, shape.static_size, bounds.static_choices, rng),
        targets,
        missing_indicators=bounds.missing_indicators,
        units=units,
        target_offsets=target_offsets,
        next_token=shape.task == "next_token",
    )
