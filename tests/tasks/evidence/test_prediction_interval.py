"""Half widths of intervals: what is set aside, what the private choice promises, what it covers."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from rnn.privacy.choice import weights
from rnn.privacy.ledger import epsilon_of
from rnn.privacy.noise import Keystream
from tasks.evidence import prediction_interval
from tasks.evidence.metrics import Predictions
from tasks.evidence.prediction_interval import (
    account,
    ends,
    event_of,
    exact_half_width,
    half_widths,
    private_half_width,
    sensitivity,
    setting_aside,
    shortfalls,
    spare,
)
from tasks.evidence.set_aside import with_intervals
from tasks.params import UserError
from tasks.table.split import shares as split_shares
from tests.heldout import RELEASE

BOUNDS = (0.0, 40.0)
PLAN = replace(RELEASE, mode="suppressed", epsilon=1.0)


def test_half_of_the_people_are_set_aside_by_their_ids_alone() -> None:
    ids = pl.Series([f"p{i}" for i in range(4000)])
    aside = setting_aside(ids)
    assert stats.binomtest(int(aside.sum()), 4000).pvalue > 0.001
    order = np.random.default_rng(0).permutation(4000)[:900]
    assert (setting_aside(ids.gather(order)) == aside[order]).all()
    # Whoever a split holds out is as likely to be in either half.
    held = split_shares(ids, "salt") > 0.7
    assert stats.binomtest(int(aside[held].sum()), int(held.sum())).pvalue > 0.001


def test_candidates_are_public_and_end_with_the_whole_range() -> None:
    widths = half_widths((-5.0, 15.0))
    assert len(widths) == prediction_interval.CANDIDATES
    assert (np.diff(widths) > 0).all()
    assert widths[0] == pytest.approx(20 * prediction_interval.NARROWEST)
    assert widths[-1] == 20
    # Each is 2.3 % wider than the one before.
    assert widths[1:] / widths[:-1] == pytest.approx(1.0234, abs=1e-4)


def test_what_is_aimed_at_by_hand() -> None:
    assert sensitivity(0.9, 3) == Fraction("2.7")
    # A low level moves by who is outside.
    assert sensitivity(0.25, 1) == Fraction("0.75")
    # Chances fall by exp(-r) a person, r = 2 / 5.4; 500 candidates.
    rate = 2 / 5.4
    by_hand = math.log(500) / rate + 1 / (1 - math.exp(-rate))
    assert float(spare(0.9, 2.0, 3)) == pytest.approx(by_hand) == pytest.approx(20.01, abs=0.01)
    # The sum over ranks that it stands for: what is outside beyond 1 - level.
    people = np.arange(0.0, 2000.0)
    outside = np.minimum(1.0, 500 * np.exp(-rate * (people + 0.5))).sum()
    assert outside <= by_hand <= outside + 2


def test_shortfalls_by_hand() -> None:
    widths = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    residuals = np.array([0.5, 1.5, 2.5, 2.6, 9.0])
    # Half of six, and one more: four people are wanted; within are 1, 2, 4, 4 and all.
    found = shortfalls(residuals, widths, 0.5, Fraction(1))
    assert found == [3, 2, 0, 0, 0]
    # Two and a half are wanted: 3 is the smallest that is wide enough, 4 and 5 are too wide.
    found = shortfalls(residuals, widths, 0.5, Fraction(-1, 2))
    assert found == [Fraction(3, 2), Fraction(1, 2), 0, Fraction(3, 2), Fraction(3, 2)]
    # More than there are: only the whole range is wide enough.
    assert shortfalls(residuals, widths, 0.5, Fraction(50))[-2:] == [49, 0]
    assert shortfalls(np.zeros(0), widths, 0.9, Fraction(0))[-1] == 0


def _residuals(people: int, seed: int = 0) -> np.ndarray:
    """Errors of a made-up model."""
    return np.abs(np.random.default_rng(seed).normal(0, 3, people))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_no_person_moves_a_shortfall_further_than_stated(level: float) -> None:
    more, widths, most = spare(level, 1.0, 1), half_widths(BOUNDS), sensitivity(level, 1)
    residuals = np.r_[_residuals(60), 0.0, 39.0]
    whole = shortfalls(residuals, widths, level, more)
    moved = Fraction(0)
    for person in range(len(residuals)):
        rest = shortfalls(np.delete(residuals, person), widths, level, more)
        moved = max(moved, *(abs(a - b) for a, b in zip(whole, rest, strict=True)))
    assert moved <= most
    if level == 0.5:
        # It is reached: half of it would be too little. (At other levels the spare hides it.)
        assert moved > most / 2


def _chances(residuals: np.ndarray, epsilon: float, moves: Fraction) -> np.ndarray:
    """Chance of each candidate."""
    found = weights(
        shortfalls(residuals, half_widths(BOUNDS), 0.9, spare(0.9, epsilon, 1)),
        epsilon=epsilon,
        sensitivity=moves,
    )
    total = sum(found)
    return np.array([one / total for one in found])


def test_neighbours_choose_alike_within_epsilon() -> None:
    epsilon, people = 1.0, np.sort(_residuals(300))
    right = sensitivity(0.9, 1)
    worst = {right: 0.0, right / 4: 0.0}
    for person in (0, 150, 269, 272, 299):
        rest = np.delete(people, person)
        for moves in worst:
            a, b = (_chances(p, epsilon, moves) for p in (people, rest))
            seen = (a > 0) & (b > 0)
            ratio = float(np.abs(np.log(a[seen] / b[seen])).max())
            worst[moves] = max(worst[moves], ratio)
    assert worst[right] <= epsilon
    # With a sensitivity stated too small, the promise is broken, and this would find it.
    assert worst[right / 4] > epsilon


def test_the_choice_is_made_at_the_stated_price(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def choose(distances: list[Fraction], **how: Any) -> int:
        asked.update(how, distances=distances)
        return 7

    monkeypatch.setattr(prediction_interval, "choose", choose)
    plan, stream = replace(PLAN, max_rows=2), Keystream.from_seed(0)
    residuals = _residuals(50)
    assert private_half_width(residuals, 0.9, BOUNDS, plan, stream) == half_widths(BOUNDS)[7]
    assert asked == {
        "distances": shortfalls(residuals, half_widths(BOUNDS), 0.9, spare(0.9, 1.0, 2)),
        "epsilon": event_of(plan).epsilon,
        "sensitivity": Fraction("1.8"),
        "stream": stream,
    }
    assert event_of(plan).epsilon == 1.0


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_intervals_cover_what_they_say(epsilon: float) -> None:
    level, people, runs = 0.9, 500, 60
    plan = replace(PLAN, epsilon=epsilon)
    rng = np.random.default_rng(1)
    covered, narrow, widths = 0, 0, []
    for run in range(runs):
        residuals, fresh = np.abs(rng.normal(0, 3, (2, people)))
        stream = Keystream.from_seed(run)
        width = private_half_width(residuals, level, BOUNDS, plan, stream)
        # Residuals of people the model has seen are smaller than those of others.
        seen = private_half_width(0.7 * residuals, level, BOUNDS, plan, Keystream.from_seed(run))
        covered += int((fresh <= width).sum())
        narrow += int((fresh <= seen).sum())
        widths.append(width)
    of = runs * people
    # People of one run share their width: its own spread widens the binomial error.
    spread = math.sqrt(level * (1 - level) * (1 / of + 1 / of))
    assert covered / of >= level - 3 * spread
    # And not much more than that: what is kept for an unlucky draw, twice.
    assert covered / of <= level + 2 * float(spare(level, epsilon, 1)) / people
    assert narrow / of < level - 3 * spread
    assert np.mean(widths) > 3 * stats.halfnorm.ppf(0.9)


def test_an_exact_width_covers_too_and_is_the_smallest() -> None:
    residuals = np.arange(1.0, 10.0)
    # Nine of ten: the ninth of nine residuals, and the next candidate above it.
    width = exact_half_width(residuals, 0.9, BOUNDS)
    widths = half_widths(BOUNDS)
    assert width == widths[widths >= 9].min()
    # 0.95 x 10 is more than nine people: nothing but the whole range is wide enough.
    assert exact_half_width(residuals, 0.95, BOUNDS) == 40


def test_few_people_give_the_whole_range_not_a_guess() -> None:
    chosen = [
        private_half_width(_residuals(4), 0.9, BOUNDS, PLAN, Keystream.from_seed(seed))
        for seed in range(20)
    ]
    # Four people cannot tell where nine tenths lie, and the choice among all is nearly even but
    # for the whole range, which is the only one that is never too narrow.
    assert chosen.count(40.0) > 2


def test_ends_stay_within_the_bounds() -> None:
    low, high = ends(np.array([1.0, 20.0, 39.0, 45.0]), 3.0, BOUNDS)
    assert low.tolist() == [0, 17, 36, 40]
    assert high.tolist() == [4, 23, 40, 40]


def test_the_account_is_what_a_ledger_adds_up() -> None:
    told = account(PLAN, Keystream.from_seed(0))
    assert told["epsilon"] == epsilon_of([event_of(PLAN)], 0.0) == pytest.approx(1.0, abs=1e-3)
    assert told["insecure"] and told["events"] == [event_of(PLAN).as_dict()]


def _made(people: int) -> tuple[pl.Series, np.ndarray, dict[str, Predictions]]:
    """People, truth and two models' predictions."""
    rng = np.random.default_rng(3)
    truth = rng.uniform(0, 40, people)
    scores = truth + rng.normal(0, 2, people)
    one = Predictions(scores, scores, np.abs(truth - scores), None)
    ids = pl.Series([f"p{i}" for i in range(people)])
    return ids, truth, {"model": one, "twin": replace(one, scores=truth, predicted=truth)}


