"""ONNX Runtime answers what predict wrote, whatever the layout."""

import json

import numpy as np
import polars as pl
import pytest

from tasks import artifacts
from tasks.params import UserError
from tasks.serving.scorer import Scorer
from tests import fake


def test_raw_rows_give_what_predict_wrote(made: fake.Fake, scorer: Scorer):
    found = scorer.score(made.raw.select(scorer.columns))
    written = artifacts.read_predictions(made.recipe)
    for name in (n for n in found if n.startswith("score")):
        expected = written["y_score" if name == "score" else name].to_numpy()
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-6)
    if made.data.target.kind != "regression":
        names = made.data.target.names or tuple(map(str, made.data.target.classes))
        assert found["decision"] == [names[i] for i in written["y_pred"].to_list()]


def test_an_answer_is_json_and_says_which_model_spoke(made: fake.Fake, scorer: Scorer):
    answer = json.loads(scorer.answer(made.raw))
    assert answer["model"] == {"name": "tiny", "version": "3", "alias": "champion"}
    found = scorer.score(made.raw)
    assert [p["person_id"] for p in answer["people"]] == found["person_id"]
    assert set(answer["people"][0]) == set(found)


def test_the_example_can_be_sent(scorer: Scorer):
    assert len(scorer.score(pl.DataFrame(scorer.example))["person_id"]) == 2
    assert set(scorer.columns) == set(scorer.described) <= set(scorer.example[0]) | {"id"}


def test_a_missing_column_is_named(made: fake.Fake, scorer: Scorer):
    gone = next(c for c in scorer.columns if c != made.data.person)
    with pytest.raises(UserError, match=f"column {gone} is not in the data"):
        scorer.score(made.raw.drop(gone))
