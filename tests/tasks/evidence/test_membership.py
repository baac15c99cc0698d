"""A loss threshold finds what is planted and stays silent on a null."""

import math

import numpy as np
import pytest
import scipy.stats

from tasks.evidence import membership
from tasks.recipe import AttackConfig

DELTA = 1e-5
PLAN = AttackConfig()


def _bound(members: np.ndarray, others: np.ndarray, seed: int = 0) -> float:
    """Lower bound on epsilon at the verdict's confidence."""
    return float(membership.lower_bound(members, others, DELTA, 0.999, seed)["value"])


def test_bound_by_hand() -> None:
    true = scipy.stats.beta.ppf(0.025, 90, 11)
    false = scipy.stats.beta.ppf(0.975, 11, 90)
    assert membership.epsilon_bound(90, 100, 10, 100, 0.0, 0.95) == pytest.approx(
        math.log(true / false)
    )
    assert membership.epsilon_bound(90, 100, 10, 100, 0.1, 0.95) == pytest.approx(
        math.log((true - 0.1) / false)
    )
    assert membership.epsilon_bound(0, 100, 0, 100, 0.1, 0.95) == 0.0


def test_rate_at_a_false_positive_rate_by_hand() -> None:
    others, members = np.arange(100.0), np.arange(0.5, 200, 2)
    found = membership.rates_at(members, others, 0.1, 0.95)
    # Ten of 0..99 may be accused: those above 89; of members, 90.5 and more: 55.
    assert found["value"] == 0.55
    assert (others > 89).sum() == 10


def test_ties_accuse_nobody_too_many() -> None:
    assert membership.rates_at(np.zeros(10), np.zeros(10), 0.1, 0.95)["value"] == 0.0
    assert membership.rates_at(np.ones(10), np.zeros(10), 0.1, 0.95)["value"] == 1.0


def test_a_memorising_model_violates_a_small_claim() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.exponential(0.05, 3000), rng.exponential(1.0, 3000)
    found = membership.figures(-members, -others, DELTA, PLAN)
    assert found["auc"]["low"] > 0.9
    assert found["epsilon_lower_bound"]["value"] > 2.5


@pytest.mark.parametrize("leak", ["members low", "others high"])
def test_a_leak_of_a_few_people_is_found_from_either_side(leak: str) -> None:
    rng = np.random.default_rng(1)
    members, others = rng.normal(size=4000), rng.normal(size=4000)
    if leak == "members low":
        members[:400] = -10
    else:
        others[:400] = 10
    found = membership.figures(-members, -others, DELTA, PLAN)["epsilon_lower_bound"]
    assert found["value"] > 1.5
    assert found["test"].startswith("high" if leak == "members low" else "low")


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
    found = membership.figures(rng.random(500), rng.random(500), DELTA, PLAN)
    assert [row["false_positive_rate"] for row in found["tpr"]] == [0.1]
    assert found["not_measurable"] == [0.001, 0.01]


def test_people_are_as_many_on_both_sides() -> None:
    people = membership.choose_people(np.arange(100), np.arange(100, 120), seed=1)
    assert len(people.members) == len(people.others) == 20
    assert len(people.population) == 0
    assert set(people.members) <= set(range(100))
    again = membership.choose_people(np.arange(100), np.arange(100, 120), seed=1)
    assert people.members.tolist() == again.members.tolist()


def test_the_population_is_held_out_and_not_guessed_about() -> None:
    people = membership.choose_people(np.arange(100), np.arange(100, 120), 1, 0.25)
    assert (len(people.members), len(people.others), len(people.population)) == (15, 15, 5)
    assert sorted([*people.others, *people.population]) == list(range(100, 120))
    few = membership.choose_people(np.arange(3), np.arange(100, 120), 1, 0.25)
    assert (len(few.members), len(few.others), len(few.population)) == (3, 3, 5)


def test_interval_of_a_rate_by_hand() -> None:
    # Of 100 others, 10 % lie above the true threshold: from 4 to 17 of them at 95 / 2 %, and
    # each end is Clopper and Pearson's at what is left.
    others, members = np.arange(100.0), np.arange(0.5, 200, 2)
    found = membership.rates_at(members, others, 0.1, 0.95)
    least, most = scipy.stats.binom.ppf([0.0125, 0.9875], 100, 0.1)
    assert (least, most) == (4, 17)
    # The fourth largest is 96, the eighteenth 82: 96.5 and more are 52 members, 82.5 and more 59.
    assert found["low"] == pytest.approx(scipy.stats.beta.ppf(0.0125, 52, 49))
    assert found["high"] == pytest.approx(scipy.stats.beta.ppf(0.9875, 60, 41))


@pytest.mark.parametrize(("size", "rate"), [(200, 0.05), (1000, 0.01)])
def test_interval_of_a_rate_holds_whatever_the_sample(size: int, rate: float) -> None:
    rng = np.random.default_rng(5)
    truth = scipy.stats.norm.sf(scipy.stats.norm.isf(rate) - 1)
    missed = naive = 0
    for _ in range(400):
        members, others = rng.normal(1, 1, size), rng.normal(size=size)
        found = membership.rates_at(members, others, rate, 0.95)
        missed += not found["low"] <= truth <= found["high"]
        exact = membership.stats.clopper_pearson(round(found["value"] * size), size, 0.95)
        naive += not exact.low <= truth <= exact.high
    # At most 5 % miss; an interval that takes the threshold for given misses far more.
    assert scipy.stats.binomtest(missed, 400, 0.05, "greater").pvalue > 0.001
    assert scipy.stats.binomtest(naive, 400, 0.05, "greater").pvalue < 1e-6


def test_several_attacks_share_the_risk() -> None:
    rng = np.random.default_rng(6)
    one = membership.figures(rng.random(500), rng.random(500), DELTA, PLAN, attacks=2)
    assert one["epsilon_lower_bound"]["confidence"] == pytest.approx(0.9995)


@pytest.mark.parametrize("people", [0, 1])
def test_one_person_a_side_proves_nothing(people: int) -> None:
    assert _bound(np.ones(people), np.zeros(people)) == 0.0
