"""Ablation: features that say nothing, decisions as many as before, ratios by hand."""

import numpy as np
import pytest
import torch

from tasks.evidence.ablation import (
    NOTHING,
    Parts,
    as_many,
    impact_changes,
    parts_of,
    run_without,
    together,
    top,
)
from tests.subject import TEXT, subject

SCHEMA = {
    "input": {"kind": "numbers"},
    "channels": [{"feature": "x"}, {"feature": "y"}, {"feature": "x"}],
    "static": [{"feature": "x"}, {"feature": "s"}],
}


def test_indicators_belong_to_their_feature_and_kinds_are_apart() -> None:
    found = parts_of(SCHEMA, 6)
    assert found["sequence", "x"] == Parts(channels=(0, 2, 3, 5))
    assert found["sequence", "y"] == Parts(channels=(1, 4))
    assert found["static", "x"] == Parts(static=(0,))
    whole = together(found.values())
    assert sorted(whole.channels) == list(range(6))
    assert sorted(whole.static) == [0, 1]


def test_a_model_without_a_feature_does_not_hear_it() -> None:
    made = subject(50)
    sequences, rows = made.prepared.sequences, np.arange(50)
    parts = parts_of(made.prepared.schema, sequences.input_size)
    before = run_without(made.model, sequences, rows, parts["sequence", "bill"])
    sequences.sequences[:, :2] = 0.77
    after = run_without(made.model, sequences, rows, parts["sequence", "bill"])
    np.testing.assert_array_equal(before[1], after[1])
    assert not np.array_equal(before[1], run_without(made.model, sequences, rows)[1])


def test_nothing_taken_away_is_the_model_itself() -> None:
    made = subject(30)
    batch = made.prepared.sequences.batch(np.arange(30))
    with torch.no_grad():
        logits = made.model(batch.inputs, batch.lengths, batch.static)
    found = run_without(made.model, made.prepared.sequences, np.arange(30), NOTHING)
    np.testing.assert_allclose(found[1], logits.numpy(), atol=1e-6)


def test_a_character_can_be_taken_away() -> None:
    made = subject(40, TEXT)
    sequences = made.prepared.sequences
    parts = parts_of(made.prepared.schema, 0)
    assert list(parts) == [
        ("character", "characters outside the alphabet"),
        *(("character", f"character “{c}”") for c in "abc<"),
    ]
    states, _ = run_without(made.model, sequences, np.arange(40))
    without, _ = run_without(
        made.model, sequences, np.arange(40), parts["character", "character “b”"]
    )
    has = np.array(["b" in text for text in _texts(made)])
    assert (np.abs(states - without).max(1) > 0).tolist() == has.tolist()


def _texts(made) -> list[str]:  # type: ignore[no-untyped-def]
    words = made.prepared.schema["input"]["vocabulary"]
    arrays = made.prepared.sequences
    ends = zip(arrays.offsets[:-1], arrays.offsets[1:], strict=True)
    return ["".join(words[t] for t in arrays.sequences[a:b]) for a, b in ends]


def test_the_fewest_that_carry_half() -> None:
    assert top(np.array([0.1, 0.5, 0.4]), 3) == [1]
    assert top(np.array([0.3, 0.3, 0.3]), 3) == [0, 1]
    assert top(np.array([0.3, 0.3, 0.3]), 1) == [0]
    assert top(np.array([-1.0, 0.0, np.nan]), 3) == []


def test_as_many_are_favoured_as_before() -> None:
    assert as_many(np.array([0.1, 0.9, 0.9, 0.5]), 2).tolist() == [False, True, True, False]
    assert as_many(np.array([1.0, 1.0, 1.0]), 1).tolist() == [True, False, False]
    assert as_many(np.array([1.0]), 0).tolist() == [False]


def test_ratios_before_and_after_by_hand() -> None:
    """Reference 8 of 10 both times; the other group 4 of 10, then 6 of 10."""
    codes = np.repeat([0, 1], 10)
    before = np.r_[np.arange(10) < 8, np.arange(10) < 4]
    after = np.r_[np.arange(10) < 8, np.arange(10) < 6]
    found = impact_changes(codes, 0, before, after, 500, 0, 0.95)
    assert list(found) == [1]
    assert found[1].before.value == pytest.approx(0.5)
    assert found[1].after.value == pytest.approx(0.75)
    assert found[1].factor.value == pytest.approx(1.5)
    assert 1 <= found[1].factor.low < 1.5 < found[1].factor.high


def test_pairing_makes_a_change_narrower_than_its_ratios() -> None:
    rng = np.random.default_rng(0)
    codes, before = rng.integers(0, 2, 2000), rng.random(2000) < 0.6
    after = before.copy()
    after[:20] ^= True
    found = impact_changes(codes, 0, before, after, 500, 0, 0.95)[1]
    assert found.factor.high - found.factor.low < (found.after.high - found.after.low) / 2


def test_a_group_that_nobody_favours_has_no_factor() -> None:
    codes = np.repeat([0, 1], 10)
    before = np.r_[np.arange(10) < 8, np.zeros(10, dtype=bool)]
    found = impact_changes(codes, 0, before, before, 100, 0, 0.95)
    assert np.isnan(found[1].factor.value)
    assert found[1].before.value == 0
