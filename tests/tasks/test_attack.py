"""The attack finds what is planted, stays silent on a null, and tells little to the public."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from tasks import artifacts
from tasks import attack as stage
from tasks.params import UserError
from tasks.recipe import AttackConfig
from tests.heldout import RECIPE, SPENT, write_tree

DELTA = 1e-5
PLAN = AttackConfig()


def _bound(members: np.ndarray, others: np.ndarray, seed: int = 0) -> float:
    """Lower bound on epsilon at the verdict's confidence."""
    return float(stage.lower_bound(members, others, DELTA, 0.999, seed)["value"])


def test_bound_by_hand() -> None:
    true = scipy.stats.beta.ppf(0.025, 90, 11)
    false = scipy.stats.beta.ppf(0.975, 11, 90)
    assert stage.epsilon_bound(90, 100, 10, 100, 0.0, 0.95) == pytest.approx(math.log(true / false))
    assert stage.epsilon_bound(90, 100, 10, 100, 0.1, 0.95) == pytest.approx(
        math.log((true - 0.1) / false)
    )
    assert stage.epsilon_bound(0, 100, 0, 100, 0.1, 0.95) == 0.0


def test_rate_at_a_false_positive_rate_by_hand() -> None:
    others, members = np.arange(100.0), np.arange(0.5, 200, 2)
    found = stage.rates_at(members, others, 0.1, 0.95)
    # Ten of 0..99 may be accused: those above 89; of members, 90.5 and more: 55.
    assert found["value"] == 0.55
    assert (others > 89).sum() == 10


def test_ties_accuse_nobody_too_many() -> None:
    assert stage.rates_at(np.zeros(10), np.zeros(10), 0.1, 0.95)["value"] == 0.0
    assert stage.rates_at(np.ones(10), np.zeros(10), 0.1, 0.95)["value"] == 1.0


def test_a_memorising_model_violates_a_small_claim() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.exponential(0.05, 3000), rng.exponential(1.0, 3000)
    found = stage.attack(members, others, DELTA, PLAN)
    assert found["auc"]["low"] > 0.9
    bound = found["epsilon_lower_bound"]["value"]
    assert bound > 2.5
    assert stage.verdict(bound, 1.0) == "violated"
    assert stage.verdict(bound, 8.0) == "consistent"


@pytest.mark.parametrize("leak", ["members low", "others high"])
def test_a_leak_of_a_few_people_is_found_from_either_side(leak: str) -> None:
    rng = np.random.default_rng(1)
    members, others = rng.normal(size=4000), rng.normal(size=4000)
    if leak == "members low":
        members[:400] = -10
    else:
        others[:400] = 10
    found = stage.attack(members, others, DELTA, PLAN)["epsilon_lower_bound"]
    assert found["value"] > 1.5
    assert found["test"].startswith("low" if leak == "members low" else "high")


def test_a_null_is_consistent_with_any_claim() -> None:
    rng = np.random.default_rng(2)
    bounds = [_bound(rng.normal(size=800), rng.normal(size=800), seed) for seed in range(300)]
    assert np.mean(np.array(bounds) > 0.0) <= 0.01


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_the_bound_stays_below_the_truth_and_near_it(epsilon: float) -> None:
    # Randomised response is the mechanism whose every test is as strong as epsilon allows.
    rng = np.random.default_rng(3)
    truthful = math.exp(epsilon) / (1 + math.exp(epsilon))
    bounds = []
    for seed in range(40):
        members = (rng.random(4000) < truthful).astype(float)
        others = (rng.random(4000) > truthful).astype(float)
        bounds.append(_bound(members, others, seed))
    assert max(bounds) <= epsilon
    assert np.median(bounds) > 0.6 * epsilon


def test_rates_that_cannot_be_measured_are_named() -> None:
    rng = np.random.default_rng(4)
    found = stage.attack(rng.random(500), rng.random(500), DELTA, PLAN)
    assert [row["false_positive_rate"] for row in found["tpr"]] == [0.1]
    assert found["not_measurable"] == [0.001, 0.01]


def test_people_are_as_many_on_both_sides() -> None:
    members, others = stage.choose_people(np.arange(100), np.arange(100, 120), seed=1)
    assert len(members) == len(others) == 20
    assert set(members) <= set(range(100))
    again, _ = stage.choose_people(np.arange(100), np.arange(100, 120), seed=1)
    assert members.tolist() == again.tolist()


@pytest.mark.parametrize("people", [0, 1])
def test_one_person_a_side_proves_nothing(people: int) -> None:
    assert _bound(np.ones(people), np.zeros(people)) == 0.0


def test_stage_publishes_the_verdict_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree("multiclass", tokens=True)
    stage.main([RECIPE])
    root = artifacts.folder(RECIPE, "attack")
    published = artifacts.read_json(root / "published" / "attack.json")
    assert set(published) == {"verdict", "method", "claim", "note"}
    assert (published["verdict"], published["claim"]) == ("consistent", SPENT.epsilon)
    internal = artifacts.read_json(root / "internal" / "attack.json")
    assert internal["members"] == internal["non_members"] == 200
    assert set(internal["model"]) == set(internal["twin"])
    first = artifacts.digest_folder(root)
    stage.main([RECIPE])
    assert artifacts.digest_folder(root) == first
    with pytest.raises(UserError, match="usage"):
        stage.main([])
