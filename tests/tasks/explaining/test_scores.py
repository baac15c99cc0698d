"""The explained number of each kind: against other code, complete, stable, blind to padding."""

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from rnn.beam import END_ID as END
from rnn.beam import START_ID as START
from rnn.config import ConvLayer
from rnn.heads import HEADS, POOLED
from rnn.heads.forecast import quantiles_of
from rnn.model import SequenceModel
from tasks import explain as stage
from tasks.evidence.gradient_flow import gradient_flow
from tasks.explaining.question import ask, undisturbed
from tasks.explaining.scores import MOST_SAID, SCORES, rows_at_once
from tests.kinds import KINDS, model_of, sequences_of, shape_of, subject_of

ROWS = np.arange(12)


def scores_of(model: SequenceModel, rows: Any = ROWS, seed: int = 0) -> tuple[Any, Tensor]:
    """The question about some people, and their scores."""
    asked = ask(model, sequences_of(model.shape.task, 40, seed).batch(rows))
    with torch.no_grad():
        return asked, asked.answer(asked.embedded, asked.static, torch.arange(len(rows)))


def test_every_kind_has_a_score() -> None:
    assert set(SCORES) == {*POOLED, *HEADS}


def test_a_forecast_is_the_mean_of_its_medians() -> None:
    model = model_of("forecast")
    batch = sequences_of("forecast", 40).batch(ROWS)
    with torch.no_grad():
        quantiles = quantiles_of(model(batch.inputs, batch.lengths, batch.static), model.shape)
    torch.testing.assert_close(scores_of(model)[1], (quantiles[:, 0, 1] + quantiles[:, 1, 1]) / 2)


@pytest.mark.parametrize(
    "config",
    [{"cell": "rnn"}, {"cell": "lstm"}, {"conv": (ConvLayer(channels=6, kernel=3),)}],
    ids=lambda config: next(iter(config)),
)
def test_a_token_is_as_likely_as_the_whole_network_says(config: dict[str, Any]) -> None:
    """The last word before the end; where the text was cut, the last word there is."""
    model, data = model_of("next_token", **config), sequences_of("next_token", 40)
    cut = np.array(data.sequences)
    cut[data.offsets[1] - 1] = 5
    data = replace(data, sequences=cut)
    batch = data.batch(ROWS)
    asked = ask(model, batch)
    with torch.no_grad():
        chances = model.outputs(batch).log_softmax(2)
        found = asked.answer(asked.embedded, asked.static, torch.arange(len(ROWS)))
    for row in ROWS:
        text = cut[data.offsets[row] : data.offsets[row + 1]]
        last = len(text) - (1 if row == 0 else 2)
        assert text[last] != END
        # The token at a place is foretold one step before.
        torch.testing.assert_close(found[row], chances[row, last - 1, int(text[last])])


def test_an_empty_text_is_asked_for_its_end() -> None:
    data = sequences_of("next_token", 40)
    values = np.array([START, END, *data.sequences[data.offsets[1] :]], dtype=np.int32)
    offsets = data.offsets - (data.offsets[1] - 2)
    offsets[0] = 0
    batch = replace(data, sequences=values, offsets=offsets).batch(np.arange(2))
    index = ask(model_of("next_token"), batch).index
    assert index[0].tolist() == [0, END] and index[1, 1] != END


def collapsed(path: tuple[int, ...]) -> list[int]:
    """Repeats merged, blanks left out."""
    return [symbol for symbol, _ in itertools.groupby(path) if symbol]


def test_symbols_are_as_likely_as_all_their_alignments_together() -> None:
    model = model_of("ctc")
    asked, found = scores_of(model)
    batch = sequences_of("ctc", 40).batch(ROWS)
    with torch.no_grad():
        chances = model(batch.inputs, batch.lengths, batch.static)[..., :-1].softmax(2).double()
    short = [row for row in ROWS if batch.lengths[row] <= 5]
    assert len(short) >= 3
    for row in short:
        steps = int(batch.lengths[row])
        said = collapsed(tuple(chances[row, :steps].argmax(1).tolist()))
        assert SCORES["ctc"].said(asked.index[row]) == said
        total = sum(
            float(np.prod([chances[row, t, s] for t, s in enumerate(path)]))
            for path in itertools.product(range(5), repeat=steps)
            if collapsed(path) == said
        )
        assert float(found[row]) == pytest.approx(np.log(total), abs=1e-5)


