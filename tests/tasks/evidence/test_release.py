"""What is published about held-out people: who counts, how far, and what the noise leaves."""

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from rnn.privacy.histogram import Histogram
from rnn.privacy.ledger import single_epsilon
from rnn.privacy.noise import Keystream
from tasks.evidence import release
from tasks.evidence.release import (
    mechanism_for,
    noised,
    overall,
    public_groups,
    reasons,
)
from tasks.evidence.score_table import (
    ScoreTable,
    coarse_edges,
    decided_bin,
    draws,
    tabulate,
)
from tasks.evidence.table_intervals import difference, figures
from tasks.evidence.threshold import kept
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


def _table(plan: ReleasePlan, rows: np.ndarray, people: tuple) -> ScoreTable:
    """The exact table of some rows, as a release counts it."""
    ids, labels, y, score = people
    rows = rows[kept(pl.Series([ids[row] for row in rows]), plan)]
    groups = public_groups(plan, {k: [v[row] for row in rows] for k, v in labels.items()})
    decision = (score >= 0.5).astype(int)
    return tabulate(
        groups.features, groups.labels, groups.codes, y[rows], score[rows], decision[rows],
        EDGES, DECIDED,
    )  # fmt: skip


@pytest.mark.parametrize("most", [1, 2, 100])
def test_no_person_moves_the_table_further_than_the_account_says(most: int) -> None:
    plan = replace(PLAN, max_rows=most)
    reached = 0.0
    for seed in range(3):
        people = _people(40, seed)
        ids = np.array(people[0])
        # One person of ten rows, all alike: the worst case of any bound.
        ids[:10] = "worst"
        people = (ids.tolist(), *people[1:])
        for values in (*people[1].values(), people[2], people[3]):
            values[:10] = [values[0]] * 10  # type: ignore[index]
        whole = _table(plan, np.arange(40), people)
        for person in set(ids):
            rest = _table(plan, np.flatnonzero(ids != person), people)
            assert rest.labels == whole.labels
            reached = max(reached, float(np.linalg.norm(whole.counts - rest.counts)))
    mechanism = mechanism_for(plan, len(whole.tables))
    assert mechanism.sensitivity == pytest.approx(most * math.sqrt(3))
    assert reached == pytest.approx(min(most, 10) * math.sqrt(3))


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


def test_published_counts_carry_the_noise_of_the_account() -> None:
    exact = _exact()
    table, account = release.publish(exact, PLAN, Keystream.from_seed(0))
    mechanism = Histogram(2, account["noise_multiplier"])
    raw = mechanism.release(exact.counts, Keystream.from_seed(0))
    assert np.array_equal(table.counts, raw)
    assert table.noise == account["noise"] == mechanism.standard_deviation
    assert account["sensitivity"] == math.sqrt(2)
    spent = single_epsilon(
        noise_multiplier=account["noise_multiplier"], delta=1e-6, pure_epsilon=0.3
    )
    assert account["epsilon"] == spent
    assert 0.99 * PLAN.epsilon < spent <= PLAN.epsilon
    assert account["threshold"]["epsilon"] == 0.3
    assert (account["people"], account["composition"]) == (
        "held-out",
        "parallel with training: max",
    )
    assert (account["noise_source"], account["insecure"]) == ("insecure seed", False)
    json.dumps(account, allow_nan=False)


def test_a_stated_threshold_costs_nothing_and_leaves_more() -> None:
    exact = _exact()
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
    found = reasons(table, people=30, events=10)
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
    assert not any(reasons(replace(table, noise=0.1), 1, 1)["cells"])


@pytest.mark.parametrize(("share", "epsilon"), [(0.5, 1.0), (0.2, 1.0), (0.05, 3.0)])
def test_intervals_hold_the_truth_with_noise_and_would_not_without(
    share: float, epsilon: float
) -> None:
    """Few draws; benchmarks/release.py has many."""
    plan = replace(PLAN, epsilon=epsilon, threshold_epsilon=epsilon / 10)
    mechanism = mechanism_for(plan, 2)
    held, blind = [], []
    for seed in range(150):
        table = noised(_exact(share, seed=seed), mechanism, Keystream.from_seed(seed))
        for kind, out in ((table, held), (replace(table, noise=1e-9), blind)):
            sex = replace(kind, features=("sex",) * 2, labels=("f", "m"), counts=kind.counts[:2])
            found = figures(sex, ("selection_rate", "tpr"), 0.95, 400, seed)
            row = []
            for name, true in (("selection_rate", 12 / 22), ("tpr", 9 / 12)):
                gap = difference(found[name][[0]], found[name][[1]])
                row += [found[name].low[0] <= true <= found[name].high[0]]
                row += [gap.low[0] <= 0 <= gap.high[0]]
            out.append(row)
    # Of 150 draws, 95 % fall below 0.89 with a chance of about 0.002.
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
