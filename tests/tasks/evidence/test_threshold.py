"""The threshold of a wanted share, exactly and privately, and which rows of a person count."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from rnn.privacy.noise import Keystream
from tasks.evidence.kept import kept
from tasks.evidence.threshold import (
    distances,
    draw_name,
    exact_threshold,
    grid,
    keystream,
    private_threshold,
)
from tests.heldout import RELEASE


def test_exact_threshold_by_hand() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    # Favourable is no event: half of the people lie below anything in (0.2, 0.3].
    assert exact_threshold(scores, 0.5, favourable_event=False) == 0.201
    assert exact_threshold(scores, 0.5, favourable_event=True) == 0.201
    assert exact_threshold(scores, 0.75, favourable_event=True) == 0.101


@pytest.mark.parametrize("favourable_event", [True, False])
@pytest.mark.parametrize("rate", [0.05, 0.5, 0.8])
def test_exact_threshold_reaches_the_rate_and_is_nobody_s_score(
    favourable_event: bool, rate: float
) -> None:
    scores = np.random.default_rng(0).beta(1, 4, 5000)
    threshold = exact_threshold(scores, rate, favourable_event)
    event = scores >= threshold
    share = event.mean() if favourable_event else 1 - event.mean()
    assert share == pytest.approx(rate, abs=0.01)
    assert threshold * 1000 == pytest.approx(round(threshold * 1000), abs=1e-9)
    assert threshold not in scores


def test_distances_by_hand() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    # At 0.25 two of four lie below, at 0.35 three; one and a half are wanted.
    found = distances(scores, Fraction("0.375"), favourable_event=False)
    assert (found[249], found[349]) == (Fraction(1, 2), Fraction(3, 2))
    assert distances(scores, Fraction("0.375"), favourable_event=True)[349] == Fraction(1, 2)


@pytest.mark.parametrize("favourable_event", [True, False])
@pytest.mark.parametrize("rate", ["0.1", "0.5", "0.83"])
def test_no_person_moves_a_distance_further_than_stated(rate: str, favourable_event: bool) -> None:
    wanted = Fraction(rate)
    scores = np.random.default_rng(1).beta(1, 3, 60)
    # People at the ends, whom every threshold decides alike, move distances the most.
    scores[:2] = 0.0, 1.0
    whole = distances(scores, wanted, favourable_event)
    moves = [
        max(
            abs(a - b)
            for a, b in zip(
                whole, distances(np.delete(scores, person), wanted, favourable_event), strict=True
            )
        )
        for person in range(len(scores))
    ]
    assert max(moves) == max(wanted, 1 - wanted)


@pytest.mark.parametrize("favourable_event", [True, False])
def test_private_threshold_is_close_and_closer_with_more_epsilon(favourable_event: bool) -> None:
    scores = np.random.default_rng(2).beta(1, 3, 6000)

    def missed(epsilon: float) -> float:
        plan = replace(RELEASE, threshold_epsilon=epsilon)
        shares = []
        for seed in range(40):
            stream = Keystream.from_seed(seed)
            threshold = private_threshold(scores, 0.8, favourable_event, plan, stream)
            assert threshold in grid()
            share = float((scores >= threshold).mean())
            shares.append(share if favourable_event else 1 - share)
        return float(np.abs(np.array(shares) - 0.8).mean())

    # (2 x 0.8 / epsilon) x ln 999 people of 6,000 are 0.6 % at epsilon 0.3.
    assert missed(0.3) < 0.006
    assert missed(0.3) < missed(0.02) / 3


def test_rows_of_a_person_are_bounded_whoever_else_is_there() -> None:
    people = pl.Series([f"p{i % 40}" for i in range(200)] + ["alone"])
    plan = replace(RELEASE, max_rows=2)
    found = kept(people, plan)
    assert pl.Series(people.filter(pl.Series(found))).value_counts()["count"].max() == 2
    assert found.sum() == 81
    assert found[-1]
    # Without one person the others keep the same rows.
    others = (people != "p7").to_numpy()
    assert np.array_equal(kept(people.filter(pl.Series(others)), plan), found[others])
    # Which rows are kept is no matter of their order.
    first = kept(pl.Series(["a"] * 50), replace(RELEASE, max_rows=10))
    assert first[10:].any()
    assert kept(people, replace(plan, max_rows=5)).all()
    assert kept(people, replace(plan, unit="record")).all()


def test_streams_differ_by_release_and_repeat_only_when_seeded() -> None:
    def numbers(number: int, seed: int | None) -> list[int]:
        plan = replace(RELEASE, insecure_seed=seed)
        return keystream(plan, number).integers(4).tolist()

    assert numbers(1, 5) == numbers(1, 5)
    assert numbers(1, 5) != numbers(2, 5)
    assert numbers(1, None) != numbers(1, None)
    assert keystream(replace(RELEASE, insecure_seed=None), 1).source == "operating system"
    assert keystream(RELEASE, 1).source == "insecure seed"


def test_each_private_choice_has_a_name_and_a_public_threshold_has_none() -> None:
    drawn = replace(RELEASE, mode="noised", insecure_seed=None, threshold_epsilon=0.3)
    assert draw_name(drawn) != draw_name(drawn)
    assert draw_name(replace(drawn, insecure_seed=1)) == "seeded"
    assert draw_name(replace(drawn, threshold_epsilon=0.0)) is None
