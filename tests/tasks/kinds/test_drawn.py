"""Figures by step and single windows, beside a second way to work them out."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from rnn.config import ModelConfig
from rnn.model import build
from tasks.evidence.pictured import chosen, pictured, published
from tasks.kinds.answers.forecast import answers
from tasks.kinds.drawn import DRAWN, POSITIONS
from tasks.kinds.forecast import SeasonalNaive, by_step
from tasks.kinds.table import KINDS
from tasks.pages import pictures
from tasks.recipe import PredictConfig
from tests.tasks.kinds.test_forecast import prepared_of
from tests.tasks.kinds.test_language import _model, _prepared

HORIZON = 4
PLAN = PredictConfig(bootstraps=100, examples=3)


@pytest.fixture(scope="module")
def made():
    """A model nobody trained, its windows, and what held-out ones say of it and of a rival."""
    values = np.random.default_rng(0).uniform(-1, 1, 90)
    values[[43, 61]] = np.nan
    prepared = prepared_of(values, 8, HORIZON, cut=40)
    prepared.schema["series"]["every"] = "1h"
    model, rows = build(ModelConfig(hidden_size=5), prepared.shape, 0).eval(), prepared.rows("test")
    found = {
        "model": KINDS["forecast"].judge(model, prepared, rows),
        "baseline": SeasonalNaive.fit(prepared, 0).judge(prepared, rows),
    }
    return model, prepared, rows, found


def test_lines_agree_with_the_answers_counted_one_by_one(made) -> None:
    model, prepared, rows, found = made
    drawing = DRAWN["forecast"]
    sums = drawing.sums(model, prepared, rows)
    lines = drawing.lines({name: values.sum(0) for name, values in sums.items()})
    totals = {name: values.sum(0) for name, values in found["model"].sums.items()}
    np.testing.assert_allclose(lines["error"], by_step(totals), rtol=1e-9)
    said = answers(model, prepared.sequences, rows, prepared.schema)
    came = np.asarray(prepared.sequences.targets[rows], dtype=np.float64)
    low, high = prepared.schema["target"]["bounds"]
    units = low + (came + 1) / 2 * (high - low)
    for step in range(HORIZON):
        there = [i for i in range(len(rows)) if np.isfinite(units[i, step])]
        hits = [said["quantile_0.1"][i][step] <= units[i, step] <= said["quantile_0.9"][i][step]
                for i in there]  # fmt: skip
        assert lines["coverage"][step] == pytest.approx(np.mean(hits))
    # The better season repeated, over all steps, is what the skill is measured against.
    naive = sums["season_4"].sum() / sums["known"].sum()
    skill = 1 - sums["error"].sum() / sums["known"].sum() / naive
    assert float(KINDS["forecast"].summary(totals)["skill"]) == pytest.approx(skill)


def test_what_stays_inside_and_what_may_be_shown(made) -> None:
    model, prepared, rows, found = made
    inside = pictured(model, prepared, rows, found, PLAN)
    error, coverage = inside["curves"]
    assert [line["of"] for line in error["lines"]] == ["model", "model", "baseline"]
    assert [len(line["figures"]) for line in error["lines"]] == [HORIZON] * 3
    first = error["lines"][0]["figures"][0]
    assert first["low"] < first["value"] < first["high"]
    assert coverage["mark"] == pytest.approx(0.8)
    assert len(inside["examples"]) == 3
    assert published(inside, False, PLAN) == {"curves": [], "examples": []}
    shown = published(inside, True, PLAN)
    assert {line["of"] for curve in shown["curves"] for line in curve["lines"]} == {"model"}
    assert shown["examples"] == []
    some = PredictConfig(publish_examples=True)
    assert published(inside, True, some)["examples"] == inside["examples"]


def test_examples_are_what_the_model_answers_of_them(made) -> None:
    model, prepared, rows, found = made
    (place,) = chosen(found["model"].losses, 1)
    (example,) = pictured(model, prepared, rows, found, PredictConfig(bootstraps=100, examples=1))[
        "examples"
    ]
    said = answers(model, prepared.sequences, rows[[place]], prepared.schema)
    np.testing.assert_allclose(example["middle"], said["quantile_0.5"][0], atol=1e-5)
    losses = np.sort(found["model"].losses)
    assert found["model"].losses[place] == losses[round((len(losses) - 1) / 2)]
    assert len(example["before"]) == 2 * HORIZON


def test_a_page_draws_them_with_their_numbers(made) -> None:
    inside = pictured(*made, PLAN)
    shown = pictures.section("said", inside)
    assert [len(e.table.rows) for e in shown["curves"]] == [HORIZON, HORIZON]
    assert [e.title.partition(", ")[2] for e in shown["windows"]] == list(pictures.HOW)
    for exhibit in (*shown["curves"], *shown["windows"]):
        assert exhibit.svg.startswith("<svg") and 'role="img"' in exhibit.svg
    assert shown["texts"] is None
    texts = [{"truth": "a b", "said": {"model": "a", "twin": ""}}]
    table = pictures.section("said", {"curves": [], "examples": texts})["texts"]
    assert table.rows == (("in the middle", "a b", "a", "–"),)


def test_bits_by_position_add_up_to_those_of_the_text() -> None:
    prepared, model = _prepared(1), _model()
    people = prepared.people.with_columns(person_id=pl.Series(["a", "b", "c"]))
    prepared = replace(prepared, people=people)
    rows = prepared.rows("test")
    drawing = DRAWN["next_token"]
    sums = drawing.sums(model, prepared, rows)
    judged = KINDS["next_token"].judge(model, prepared, rows)
    np.testing.assert_allclose(sums["known"].sum(1), judged.sums["tokens"])
    np.testing.assert_allclose(sums["bits"].sum(1), judged.sums["nll"] / np.log(2), rtol=1e-9)
    tokens = judged.sums["tokens"]
    for length in set(tokens.tolist()):
        expected = [sum(low < t <= high for t in range(1, int(length) + 1))
                    for low, high in pairwise((0, *POSITIONS))]  # fmt: skip
        np.testing.assert_array_equal(sums["known"][tokens == length][0], expected)
    found = pictured(model, prepared, rows, {"model": judged, "baseline": judged}, PLAN)
    (curve,) = found["curves"]
    assert [line["of"] for line in curve["lines"]] == ["model"] and found["examples"] == []
    (drawn,) = pictures.section("said", found)["curves"]
    assert [row[0] for row in drawn.table.rows][:3] == ["1", "2", "4"]
    assert len(drawn.table.rows) < len(POSITIONS), "steps that no text reaches are left out"
