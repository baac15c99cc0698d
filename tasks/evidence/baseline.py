"""What a strong model without recurrence makes of the same inputs; not private, internal.

n people asked for, T steps, D channels, S static, C classes.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDRegressor

from rnn.batch import PreparedSequences
from tasks.artifacts import Prepared
from tasks.evidence.known import Array, Known, Rows
from tasks.evidence.tfidf import Tfidf
from tasks.evidence.warped import Nearest
from tasks.params import UserError

LAST_STEPS = 8
# Below every scaled value and every token: gradient boosting refuses a column of NaN alone.
NO_STEP = -2.0
BLOCK = 8192
NGRAM_FEATURES = 2**17
# Token ids become characters of a plane without spaces, which a vectoriser would fold.
FIRST_CHARACTER = 0x4E00


class Baseline(Protocol):
    """Anything that scores people."""

    def score(self, sequences: PreparedSequences, rows: Rows) -> Array:
        """Return P(event) [n], probabilities [n, C], or predictions in scaled units [n]."""


def fit_baseline(kind: str | None, prepared: Prepared, task: str, seed: int) -> Baseline | None:
    """Fit the baseline on the training people.

    Args:
        kind: boosting, ngrams, tfidf, dtw or none; None is boosting.
        prepared: data of the recipe.
        task: binary, multiclass or regression.
        seed: of every random choice.

    Returns:
        The fitted baseline, or None for kind none.

    Raises:
        UserError: n-grams of numbers, or time warping of what is none.
    """
    if kind == "none":
        return None
    classes = len(prepared.schema["target"]["classes"]) if task == "multiclass" else 2
    known = Known(prepared.sequences, prepared.rows("train"), task, classes, seed)
    if kind in (None, "boosting"):
        return _Boosting.fit(known)
    if kind == "dtw":
        return Nearest.fit(known)
    if not prepared.sequences.is_tokens:
        raise UserError(
            f"predict.baseline = {kind!r} needs data.sequence.layout = text; choose boosting or "
            "none"
        )
    if kind == "tfidf":
        return Tfidf.fit(known)
    return _Ngrams.fit(known)


def flatten(sequences: PreparedSequences, rows: Rows) -> NDArray[np.float32]:
    """Return one row of fixed width a person: what the model sees, without the recurrence.

    Where all sequences have one length, every step and channel. Otherwise the last 8 steps,
    each channel's mean, smallest and largest value, and the length. Tokens: how often each
    occurs, the last 8, and the length.

    Args:
        sequences: prepared data.
        rows: n row numbers.

    Returns:
        float32 [n, width]; -2 where a person has no such step.
    """
    lengths = np.diff(sequences.offsets)
    whole = not sequences.is_tokens and len(lengths) > 0 and lengths.min() == lengths.max()
    vocabulary = int(sequences.sequences.max(initial=0)) + 1 if sequences.is_tokens else 0
    blocks = [
        _flatten_block(sequences, rows[start : start + BLOCK], whole, vocabulary)
        for start in range(0, max(len(rows), 1), BLOCK)
    ]
    return np.concatenate(blocks)


def _flatten_block(
    sequences: PreparedSequences, rows: Rows, whole: bool, vocabulary: int
) -> NDArray[np.float32]:
    """One block of people."""
    batch = sequences.batch(rows)
    inputs, lengths = batch.inputs.numpy(), batch.lengths.numpy()
    static = batch.static.numpy()
    if whole:
        return np.concatenate([inputs.reshape(len(rows), -1), static], axis=1)
    index = lengths[:, None] - LAST_STEPS + np.arange(LAST_STEPS)
    people = np.arange(len(rows))[:, None]
    last = inputs[people, np.maximum(index, 0)].astype(np.float32)
    last[index < 0] = NO_STEP
    if sequences.is_tokens:
        real = np.arange(inputs.shape[1]) < lengths[:, None]
        cell = (people * vocabulary + inputs)[real]
        counts = np.bincount(cell, minlength=len(rows) * vocabulary)
        summary = counts.reshape(len(rows), vocabulary).astype(np.float32)
    else:
        summary = _summary(inputs, lengths)
    parts = [last.reshape(len(rows), -1), summary, lengths[:, None].astype(np.float32), static]
    return np.concatenate(parts, axis=1)


def _summary(inputs: NDArray[np.float32], lengths: Rows) -> NDArray[np.float32]:
    """Mean, smallest and largest value of each channel over the real steps: [n, 3 D]."""
    real = (np.arange(inputs.shape[1]) < lengths[:, None])[..., None]
    mean = np.where(real, inputs, 0).sum(1) / np.maximum(lengths, 1)[:, None]
    low = np.where(real, inputs, np.inf).min(1, initial=np.inf)
    high = np.where(real, inputs, -np.inf).max(1, initial=-np.inf)
    return np.concatenate([mean, low, high], axis=1).astype(np.float32)


@dataclass(frozen=True)
class _Boosting:
    """Histogram gradient boosting."""

    model: Any
    known: Known

    @classmethod
    def fit(cls, known: Known) -> "_Boosting":
        """Small leaves' worth of regularisation; stops when a tenth of the people says so."""
        kind = (
            HistGradientBoostingRegressor
            if known.task == "regression"
            else HistGradientBoostingClassifier
        )
        model = kind(
            learning_rate=0.06,
            max_iter=300,
            max_leaf_nodes=15,
            min_samples_leaf=40,
            l2_regularization=1.0,
            early_stopping=len(known.rows) >= 1000,
            validation_fraction=0.1,
            n_iter_no_change=15,
            random_state=known.seed,
        )
        return cls(model.fit(flatten(known.sequences, known.rows), known.targets), known)

    def score(self, sequences: PreparedSequences, rows: Rows) -> Array:
        """Probabilities or predictions."""
        flat = flatten(sequences, rows)
        if self.known.task == "regression":
            return self.model.predict(flat).astype(np.float64)
        probability = self.model.predict_proba(flat)
        return self.known.spread(probability, self.model.classes_)