def test_a_model_that_reads_nothing_is_explained_too() -> None:
    model = model_of("ctc")
    model.head.output.bias.data[0] += 6.0  # type: ignore[union-attr]
    asked, found = scores_of(model)
    assert (asked.index[:, 0] == 0).all()
    assert found.isfinite().all() and (found < 0).all() and (found > -1).all()


@pytest.mark.parametrize("attention", ["additive", "dot"])
def test_an_own_translation_is_the_likeliest_token_after_token(attention: str) -> None:
    model = model_of("seq2seq", attention=attention)
    asked, found = scores_of(model)
    lengths = set()
    for row in ROWS:
        batch = sequences_of("seq2seq", 40).batch(np.array([row]))
        said, logs = [START], []
        while said[-1] != END:
            with torch.no_grad():
                taught = torch.tensor([[*said, 0]])
                logits = model(batch.inputs, batch.lengths, batch.static, taught)[0, -1]
            chances = logits.log_softmax(0)
            allowed = [k for k in range(7) if k not in (0, 1, START)]
            if len(said) == MOST_SAID + 1:
                allowed = [END]
            said.append(max(allowed, key=lambda k: float(chances[k])))
            logs.append(float(chances[said[-1]]))
        count = int(asked.index[row, 0])
        assert asked.index[row, 1 : 1 + count].tolist() == said
        assert float(found[row]) == pytest.approx(np.mean(logs), abs=1e-5)
        lengths.add(count)
    assert len(lengths) > 1, "the test sees ragged translations"


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("method", ["shapley_sampling", "integrated_gradients", "kernel_shap"])
def test_attributions_add_up_are_stable_and_padding_gets_nothing(task: str, method: str) -> None:
    subject = subject_of(task, 40)
    made, data, config = subject.model, subject.prepared.sequences, subject.config
    rows, groups = np.arange(40), stage.groups_of(subject.model, subject.prepared.schema)
    config = replace(config, max_steps=640, orders=4)
    found = stage.attribute_rows(made, data, rows, config, groups, method)
    assert np.abs(found.outputs - found.baseline_outputs).max() > 0.01
    assert np.quantile(found.completeness_errors(), 0.95) <= 0.001
    lengths = np.diff(data.offsets) - (task == "next_token")
    np.testing.assert_array_equal(found.lengths, lengths)
    for row, length in enumerate(lengths):
        assert (found.inputs[row, length:] == 0).all()
        assert np.abs(found.inputs[row, 0]).max() > 0
    again = stage.attribute_rows(made, data, rows, config, groups, method)
    np.testing.assert_array_equal(again.inputs, found.inputs)
    alone = stage.attribute_rows(made, data, rows[3:4], config, groups, method)
    width = alone.inputs.shape[1]
    np.testing.assert_allclose(alone.inputs[0], found.inputs[3, :width], atol=2e-5)


def test_what_comes_after_the_asked_token_has_no_share() -> None:
    subject = subject_of("next_token", 20)
    rows = np.arange(20)
    data = subject.prepared.sequences
    each = replace(subject.config, max_players=60)
    found = stage.attribute_rows(subject.model, data, rows, each)
    for row, length in enumerate(found.lengths):
        assert abs(found.inputs[row, length - 1]) < 1e-6, "the asked word itself"
        assert abs(found.inputs[row, length - 2]) > 1e-3


