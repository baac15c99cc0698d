"""Recordings of spoken digits, alone or joined into strings; see docs/recipes/digits.md.

The file is an npz of `X` float [frames, C] (cepstral coefficients), `y` int [N] (the digit) and
`lengths` int [N] (frames a recording), recordings end to end.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from annotated_types import Ge, Gt, Le, Lt, MinLen
from numpy.typing import NDArray

from rnn.config import FORBID_EXTRA
from tasks.params import UserError, validate
from tasks.table.split import shares

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_ARRAYS = ("X", "y", "lengths")
_MOST = 100

Frames = NDArray[np.float64]
Order = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How recordings become sequences.

    Attributes:
        salt: key of the hash that puts a recording into training or test.
        train: share of recordings in training.
        min: digits of a string, at least; without min and max a recording is a sequence.
        max: digits of a string, at most.
        seed: of who is joined with whom.
        repeats: strings that a training recording is in; a held-out one is in one.
        pause: frames between two recordings, at most; how many is drawn for each pause.
        stack: frames of a step: 2 makes sequences half as long.
    """

    __pydantic_config__ = FORBID_EXTRA

    salt: Annotated[str, MinLen(1)]
    train: Annotated[float, Gt(0), Lt(1)] = 0.8
    min: Annotated[int, Ge(1), Le(_MOST)] | None = None
    max: Annotated[int, Ge(1), Le(_MOST)] | None = None
    seed: Annotated[int, Ge(0)] = 0
    repeats: Annotated[int, Ge(1), Le(_MOST)] = 1
    pause: Annotated[int, Ge(0), Le(_MOST)] = 0
    stack: Annotated[int, Ge(1), Le(_MOST)] = 1

    def __post_init__(self) -> None:
        """Both ends of a string's length, or neither."""
        if (self.min is None) != (self.max is None):
            raise ValueError("options.min and options.max: state both, or neither")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"options.min = {self.min} must be at most options.max = {self.max}")
        if self.min is None and (self.repeats > 1 or self.pause):
            raise ValueError("options.repeats and options.pause are for strings: state min and max")


@dataclass(frozen=True)
class Recordings:
    """N recordings.

    Attributes:
        frames: C coefficients a frame, an array a recording.
        digits: int64 [N], 0..9.
        sides: "train" or "test" of each.
    """

    frames: list[Frames]
    digits: Order
    sides: list[str]


def read(files: list[Path], options: dict[str, Any]) -> pl.DataFrame:
    """Return a row a step: recording, step, split, c0, c1, ..., and what was said.

    Args:
        files: one npz.
        options: see `Options`.

    Returns:
        Column `digit` (0..9) where a recording is a sequence; column `digits` (words with spaces
        between) and `count` of them where recordings are joined, which are then of one side of
        the split. A step's second frame is in c0_1, c1_1, ..., and so on.

    Raises:
        UserError: an option or the file is wrong.
    """
    wanted = _options(options)
    recordings = _recordings(files, wanted)
    if wanted.min is None:
        names = [f"recording-{i:05d}" for i in range(len(recordings.digits))]
        said = pl.DataFrame({"digit": recordings.digits})
        return _table(names, recordings.sides, recordings.frames, said, wanted.stack)
    numbers = np.random.default_rng(wanted.seed)
    names, sides, frames, words = [], [], [], []
    for side, times in (("train", wanted.repeats), ("test", 1)):
        own = np.flatnonzero(np.array(recordings.sides) == side)
        for string in _strings(own, times, wanted, numbers):
            names.append(f"string-{len(names):05d}")
            sides.append(side)
            frames.append(_joined([recordings.frames[i] for i in string], wanted.pause, numbers))
            words.append(" ".join(WORDS[recordings.digits[i]] for i in string))
    said = pl.DataFrame({"digits": words, "count": [text.count(" ") + 1 for text in words]})
    return _table(names, sides, frames, said, wanted.stack)


