"""Weighted counts of single tokens and of pairs, and logistic regression: the text model to beat.

n people asked for, C classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from rnn.batch import PreparedSequences
from tasks.evidence.known import Array, Known, Rows
from tasks.params import UserError

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
    known: Known

    @classmethod
    def fit(cls, known: Known) -> "Tfidf":
        """Weigh what stands in two training texts or more; the same for any seed.

        Raises:
            UserError: the target has no classes.
        """
        if known.task not in ("binary", "multiclass"):
            raise UserError(
                f"predict.baseline = 'tfidf' is for classes, not for {known.task}; choose ngrams "
                "or none"
            )
        vectoriser = TfidfVectorizer(
            token_pattern=r"\S+", lowercase=False, ngram_range=(1, 2), min_df=2, sublinear_tf=True
        )
        counts = vectoriser.fit_transform(texts_of(known.sequences, known.rows))
        model = LogisticRegression(C=STRENGTH, max_iter=1000, tol=1e-3, random_state=known.seed)
        beside = sparse.csr_matrix(known.sequences.static[known.rows])
        model.fit(sparse.hstack([counts, beside], format="csr"), known.targets)
        return cls(vectoriser, model, known)

    def score(self, sequences: PreparedSequences, rows: Rows) -> Array:
        """Return P(event) [n], or probabilities [n, C]."""
        found = np.zeros((0, len(self.model.classes_)))
        if len(rows):
            counts = self.vectoriser.transform(texts_of(sequences, rows))
            beside = sparse.csr_matrix(sequences.static[rows])
            found = self.model.predict_proba(sparse.hstack([counts, beside], format="csr"))
        return self.known.spread(found, self.model.classes_)
