"""Weighted counts of single tokens and of pairs, and logistic regression: the text model to beat.

n people asked for, C classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from rnn.batch import PreparedSequences
from tasks.params import UserError

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

# Weak regularisation: what a search on tweets liked best.
STRENGTH = 3.0


def texts_of(sequences: PreparedSequences, rows: Rows) -> list[str]:
    """Return each person's token ids as text, with spaces between."""
    tokens, offsets = sequences.sequences, sequences.offsets
    return [" ".join(map(str, tokens[offsets[row] : offsets[row + 1]].tolist())) for row in rows]


@dataclass(frozen=True)
class Tfidf:
    """A fitted baseline."""

    vectoriser: Any
    model: Any
    task: str
    classes: int

    @classmethod
    def fit(
        cls,
        sequences: PreparedSequences,
        rows: Rows,
        targets: NDArray[np.generic],
        task: str,
        classes: int,
        seed: int,
    ) -> "Tfidf":
        """Weigh what stands in two training texts or more; the same for any seed.

        Raises:
            UserError: the target has no classes.
        """
        if task not in ("binary", "multiclass"):
            raise UserError(
                f"predict.baseline = 'tfidf' is for classes, not for {task}; choose ngrams or none"
            )
        vectoriser = TfidfVectorizer(
            token_pattern=r"\S+", lowercase=False, ngram_range=(1, 2), min_df=2, sublinear_tf=True
        )
        counts = vectoriser.fit_transform(texts_of(sequences, rows))
        model = LogisticRegression(C=STRENGTH, max_iter=1000, tol=1e-3, random_state=seed)
        beside = sparse.csr_matrix(sequences.static[rows])
        model.fit(sparse.hstack([counts, beside], format="csr"), targets)
        return cls(vectoriser, model, task, classes)

    def score(self, sequences: PreparedSequences, rows: Rows) -> Array:
        """Return P(event) [n], or probabilities [n, C]."""
        full = np.zeros((len(rows), self.classes))
        if len(rows):
            counts = self.vectoriser.transform(texts_of(sequences, rows))
            beside = sparse.csr_matrix(sequences.static[rows])
            both = sparse.hstack([counts, beside], format="csr")
            full[:, self.model.classes_.astype(np.int64)] = self.model.predict_proba(both)
        return full[:, 1] if self.task == "binary" else full