def test_who_gives_the_width_is_measured_nowhere() -> None:
    ids, truth, made = _made(2000)
    found = with_intervals(ids, truth, made, 0.9, BOUNDS, PLAN)
    aside = setting_aside(ids)
    assert (found.rows == ~aside).all()
    model = found.made["model"]
    assert model.low is not None and model.high is not None
    assert len(model.scores) == len(model.losses) == len(model.low) == found.rows.sum()
    inside = (model.low <= truth[~aside]) & (truth[~aside] <= model.high)
    assert stats.binomtest(int(inside.sum()), len(inside), 0.9, "less").pvalue > 0.001
    assert found.interval["half_width"] in half_widths(BOUNDS)
    # Of the twin, which errs nowhere, the narrowest is enough.
    twin = found.made["twin"]
    assert twin.high is not None and (twin.high - truth[~aside]).max() < 1e-3
    # Whoever is measured moves nothing: other truths of theirs leave the width as it was.
    other = np.where(aside, truth, 40 - truth)
    assert with_intervals(ids, other, made, 0.9, BOUNDS, PLAN).interval == found.interval
    moved = np.where(aside, 40 - truth, truth)
    assert with_intervals(ids, moved, made, 0.9, BOUNDS, PLAN).interval != found.interval


def test_nobody_left_to_measure_is_one_line() -> None:
    ids, truth, made = _made(40)
    only = int(np.flatnonzero(setting_aside(ids))[0])
    made = {n: Predictions(m.scores[[only]], m.predicted[[only]], m.losses[[only]], None)
            for n, m in made.items()}  # fmt: skip
    with pytest.raises(UserError, match=r"predict\.interval = 0\.9: all 1 held-out rows"):
        with_intervals(ids.gather([only]), truth[[only]], made, 0.9, BOUNDS, PLAN)
