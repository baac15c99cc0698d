"""Figures of translations against sacrebleu, the memory by hand, and a recipe from end to end."""

import json
import logging
from itertools import chain

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from rnn.batch import PreparedSequences
from rnn.config import ModelConfig
from rnn.model import build
from tasks import fetch, plan, predict, prepare, train
from tasks.artifacts import Prepared, read_model, read_prepared
from tasks.kinds.answers.seq2seq import answers, readable, texts_of
from tasks.kinds.bleu import bleu, bleu_parts, chrf, chrf_parts
from tasks.kinds.memory import sources_of
from tasks.kinds.seq2seq import MISSING, Remembered, judged, tokens_of
from tasks.kinds.table import KINDS
from tasks.kinds.translation import message, translated
from tasks.params import UserError, load_recipe

KIND = KINDS["seq2seq"]
WORDS = ["le", "la", "chat", "chien", "dort", "mange", "l'os", ",", "un", "(ici)", "3.5", "!"]


def texts(seed: int, count: int = 60) -> tuple[list[str], list[str]]:
    """Sentences, and the same with words changed, lost and added."""
    rng = np.random.default_rng(seed)
    truth, said = [], []
    for _ in range(count):
        words = list(rng.choice(WORDS, rng.integers(1, 12)))
        truth.append(" ".join(words))
        kept = [str(rng.choice(WORDS)) if rng.random() < 0.2 else w for w in words]
        if rng.random() < 0.3:
            kept = kept[: rng.integers(0, len(kept) + 1)]
        said.append(" ".join(kept))
    return said, truth


def corpora() -> list[tuple[list[str], list[str]]]:
    """Whole corpora, also where a length of runs has no hit or does not exist."""
    made = [texts(seed) for seed in range(8)]
    made += [
        (["le chat"], ["le chat"]),
        (["le chat dort ici"], ["le chien dort la"]),
        (["x y z w v"], ["a b c d e"]),
        ([""], ["le chat dort"]),
        (["le chat dort mange un os ici"], ["le"]),
        (["a"], ["le chat dort bien"]),
    ]
    return made


@pytest.mark.filterwarnings("error")
def test_totals_give_the_corpus_scores_of_sacrebleu(caplog):
    caplog.set_level(logging.ERROR)
    for said, truth in corpora():
        ours = float(bleu(bleu_parts(said, truth).sum(0)))
        assert ours == pytest.approx(BLEU(force=True).corpus_score(said, [truth]).score, abs=1e-9)
        ours = float(chrf(chrf_parts(said, truth).sum(0)))
        assert ours == pytest.approx(CHRF().corpus_score(said, [truth]).score, abs=1e-9)


def test_resamples_at_once_are_those_one_by_one():
    said, truth = texts(3)
    words, characters = bleu_parts(said, truth), chrf_parts(said, truth)
    weights = np.random.default_rng(1).poisson(1.0, (50, len(said)))
    together = bleu(weights @ words), chrf(weights @ characters)
    assert together[0].std() > 0.5
    for draw, (ours, other) in enumerate(zip(*together, strict=True)):
        rows = np.repeat(np.arange(len(said)), weights[draw])
        some, wanted = [said[i] for i in rows], [truth[i] for i in rows]
        reference = BLEU(force=True).corpus_score(some, [wanted]).score
        assert ours == pytest.approx(reference, abs=1e-9)
        assert other == pytest.approx(CHRF().corpus_score(some, [wanted]).score, abs=1e-9)
    nobody = np.zeros((2, 10)), np.zeros((2, 18))
    assert np.isnan(bleu(nobody[0])).all() and np.isnan(chrf(nobody[1])).all()


SCHEMA = {
    "input": {"kind": "tokens", "vocabulary": ["<padding>", "<unknown>", "open", "file", "##s"],
              "tokens": "subwords"},
    "target": {
        "kind": "seq2seq", "tokens": "words", "max_length": 6, "classes": [],
        "vocabulary": ["<padding>", "<unknown>", "<start>", "<end>", "l", "'", "os", "(", ")"],
    },
    "task": "seq2seq",
}  # fmt: skip


