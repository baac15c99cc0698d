"""The privacy section says what the files say, and nothing of what is missing."""

from typing import Any

import pytest

from rnn.config import PrivacySpent
from tasks.pages import privacy
from tasks.pages.trade_off import promise_of
from tests import fake
from tests.tasks.test_report import SPENT

SOURCE = {
    "kind": "noised", "epsilon": 2.99, "delta": 1e-6,
    "events": [
        {"released": "the threshold", "people": "held-out", "mechanism": "stated",
         "epsilon": 0.3, "noise_multiplier": None, "sample_rate": 1.0, "count": 1},
        {"released": "noised tables of held-out people", "people": "held-out",
         "mechanism": "gaussian", "noise_multiplier": 1.66, "sample_rate": 1.0, "count": 1},
    ],
}  # fmt: skip


def _section(**changes: Any) -> dict[str, Any]:
    found = {
        "spent": PrivacySpent(**SPENT), "ledger": fake.ledger(), "null_block": fake.null_block(),
        "promise": promise_of(fake.ledger()), "audit": {"source": SOURCE},
    } | changes  # fmt: skip
    return privacy.section(found, "words", "Held out.")


def test_every_event_stands_with_its_parameters_and_both_sums() -> None:
    rows = _section()["ledger"].rows
    assert [row[0] for row in rows] == [
        "noised sums of clipped gradients, every step", "quantiles of debt", "Together",
        "the threshold", "noised tables of held-out people", "Together",
        "One person, the larger of the two",
    ]  # fmt: skip
    assert rows[0][1:] == (
        "training people", "2.323", "Gaussian noise on a Poisson sample", "3.2", "0.1", "240"
    )  # fmt: skip
    assert rows[2][2] == "2.5" and rows[5][2] == rows[6][2] == "2.99"
    assert rows[3][4] == "–" and rows[3][2] == "0.3" and rows[4][2] == "2.768"


def test_without_held_out_events_there_is_one_sum() -> None:
    rows = _section(audit={"source": {"kind": "suppressed"}})["ledger"].rows
    assert [row[0] for row in rows].count("Together") == 1
    assert len(_section(audit={})["ledger"].rows) == 3


def test_the_second_accountant_is_quoted() -> None:
    words = _section()["cross_check"]
    assert "PRV (Gopi, Lee, Wutschitz 2021) (opacus 1.6.0), gives 2.333" in words
    assert "gives 2.323" in words
    bare = {k: v for k, v in fake.ledger().items() if k != "cross_check"}
    assert _section(ledger=bare)["cross_check"] == ""
    none = {**fake.ledger(), "cross_check": {**fake.ledger()["cross_check"], "epsilon": None}}
    assert "no finite epsilon" in _section(ledger=none)["cross_check"]


def test_the_populations_sum_is_said_or_said_to_be_unknown() -> None:
    assert "Nobody kept count" in _section()["together"]
    spent = PrivacySpent(**SPENT | {"trainings": 3, "epsilon_together": 4.125})
    assert "held 3 releases, this one included" in _section(spent=spent)["together"]
    assert "at most epsilon 4.125" in _section(spent=spent)["together"]


def test_the_null_blocks_figures_stand_with_what_was_claimed() -> None:
    run = _section()["measured"]
    assert run["verdict"] == "pass" and run["note"].endswith("contradicts the ledger.")
    assert run["table"].rows[0][:3] == (
        "Noise multiplier of the gradients", "3.2", "3.2067 (3.1746 to 3.2388)"
    )  # fmt: skip
    assert "From 141 right guesses of 250" in run["proven"]
    assert "at least 0.734 at 95 % confidence" in run["proven"]
    assert "at least 0.512 whatever" in run["proven"]


def test_a_violated_or_missing_block() -> None:
    assert _section(null_block=fake.null_block("violated"))["measured"]["verdict"] == "fail"
    assert _section(null_block=None)["measured"] is None
    assert len(_section(null_block=None)["picture"].table.rows) == 6
    chance = {"epsilon": 0.0, "pure": 0.0, "guesses": 500, "right": 266, "confidence": 0.95}
    run = _section(null_block={**fake.null_block(), "lower_bound": chance})["measured"]
    assert run["proven"] == "From 266 right guesses of 500 no lower bound on epsilon follows."
    partly = {"verdict": "consistent", "lower_bound": None}
    assert _section(null_block=partly)["measured"]["table"].rows == ()


def test_what_an_attacker_gains_is_read_off_the_curve() -> None:
    promise = promise_of(fake.ledger())
    words = " ".join(_section()["gains"])
    for share in (promise.best_guess(0.5), promise.most_found(0.01)):
        assert f"{100 * share:.1f} %" in words
    assert f"{100 * promise.best_guess(0.1):.2f} %" in words
    assert 0.5 < promise.best_guess(0.5) < 0.65


@pytest.mark.parametrize("unit", ["person", "record"])
def test_what_is_not_covered_is_said(unit: str) -> None:
    listed = _section(spent=PrivacySpent(**SPENT | {"unit": unit}))["not_covered"]
    words = " ".join(listed)
    for subject in ("Held-out people", "twins", "Relatives", "people in general", "settings",
                    "internal folder"):  # fmt: skip
        assert subject in words
    assert ("several records" in words) == (unit == "record")
    # e^5 and e^2.5.
    assert "by 148 times rather than 12)" in words
