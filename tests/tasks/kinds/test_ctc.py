"""Transcripts: sums by hand, the likeliest symbols, not the likeliest path; edits by recursion."""

from functools import cache

import numpy as np
import pytest
import torch

from rnn.ctc_decoding import best_path, prefix_search
from tasks.kinds.answers.ctc import answers, transcribed
from tasks.kinds.ctc import CTC, Frequent
from tasks.kinds.transcripts import edits, judged, targets_of
from tests.kinds import model_of, prepared_of

SCHEMA = {"target": {"names": ["one", "two"]}}


def _slowly(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """The definition: the cheapest of the three last moves."""

    @cache
    def cost(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(
            cost(i - 1, j) + 1, cost(i, j - 1) + 1, cost(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        )

    return cost(len(a), len(b))


def test_edits_are_the_recursion() -> None:
    numbers = np.random.default_rng(0)
    for _ in range(60):
        a, b = (tuple(numbers.integers(1, 4, numbers.integers(0, 7)).tolist()) for _ in range(2))
        assert edits(a, b) == edits(b, a) == _slowly(a, b)


def test_figures_by_hand() -> None:
    made = judged([[1, 2, 2], [1]], [[1, 2], [1]], np.array([0.5, 2.0]), SCHEMA)
    assert (made.truth, made.said) == (["one two two", "one"], ["one two", "one"])
    totals = {name: values.sum(0) for name, values in made.sums.items()}
    found = {name: float(value) for name, value in CTC.summary(totals).items()}
    # One edit in four symbols, one of two right, 3 x 0.5 + 1 x 2 nats over four symbols.
    assert found == {"error_rate": 0.25, "exact": 0.5, "loss_a_symbol": 0.875}


def test_a_model_says_its_likeliest_symbols() -> None:
    model, prepared = model_of("ctc"), prepared_of("ctc", 12)
    rows = np.arange(11, -1, -1)
    said, losses = transcribed(model, prepared.sequences, rows)
    differ = told = 0
    for row, heard, loss in zip(rows.tolist(), said, losses, strict=True):
        batch = prepared.sequences.batch(np.array([row]))
        with torch.no_grad():
            chances = model.outputs(batch)[0, :, :-1].double().log_softmax(1)
        assert tuple(heard) == prefix_search(chances.numpy())[0][0]
        wanted = targets_of(prepared.sequences, np.array([row]))[0]
        chance = dict(prefix_search(chances.numpy(), width=2000)).get(tuple(wanted))
        if chance is not None:
            told += 1
            assert loss == pytest.approx(-chance / len(wanted), abs=1e-3)
        differ += tuple(heard) != best_path(chances.numpy())
    assert differ > 0 and told > 6
    made = CTC.judge(model, prepared, rows)
    assert made.said == answers(model, prepared.sequences, rows, prepared.schema)["symbols"]


def test_the_commonest_sequence_is_what_hears_nothing() -> None:
    prepared = prepared_of("ctc", 30, split="train")
    model = Frequent.fit(prepared, 0)
    texts = [" ".join(map(str, t)) for t in targets_of(prepared.sequences, np.arange(30))]
    most = max(texts.count(text) for text in texts)
    assert texts.count(" ".join(map(str, model.said))) == most
    assert np.exp(-model.costs).sum() == pytest.approx(1)
    assert model.judge(prepared, np.arange(30)).sums["exact"].sum() == most


def test_baselines_are_named_the_better_first() -> None:
    assert list(CTC.baselines) == ["one_stage", "frequent"]
