"""What is published about held-out people: who counts, how far, and what the noise leaves."""

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from rnn.privacy.histogram import Histogram
from rnn.privacy.ledger import Event, epsilon_of, single_epsilon
from rnn.privacy.noise import Keystream
from tasks.evidence import release
from tasks.evidence.audited import Audited, count
from tasks.evidence.counted import Counted, combined
from tasks.evidence.kept import kept
from tasks.evidence.release import (
    mechanisms_for,
    noised,
    overall,
    public_groups,
    reasons,
    table_reasons,
)
from tasks.evidence.score_table import (
    ScoreTable,
    coarse_edges,
    decided_bin,
    draws,
)
from tasks.evidence.table_intervals import difference, figures
from tasks.evidence.table_metrics import collapsed
from tasks.recipe import ReleasePlan

BINS = 4
EDGES = coarse_edges(0.5, BINS)
DECIDED = decided_bin(EDGES, 0.5)
PLAN = ReleasePlan(
    mode="noised",
    epsilon=3.0,
    delta=1e-6,
    threshold_epsilon=0.3,
    unit="person",
    max_rows=1,
    decision_share=0.5,
    score_bins=BINS,
    groups={"sex": ("f", "m", "unknown"), "age": ("young", "old", "unknown")},
    intersections=(("sex", "age"),),
)


def _people(size: int, seed: int) -> tuple[list[str], dict[str, list[str]], np.ndarray, np.ndarray]:
    """Ids (some with several rows), labels, outcomes and scores."""
    rng = np.random.default_rng(seed)
    ids = [f"p{i}" for i in rng.integers(0, size, size)]
    labels = {
        "sex": rng.choice(["f", "m", "unknown"], size).tolist(),
        "age": rng.choice(["young", "old", "unknown"], size).tolist(),
    }
    return ids, labels, rng.integers(0, 2, size), rng.random(size)


def _counted(plan: ReleasePlan, rows: np.ndarray, people: tuple, by_score: bool = True) -> Counted:
    """The exact tables of some rows, as a release counts them."""
    ids, labels, y, score = people
    rows = rows[kept(pl.Series([ids[row] for row in rows]), plan)]
    groups = public_groups(plan, {k: [v[row] for row in rows] for k, v in labels.items()})
    # By group, women are decided at 0.3.
    cut = np.where((np.array(labels["sex"]) == "f") & (not by_score), 0.3, 0.5)
    decision = (score >= cut).astype(int)
    data = Audited("binary", y[rows], decision[rows], score[rows], by_score=by_score)
    return count(data, groups, 0.5, EDGES)


@pytest.mark.parametrize("by_score", [True, False])
@pytest.mark.parametrize("most", [1, 2, 100])
def test_no_person_moves_the_tables_further_than_the_account_says(
    most: int, by_score: bool
) -> None:
    """Both tables together, each over the noise that it gets: what epsilon is made of."""
    plan = replace(PLAN, max_rows=most, decision_share=0.3)
    reached, together = np.zeros(2), 0.0
    mechanisms = mechanisms_for(plan, 3)
    noise = [m.noise_multiplier * m.sensitivity for m in mechanisms]
    for seed in range(3):
        people = _people(40, seed)
        ids = np.array(people[0])
        # One person of ten rows, all alike: the worst case of any bound.
        ids[:10] = "worst"
        people = (ids.tolist(), *people[1:])
        for values in (*people[1].values(), people[2], people[3]):
            values[:10] = [values[0]] * 10  # type: ignore[index]
        whole = _counted(plan, np.arange(40), people, by_score)
        for person in set(ids):
            rest = _counted(plan, np.flatnonzero(ids != person), people, by_score)
            assert rest.scores.labels == whole.scores.labels == whole.decisions.labels
            moved = np.array(
                [
                    np.linalg.norm(a.counts - b.counts)
                    for a, b in (
                        (whole.scores, rest.scores),
                        (whole.decisions, rest.decisions),
                    )
                ]
            )
            reached = np.maximum(reached, moved)
            together = max(together, float(np.linalg.norm(moved / noise)))
    assert [m.sensitivity for m in mechanisms] == pytest.approx([most * math.sqrt(3)] * 2)
    assert reached == pytest.approx(min(most, 10) * math.sqrt(3))
    # As one Gaussian release: never more than the plan's noise multiplier promises.
    promised = sum(m.noise_multiplier**-2 for m in mechanisms) ** 0.5
    assert together == pytest.approx(promised * min(most, 10) / most)
    spent = single_epsilon(noise_multiplier=1 / promised, delta=1e-6, pure_epsilon=0.3)
    assert 0.99 * plan.epsilon < spent <= plan.epsilon


