"""What a kind of target that is a sequence itself needs beyond the network.

A kind is one file here and one line in KINDS: how held-out people are judged, which figures their
sums make, and which baselines stand beside the model; what a served model answers is one file in
answers/. No stage knows a kind by name.

n people asked for, B a batch.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rnn.batch import PreparedSequences, SequenceBatch
from rnn.model import SequenceModel
from tasks.artifacts import Prepared

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

# So many numbers at most does a network give at once: 128 MiB of float32.
CELLS = 2**25
MOST_ROWS = 1024


@dataclass(frozen=True)
class Judged:
    """What held-out people say of one model: statistics that add up over people.

    Attributes:
        losses: float64 [n], as training counts them.
        sums: by name float64 [n] or [n, k]; figures are made of their totals alone.
        truth: what was to be said of each, as text; None where there is no short text.
        said: what the model said.
    """

    losses: Array
    sums: dict[str, Array]
    truth: list[str] | None = None
    said: list[str] | None = None

    def __post_init__(self) -> None:
        """One value a person, everywhere."""
        for name, values in {"loss": self.losses, **self.sums}.items():
            if values.dtype != np.float64 or len(values) != len(self.losses):
                raise ValueError(
                    f"{name}: {values.dtype} of {len(values)} people, not float64 of "
                    f"{len(self.losses)}"
                )


@dataclass(frozen=True)
class Figure:
    """A figure of a kind, as tables and gates name it.

    Attributes:
        name: key in metrics.json.
        title: of its row in a table.
        unit: behind the number; empty for none.
        better: which way is better.
        digits: behind the decimal point.
    """

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher"]
    digits: int = 3

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return dict(vars(self))


class Judge(Protocol):
    """A fitted baseline."""

    def judge(self, prepared: Prepared, rows: Rows) -> Judged:
        """Return the same statistics as of a model, of rows that it was not fitted on."""


# Fits a baseline on the people of split "train"; the number is the seed of every random choice.
Fit = Callable[[Prepared, int], Judge]


@dataclass(frozen=True)
class Kind:
    """A kind of target; see the module's first lines.

    Attributes:
        figures: of `summary`, the most telling first.
        baselines: by their name in predict.baseline, the one to take without a word first.
        judge: what some held-out people say of a model.
        summary: figures by name, float64 [...], from totals by name, [...] or [..., k]; leading
            axes are resamples or groups. An empty group has totals of 0, and its figures are NaN
            or infinite.
    """

    figures: tuple[Figure, ...]
    baselines: Mapping[str, Fit]
    judge: Callable[[SequenceModel, Prepared, Rows], Judged]
    summary: Callable[[Mapping[str, Array]], dict[str, Array]]


@dataclass(frozen=True)
class Parts:
    """Collects what batches say of people, in the order of the people asked for."""

    count: int
    arrays: dict[str, Array] = field(default_factory=dict)

    def put(self, places: Rows, **values: Any) -> None:
        """Write down some people's values, float [B] or [B, k] each.

        Args:
            places: int64 [B], which of the people asked for.
            values: tensors or arrays by name.
        """
        for name, value in values.items():
            found = np.asarray(value, dtype=np.float64)
            if name not in self.arrays:
                self.arrays[name] = np.zeros((self.count, *found.shape[1:]))
            self.arrays[name][places] = found

    def __getitem__(self, name: str) -> Array:
        """Return the values of all people; nobody's are empty."""
        return self.arrays.get(name, np.zeros(self.count))

    def sums(self, *names: str) -> dict[str, Array]:
        """Return some of them by name."""
        return {name: self[name] for name in names}


def batches(
    sequences: PreparedSequences, rows: Rows, width: int
) -> Iterator[tuple[Rows, SequenceBatch]]:
    """Yield batches of people of like length, with their places among `rows`.

    Args:
        sequences: prepared data.
        rows: n row numbers.
        width: numbers that the network gives a step, which bounds a batch.
    """
    lengths = sequences.offsets[rows + 1] - sequences.offsets[rows]
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = min(start + MOST_ROWS, len(order))
        # The last of a batch is its longest.
        while stop > start + 1 and (stop - start) * int(lengths[order[stop - 1]]) * width > CELLS:
            stop = start + (stop - start + 1) // 2
        places = order[start:stop]
        yield places, sequences.batch(rows[places])
        start = stop


def shares(top: Array, bottom: Array) -> Array:
    """Return quotients, NaN where the bottom is 0.

    Example:
        >>> shares(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
        array([0.5, nan])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(bottom == 0, np.nan, top / np.where(bottom == 0, 1.0, bottom))
