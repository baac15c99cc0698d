"""Baselines see what the model sees, learn it, and are the same twice."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from rnn.batch import PreparedSequences
from tasks import artifacts
from tasks.evidence.baseline import fit_baseline, flatten, ngram_counts
from tasks.params import UserError
from tests.heldout import RECIPE, write_tree


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a data folder of its own."""
    monkeypatch.chdir(tmp_path)


def _numbers(lengths: list[int]) -> PreparedSequences:
    """Two channels counting up; one static channel."""
    total = sum(lengths)
    return PreparedSequences(
        sequences=np.arange(2.0 * total, dtype=np.float32).reshape(total, 2),
        missing=np.zeros((total, 2), dtype=np.uint8),
        offsets=np.r_[0, np.cumsum(lengths)].astype(np.int64),
        static=np.full((len(lengths), 1), 7, dtype=np.float32),
        targets=np.zeros(len(lengths), dtype=np.int64),
    )


def test_equal_lengths_keep_every_step() -> None:
    flat = flatten(_numbers([2, 2]), np.array([1]))
    assert flat.tolist() == [[4, 5, 6, 7, 7]]


def test_ragged_lengths_keep_last_steps_and_summaries() -> None:
    sequences = _numbers([1, 10])
    flat = flatten(sequences, np.array([0, 1]))
    assert flat.shape == (2, 2 * 8 + 3 * 2 + 1 + 1)
    assert (flat[0, :14] == -2).all()
    assert flat[0, 14:].tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 1, 7]
    assert flat[1, :2].tolist() == [6, 7]
    assert flat[1, 16:].tolist() == [11, 12, 2, 3, 20, 21, 10, 7]


def test_flattening_a_row_depends_on_that_row_alone() -> None:
    sequences = _numbers([3, 9, 5])
    alone = [flatten(sequences, np.array([row])) for row in range(3)]
    together = flatten(sequences, np.arange(3))
    assert np.array_equal(np.concatenate(alone), together)


def test_tokens_are_counted() -> None:
    sequences = PreparedSequences(
        sequences=np.array([2, 2, 3], dtype=np.int32),
        missing=None,
        offsets=np.array([0, 2, 3]),
        static=np.zeros((2, 0), dtype=np.float32),
        targets=np.zeros(2, dtype=np.int64),
    )
    flat = flatten(sequences, np.array([0, 1]))
    assert flat[:, 8:].tolist() == [[0, 0, 2, 0, 2], [0, 0, 0, 1, 1]]


def test_ngrams_by_hand() -> None:
    sequences = PreparedSequences(
        sequences=np.array([2, 3], dtype=np.int32),
        missing=None,
        offsets=np.array([0, 2]),
        static=np.full((1, 1), 5, dtype=np.float32),
        targets=np.zeros(1, dtype=np.int64),
    )
    # Edge, a, b, edge: 3 kinds of 1-gram (the edge twice), 3 of 2-gram, 2 of 3-gram.
    row = ngram_counts(sequences, np.array([0]))
    assert row.nnz == 3 + 3 + 2 + 1
    assert row[0, -1] == 5
    assert row[0, :-1].max() == pytest.approx(2 / np.sqrt(4 + 7))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("tokens", [False, True])
def test_baselines_learn_and_repeat(task: str, tokens: bool) -> None:
    write_tree(task, people=1500, tokens=tokens)
    prepared = artifacts.read_prepared(RECIPE)
    rows = prepared.rows("test")
    truth = np.asarray(prepared.sequences.targets[rows])
    kind = "ngrams" if tokens else "boosting"
    scores = []
    for _ in range(2):
        baseline = fit_baseline(kind, prepared, task, seed=3)
        assert baseline is not None
        scores.append(baseline.score(prepared.sequences, rows))
    assert np.array_equal(*scores)
    if task == "regression":
        assert np.corrcoef(truth, scores[0])[0, 1] > 0.7
        return
    if task == "multiclass":
        assert scores[0].shape == (len(rows), 3)
        assert scores[0].sum(1) == pytest.approx(1)
        truth, scores[0] = truth == 2, scores[0][:, 2]
    assert roc_auc_score(truth, scores[0]) > 0.8


def test_a_class_that_training_lacks_has_probability_zero() -> None:
    write_tree("multiclass")
    prepared = artifacts.read_prepared(RECIPE)
    targets = np.minimum(prepared.sequences.targets, 1)
    fewer = PreparedSequences(**{**vars(prepared.sequences), "targets": targets})
    changed = artifacts.Prepared(fewer, prepared.people, prepared.schema)
    baseline = fit_baseline("boosting", changed, "multiclass", seed=0)
    assert baseline is not None
    scores = baseline.score(fewer, prepared.rows("test"))
    assert scores.shape[1] == 3
    assert (scores[:, 2] == 0).all()


def test_boosting_of_tokens_and_no_baseline() -> None:
    write_tree("binary", tokens=True)
    prepared = artifacts.read_prepared(RECIPE)
    baseline = fit_baseline("boosting", prepared, "binary", seed=0)
    assert baseline is not None
    assert baseline.score(prepared.sequences, np.array([0, 1])).shape == (2,)
    assert fit_baseline("none", prepared, "binary", seed=0) is None


def test_ngrams_of_numbers_are_refused_in_one_line() -> None:
    write_tree("binary")
    with pytest.raises(UserError, match=r"^predict\.baseline = 'ngrams' needs .*text.*$"):
        fit_baseline("ngrams", artifacts.read_prepared(RECIPE), "binary", seed=0)