def test_groups_are_those_of_the_recipe_whoever_is_there() -> None:
    groups = public_groups(PLAN, {"sex": ["f", "other", "m"], "age": ["old", "old", "young"]})
    assert groups.labels[:6] == ("f", "m", "unknown", "young", "old", "unknown")
    assert groups.labels[6:9] == ("f, young", "f, old", "f, unknown")
    assert groups.features[6:] == ("sex x age",) * 9
    named = [[groups.labels[code] for code in row] for row in groups.codes]
    assert named == [
        ["f", "old", "f, old"],
        ["unknown", "old", "unknown, old"],
        ["m", "young", "m, young"],
    ]
    alone = public_groups(PLAN, {"sex": ["f"], "age": ["old"]})
    assert (alone.features, alone.labels) == (groups.features, groups.labels)


def test_without_declared_labels_everyone_is_one_group() -> None:
    plan = replace(PLAN, groups={}, undeclared=("town",), intersections=())
    groups = public_groups(plan, {"town": ["a", "b"]})
    assert (groups.labels, groups.codes.tolist()) == (("everyone",), [[0], [0]])


def _exact(share: float = 0.5, people: int = 6000, seed: int = 0) -> ScoreTable:
    """Two features of the same people, the first group of the first with a share of them."""
    rng = np.random.default_rng(seed)
    rates = np.array([[4, 3, 2, 1], [1, 2, 4, 5]]) / 22
    first = np.stack([rates * share, rates * (1 - share)])
    counts = rng.multinomial(people, first.ravel()).reshape(first.shape)
    second = np.moveaxis(rng.multinomial(counts.sum(0), [0.6, 0.3, 0.1]), -1, 0)
    both = np.concatenate([counts, second]).astype(float)
    return ScoreTable(("sex", "sex", "age", "age", "age"), tuple("fmabc"), both, EDGES, DECIDED)


def _both(exact: ScoreTable, by_score: bool = True) -> Counted:
    """Both tables of people whose decisions follow from the score."""
    return Counted(exact, collapsed(exact), by_score)


def _drawn(exact: Counted, mechanisms: tuple[Histogram, Histogram], seed: int) -> Counted:
    """Noised tables, without the account that takes a while."""
    stream, tables = Keystream.from_seed(seed), (exact.scores, exact.decisions)
    found = [noised(t, m, stream) for t, m in zip(tables, mechanisms, strict=True)]
    return Counted(*found, exact.by_score)


def test_published_counts_carry_the_noise_of_the_account() -> None:
    exact = _both(_exact())
    tables, account = release.publish(exact, PLAN, Keystream.from_seed(0))
    stream = Keystream.from_seed(0)
    found = (tables.scores, exact.scores), (tables.decisions, exact.decisions)
    mechanisms = mechanisms_for(PLAN, 2)
    for (table, before), mechanism in zip(found, mechanisms, strict=True):
        # One stream for both: no number of it is used twice.
        assert np.array_equal(table.counts, mechanism.release(before.counts, stream))
        assert table.noise == mechanism.standard_deviation
    assert (account["noise"], account["decision_noise"]) == (
        tables.scores.noise,
        tables.decisions.noise,
    )
    assert account["sensitivity"] == math.sqrt(2)
    spent = single_epsilon(
        noise_multiplier=account["noise_multiplier"], delta=1e-6, pure_epsilon=0.3
    )
    assert account["epsilon"] == spent
    assert 0.99 * PLAN.epsilon < spent <= PLAN.epsilon
    # The same from the events, composed one by one.
    events = [Event(**event) for event in account["events"]]
    assert [event.people for event in events] == ["held-out"] * 3
    assert epsilon_of(events, 1e-6) == pytest.approx(spent, abs=2e-3)
    assert account["threshold"]["epsilon"] == 0.3
    assert (account["people"], account["composition"]) == (
        "held-out",
        "parallel with training: max",
    )
    assert (account["noise_source"], account["insecure"]) == ("insecure seed", False)
    json.dumps(account, allow_nan=False)


def test_a_stated_threshold_costs_nothing_and_leaves_more() -> None:
    exact = _both(_exact())
    with_choice = release.publish(exact, PLAN, Keystream.from_seed(0))[1]
    without = release.publish(exact, replace(PLAN, threshold_epsilon=0.0), Keystream.from_seed(0))[
        1
    ]
    assert without["threshold"] is None
    assert without["noise"] < with_choice["noise"]


