"""Claims: what is made of a reference, with chances that add up, and what refutes which."""

import numpy as np
import pytest

from tasks.recipe import GateConfig
from tasks.settings.watch import WatchConfig
from tasks.watching.claims import (
    RANKING,
    RATIO,
    Claim,
    People,
    bounds_of,
    claims_of,
    pairs,
    ranked,
    values_for,
)

GATE = GateConfig(max_epsilon=3, min_auc=0.7, min_accuracy=0.6, min_group_ratio=0.8)


def people(count=4000, seed=0, women=0.8, men=0.85):
    """Two sexes with approval rates of their own, and calibrated scores."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["women", "men"], count)
    rate = np.where(sex == "women", women, men)
    score = rng.beta(1, 3, count)
    event = (rng.random(count) < score).astype(float)
    measures = {
        "favourable decision": (rng.random(count) < rate).astype(float),
        "score": score,
        "calibration": (1 + event - score) / 2,
        "error": (rng.random(count) < 0.2).astype(float),
    }
    return People(measures, {"sex": sex.tolist()}, event, score)


def test_chances_of_false_alarms_add_up_to_the_recipes():
    claims = claims_of(people(), GATE, WatchConfig(false_alarms=0.04))
    # Half of a drift claim's chance is the reference's.
    total = sum(claim.alpha * (2 if claim.kind == "drift" else 1) for claim in claims)
    assert total == pytest.approx(0.04)
    kinds = {(c.measure, c.group, c.kind) for c in claims}
    assert ("favourable decision", "sex: women", "drift") in kinds
    assert (RATIO, "sex: women", "gate") in kinds and (RANKING, "", "gate") in kinds
    assert not any(c.measure == RATIO and c.group == "sex: men" for c in claims)
    few = claims_of(people(), GATE, WatchConfig(min_people=3000))
    assert not any(c.group for c in few)


def test_a_bar_that_the_recipe_does_not_have_is_no_claim():
    none = GateConfig(max_epsilon=3, min_group_ratio=None)
    claims = claims_of(people(), none, WatchConfig())
    assert {claim.kind for claim in claims} == {"drift"}
    assert all("sex" in c.words for c in claims if c.group)


def after(claims, new, number=1):
    return [claim.after(values_for(claim, new), number) for claim in claims]


def test_nothing_is_raised_by_more_of_the_same_and_a_fall_in_one_group_is():
    claims = claims_of(people(6000), GATE, WatchConfig())
    same = after(claims, people(4000, seed=5))
    assert [c.words for c in same if c.raised] == []
    raised = [c for c in after(same, people(4000, seed=6, women=0.6), 2) if c.raised]
    assert {c.group for c in raised if c.measure == "favourable decision"} >= {"sex: women"}
    assert not any(c.group == "sex: men" for c in raised)
    ratio = next(c for c in raised if c.measure == RATIO)
    assert ratio.kind == "gate" and ratio.raised == 2
    assert "favourable decision of sex: women over that of sex: men: at least 0.800" in ratio.words


def test_scores_that_no_longer_rank_break_the_auc_bar_and_calibration():
    claims = claims_of(people(6000), GATE, WatchConfig())
    new = people(6000, seed=7)
    rng = np.random.default_rng(0)
    event = (rng.random(6000) < 0.5).astype(float)
    worse = People(
        {**new.measures, "calibration": (1 + event - new.scores) / 2}, new.groups, event, new.scores
    )
    raised = {c.words for c in after(claims, worse) if c.raised}
    assert "AUC: at least 0.700" in raised
    assert any(words.startswith("outcome minus score: at most") for words in raised)


def test_an_alarm_stays_and_is_the_first():
    claim = Claim("score", "", "drift", 0.01, claims_of(people(), GATE, WatchConfig())[0].bet)
    claim = claim.after(np.ones(500), 3)
    assert claim.raised == 3 and claim.after(np.zeros(500), 4).raised == 3
    assert Claim.of(claim.as_dict()) == claim


def test_pairs_and_ranks_by_hand():
    # Means 0.5 and 1 at a ratio of 0.5: the mean of pairs is just r / (1 + r).
    values = pairs(np.array([1.0, 0.0, 1.0]), np.array([1.0, 1.0]), 0.5)
    assert values.tolist() == pytest.approx([(1 - 0.5 + 0.5) / 1.5, (0 - 0.5 + 0.5) / 1.5])
    assert values.mean() == pytest.approx(0.5 / 1.5)
    assert ranked(np.array([0.2, 0.9, 0.2, 0.3]), np.array([0, 1, 1, 0])).tolist() == [1.0, 0.0]
    assert ranked(np.array([0.2, 0.2]), np.array([0, 1])).tolist() == [0.5]


def test_bounds_hold_the_mean_and_shrink():
    rng = np.random.default_rng(0)
    for draw, mean in (
        (lambda n: (rng.random(n) < 0.3) * 1.0, 0.3),
        (lambda n: rng.beta(2, 6, n), 0.25),
    ):
        missed = sum(
            not (lambda b: b[0] <= mean <= b[1])(bounds_of(draw(400), 0.05)) for _ in range(400)
        )
        assert missed <= 35
        low, high = bounds_of(draw(40_000), 0.05)
        assert high - low < 0.015
