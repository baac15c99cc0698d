"""What a baseline of targets with one answer is fitted on.

N training people, n people asked for, C classes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rnn.batch import PreparedSequences

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Known:
    """Training people and their answers.

    Attributes:
        sequences: of all people.
        rows: int64 [N], the training people's.
        task: binary, multiclass or regression.
        classes: C; 2 of a binary task.
        seed: of every random choice.
    """

    sequences: PreparedSequences
    rows: Rows
    task: str
    classes: int
    seed: int

    @cached_property
    def targets(self) -> NDArray[np.generic]:
        """Classes or numbers [N]."""
        return np.asarray(self.sequences.targets[self.rows])

    def spread(self, probability: Array, present: NDArray[np.generic]) -> Array:
        """Return P(event) [n] of a binary task, else probabilities of all classes [n, C].

        Args:
            probability: float64 [n, K], of the classes seen in training.
            present: [K], which those are.
        """
        full = np.zeros((len(probability), self.classes))
        full[:, present.astype(np.int64)] = probability
        return full[:, 1] if self.task == "binary" else full