def ngram_counts(sequences: PreparedSequences, rows: Rows) -> sparse.csr_matrix:
    """Return hashed counts of 1- to 3-grams, ends marked, static beside them: [n, features]."""
    offsets, tokens = sequences.offsets, np.asarray(sequences.sequences) + FIRST_CHARACTER
    edge = chr(FIRST_CHARACTER)
    texts = [
        edge + "".join(map(chr, tokens[offsets[row] : offsets[row + 1]].tolist())) + edge
        for row in rows
    ]
    hashed = HashingVectorizer(
        analyzer="char",
        ngram_range=(1, 3),
        n_features=NGRAM_FEATURES,
        alternate_sign=False,
        lowercase=False,
        norm="l2",
        dtype=np.float32,
    ).transform(texts)
    return sparse.hstack([hashed, sparse.csr_matrix(sequences.static[rows])], format="csr")


@dataclass(frozen=True)
class _Ngrams:
    """A linear model of n-grams; its margins are made into probabilities on a tenth set aside."""

    model: Any
    calibration: Any
    known: Known

    @classmethod
    def fit(cls, known: Known) -> "_Ngrams":
        """One-against-rest margins, then a small multinomial regression on them."""
        targets, count = known.targets, len(known.rows)
        order = np.random.default_rng(known.seed).permutation(count)
        aside, kept = order[: count // 10], order[count // 10 :]
        counts = ngram_counts(known.sequences, known.rows)
        options = {"alpha": 1e-6, "max_iter": 6, "tol": None, "random_state": known.seed}
        if known.task == "regression":
            return cls(SGDRegressor(**options).fit(counts, targets), None, known)
        model = SGDClassifier(loss="log_loss", average=True, **options)
        model.fit(counts[kept], targets[kept])
        # Every class that the margins know must stand in what calibrates them.
        seen = np.isin(np.unique(targets[kept]), targets[aside]).all()
        calibrating = aside if seen else order
        margins = _margins(model, counts[calibrating])
        calibration = LogisticRegression(max_iter=300).fit(margins, targets[calibrating])
        return cls(model, calibration, known)

    def score(self, sequences: PreparedSequences, rows: Rows) -> Array:
        """Probabilities or predictions."""
        counts = ngram_counts(sequences, rows)
        if self.known.task == "regression":
            return self.model.predict(counts).astype(np.float64)
        probability = self.calibration.predict_proba(_margins(self.model, counts))
        return self.known.spread(probability, self.calibration.classes_)


def _margins(model: Any, counts: sparse.csr_matrix) -> Array:
    """Decision values [n, C], or [n, 1] for two classes."""
    return model.decision_function(counts).reshape(counts.shape[0], -1)