def test_noise_twice_is_refused() -> None:
    table = noised(_exact(), Histogram(2, 1.0), Keystream.from_seed(0))
    with pytest.raises(ValueError, match="2 exact ones"):
        noised(table, Histogram(2, 1.0), Keystream.from_seed(0))
    with pytest.raises(ValueError, match="for 3 exact ones"):
        noised(_exact(), Histogram(3, 1.0), Keystream.from_seed(0))


def test_everyone_is_the_best_sum_of_all_features() -> None:
    exact, mechanism = _exact(), Histogram(2, 4.0)
    assert overall(exact).counts == pytest.approx(exact.counts[:2].sum(0, keepdims=True))
    errors = np.stack(
        [
            overall(noised(exact, mechanism, Keystream.from_seed(s))).counts[0]
            - exact.counts[:2].sum(0)
            for s in range(600)
        ]
    )
    table = noised(exact, mechanism, Keystream.from_seed(0))
    # 1 / (1/2 + 1/3), below the 2 and 3 counts of either feature.
    assert (overall(table).noise / table.noise) ** 2 == pytest.approx(1.2)
    assert (errors**2).mean() / table.noise**2 == pytest.approx(1.2, abs=0.08)


def test_resampled_tables_lie_around_the_released_one_with_as_much_noise() -> None:
    """Cells of no people show noise alone."""
    zero = np.zeros((5, 2, BINS))
    zero[[0, 2], :, 0] = 1e6
    exact = ScoreTable(("sex",) * 2 + ("age",) * 3, tuple("fmabc"), zero, EDGES, DECIDED)
    table = noised(exact, Histogram(2, 50.0), Keystream.from_seed(1))
    drawn = np.concatenate(list(draws(table, 4000, 0)))
    quiet = np.s_[:, :, :, 1:]
    assert drawn[quiet].mean(0) == pytest.approx(table.counts[quiet[1:]], abs=12)
    # People that only noise put there are resampled too, a few in 70.
    assert drawn[quiet].var(0).mean() / table.noise**2 == pytest.approx(1.0, abs=0.03)


def test_reasons_by_hand() -> None:
    counts = np.zeros((4, 2, BINS))
    counts[0] = 100
    counts[1] = 3
    counts[2, 0], counts[2, 1] = 100, 2
    counts[3, :, :2], counts[3, :, 2:] = 100, 4
    table = ScoreTable(("x",) * 4, tuple("abcd"), counts, EDGES, DECIDED, noise=3.0)
    found = table_reasons(table, people=30, events=10)
    assert {level: why[0] for level, why in found.items()} == dict.fromkeys(found)
    assert found["people"][1:] == ["fewer than 30 people", None, None]
    assert found["outcome"][1:3] == [
        "fewer than 30 people",
        "fewer than 10 people with one outcome",
    ]
    # 16 favourable decisions are the sum of four counts: noise of 6 is more than a fifth.
    assert found["decision"][3] == "too few people with one decision for noise of 6"
    assert found["cells"][2] == found["outcome"][2]
    assert found["cells"][3] == found["decision"][3]
    assert not any(table_reasons(replace(table, noise=0.1), 1, 1)["cells"])


def test_noise_of_either_table_withholds_its_own_figures_alone() -> None:
    counts = np.full((1, 2, BINS), 50.0)
    scores = ScoreTable(("x",), ("a",), counts, EDGES, DECIDED, noise=30.0)
    decisions = replace(collapsed(replace(scores, noise=0.0)), noise=1.0)
    found = reasons(Counted(scores, decisions), people=30, events=10)
    assert {level for level, (why,) in found.items() if why} == {"scores", "curves"}
    loud = Counted(replace(scores, noise=1.0), replace(decisions, noise=30.0))
    found = reasons(loud, people=30, events=10)
    assert {level for level, (why,) in found.items() if why} == {
        "outcome", "decision", "cells"
    }  # fmt: skip