def small() -> Prepared:
    """Three training texts and two others."""
    inputs = [[2, 3], [2, 3, 4], [3, 3], [2, 3, 4], [3]]
    targets = [[2, 4, 3], [2, 4, 5, 6, 3], [2, 7, 8, 3], [2, 4, 5, 6, 3], [2, 1, 3]]
    sequences = PreparedSequences(
        sequences=np.array(list(chain(*inputs)), dtype=np.int32),
        missing=None,
        offsets=np.cumsum([0, *map(len, inputs)]),
        static=np.zeros((5, 0), dtype=np.float32),
        targets=np.array(list(chain(*targets)), dtype=np.int32),
        target_offsets=np.cumsum([0, *map(len, targets)]),
    )
    people = pl.DataFrame({"split": ["train"] * 3 + ["test"] * 2})
    return Prepared(sequences, people, SCHEMA)


def test_the_memory_says_what_the_nearest_training_text_said():
    prepared, rows = small(), np.array([3, 4])
    assert sources_of(prepared, rows) == ["open files", "file"]
    found = Remembered.fit(prepared, 0).judge(prepared, rows)
    assert found.said == ["l'os", "()"]
    assert found.truth == ["l'os", MISSING]
    assert found.sums["exact"].tolist() == [1.0, 0.0]
    assert found.sums["tokens"].tolist() == [4.0, 2.0]
    # Training has l twice, end three times, and ', os, ( and ) once; one is added for each of 9.
    costs = -np.log(np.array([3, 2, 2, 4]) / 18), -np.log(np.array([1, 4]) / 18)
    np.testing.assert_allclose(found.losses, [costs[0].mean(), costs[1].mean()])
    perplexity = KIND.summary({k: v.sum(0) for k, v in found.sums.items()})["perplexity"]
    assert float(perplexity) == pytest.approx(np.exp(np.concatenate(costs).sum() / 6))


def test_a_memory_needs_text():
    prepared = small()
    numbers = {**SCHEMA, "input": {"kind": "numbers", "vocabulary": []}}
    with pytest.raises(UserError, match=r"predict\.baseline = 'memory' needs text"):
        Remembered.fit(Prepared(prepared.sequences, prepared.people, numbers), 0)


def test_texts_are_written_as_they_are_read():
    assert readable("l ' arbre \" a b \" ( x , y ) . n ' a") == "l'arbre \"a b\" (x, y). n'a"
    assert texts_of([[4, 5, 6, 1], [1]], SCHEMA, "") == ["l'os", ""]
    # What the vocabulary lacks is equal to nothing that can be said.
    found = judged([[2, 1, 3]], [[1]], np.ones(1), SCHEMA)
    assert found.sums["exact"].tolist() == [0.0] and found.said == [""]


def test_a_model_is_judged_and_answers_alike():
    prepared, rows = small(), np.array([4, 3])
    torch.manual_seed(0)
    model = build(ModelConfig(hidden_size=6, embedding_size=4), prepared.shape, 3).eval()
    found = KIND.judge(model, prepared, rows)
    asked = answers(model, prepared.sequences, rows, SCHEMA)
    assert asked["text"] == found.said
    assert all(score < 0 for score in asked["log_probability"])
    batch = prepared.sequences.batch(rows)
    with torch.no_grad():
        logits = model.outputs(batch).double().log_softmax(2)
    for i, tokens in enumerate(tokens_of(prepared.sequences, rows)):
        nll = [-float(logits[i, u, token]) for u, token in enumerate(tokens[1:])]
        assert found.losses[i] == pytest.approx(np.mean(nll), rel=1e-5)
    assert KIND.judge(model, prepared, rows[:0]).said == []


def test_a_message_gets_back_what_a_program_puts_in():
    line = message("_Save %(a)s and %d to “<b>%s</b>”")
    assert line.text == 'Save slot1 and slot2 to "slot3"'
    said = "slot3, slot1 et slot2 ; slot11"
    assert line.restored(said) == "%s, %(a)s et %d ; slot11"
    assert message("Open").restored("ouvrir") == "Ouvrir"
    assert message("open").restored("ouvrir") == "ouvrir"
    assert message("Nothing").restored("") == ""


