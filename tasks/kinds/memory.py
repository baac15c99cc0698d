"""A translation memory: what was said of the training text that is most like this one.

n people asked for, M training people, V target tokens.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from tasks.artifacts import Prepared
from tasks.kinds.base import Array, Rows
from tasks.params import UserError
from tasks.table.splitting import CONTINUED

_SHORTEST, _LONGEST = 2, 5
_ROWS = 512


def sources_of(prepared: Prepared, rows: Rows) -> list[str]:
    """Return what some people's sequences say, as text.

    Raises:
        UserError: sequences are numbers.
    """
    names = prepared.schema["input"].get("vocabulary") or []
    if not names:
        raise UserError("predict.baseline = 'memory' needs text as input; allowed here is none")
    # Characters stand next to each other.
    between = " " if "tokens" in prepared.schema["input"] else ""
    ids, offsets = prepared.sequences.sequences, prepared.sequences.offsets
    texts = []
    for row in rows:
        own = np.asarray(ids[offsets[row] : offsets[row + 1]]).tolist()
        texts.append(between.join(names[i] for i in own).replace(f" {CONTINUED}", ""))
    return texts


@dataclass(frozen=True)
class Memory:
    """Training texts by their runs of characters, with what was said of each.

    Attributes:
        reader: text to weighted runs of 2 to 5 characters.
        table: M training texts, each of length 1.
        targets: tokens of each.
        costs: float64 [V], nats of each token by how often it stands in training targets: a memory
            gives no probabilities of its own.
    """

    reader: TfidfVectorizer
    table: sparse.csr_matrix
    targets: list[list[int]]
    costs: Array

    @classmethod
    def fit(cls, prepared: Prepared, rows: Rows, targets: list[list[int]]) -> "Memory":
        """Remember some people.

        Args:
            prepared: with text as input.
            rows: M row numbers.
            targets: tokens of each, start and end included.

        Raises:
            UserError: sequences are numbers.
        """
        reader: Any = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(_SHORTEST, _LONGEST), sublinear_tf=True
        )
        table = reader.fit_transform(sources_of(prepared, rows))
        counts = np.ones(prepared.shape.output_size)
        for tokens in targets:
            counts += np.bincount(tokens[1:], minlength=len(counts))
        return cls(reader, table, targets, -np.log(counts / counts.sum()))

    def nearest(self, prepared: Prepared, rows: Rows) -> list[list[int]]:
        """Return the target of the training text nearest to each person's, the first of equals."""
        asked = self.reader.transform(sources_of(prepared, rows))
        found: list[int] = []
        for start in range(0, len(rows), _ROWS):
            likeness = (asked[start : start + _ROWS] @ self.table.T).toarray()
            # Sums of floats in another order differ in their last digits.
            found += np.round(likeness, 9).argmax(1).tolist()
        return [self.targets[i] for i in found]

    def losses(self, targets: list[list[int]]) -> Array:
        """Return the mean cost of each target's tokens after the start, float64 [n]."""
        return np.array([float(self.costs[tokens[1:]].mean()) for tokens in targets])
