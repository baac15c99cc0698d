"""Exact Shapley values by hand, and how agreement of two lists is counted."""

import numpy as np
import polars as pl
import pytest

from benchmarks.reasons import agreement, occlusion, shapley
from tasks.evidence.reasons import NONE
from tasks.params import validate
from tasks.recipe import DataConfig, ReasonConfig
from tasks.serving.answers import sequences_of
from tasks.serving.features import features_of
from tasks.serving.reasons import Reasoner
from tasks.table.encode import encode
from tests.tasks.serving.test_reasons import TOY


def test_two_features_share_what_they_do_together() -> None:
    data = validate(DataConfig, TOY, "data")
    # limit and also are at 1 and at -0.5; their references are at -1 and 0, debt's changes nothing.
    person = {"id": "x", "d1": 50, "d2": 50, "owed": 50, "limit": 1000, "also": 250}
    people = sequences_of(encode(pl.DataFrame([person]), data), data)

    def ask(some):
        return (some.static[:, 1] * some.static[:, 2] + 3 * some.static[:, 1])[:, None]

    codes = {"limit": ReasonConfig(reference=0)}
    reasoner = Reasoner(features_of(data, codes), data, ask)
    assert reasoner.features.names == ("debt", "limit", "also")
    # f(1, -0.5) = 2.5, f(-1, -0.5) = -2.5, f(1, 0) = 3, f(-1, 0) = -3.
    np.testing.assert_allclose(occlusion(reasoner, people), [[0, 5.0, -0.5]])
    np.testing.assert_allclose(shapley(reasoner, people), [[0, 5.5, 0.0]], atol=1e-12)


def test_agreement_of_lists() -> None:
    live = np.array([[0, 1, NONE], [2, NONE, NONE], [NONE, NONE, NONE]])
    other = np.array([[1, 0, 2], [2, NONE, NONE], [NONE, NONE, NONE]])
    found = {name: value for name, (value, _) in agreement(live, other).items()}
    assert found == pytest.approx({"first": 2 / 3, "first_among": 1.0, "all": (2 / 3 + 1 + 1) / 3})
