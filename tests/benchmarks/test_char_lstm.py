"""The names' benchmark: the account's steps, and that the two rivals take the same step."""

import numpy as np
import pytest
import torch

from benchmarks import char_lstm
from rnn.batch import PreparedSequences
from rnn.config import InputShape

SHAPE = InputShape(input_size=0, vocabulary_size=7, static_size=0, output_size=3, task="multiclass")


def _sequences():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, 20)
    return PreparedSequences(
        sequences=rng.integers(1, 7, lengths.sum()).astype(np.int32),
        missing=None,
        offsets=np.concatenate([[0], lengths.cumsum()]),
        static=np.zeros((20, 0), dtype=np.float32),
        targets=rng.integers(0, 3, 20),
    )


def test_ours_and_opacus_take_the_same_step(monkeypatch):
    monkeypatch.setattr(char_lstm, "NOISE", 0.0)
    monkeypatch.setattr(char_lstm, "BATCH", 20)
    # Below most norms, not below all.
    monkeypatch.setattr(char_lstm, "CLIP", 0.6)
    batch = _sequences().batch(np.arange(20))
    torch.manual_seed(0)
    ours = char_lstm.our_model(SHAPE)
    theirs = char_lstm.opacus_model(SHAPE, ours)
    start = ours.head.weight.detach().clone()
    char_lstm.our_step(ours, batch)()
    char_lstm.opacus_step(theirs, batch)()
    assert float((ours.head.weight.detach() - start).abs().max()) > 1e-3
    for part, other in zip(ours.children(), theirs.children(), strict=True):
        weights = other.state_dict()
        for name, weight in part.state_dict().items():
            torch.testing.assert_close(weight, weights[name], rtol=0, atol=1e-5)


def test_steps_are_the_last_that_do_not_pass_epsilon():
    setting = char_lstm.Setting(16_059, 8e-5)
    steps = setting.steps(3)
    # 105 by hand: a bisection without tolerance.
    assert steps == 105
    assert setting.epsilon(105) <= 3 < setting.epsilon(106)


def test_batches_of_like_lengths_hold_every_row_once():
    sequences = _sequences()
    batches = char_lstm.by_length(sequences, np.arange(20), 3)
    assert [len(batch) for batch in batches] == [7, 7, 6]
    lengths = torch.cat([batch.lengths for batch in batches])
    assert torch.equal(lengths, lengths.sort().values)
    assert torch.equal(
        lengths.bincount(), torch.from_numpy(np.bincount(np.diff(sequences.offsets)))
    )


def test_without_prepared_names_one_line_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["char_lstm"])
    with pytest.raises(SystemExit, match=r"^error: data/names/prepared is missing: run [^\n]+$"):
        char_lstm.main()
