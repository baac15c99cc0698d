"""Thresholds by group: by hand, on people who were not counted, and from noise."""

from dataclasses import replace

import numpy as np
import pytest

from rnn.privacy.histogram import Histogram
from rnn.privacy.noise import Keystream
from tasks.evidence.group_thresholds import (
    GroupThresholds,
    group_thresholds,
    nonnegative,
    share_from,
    threshold_for,
)
from tasks.evidence.score_table import ScoreTable, coarse_edges, decided_bin, tabulate

EDGES = np.array([0, 0.25, 0.5, 0.75, 1.0])


def test_shares_and_thresholds_by_hand() -> None:
    counts = np.array([10.0, 20.0, 30.0, 40.0])
    assert share_from(counts, EDGES, 0.5) == pytest.approx(0.7)
    # Half of the bin from 0.5 to 0.75 lies above its middle.
    assert share_from(counts, EDGES, 0.625) == pytest.approx(0.55)
    assert threshold_for(counts, EDGES, 0.55) == 0.625
    assert threshold_for(counts, EDGES, 0.4) == 0.75
    assert threshold_for(np.array([1.0, 0.0, 0.0, 1.0]), EDGES, 0.5) == 0.5


def test_negative_counts_go_and_the_sum_stays() -> None:
    rng = np.random.default_rng(0)
    noisy = rng.normal(2, 6, (50, 8))
    found = nonnegative(noisy)
    assert (found >= 0).all()
    sums = np.maximum(noisy.sum(1), 0)
    assert found.sum(1) == pytest.approx(sums)
    for row, close in zip(noisy[sums > 0], found[sums > 0], strict=True):
        # No other such counts are closer.
        for other in rng.dirichlet(np.ones(8), 50) * row.sum():
            assert np.linalg.norm(other - row) >= np.linalg.norm(close - row) - 1e-9
    assert nonnegative(np.array([-3.0, 1.0])).tolist() == [0, 0]


BY_HAND = ScoreTable(
    ("sex", "sex"),
    ("f", "m"),
    np.array([[[50, 50, 0, 0], [40, 40, 20, 0]], [[50, 50, 0, 0], [0, 20, 40, 40]]], dtype=float),
    EDGES,
    2,
)


def test_equal_opportunity_by_hand() -> None:
    found = group_thresholds(BY_HAND, "sex", "equal_opportunity")
    # 100 of 200 people with the favourable outcome are approved today.
    assert (found.overall, found.wanted) == (0.5, 0.5)
    # f: half of 100 from 0.25 + 0.25 x 10/40 on; m: from 0.5 + 0.25 x 30/40 on.
    assert found.thresholds == pytest.approx({"f": 0.3125, "m": 0.6875}, abs=0.001)


def test_demographic_parity_by_hand() -> None:
    found = group_thresholds(BY_HAND, "sex", "demographic_parity")
    assert found.wanted == pytest.approx(100 / 400)
    # f: 50 of 200, of whom 20 lie from 0.5 on and 90 evenly from 0.25 to 0.5.
    assert found.thresholds["f"] == pytest.approx(0.5 - 0.25 * 30 / 90, abs=0.001)
    assert found.thresholds["m"] == pytest.approx(0.5 + 0.25 * 30 / 40, abs=0.001)


def test_decisions_hang_on_score_and_group_alone() -> None:
    found = GroupThresholds("sex", "equal_opportunity", 0.5, 0.6, {"f": 0.4})
    labels = ["f", "f", "m", "unknown", "never seen"]
    assert found.of(labels).tolist() == [0.4, 0.4, 0.5, 0.5, 0.5]
    scores = np.array([0.4, 0.399, 0.45, 0.5, 0.49], dtype=np.float32)
    assert found.decide(scores.astype(np.float64), labels).tolist()[1:] == [0, 0, 1, 0]
    assert found.decide(np.array([0.4]), ["f"]).tolist() == [1]
    assert found.decide(np.zeros(0), []).tolist() == []


def _people(size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Group, outcome and score; the score of group 1 is too low by a fifth."""
    rng = np.random.default_rng(seed)
    group = (rng.random(size) < 0.3).astype(int)
    chance = rng.beta(3, 2, size)
    y = (rng.random(size) < chance).astype(int)
    return group, y, np.where(group == 1, 0.8 * chance, chance)


def _gap(goal: str, group: np.ndarray, y: np.ndarray, decision: np.ndarray) -> float:
    """Distance of the groups' TPR or selection rate."""
    who = y == 1 if goal == "equal_opportunity" else np.ones(len(y), dtype=bool)
    rates = [decision[who & (group == g)].mean() for g in (0, 1)]
    return abs(float(rates[0] - rates[1]))


def _counted(size: int, bins: int = 10) -> ScoreTable:
    """A table of people at a threshold of 0.55."""
    group, y, score = _people(size, 0)
    edges = coarse_edges(0.55, bins)
    decision = (score >= 0.55).astype(int)
    return tabulate(
        ("sex", "sex"), ("f", "m"), group[:, None], y, score, decision, edges,
        decided_bin(edges, 0.55),
    )  # fmt: skip


@pytest.mark.parametrize("goal", ["equal_opportunity", "demographic_parity"])
@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_gaps_of_other_people_close(goal: str, noise: float) -> None:
    table = _counted(10_000)
    if noise:
        counts = Histogram(1, noise).release(table.counts, Keystream.from_seed(1))
        table = replace(table, counts=counts, noise=noise)
    group, y, score = _people(50_000, 1)
    labels = np.array(["f", "m"])[group].tolist()
    found = group_thresholds(table, "sex", goal)  # type: ignore[arg-type]
    before, after = (score >= 0.55).astype(int), found.decide(score, labels)
    assert _gap(goal, group, y, before) > 0.12
    assert _gap(goal, group, y, after) < 0.04
    # Overall, as many are approved as before, of those who are compared.
    who = y == 1 if goal == "equal_opportunity" else np.ones(len(y), dtype=bool)
    assert after[who].mean() == pytest.approx(before[who].mean(), abs=0.02)


def test_groups_of_few_people_and_all_noise_get_the_overall_threshold() -> None:
    table = _counted(10_000)
    few = np.concatenate([table.counts, np.full((1, 2, 10), 2.0)])
    wide = replace(table, features=("sex",) * 3, labels=("f", "m", "x"), counts=few)
    assert set(group_thresholds(wide, "sex").thresholds) == {"f", "m"}
    # 3,000 people of whom 1,800 count: noise of 150 a count is a quarter of them in sum.
    assert set(group_thresholds(replace(table, noise=150.0), "sex").thresholds) == {"f"}
    nobody = group_thresholds(replace(table, noise=1e5), "sex")
    assert (nobody.thresholds, nobody.of(["f"]).tolist()) == ({}, [0.55])


def test_same_table_same_thresholds_and_unknown_feature() -> None:
    assert group_thresholds(_counted(2000), "sex") == group_thresholds(_counted(2000), "sex")
    with pytest.raises(ValueError, match="'age' is not among"):
        group_thresholds(BY_HAND, "age")