@pytest.mark.parametrize(
    ("task", "sexes"),
    [("forecast", True), ("forecast", False), ("next_token", False), ("ctc", True),
     ("seq2seq", False)],
)  # fmt: skip
def test_the_whole_stage_says_what_does_not_apply(task: str, sexes: bool) -> None:
    subject = subject_of(task, 64, sexes)
    published, internal, reasons = stage.explain(subject)
    json.dumps([published, internal], allow_nan=False)
    assert reasons is None and published["reasons"] is None
    assert published["unit"] == ("target's units" if task == "forecast" else "nats")
    assert [m["method"] for m in published["quality"]["methods"]] == [
        "shapley_sampling", "integrated_gradients",
    ]  # fmt: skip
    assert published["completeness"]["p95"] < 0.001
    absent = {"reasons"} | ({"proxies"} if task in HEADS else set())
    assert set(published["not_applicable"]) == (absent if sexes else {"groups", *absent, "proxies"})
    assert (published["groups"] is not None) == sexes
    assert (published["proxies"] is not None) == (sexes and task == "forecast")
    people = internal["people"]
    assert [p["rule"] for p in people[:3]] == ["smallest loss", "largest loss", "middle loss"]
    assert len(people) == (5 if sexes else 3)
    assert people[0]["outcome"] == "a b" and people[0]["loss"] < people[1]["loss"]
    assert bool(people[0]["said"]) == (task != "forecast") or task in ("ctc", "seq2seq")
    assert all(np.isfinite(x).all() for x in internal["gradient_flow"]["cells"].values())


def test_people_are_shown_in_their_own_words() -> None:
    subject = subject_of("next_token", 64)
    _, internal, _ = stage.explain(subject)
    person = internal["people"][0]
    row = subject.predictions.sort("loss")["row"][0]
    data = subject.prepared.sequences
    text = data.sequences[data.offsets[row] : data.offsets[row + 1]]
    words = subject.prepared.schema["input"]["vocabulary"]
    assert [c["text"].strip() for c in person["characters"]] == [words[t] for t in text[:-1]]
    assert person["said"] == words[text[-2]]


def test_a_forecast_s_shares_are_in_the_target_s_units() -> None:
    subject = subject_of("forecast", 64)
    _, internal, _ = stage.explain(subject)
    person = internal["people"][0]
    row = int(subject.predictions.sort("loss")["row"][0])
    asked = ask(subject.model, subject.prepared.sequences.batch(np.array([row])))
    with torch.no_grad():
        scaled = float(asked.answer(asked.embedded, asked.static, torch.arange(1)))
    assert person["output"] == pytest.approx(5 + 5 * scaled, abs=1e-4)


def test_a_large_vocabulary_takes_fewer_rows_at_once() -> None:
    model = model_of("seq2seq")
    assert rows_at_once(model, 10, 4096) == 4096
    large = model_of("seq2seq")
    large.shape = replace(shape_of("seq2seq"), output_size=8000)
    # 2^24 numbers, 40 tokens of 8,000 and 10 steps of 8 units a row.
    assert rows_at_once(large, 10, 4096) == (1 << 24) // (8000 * 40 + 80) == 52
    assert rows_at_once(model_of("forecast"), 10**6, 4096) == 4096


@pytest.mark.parametrize("task", KINDS)
def test_gradients_are_of_what_is_explained(task: str) -> None:
    subject = subject_of(task, 20)
    found = gradient_flow(subject.model, subject.prepared.sequences, np.arange(20), 0)
    gains = found["gains"]
    # Untrained networks read the last state alone, whatever the kind: small weights forget.
    assert gains["recurrent weights × 0.5"][0] < -8 < gains["recurrent weights × 3"][0]
    if task == "next_token":
        own = next(iter(found["cells"].values()))
        assert own[0] < own[-2]


@pytest.mark.parametrize("task", KINDS)
def test_shuffled_models_are_asked_about_the_same(task: str) -> None:
    """Of another network the same tokens are explained, not its own."""
    model, other = model_of(task), model_of(task, seed=5)
    asked, mine = scores_of(model)
    forward = SCORES[task].forward(other)
    with torch.no_grad(), undisturbed(other):
        embedded = other.embed(sequences_of(task, 40).batch(ROWS).inputs)
        theirs = replace(asked, forward=forward).answer(
            embedded, asked.static, torch.arange(len(ROWS))
        )
    assert theirs.isfinite().all() and not torch.allclose(mine, theirs)
    if task == "ctc":
        # What a model reads itself it finds likelier than another does.
        assert mine.mean() > theirs.mean()


def test_without_people_to_choose_there_is_nobody() -> None:
    subject = subject_of("ctc", 40, local_people=0)
    assert stage.explain(subject)[1]["people"] == []
    assert isinstance(subject.predictions, pl.DataFrame)
