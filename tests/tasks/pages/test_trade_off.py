"""The promise as a curve, against closed forms; points stand where attacks were."""

import math
import re
from statistics import NormalDist

import numpy as np
import pytest

from rnn.privacy.event import Event
from rnn.privacy.ledger import epsilon_of
from tasks.pages.trade_off import Promise, points_of, promise_of, trade_off
from tasks.params import UserError
from tests import fake

NORMAL = NormalDist()
DELTA = 1e-5


def _gaussian(noise: float) -> dict[str, object]:
    """A ledger of one Gaussian release, for which everything is known exactly."""
    event = Event(released="a sum", people="training", mechanism="gaussian", noise_multiplier=noise)
    epsilon = epsilon_of([event], DELTA)
    return {"events": [event.as_dict()], "epsilon": epsilon, "delta": DELTA}


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0, 5.0])
def test_a_gaussian_release_gives_the_gaussian_curve(noise: float) -> None:
    promise = promise_of(_gaussian(noise))
    for rate in (0.001, 0.01, 0.1, 0.5, 0.9):
        exact = NORMAL.cdf(NORMAL.inv_cdf(rate) + 1 / noise)
        found = promise.most_found(rate)
        # An upper bound, and a tight one.
        assert exact - 1e-9 <= found <= exact + 0.004, (rate, exact, found)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_the_best_guess_of_a_gaussian_release(noise: float) -> None:
    promise, mu = promise_of(_gaussian(noise)), 1 / noise
    even = NORMAL.cdf(mu / 2)
    assert promise.best_guess(0.5) == pytest.approx(even, abs=2e-4)
    # The likelihood ratio test at one in ten.
    bar = mu / 2 + math.log(9) / mu
    tenth = 0.9 * NORMAL.cdf(bar) + 0.1 * (1 - NORMAL.cdf(bar - mu))
    assert promise.best_guess(0.1) == pytest.approx(tenth, abs=2e-4)


def test_the_curve_is_never_above_what_epsilon_and_delta_say() -> None:
    from tasks.figures import most_found

    ledger = _gaussian(1.0)
    promise = promise_of(ledger)
    for rate in np.geomspace(1e-4, 1, 40):
        stated = most_found(float(rate), promise.epsilon, DELTA)
        assert promise.most_found(float(rate)) <= stated + 1e-6


def test_simulated_attackers_stay_under_the_curve_and_touch_it() -> None:
    """A thousand neighbours of subsampled Gaussian steps, attacked by their likelihood ratio."""
    rng, rate, noise, steps, runs = np.random.default_rng(0), 0.2, 1.5, 20, 40_000
    event = Event(released="steps", people="training", mechanism="sampled_gaussian",
                  noise_multiplier=noise, sample_rate=rate, count=steps)  # fmt: skip
    ledger = {"events": [event.as_dict()], "epsilon": epsilon_of([event], DELTA), "delta": DELTA}
    promise = promise_of(ledger)

    def score(member: bool) -> np.ndarray:
        there = rng.random((runs, steps)) < rate if member else np.zeros((runs, steps), bool)
        seen = there + noise * rng.normal(size=(runs, steps))
        ratio = 1 - rate + rate * np.exp((2 * seen - 1) / (2 * noise**2))
        return np.log(ratio).sum(1)

    inside, outside = score(True), score(False)
    for wanted in (0.01, 0.1, 0.5):
        found = float((inside > np.quantile(outside, 1 - wanted)).mean())
        most = promise.most_found(wanted)
        assert found <= most + 4 * math.sqrt(most * (1 - most) / runs) + 4e-3
        assert found >= 0.9 * most, "a curve far above every attack says too little"


def test_held_out_events_are_no_part_of_it() -> None:
    ledger = _gaussian(2.0)
    other = {**ledger["events"][0], "people": "held-out", "noise_multiplier": 0.5}  # type: ignore[index]
    assert promise_of({**ledger, "events": [*ledger["events"], other]}) == promise_of(ledger)  # type: ignore[misc]


def test_what_promises_nothing_is_the_whole_square() -> None:
    none = promise_of({"events": [], "epsilon": 200.0, "delta": DELTA})
    assert (none.most_found(0.0), none.best_guess(0.5)) == (1.0, 1.0)
    all_of_it = promise_of({"events": [], "epsilon": 0.0, "delta": DELTA})
    assert all_of_it.most_found(0.01) == pytest.approx(0.01)
    assert all_of_it.best_guess(0.5) == 0.5


def test_an_event_of_another_shape_is_one_line() -> None:
    event = {**_gaussian(1.0)["events"][0], "mechanism": "magic"}  # type: ignore[index]
    with pytest.raises(UserError, match=r"model/ledger\.json: events") as caught:
        promise_of({"events": [event], "epsilon": 1.0, "delta": DELTA})
    assert "\n" not in str(caught.value)


def test_points_of_both_forms() -> None:
    mine = {"false_positive_rate": 0.1, "value": 0.2, "low": 0.1, "high": 0.3}
    theirs = {"false_positive_rate": 0.1, "true_positive_rate": 0.2, "low": 0.1, "high": 0.3}
    assert points_of([mine]) == points_of([theirs])
    assert points_of(None) == []


def test_every_point_is_in_the_table_with_the_bound_at_its_rate() -> None:
    promise = promise_of(fake.ledger())
    points = fake.null_block()["points"]
    shown = trade_off("p", promise, {"null block": points, "empty": []})
    rows = {row[0]: row[1:] for row in shown.table.rows}
    assert rows["10.0 %, null block"][2] == "14.0 % (9.0 to 19.0)"
    assert rows["10.0 %, null block"][0] == rows["10.0 %"][0]
    assert rows["1.0 %"][2] == "–"
    assert len(rows) == 9
    svg = str(shown.svg)
    assert "null block" in svg and "empty" not in svg
    assert 'role="img"' in svg and "p-title p-desc" in svg
    assert not re.search(r"#[0-9a-fA-F]{6}\b", re.sub(r"var\([^)]*\)", "", svg))


def test_a_hostile_name_of_an_attack_is_text() -> None:
    promise = Promise(1.0, DELTA, (0.0,), (0.3,))
    points = fake.null_block()["points"]
    assert "<script" not in str(trade_off("p", promise, {"<script>x</script>": points}).svg)
