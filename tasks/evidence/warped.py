"""The nearest training sequence by dynamic time warping: the recogniser before networks.

n people asked for, N training people, T steps, D channels, C classes.
"""

from dataclasses import dataclass

import numpy as np
from dtaidistance import dtw_ndim
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from rnn.batch import PreparedSequences
from tasks.evidence.known import Array, Known, Rows
from tasks.params import UserError

# Every distance is T x T; more than this takes minutes.
MOST_NEIGHBOURS = 5000
CALIBRATING = 500
BLOCK = 256


def warped_distances(asked: list[Array], known: list[Array]) -> Array:
    """Return the cost of the cheapest alignment of each pair, float64 [n, N].

    A pair's cost is the root of the summed squared distances of the steps that are aligned.

    Args:
        asked: n sequences [T, D].
        known: N sequences [T, D].

    Source: Sakoe and Chiba (1978), without a window, every move of weight 1.

    Example:
        >>> one = np.zeros((1, 1))
        >>> warped_distances([one], [one, one + 3]).tolist()
        [[0.0, 3.0]]
    """
    found = np.zeros((len(asked), len(known)))
    for start in range(0, len(asked), BLOCK):
        some = asked[start : start + BLOCK]
        count = len(some)
        flat = dtw_ndim.distance_matrix_fast(
            some + known,
            block=((0, count), (count, count + len(known))),
            compact=True,
            parallel=False,
        )
        found[start : start + count] = np.asarray(flat).reshape(count, len(known))
    return found


@dataclass(frozen=True)
class Nearest:
    """Training sequences, and how much a class's nearest one says.

    Attributes:
        known: N sequences [T, D].
        labels: int64 [N].
        classes: C.
        scale: of distances: a class has the chance exp(-distance / scale), made to add up to 1.
    """

    known: list[Array]
    labels: Rows
    classes: int
    scale: float

    @classmethod
    def fit(cls, known: Known) -> "Nearest":
        """Keep the training sequences; the scale is the likeliest on some that look at the others.

        Raises:
            UserError: the sequences are text, or the target is a number.
        """
        if known.sequences.is_tokens or known.task == "regression":
            raise UserError(
                "predict.baseline = 'dtw' needs sequences of numbers and a binary or multiclass "
                "target; choose another, or none"
            )
        order = np.random.default_rng(known.seed).permutation(len(known.rows))[:MOST_NEIGHBOURS]
        steps = steps_of(known.sequences, known.rows[order])
        labels = known.targets[order].astype(np.int64)
        some = min(CALIBRATING, len(steps))
        distances = warped_distances(steps[:some], steps)
        # Nobody is a neighbour of their own.
        distances[np.arange(some), np.arange(some)] = np.inf
        nearest = by_class(distances, labels, known.classes)
        return cls(steps, labels, known.classes, _likeliest_scale(nearest, labels[:some]))

    def score(self, sequences: PreparedSequences, rows: Rows) -> Array:
        """Return P(event) [n] of two classes, else probabilities [n, C]."""
        distances = warped_distances(steps_of(sequences, rows), self.known)
        found = softmax(-by_class(distances, self.labels, self.classes) / self.scale, axis=1)
        return found[:, 1] if self.classes == 2 else found


def steps_of(sequences: PreparedSequences, rows: Rows) -> list[Array]:
    """Return the channels of some people step by step, float64 [T, D] each."""
    offsets = sequences.offsets
    return [
        np.ascontiguousarray(sequences.sequences[offsets[row] : offsets[row + 1]], dtype=np.float64)
        for row in rows
    ]


def by_class(distances: Array, labels: Rows, classes: int) -> Array:
    """Return the distance to each class's nearest, [n, C]; beyond all others where it has none."""
    found = np.full((len(distances), classes), np.inf)
    for label in np.unique(labels):
        found[:, label] = distances[:, labels == label].min(1)
    known = found[np.isfinite(found)]
    return np.where(np.isfinite(found), found, 2 * known.max(initial=1.0))


def _likeliest_scale(nearest: Array, labels: Rows) -> float:
    """The scale under which the labels are likeliest, within a thousandth to a thousand.

    One label more, of an average person and of any class alike, keeps it from certainty where
    every nearest one is right.
    """

    def cost(exponent: float) -> float:
        chances = log_softmax(-nearest / 10.0**exponent, axis=1)
        return -float(chances[np.arange(len(labels)), labels].sum() + chances.mean())

    found = minimize_scalar(cost, bounds=(-3.0, 3.0), method="bounded", options={"xatol": 1e-4})
    return float(10.0**found.x)
