"""What held-out texts say of a language model and of counted tokens."""

import math

import numpy as np
import polars as pl
import pytest
import torch

from rnn.batch import PreparedSequences
from rnn.config import InputShape, ModelConfig
from rnn.model import SequenceModel, build
from tasks.artifacts import Prepared
from tasks.kinds import base
from tasks.kinds.answers.next_token import answers, judge
from tasks.kinds.next_token import NEXT_TOKEN, Unigram

# start a b end; start b unknown b end; start a end. Tokens from 4 are a and b.
TEXTS = [[2, 4, 5, 3], [2, 5, 1, 5, 3], [2, 4, 3]]
VOCABULARY = ["<padding>", "<unknown>", "<start>", "<end>", "a", "b"]


def _prepared(train: int = 2) -> Prepared:
    offsets = np.cumsum([0, *map(len, TEXTS)])
    sequences = PreparedSequences(
        sequences=np.array([t for text in TEXTS for t in text], dtype=np.int32),
        missing=None,
        offsets=offsets.astype(np.int64),
        static=np.zeros((3, 0), dtype=np.float32),
        targets=np.zeros(3, dtype=np.int32),
        next_token=True,
    )
    split = ["train"] * train + ["test"] * (3 - train)
    schema = {
        "task": "next_token",
        "input": {"kind": "tokens", "size": 0, "vocabulary": VOCABULARY},
        "target": {"kind": "next_token", "classes": [], "names": []},
    }
    return Prepared(sequences, pl.DataFrame({"split": split}), schema)


def _model() -> SequenceModel:
    shape = InputShape(
        input_size=0, vocabulary_size=6, static_size=0, output_size=6, task="next_token"
    )
    config = ModelConfig(hidden_size=5, embedding_size=3)
    return build(config, shape, 1).eval()


def test_sums_of_a_model_are_those_of_each_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Batches of one and of all give what a loop over tokens gives.
    prepared, model, rows = _prepared(), _model(), np.array([1, 2, 0])
    whole = NEXT_TOKEN.judge(model, prepared, rows)
    monkeypatch.setattr(base, "CELLS", 1)
    single = NEXT_TOKEN.judge(model, prepared, rows)
    for place, row in enumerate(rows.tolist()):
        text = TEXTS[row]
        with torch.no_grad():
            read = torch.tensor([text[:-1]])
            logits = model(read, torch.tensor([len(text) - 1]), torch.zeros(1, 0))[0]
        chances = logits.double().softmax(1).numpy()
        costs = [-math.log(chances[step, token]) for step, token in enumerate(text[1:])]
        right = [int(chances[step].argmax() == token) for step, token in enumerate(text[1:])]
        for found in (whole, single):
            assert found.sums["nll"][place] == pytest.approx(sum(costs), rel=1e-5)
            assert found.losses[place] == pytest.approx(np.mean(costs), rel=1e-5)
            assert found.sums["tokens"][place] == len(text) - 1
            assert found.sums["right"][place] == sum(right)
            assert found.sums["unknown"][place] == text[1:].count(1)


def test_figures_are_those_of_all_tokens_together() -> None:
    sums = {
        "nll": np.array([3 * math.log(4), 0.0]),
        "tokens": np.array([3.0, 0.0]),
        "right": np.array([1.0, 0.0]),
        "unknown": np.array([0.0, 0.0]),
    }
    found = NEXT_TOKEN.summary(sums)
    assert found["perplexity"][0] == pytest.approx(4.0)
    assert found["bits"][0] == pytest.approx(2.0)
    assert found["accuracy"][0] == pytest.approx(1 / 3)
    assert all(np.isnan(values[1]) for values in found.values())
    assert set(found) == {figure.name for figure in NEXT_TOKEN.figures}


def test_counted_tokens_are_those_of_training_texts() -> None:
    prepared = _prepared(train=2)
    fitted = Unigram.fit(prepared, 0)
    # Of training, next tokens are a b end b unknown b end; one is added to each but 0 and start.
    counts = {"<unknown>": 2, "<end>": 3, "a": 2, "b": 4}
    wanted = [counts.get(name, 0) / 11 for name in VOCABULARY]
    assert fitted.chances.tolist() == pytest.approx(wanted)
    found = fitted.judge(prepared, np.array([2, 1]))
    assert found.sums["nll"].tolist() == pytest.approx(
        [-math.log(2 / 11 * 3 / 11), -math.log(4 / 11 * 2 / 11 * 4 / 11 * 3 / 11)]
    )
    assert found.sums["right"].tolist() == [0, 2]
    assert found.sums["tokens"].tolist() == [2, 4]


def test_an_answer_goes_on_with_a_token_that_may_follow() -> None:
    prepared, model, rows = _prepared(), _model(), np.array([1, 0])
    with torch.no_grad():
        model.head.output.bias[[0, 1, 2]] = 50.0
        model.head.output.bias[5] = 40.0
    found = answers(model, prepared.sequences, rows, prepared.schema)
    assert found["next_token"] == ["b", "b"]
    assert found["tokens"] == [4, 3]
    losses = judge(model, prepared.sequences, rows).losses
    assert found["perplexity"] == pytest.approx(np.exp(losses).tolist())