def test_decisions_make_use_of_the_score_bins() -> None:
    """Errors are those of the least squares mean, and the table says no less noise."""
    exact = _both(_exact())
    mechanisms = mechanisms_for(replace(PLAN, decision_share=0.4), 2)
    errors = []
    for seed in range(400):
        tables = _drawn(exact, mechanisms, seed)
        both = combined(tables)
        errors.append(both.decisions.counts - exact.decisions.counts)
    # Two score bins each: 1 / (1 / d^2 + 1 / (2 s^2)).
    noise = [table.noise for table in (tables.scores, tables.decisions)]
    expected = (1 / noise[1] ** 2 + 1 / (2 * noise[0] ** 2)) ** -0.5
    assert both.decisions.noise == pytest.approx(expected)
    assert np.std(errors) == pytest.approx(expected, rel=0.03)
    assert expected < 0.9 * noise[1]
    assert np.mean(errors, axis=0) == pytest.approx(0, abs=4.5 * expected / 20)
    assert both.scores is tables.scores
    # Thresholds by group: bins say nothing of decisions.
    apart = replace(tables, by_score=False)
    assert combined(apart) is apart


@pytest.mark.parametrize("factor", [1.0, 0.95])
def test_noise_of_095_would_be_seen(factor: float) -> None:
    """Both tables of empty groups hold noise alone: 40,000 counts."""
    empty = np.zeros((5000, 2, BINS))
    tables = ("x",) * 5000, tuple(map(str, range(5000)))
    exact = _both(ScoreTable(*tables, empty, EDGES, DECIDED))
    plan = replace(PLAN, epsilon=1.0, threshold_epsilon=0.0)
    drawn = release.publish(exact, plan, Keystream.from_seed(3))[0]
    for table, mechanism in zip(
        (drawn.scores, drawn.decisions), mechanisms_for(plan, 1), strict=True
    ):
        claimed = mechanism.noise_multiplier * mechanism.sensitivity
        seen = factor * table.counts.std() / math.hypot(claimed, 12**-0.5)
        # Of n counts the standard deviation errs by 1 / sqrt(2 n).
        off = abs(seen - 1) * math.sqrt(2 * table.counts.size)
        assert (off < 4) == (factor == 1)


@pytest.mark.parametrize(("share", "epsilon"), [(0.5, 1.0), (0.2, 1.0), (0.05, 3.0)])
def test_intervals_hold_the_truth_with_noise_and_would_not_without(
    share: float, epsilon: float
) -> None:
    """Few draws; benchmarks/release.py has many."""
    plan = replace(PLAN, epsilon=epsilon, threshold_epsilon=epsilon / 10)
    mechanisms = mechanisms_for(plan, 2)
    held, blind = [], []
    for seed in range(300):
        table = combined(_drawn(_both(_exact(share, seed=seed)), mechanisms, seed)).decisions
        for kind, out in ((table, held), (replace(table, noise=1e-9), blind)):
            sex = replace(kind, features=("sex",) * 2, labels=("f", "m"), counts=kind.counts[:2])
            found = figures(sex, ("selection_rate", "tpr"), 0.95, 400, seed)
            row = []
            for name, true in (("selection_rate", 12 / 22), ("tpr", 9 / 12)):
                gap = difference(found[name][[0]], found[name][[1]])
                row += [found[name].low[0] <= true <= found[name].high[0]]
                row += [gap.low[0] <= 0 <= gap.high[0]]
            out.append(row)
    # Of 300 draws, 94 % fall below 0.89 with a chance of about 0.001.
    assert np.mean(held, axis=0).min() >= 0.89
    if share < 0.5:
        assert np.mean(blind, axis=0).min() < 0.9


def test_calibration_error_of_noise_alone_is_told_from_a_true_one() -> None:
    """Scores of the two groups are calibrated at 0.125, 0.375, ...; then 0.2 too high."""
    score = (EDGES[1:] + EDGES[:-1]) / 2
    mechanism = Histogram(1, 6.0)
    for shift in (0.0, 0.2):
        rate = np.clip(score - shift, 0, 1)
        chances = np.stack([1 - rate, rate])[None] / BINS * np.array([0.3, 0.7])[:, None, None]
        true = np.sqrt(np.mean((rate - score) ** 2))
        held = []
        for seed in range(150):
            counts = np.random.default_rng(seed).multinomial(4000, chances.ravel())
            exact = ScoreTable(
                ("sex",) * 2, tuple("fm"), counts.reshape(chances.shape).astype(float), EDGES,
                DECIDED,
            )  # fmt: skip
            table = noised(exact, mechanism, Keystream.from_seed(seed))
            found = figures(table, ("ece",), 0.95, 10, seed)["ece"]
            held.append((found.low <= true) & (true <= found.high))
            if shift:
                assert (found.low > 0.05).all()
        assert np.mean(held, axis=0).min() >= 0.89
