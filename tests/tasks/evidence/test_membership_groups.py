"""Membership by group: hand-made figures, a planted disparity, and groups that are all alike."""

import numpy as np
import pytest
import scipy.stats

from tasks import stats
from tasks.evidence import membership_groups
from tasks.evidence.membership_groups import Attacked, area, by_group, judged
from tasks.recipe import AttackConfig

PLAN = AttackConfig(shuffles=99)


def test_area_is_the_auc_ties_and_all() -> None:
    rng = np.random.default_rng(0)
    ranks = np.sort(rng.integers(0, 12, 80))
    member = rng.random(80) < 0.4
    assert area(ranks, member) == pytest.approx(stats.auc(member, ranks).value)


def test_a_threshold_is_chosen_on_one_half_and_judged_on_the_other() -> None:
    #              chooses: the best bar is 2; it finds 2 of 3 and accuses 1 of 2.
    ranks = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8])
    member = np.array([False, True, False, True, True, False, True, False, True])
    chooses = np.array([True, False, True, True, True, False, False, False, False])
    assert judged(ranks, member, chooses) == (2, 3, 2, 2)
    assert judged(ranks[:0], member[:0], chooses[:0]) == (0, 0, 0, 0)


def test_advantage_without_signal_is_zero_on_average() -> None:
    rng = np.random.default_rng(1)
    honest, best = [], []
    for seed in range(200):
        people = Attacked.of(rng.normal(size=160), np.arange(160) < 80, seed)
        hits, n, accused, m = judged(people.ranks, people.member, people.chooses)
        honest.append(hits / n - accused / m)
        member = people.member.cumsum() / 80 - (~people.member).cumsum() / 80
        best.append(-member.min())
    assert np.mean(honest) == pytest.approx(0.0, abs=0.02)
    # Judged on those who chose the threshold, guessing looks like an attack.
    assert np.mean(best) > 0.08


def test_shuffled_labels_keep_every_group_as_large_on_each_side() -> None:
    rng = np.random.default_rng(2)
    people = Attacked.of(rng.normal(size=400), rng.random(400) < 0.5, 0)
    codes = rng.integers(0, 3, 400)
    dealt = people.shuffled(codes, rng)
    assert (dealt != codes).any()
    for side in (True, False):
        for half in (True, False):
            own = (people.member == side) & (people.chooses == half)
            assert np.bincount(dealt[own]).tolist() == np.bincount(codes[own]).tolist()


def _people(gaps: list[float], seed: int, size: int = 120) -> tuple[np.ndarray, ...]:
    """Scores of as many members as others a group; members of group g score gaps[g] higher."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(gaps)), 2 * size)
    member = np.tile(np.repeat([True, False], size), len(gaps))
    scores = rng.normal(size=len(group)) + np.where(member, np.array(gaps)[group], 0.0)
    order = rng.permutation(len(group))
    return scores[order], member[order], np.array(list("abcdef"))[group[order]]


def _disparity(gaps: list[float], seed: int, plan: AttackConfig = PLAN) -> dict[str, float]:
    scores, member, labels = _people(gaps, seed)
    found = by_group(scores, member, {"kind": labels.tolist()}, plan)
    return dict(found[0]["disparity"]["auc"])


def test_a_planted_disparity_is_found() -> None:
    found = _disparity([0.0, 0.0, 0.9], seed=3)
    assert found["value"] > found["control_high"]
    assert found["p_value"] == 0.01
    assert found["adjusted_p_value"] <= 0.02


@pytest.mark.parametrize("gap", [0.0, 0.5])
def test_groups_that_are_alike_are_not_accused(gap: float) -> None:
    # A plain range is never 0: the control is as large, and p-values are uniform.
    found = [_disparity([gap] * 4, seed) for seed in range(80)]
    p_values = [one["p_value"] for one in found]
    assert min(one["value"] for one in found) > 0.005
    assert scipy.stats.binomtest(sum(p <= 0.05 for p in p_values), 80, 0.05).pvalue > 0.01
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01
    ratio = np.mean([one["value"] / one["control_median"] for one in found])
    assert ratio == pytest.approx(1.0, abs=0.2)


def test_small_groups_are_named_and_not_compared() -> None:
    scores, member, labels = _people([0.0, 0.0], seed=4, size=150)
    labels = labels.astype(object)
    few = np.flatnonzero(member)[:29]
    labels[few] = "few"
    labels[np.flatnonzero(~member)[:200]] = "few"
    (found,) = by_group(scores, member, {"kind": labels.tolist()}, PLAN)
    small = next(group for group in found["groups"] if group["label"] == "few")
    assert (small["members"], small["auc"], small["advantage"]) == (29, None, None)
    assert small["not_measurable"] == list(PLAN.false_positive_rates)
    alone = by_group(scores, member, {"kind": ["one"] * len(scores)}, PLAN)
    assert alone[0]["disparity"] == {"auc": None, "advantage": None}


def test_rates_that_a_group_cannot_measure_are_not_shown() -> None:
    scores, member, labels = _people([0.0, 0.0], seed=5, size=150)
    (found,) = by_group(scores, member, {"kind": labels.tolist()}, PLAN)
    for group in found["groups"]:
        # 150 others: 10 false positives are expected at 0.1 alone.
        assert [row["false_positive_rate"] for row in group["tpr"]] == [0.1]
        assert group["not_measurable"] == [0.001, 0.01]


def test_figures_by_group_by_hand() -> None:
    scores, member, labels = _people([0.4, 1.0], seed=6)
    (found,) = by_group(scores, member, {"kind": labels.tolist()}, PLAN)
    for group in found["groups"]:
        own = labels == group["label"]
        wanted = stats.auc(member[own], scores[own], PLAN.confidence).as_dict()
        assert group["auc"] == pytest.approx(wanted)
        assert (group["members"], group["non_members"]) == (120, 120)
    areas = [group["auc"]["value"] for group in found["groups"]]
    assert found["disparity"]["auc"]["value"] == pytest.approx(max(areas) - min(areas))
    assert found["least_people"] == membership_groups.LEAST_PEOPLE


def test_nobody_has_no_groups() -> None:
    assert by_group(np.zeros(0), np.zeros(0, dtype=bool), {}, PLAN) == []
