"""The linear text baseline: what it weighs, and that it learns."""

import numpy as np
import pytest

from rnn.batch import PreparedSequences
from tasks.evidence.known import Known
from tasks.evidence.tfidf import Tfidf
from tasks.params import UserError


def _texts(count: int) -> PreparedSequences:
    """Class 1 where 3 follows 2, class 0 where 2 follows 3: single tokens tell nothing."""
    rng = np.random.default_rng(0)
    targets = np.arange(count) % 2
    texts = [
        [*rng.integers(4, 9, 3), *((2, 3) if target else (3, 2)), *rng.integers(4, 9, 2)]
        for target in targets
    ]
    return PreparedSequences(
        sequences=np.concatenate(texts).astype(np.int32),
        missing=None,
        offsets=np.arange(count + 1) * 7,
        static=np.zeros((count, 0), dtype=np.float32),
        targets=targets,
    )


def test_pairs_tell_what_single_tokens_do_not() -> None:
    texts, train, test = _texts(300), np.arange(200), np.arange(200, 300)
    model = Tfidf.fit(Known(texts, train, "multiclass", 3, seed=0))
    found = model.score(texts, test)
    assert found.shape == (100, 3) and found.sum(1) == pytest.approx(1.0)
    assert (found.argmax(1) == texts.targets[test]).all() and (found[:, 2] == 0).all()
    event = Tfidf.fit(Known(texts, train, "binary", 2, seed=0)).score(texts, test)
    assert event == pytest.approx(found[:, 1])
    assert model.score(texts, test[:0]).shape == (0, 3)


def test_what_stands_once_is_not_weighed() -> None:
    texts = _texts(60)
    model = Tfidf.fit(Known(texts, np.arange(60), "binary", 2, seed=0))
    known = set(model.vectoriser.vocabulary_)
    assert {"2 3", "3 2", "2", "3"} <= known and all(len(k.split()) <= 2 for k in known)


def test_numbers_are_refused() -> None:
    texts = _texts(4)
    with pytest.raises(UserError, match="'tfidf' is for classes, not for regression"):
        Tfidf.fit(Known(texts, np.arange(4), "regression", 1, seed=0))
