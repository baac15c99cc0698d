"""Reasons are what the score would be without a feature, worked out by hand or from raw rows."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks import artifacts
from tasks.params import UserError, validate
from tasks.recipe import DataConfig, ReasonConfig
from tasks.serving.answers import sequences_of
from tasks.serving.features import features_of
from tasks.serving.reasons import REASONS, Reasoner, variants_of, without
from tasks.serving.scorer import Scorer
from tasks.table.encode import encode
from tests import fake
from tests.tasks.serving.conftest import scorer_of

TOY: dict[str, Any] = {
    "source": {"kind": "path", "path": "people.csv"},
    "person": "id",
    "split": {"salt": "s"},
    "sequence": {
        "layout": "wide",
        "steps": ["a", "b"],
        "features": [
            {"name": "debt", "bounds": [0, 100], "columns": ["d1", "d2"], "unit": "euros"},
            {"name": "debt", "values": [0], "columns": ["d1", "d2"]},
        ],
    },
    "static": [
        {"name": "debt", "column": "owed", "bounds": [0, 100]},
        {"name": "limit", "column": "limit", "bounds": [0, 1000]},
        {"name": "also", "column": "also", "bounds": [0, 1000]},
    ],
    "target": {"column": "y", "kind": "binary", "classes": [0, 1], "names": ["no", "yes"]},
    "decision": {"favourable": 0, "threshold": 0.5},
}
CODES = {
    "debt": ReasonConfig(reference=0, code="R1", text='Debts are "high"'),
    "limit": ReasonConfig(reference=1000),
}


def linear(static: tuple[float, ...]):
    """A model that adds up: 2 a number of debt, 3 where a debt is 0, and so much a static one."""

    def ask(people):
        step = people.sequences @ np.array([2.0, 3.0])
        sums = np.add.reduceat(step, people.offsets[:-1])
        return (sums + people.static @ np.array(static) + 0.25)[:, None]

    return ask


def toy(favourable: int, static: tuple[float, ...], **row: float):
    """Reasons of one person of the toy, and of somebody who is not asked about."""
    data = validate(
        DataConfig, {**TOY, "decision": {"favourable": favourable, "threshold": 0.5}}, "d"
    )
    person = {"id": "x", "d1": 50, "d2": 100, "owed": 25, "limit": 250, "also": 500, **row}
    people = sequences_of(encode(pl.DataFrame([person, {**person, "id": "y"}]), data), data)
    ask = linear(static)
    reasoner = Reasoner(features_of(data, CODES), data, ask)
    mine, others = reasoner.reasons(people, ask(people), np.array([0]), 4)
    assert others == []
    return mine


def test_a_linear_model_by_hand():
    # Debt: steps 2 (0 + 1) and 4 (-0.5) make 0; at 0 euros 2 (-2) + 3 (2) + 4 (-1) make -2.
    # Limit: -1 (-0.5), and -1 (1) at 1000. `also` has the weight 0.
    first, second = toy(0, (4.0, -1.0, 0.0))
    assert first == {
        "feature": "debt",
        "code": "R1",
        "text": 'Debts are "high"',
        "reference": "0 euros",
        "sensitive": False,
        "points": 2.0,
        "share": 0.5714,
    }
    assert (second["feature"], second["points"], second["text"]) == ("limit", 1.5, "limit")
    assert second["reference"] == "1,000"


def test_what_speaks_for_a_person_is_no_reason():
    assert toy(1, (4.0, -1.0, 0.0)) == []
    (only,) = toy(1, (4.0, 1.0, 0.0))
    assert (only["feature"], only["points"], only["share"]) == ("limit", 1.5, 1.0)


def test_ties_are_in_the_recipes_order_and_little_is_left_out():
    # -0.5 against 1 and 0.5 against 0: 1.5 x 2 and 0.5 x 6 are the same.
    found = toy(0, (-50.0, -2.0, 6.0), also=750)
    assert [(r["feature"], r["points"]) for r in found] == [("limit", 3.0), ("also", 3.0)]
    assert found[1]["reference"] == "middle of the bounds"
    # 5 % of the whole is enough of a reason, less is not.
    found = toy(0, (-50.0, -2.0, 0.3), also=750)
    assert [r["feature"] for r in found] == ["limit"]
    found = toy(0, (-50.0, -2.0, 0.33), also=750)
    assert [r["feature"] for r in found] == ["limit", "also"]


def logit(scores: np.ndarray) -> np.ndarray:
    return np.log(scores / (1 - scores))


@pytest.mark.parametrize("layout", ["wide"])
def test_raw_rows_at_the_reference_give_the_same_points(made: fake.Fake, scorer: Scorer):
    """Leaving a feature out is what its reference in the user's own cells does."""
    codes = {"debt": 60, "state": 1, "limit": 300}
    told = {name: ReasonConfig(reference=value) for name, value in codes.items()}
    scorer = replace(scorer, features=features_of(scorer.data, told), threshold=0.0)
    columns = {"debt": ["d1", "d2", "d3"], "state": ["s1", "s2", "s3"], "limit": ["limit"]}
    found = scorer.score(made.raw, 20)
    before, points = logit(found["score"]), {}
    for name, own in columns.items():
        changed = made.raw.with_columns(pl.lit(codes[name]).alias(column) for column in own)
        points[name] = before - logit(scorer.score(changed)["score"])
    # The fourth person's missing cell among them.
    assert made.raw["d2"].null_count() == 1
    seen = dict.fromkeys(codes, 0)
    for at, reasons in enumerate(found["reasons"]):
        wanted = {name: max(round(float(points[name][at]), 4), 0) for name in codes}
        kept = {n: v for n, v in wanted.items() if v > 0.0501 * sum(wanted.values())}
        assert {r["feature"]: r["points"] for r in reasons} == pytest.approx(kept, abs=2e-4)
        assert [r["points"] for r in reasons] == sorted(r["points"] for r in reasons)[::-1]
        for reason in reasons:
            seen[reason["feature"]] += 1
    assert min(seen.values()) > 3, seen


