"""All that is read of attributions, end to end: what is published, what stays inside."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.evidence.reading import Reading, read
from tests.subject import TEXT, WIDE, backwards, gradient_times_input, network, subject

METHODS = {"gradient_times_input": gradient_times_input, "same": gradient_times_input}


def reading(kind: dict[str, Any] = WIDE, second: bool = False, **changes: Any) -> Reading:
    made = subject(kind=kind, **changes)
    rows = np.arange(0, 400)
    found = gradient_times_input(made.model, made.prepared.sequences, rows)
    other = network(made.prepared, 7) if second else None
    return read(made, rows, found, changes.pop("methods", METHODS), other)


WHOLE = reading()


def test_it_is_json_and_the_same_again() -> None:
    again = reading()
    for one, other in ((WHOLE.published, again.published), (WHOLE.internal, again.internal)):
        assert json.dumps(one, allow_nan=False) == json.dumps(other, allow_nan=False)
    assert WHOLE.reasons is not None
    assert WHOLE.reasons.equals(again.reasons)


def test_nothing_small_and_nobody_is_published() -> None:
    """Town C has about 16 people: with another group it is withheld."""
    text = json.dumps(WHOLE.published)
    assert "id-" not in text
    assert '"label": "C"' not in text
    assert '"label": "C"' in json.dumps(WHOLE.internal)
    assert '"n"' not in text
    assert "count" not in text
    assert "gradient_flow" not in WHOLE.published
    assert "before" not in text, "exact ratios are the audit's to publish"
    town = next(f for f in WHOLE.published["groups"]["sensitive"] if f["name"] == "town")
    assert town["withheld"]
    assert len(town["groups"]) == 1


def test_women_are_read_off_their_bills() -> None:
    """Women's bills are 300 higher: the probe knows them, and by the bill."""
    found = next(f for f in WHOLE.internal["proxies"]["sensitive"] if f["name"] == "sex")
    assert found["probe"][0]["auc"]["low"] > 0.6
    assert found["probe"][0]["shuffled"]["high"] < found["probe"][0]["auc"]["value"]
    drops = {c["feature"]: c["drop"] for c in found["carriers"]}
    assert max(drops, key=lambda name: drops[name]) == "bill"
    without = next(a for a in found["ablations"] if "probe" in a["chosen_by"])
    assert without["features"] == ["bill"]
    assert without["probe"][0]["auc"]["low"] < 0.5 < without["probe"][0]["auc"]["high"]
    assert without["reference"] == "men"
    assert [g["label"] for g in without["groups"]] == ["women"]
    # Who cannot be told apart by the bill gets the same decisions.
    factor = without["groups"][0]["factor"]
    before = without["groups"][0]["before"]["value"]
    assert abs(before * factor["value"] - 1) < abs(before - 1)


def test_reasons_are_asked_again_by_each_way_at_hand() -> None:
    found = reading(second=True)
    assert found.reasons is not None
    assert set(found.published["reasons"]["ways"]) == {"method", "change", "run"}
    assert {"again_method", "again_change", "again_run", "stable"} <= set(found.reasons.columns)
    assert WHOLE.reasons is not None
    assert "again_run" not in WHOLE.reasons.columns
    assert found.internal["reasons"]["ways"]["method"]["found_again"] == 1
    assert found.internal["reasons"]["ways"]["run"]["found_again"] < 0.9
    assert found.reasons["row"].n_unique() == 200 == found.internal["reasons"]["explained"]


def test_a_method_that_says_the_opposite_makes_reasons_unstable() -> None:
    made = subject()
    rows = np.arange(400)
    raw = gradient_times_input(made.model, made.prepared.sequences, rows)
    found = read(made, rows, raw, {"one": gradient_times_input, "other": backwards})
    assert found.reasons is not None
    assert found.internal["reasons"]["stable"]["value"] < 0.2
    again = found.internal["reasons"]["ways"]["method"]["found_again"]
    assert again < 0.5


def test_a_text_is_read_by_its_characters() -> None:
    found = reading(TEXT)
    assert found.reasons is not None
    assert set(found.reasons.filter(pl.col("rank") > 0)["kind"]) == {"character"}
    assert set(found.reasons["step"].str.head(8)) <= {"position", ""}
    assert "character “<”" in found.published["groups"]["features"]


def test_without_decision_or_groups_there_is_less_to_read() -> None:
    made = subject()
    plain = {**vars(made), "sensitive": pl.DataFrame()}
    plain["target"] = type(made.target)(target=made.target.target)
    rows = np.arange(400)
    raw = gradient_times_input(made.model, made.prepared.sequences, rows)
    found = read(type(made)(**plain), rows, raw, METHODS)
    assert {found.published[name] for name in ("groups", "proxies", "reasons")} == {None}
    assert set(found.published["not_applicable"]) == {"groups", "proxies", "reasons"}
    assert WHOLE.published["not_applicable"] == {}
    assert found.reasons is None
    assert found.internal["gradient_flow"]["people"] == 256


@pytest.mark.parametrize("people", [0, 30])
def test_reasons_can_be_left_out_or_limited(people: int) -> None:
    found = reading(reason_people=people)
    if not people:
        assert found.reasons is None
        assert found.published["reasons"] is None
    else:
        assert found.reasons is not None
        assert found.reasons["row"].n_unique() == 30
        assert found.internal["reasons"]["unfavourable"] == 200