REVERSED = {
    "data": {
        "source": {"kind": "path", "path": "rows.csv"},
        "person": "id",
        "sequence": {
            "layout": "text", "columns": ["said"], "tokens": "words", "max_length": 8,
            "vocabulary": {"training": 20},
        },
        "target": {
            "kind": "seq2seq", "column": "backwards",
            "text": {"tokens": "words", "vocabulary": {"training": 20}, "max_length": 8},
        },
        "split": {"salt": "r", "train": 0.8},
    },
    "model": {"hidden_size": 32, "embedding_size": 16, "bidirectional": True, "attention": "dot"},
    "train": {
        "learning_rate": 0.01, "schedule": "cosine", "steps": 220, "expected_batch_size": 64,
        "threads": 1, "device": "cpu",
    },
    "privacy": {"none": "Generated lists of words, which are nobody's", "population": 480},
    "predict": {"bootstraps": 100},
    "gate": {"min_group_ratio": None, "figures": {"bleu": {"at_least": 60}}},
    "report": {"title": "Backwards"},
}  # fmt: skip


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A recipe that is to say lists of words backwards."""
    rng = np.random.default_rng(0)
    lists = [list(rng.choice(["red", "green", "blue", "grey"], rng.integers(1, 5)))
             for _ in range(600)]  # fmt: skip
    pl.DataFrame(
        {
            "id": range(len(lists)),
            "said": [" ".join(words) for words in lists],
            "backwards": [" ".join(words[::-1]) for words in lists],
        }
    ).write_csv(tmp_path / "rows.csv")
    whole = {"run": ["backwards"], "recipes": {"backwards": REVERSED}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(whole))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_recipe_says_lists_of_words_backwards(checkout):
    for stage in (plan, fetch, prepare, train):
        stage.main(["backwards"])
    train.main(["backwards", "--twin"])
    predict.main(["backwards"])
    prepared = read_prepared("backwards")
    vocabulary = prepared.schema["target"]["vocabulary"]
    assert sorted(vocabulary[4:]) == ["blue", "green", "grey", "red"]
    table = pl.read_parquet("data/backwards/predictions/internal/test.parquet")
    raw = pl.read_csv("rows.csv", schema_overrides={"id": pl.String}).rows_by_key("id", named=True)
    wanted = [raw[person][0]["backwards"] for person in table["person_id"]]
    assert table["y_true"].to_list() == wanted
    made = json.loads((checkout / "data/backwards/predictions/internal/metrics.json").read_text())
    said = table["y_pred"].to_list()
    exact = np.mean([a == b for a, b in zip(said, wanted, strict=True)])
    assert made["model"]["exact"]["value"] == pytest.approx(exact)
    assert exact > 0.9
    score = BLEU(force=True).corpus_score(said, [wanted]).score
    assert made["model"]["bleu"]["value"] == pytest.approx(score, abs=1e-9)
    assert made["paired"]["bleu_minus_baseline"]["value"] > 0
    assert made["model"]["perplexity"]["value"] < made["baseline"]["perplexity"]["value"]
    model = read_model(checkout / "data/backwards/model")
    rows = prepared.rows("test")[:5]
    made = answers(model, prepared.sequences, rows, prepared.schema)
    assert made["text"] == said[:5]
    raw_lines = [raw[person][0]["said"] for person in table["person_id"][:5]]
    assert translated("backwards", [*raw_lines, " ", ""]) == [*said[:5], "", ""]
    assert translated("backwards", []) == []


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ({"text": None}, "target.text is not set"),
        ({"classes": ["a"]}, "target.classes"),
        ({"column": ""}, "seq2seq needs a column"),
        ({"kind": "ctc", "classes": ["a"]}, "target.text .* is for seq2seq, not for ctc"),
    ],
)
def test_a_target_states_how_it_becomes_tokens(checkout, target, complaint):
    block = {**REVERSED, "data": {**REVERSED["data"]}}
    stated = {**REVERSED["data"]["target"], **target}
    block["data"]["target"] = {name: value for name, value in stated.items() if value is not None}
    whole = {"run": ["backwards"], "recipes": {"backwards": block}}
    (checkout / "params.yaml").write_text(yaml.safe_dump(whole))
    with pytest.raises(UserError, match=complaint):
        load_recipe(checkout / "params.yaml", "backwards")