@pytest.mark.parametrize("layout", ["text"])
def test_letters_are_taken_away_wherever_they_stand(made: fake.Fake, scorer: Scorer):
    found = scorer.score(made.raw, 20)
    scores = np.stack([found[f"score_{k}"] for k in range(3)], 1)
    chosen = scores.argmax(1)
    before = logit(scores[np.arange(len(chosen)), chosen])
    hits = 0
    for letter in "abc":
        # z is in no alphabet here.
        cells = (pl.col(c).str.replace_all(letter, "z") for c in ("first", "last"))
        again = scorer.score(made.raw.with_columns(cells))
        after = np.stack([again[f"score_{k}"] for k in range(3)], 1)
        points = before - logit(after[np.arange(len(chosen)), chosen])
        for at, reasons in enumerate(found["reasons"]):
            for reason in (r for r in reasons if r["feature"] == f"character “{letter}”"):
                assert reason["points"] == pytest.approx(points[at], abs=2e-4)
                assert reason["reference"] == "any unknown token"
                hits += 1
    assert hits > 20


@pytest.mark.parametrize("layout", ["long"])
def test_numbers_are_in_their_unit_and_neighbours_change_nothing(made, scorer):
    told = {"amount": ReasonConfig(reference=1)}
    scorer = replace(scorer, features=features_of(scorer.data, told))
    found = scorer.score(made.raw, 3)
    changed = scorer.score(made.raw.with_columns(amount=pl.lit(1.0)))
    whole = [r for reasons in found["reasons"] for r in reasons]
    assert {r["feature"] for r in whole} == {"amount"} and {r["share"] for r in whole} == {1.0}
    assert {np.sign(r["points"]) for r in whole} == {-1.0, 1.0}
    for person, before, after, reasons in zip(
        found["person_id"], found["score"], changed["score"], found["reasons"], strict=True
    ):
        # Half of the range of 40 a unit of the model, rounded to 4 digits.
        points = sum(r["points"] for r in reasons)
        assert points == pytest.approx(before - after, abs=2e-3)
        alone = scorer.score(made.raw.filter(pl.col("id") == person), 3)
        assert alone["reasons"] == [reasons]