def _options(options: dict[str, Any]) -> Options:
    """The options, checked; a complaint begins with the field's name."""
    try:
        return validate(Options, options, "options")
    except UserError as error:
        # What concerns two fields names them itself.
        raise UserError(str(error).removeprefix("options: ")) from None


def _recordings(files: list[Path], wanted: Options) -> Recordings:
    """The file's recordings, each with its side."""
    if len(files) != 1:
        raise UserError(f"{len(files)} files: takes one npz")
    x, y, lengths = _arrays(files[0])
    numbers = pl.Series([f"{i}" for i in range(len(y))], dtype=pl.String)
    sides = ["train" if s < wanted.train else "test" for s in shares(numbers, wanted.salt)]
    ends = np.cumsum(lengths)
    frames = [x[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    return Recordings(frames, y, sides)


def _arrays(file: Path) -> tuple[Frames, Order, Order]:
    """X, y and lengths of an npz, checked; nothing in it is unpickled."""
    try:
        with np.load(file, allow_pickle=False) as found:
            x, y, lengths = (np.asarray(found[name]) for name in _ARRAYS)
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file.name} is no npz of {', '.join(_ARRAYS)}: {error}") from None
    whole = y.dtype.kind in "iu" and lengths.dtype.kind in "iu"
    if x.ndim != 2 or y.ndim != 1 or y.shape != lengths.shape or not whole or x.dtype.kind != "f":
        raise UserError(f"{file.name}: X must be float [frames, C], y and lengths int [N]")
    if not len(y) or (lengths < 1).any() or int(lengths.sum()) != len(x):
        raise UserError(f"{file.name}: lengths must be positive and sum to the {len(x)} frames")
    if (y < 0).any() or (y >= len(WORDS)).any():
        raise UserError(f"{file.name}: y must lie in 0..{len(WORDS) - 1}")
    return x.astype(np.float64), y.astype(np.int64), lengths.astype(np.int64)


def _strings(own: Order, times: int, wanted: Options, numbers: np.random.Generator) -> list[Order]:
    """Recordings of one side dealt into strings, each recording once a time.

    Fewer than `min` that remain of one time are left out.
    """
    assert wanted.min is not None and wanted.max is not None
    dealt = []
    for _ in range(times):
        order = numbers.permutation(own)
        while len(order) >= wanted.min:
            length = int(numbers.integers(wanted.min, wanted.max + 1))
            dealt.append(order[:length])
            order = order[length:]
    return dealt


def _joined(parts: list[Frames], pause: int, numbers: np.random.Generator) -> Frames:
    """Recordings end to end; a pause repeats the quieter of the two frames that it parts."""
    pieces = [parts[0]]
    for part in parts[1:]:
        before, after = pieces[-1][-1], part[0]
        quiet = before if before[0] <= after[0] else after
        pieces += [np.tile(quiet, (int(numbers.integers(pause + 1)), 1)), part]
    return np.concatenate(pieces)


def _stacked(frames: Frames, size: int) -> Frames:
    """Frames [T, C] as steps [T / size, size x C], the last frame repeated to fill up."""
    short = -len(frames) % size
    whole = np.concatenate([frames, np.repeat(frames[-1:], short, axis=0)])
    return whole.reshape(-1, size * frames.shape[1])


def _table(
    names: list[str], sides: list[str], frames: list[Frames], said: pl.DataFrame, stack: int
) -> pl.DataFrame:
    """One row a step; `said` has one a sequence."""
    steps = [_stacked(frame, stack) for frame in frames]
    counts = [len(step) for step in steps]
    owner = np.repeat(np.arange(len(names)), counts)
    values, width = np.concatenate(steps), frames[0].shape[1]
    channels = [f"c{i}" + (f"_{at}" if at else "") for at in range(stack) for i in range(width)]
    return pl.DataFrame(
        [
            pl.Series("recording", names)[owner],
            pl.concat([pl.int_range(count, eager=True) for count in counts]).alias("step"),
            pl.Series("split", sides)[owner],
            *(pl.Series(name, values[:, at]) for at, name in enumerate(channels)),
            *said[owner],
        ]
    )
