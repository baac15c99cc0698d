"""Answers that are sequences themselves come through the same front door, by the same rules."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rnn.config import ModelConfig
from rnn.model import build
from tasks.artifacts import write_json, write_model
from tasks.params import as_json
from tasks.serving.app import create_app
from tasks.serving.scorer import Scorer
from tasks.table.encode import input_shape
from tests import kinds
from tests.tasks.serving.conftest import IDENTITY
from tests.tasks.serving.test_app import SECRET, Client

SAID = {
    "forecast": {"quantile_0.1", "quantile_0.5", "quantile_0.9"},
    "next_token": {"tokens", "perplexity", "next_token"},
    "ctc": {"symbols"},
    "seq2seq": {"text", "log_probability"},
}


@pytest.fixture(params=kinds.KINDS)
def scorer(request: pytest.FixtureRequest, tmp_path: Path) -> Scorer:
    """An untrained model of a kind, as it is registered."""
    data = kinds.data_of(request.param)
    model = build(ModelConfig(hidden_size=8, embedding_size=5), input_shape(data), 0)
    write_model(tmp_path, model, dict(model.named_parameters()))
    write_json(tmp_path / "serving.json", {"data": as_json(data), "threshold": None})
    return Scorer.read(tmp_path, IDENTITY)


def test_the_example_is_answered_and_there_are_no_reasons(scorer: Scorer) -> None:
    client = Client(create_app("tiny", lambda: scorer))
    told = client.get("/openapi.json").json()["paths"]["/score"]["post"]
    sent = told["requestBody"]["content"]["application/json"]["example"]
    answer = client.post("/score", json=sent)
    assert answer.status_code == 200
    people = answer.json()["people"]
    kind = scorer.data.target.kind
    assert {"person_id", *SAID[kind]} == set(people[0])
    found = scorer.score(pl.DataFrame(sent["rows"]))
    assert found["person_id"] == [p["person_id"] for p in people]
    for name in SAID[kind]:
        assert found[name] == [p[name] for p in people]
    if kind == "forecast":
        assert np.shape(found["quantile_0.5"]) == (len(people), scorer.data.target.horizon)
    assert "none" in told["parameters"][0]["description"]
    answer = client.post("/score?reasons=1", json=sent)
    assert answer.status_code == 400
    assert answer.json() == {
        "field": "reasons", "error": f"a model of kind {kind} gives none; allowed is 0",
    }  # fmt: skip


def test_mistakes_name_the_field_and_no_value(scorer: Scorer) -> None:
    client = Client(create_app("tiny", lambda: scorer))
    rows = scorer.example
    numbers = {"heat", "wind", "load", "size", "when"} & set(scorer.columns)
    for column in scorer.columns:
        bad = {**rows[0], column: [SECRET]}
        wrong = [bad, {**rows[0], column: SECRET}] if column in numbers else [bad]
        for row in wrong:
            answer = client.post("/score", json={"rows": [row, *rows[1:]]})
            assert answer.status_code == 400, (column, answer.text)
            assert column in answer.json()["field"]
            assert SECRET not in answer.text
        if column == scorer.data.person and scorer.data.texts.keys() & {"sequence"}:
            # Texts without ids are numbered.
            continue
        left = {name: value for name, value in rows[0].items() if name != column}
        answer = client.post("/score", content=json.dumps({"rows": [left]}))
        assert answer.status_code == 400 and column in answer.text