def test_only_unfavourable_decisions_have_reasons(made: fake.Fake, scorer: Scorer):
    decided = made.data.decision is not None
    assert scorer.usual_reasons(4) == (4 if decided else 0)
    if decided:
        middle = float(np.median(scorer.score(made.raw)["score"]))
        scorer = replace(scorer, threshold=middle)
    found = scorer.score(made.raw, 1)
    assert "reasons" not in scorer.score(made.raw)
    counts = [len(reasons) for reasons in found["reasons"]]
    if decided:
        said = found["decision"]
        assert {c for c, word in zip(counts, said, strict=True) if word == "no"} == {0}
        assert {c for c, word in zip(counts, said, strict=True) if word == "yes"} <= {0, 1}
        assert 15 < sum(counts) <= 20
    else:
        assert set(counts) == {1}
    assert pl.Series(found["reasons"], dtype=REASONS).to_list() == found["reasons"]


def test_work_is_a_row_a_feature_and_bounded(made: fake.Fake, scorer: Scorer):
    people = sequences_of(encode(made.raw, scorer.data), scorer.data)
    of = variants_of(people, np.arange(len(people)), scorer.features)
    sizes = np.bincount(of.person)
    if not people.is_tokens:
        assert set(sizes) == {len(scorer.features.names)}
        assert len(scorer.features.names) == {"wide": 3, "long": 1}[made.data.sequence.layout]
    assert (sizes <= len(scorer.features.names)).all()
    steps = int((np.diff(people.offsets) * sizes).sum())
    gone = without(people, of, scorer.features)
    assert gone.offsets[-1] == steps == len(gone.sequences)
    if made.data.decision is None:
        scorer.score(made.raw, 1, steps)
        with pytest.raises(UserError, match=rf"^reasons: these people need {steps:,} steps"):
            scorer.score(made.raw, 1, steps - 1)


@pytest.mark.parametrize("layout", ["wide"])
def test_nothing_is_missing_at_the_reference(made: fake.Fake, scorer: Scorer):
    people = sequences_of(encode(made.raw, scorer.data), scorer.data)
    of = variants_of(people, np.array([3]), scorer.features)
    gone = without(people, of, scorer.features)
    assert people.missing_indicators and scorer.features.names == ("debt", "state", "limit")
    # The fourth person's second debt, in the first of four channels of a step.
    marks = gone.missing.reshape(3, 3, 4)
    assert marks[0].sum() == 0
    for other in marks[1:]:
        assert other.sum() == other[1, 0] == 1
    np.testing.assert_array_equal(gone.batch(np.array([0])).inputs[0, :, 4:], marks[0])


@pytest.mark.parametrize("layout", ["wide"])
def test_words_and_references_come_with_the_registered_version(made, tmp_path):
    path = artifacts.folder(made.recipe, "plan", "register.json")
    told = {"debt": {"reference": 60, "code": "R7", "text": 'Owes "a lot"'}}
    artifacts.write_json(path, {**artifacts.read_json(path), "reasons": told})
    scorer = scorer_of(made, tmp_path / "as registered")
    # The plan is not asked again.
    path.unlink()
    answer = scorer.answer(made.raw, 3).decode()
    people = json.loads(answer)["people"]
    reasons = [r for p in people for r in p.get("reasons", []) if r["feature"] == "debt"]
    assert reasons and r'"text":"Owes \"a lot\""' in answer
    assert {(r["code"], r["text"], r["reference"]) for r in reasons} == {
        ("R7", 'Owes "a lot"', "60")
    }


@pytest.mark.parametrize("layout", ["wide"])
def test_a_version_without_words_of_its_own_has_reasons(made, scorer, tmp_path):
    path = tmp_path / "work" / "serving.json"
    serving = artifacts.read_json(path)
    assert serving.pop("reasons") == {}
    path.write_text(json.dumps(serving))
    again = Scorer.read(path.parent, scorer.identity)
    assert again.score(made.raw, 2)["reasons"] == scorer.score(made.raw, 2)["reasons"]
