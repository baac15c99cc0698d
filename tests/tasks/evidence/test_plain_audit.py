"""Means by group, several classes, numbers, and who loses under privacy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_score, r2_score, recall_score, roc_auc_score

from tasks.evidence.audited import Audited, levels_of
from tasks.evidence.intersections import cross
from tasks.evidence.means import mean_by_group, perplexity, r2_by_group
from tasks.evidence.plain_audit import audit_plain, one_against_rest
from tasks.evidence.privacy_cost import privacy_cost
from tasks.evidence.suppress import find_groups, reasons
from tasks.evidence.table_audit import nothing_withheld
from tasks.recipe import AuditConfig
from tasks.stats import mean, wilson

PLAN = AuditConfig(bootstraps=400)
RNG = np.random.default_rng(5)
LABELS = RNG.choice(["a", "b"], 400, p=[0.3, 0.7]).tolist()
GROUPS = find_groups({"x": LABELS})
IN_A = np.array(LABELS) == "a"
ALONE = np.arange(400)


def _audit(data: Audited, labels: list[str] = LABELS) -> dict[str, Any]:
    crossed = cross(find_groups({"x": labels}), 1)
    return audit_plain(data, crossed, PLAN, nothing_withheld(crossed.groups.labels))


def _metrics(found: dict[str, Any], label: str) -> dict[str, Any]:
    return next(r for r in found["features"][0]["groups"] if r["label"] == label)["metrics"]


def test_a_mean_by_group_is_that_of_the_group_alone() -> None:
    values = RNG.normal(size=400)
    found = mean_by_group(GROUPS, values, ALONE, 0.95).at(0)
    alone = mean(values[IN_A])
    assert found.value == pytest.approx(alone.value)
    # Student's interval instead of the normal one.
    assert found.high - found.low == pytest.approx((alone.high - alone.low) * 1.01, rel=0.01)


def test_rows_of_one_person_count_as_one() -> None:
    values = RNG.normal(size=400)
    once = mean_by_group(GROUPS, values, ALONE, 0.95).at(0)
    tripled = find_groups({"x": np.repeat(LABELS, 3).tolist()})
    persons = np.repeat(ALONE, 3)
    together = mean_by_group(tripled, np.repeat(values, 3), persons, 0.95).at(0)
    naive = mean_by_group(tripled, np.repeat(values, 3), np.arange(1200), 0.95).at(0)
    assert together.high - together.low == pytest.approx(once.high - once.low, rel=0.02)
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


def test_a_loss_a_token_weighs_texts_by_their_length() -> None:
    groups = find_groups({"x": ["a", "a", "b"]})
    loss, tokens = np.array([2.0, 1.0, 3.0]), np.array([10.0, 30.0, 5.0])
    found = mean_by_group(groups, loss, np.arange(3), 0.95, tokens)
    assert found.value.tolist() == [50 / 40, 3.0]
    assert perplexity(found).value == pytest.approx(np.exp([1.25, 3.0]))
    # One text alone has no spread.
    assert np.isnan(found.low[1])


def test_intervals_of_means_cover() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        person = np.repeat(np.arange(60), 3)
        values = np.repeat(rng.normal(size=60), 3) + 0.5 * rng.normal(size=180)
        groups = find_groups({"x": ["a"] * 180})
        found = mean_by_group(groups, values, person, 0.9).at(0)
        hits += found.low <= 0 <= found.high
    assert 0.86 <= hits / 300 <= 0.94


def test_r2_is_scikit_learns_in_each_group_and_its_interval_covers() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=400) + 3 * IN_A
    predicted = y + 0.5 * rng.normal(size=400)
    found = r2_by_group(GROUPS, y, predicted, ALONE, 0.95)
    assert found.value[0] == pytest.approx(r2_score(y[IN_A], predicted[IN_A]))
    hits = 0
    for _ in range(300):
        y = rng.normal(size=400)
        found = r2_by_group(GROUPS, y, y + 0.5 * rng.normal(size=400), ALONE, 0.9)
        hits += found.low[1] <= 0.75 <= found.high[1]
    assert 0.84 <= hits / 300 <= 0.95


def test_numbers_have_error_bias_and_say_what_is_left_out() -> None:
    y = np.linspace(0, 1, 400)
    data = Audited("regression", y, y + np.where(IN_A, 0.5, -0.25))
    found = _audit(data)
    assert _metrics(found, "a")["bias"]["value"] == pytest.approx(0.5)
    assert _metrics(found, "b")["bias"]["value"] == pytest.approx(-0.25)
    assert _metrics(found, "b")["mae"]["value"] == pytest.approx(0.25)
    (row,) = found["features"][0]["comparisons"]["to_reference"]
    assert row["bias_difference"]["value"] == pytest.approx(0.75)
    assert "interval" in found["left_out"]["interval_coverage"]


def test_intervals_are_counted_by_group() -> None:
    y = np.zeros(400)
    low = np.where(IN_A, -1.0, -2.0)
    # A fifth of b and a tenth of a lie outside.
    place = np.where(IN_A, np.cumsum(IN_A), np.cumsum(~IN_A))
    y[(place % np.where(IN_A, 10, 5)) == 0] = 3.0
    data = Audited("regression", y, np.zeros(400), low=low, high=-low)
    found = _audit(data)
    assert found["left_out"] == {}
    for label, inside, width in (("a", IN_A, 2.0), ("b", ~IN_A, 4.0)):
        figures, people = _metrics(found, label), int(inside.sum())
        out = int((y[inside] == 3).sum())
        expected = wilson(people - out, people)
        for end in ("value", "low", "high"):
            assert figures["interval_coverage"][end] == pytest.approx(getattr(expected, end))
        assert figures["interval_width"]["value"] == pytest.approx(width)
    (row,) = found["features"][0]["comparisons"]["to_reference"]
    gap = _metrics(found, "a")["interval_coverage"]["value"] - _metrics(found, "b")[
        "interval_coverage"
    ]["value"]  # fmt: skip
    assert row["interval_coverage_difference"]["value"] == pytest.approx(gap) == pytest.approx(
        0.1, abs=0.02
    )  # fmt: skip
    # Rows of one person count as one: the same people tripled are no surer.
    tripled = Audited(
        "regression", np.tile(y, 3), np.zeros(1200), persons=np.tile(ALONE, 3),
        low=np.tile(low, 3), high=np.tile(-low, 3),
    )  # fmt: skip
    other = _metrics(_audit(tripled, LABELS * 3), "a")["interval_coverage"]
    once = _metrics(found, "a")["interval_coverage"]
    assert other["value"] == pytest.approx(once["value"])
    assert other["high"] - other["low"] > 0.9 * (once["high"] - once["low"])


def test_who_is_outside_of_the_interval_is_hidden_where_few_are() -> None:
    y = np.zeros(400)
    # Nine people of a lie outside: fewer than ten; of b many do.
    y[np.flatnonzero(IN_A)[:9]] = 3.0
    y[np.flatnonzero(~IN_A)[:60]] = 3.0
    ends = np.ones(400)
    data = Audited("regression", y, np.zeros(400), low=-ends, high=ends)
    crossed = cross(GROUPS, 1)
    levels = levels_of(data, GROUPS, PLAN.min_people, PLAN.min_events)
    size = GROUPS.tally(np.zeros(400, dtype=np.int64), 1)[:, 0]
    found = audit_plain(data, crossed, PLAN, reasons(GROUPS, levels, size))
    # With the total public, what b showed would give a away.
    for label in ("a", "b"):
        assert _metrics(found, label)["interval_coverage"] is None
        assert _metrics(found, label)["mae"] is not None
    y[np.flatnonzero(IN_A)[:10]] = 3.0
    levels = levels_of(data, GROUPS, PLAN.min_people, PLAN.min_events)
    shown = audit_plain(data, crossed, PLAN, reasons(GROUPS, levels, size))
    assert _metrics(shown, "a")["interval_coverage"] is not None


def _classes() -> Audited:
    """Three classes with scores."""
    rng = np.random.default_rng(7)
    y = rng.integers(0, 3, 400)
    raw = rng.normal(size=(400, 3)) + 1.5 * np.eye(3)[y]
    scores = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
    loss = -np.log(scores[np.arange(400), y])
    return Audited("multiclass", y, scores.argmax(1), scores=scores, loss=loss)


def test_one_class_against_the_rest_is_scikit_learns() -> None:
    data = _classes()
    assert data.scores is not None
    for index, figures in enumerate(one_against_rest(data, GROUPS, 0.95)):
        y, d = data.y[IN_A] == index, data.d[IN_A] == index
        assert figures["base_rate"].value[0] == pytest.approx(y.mean())
        assert figures["selection_rate"].value[0] == pytest.approx(d.mean())
        assert figures["tpr"].value[0] == pytest.approx(recall_score(y, d))
        assert figures["fpr"].value[0] == pytest.approx(1 - recall_score(~y, ~d))
        assert figures["ppv"].value[0] == pytest.approx(precision_score(y, d))
        auc = roc_auc_score(y, data.scores[IN_A, index])
        assert figures["auc"].value[0] == pytest.approx(auc, abs=1e-3)


def test_classes_have_accuracy_loss_and_perplexity_by_group() -> None:
    data = _classes()
    found = _audit(data)
    assert data.loss is not None
    figures = _metrics(found, "a")
    assert figures["accuracy"]["value"] == pytest.approx((data.y == data.d)[IN_A].mean())
    assert figures["loss"]["value"] == pytest.approx(data.loss[IN_A].mean())
    assert figures["perplexity"]["value"] == pytest.approx(np.exp(data.loss[IN_A].mean()))
    assert [c["class"] for c in found["classes"]] == ["0", "1", "2"]
    assert found["exploratory"]["comparisons"] == 3
    assert found["gate"] is None


def test_where_group_equals_target_accuracy_is_recall() -> None:
    y = np.repeat([0, 1], 200)
    d = np.where(np.arange(400) % 4 == 0, 1 - y, y)
    found = _audit(Audited("multiclass", y, d), np.where(y == 0, "north", "south").tolist())
    assert set(_metrics(found, "north")) == {"recall"}
    assert _metrics(found, "north")["recall"]["value"] == 0.75


def _pair(loss: float) -> tuple[Audited, Audited]:
    """A model and its twin, alike but for a loss that privacy adds in group a."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 400)
    base = rng.exponential(0.3, 400)
    noise = 0.05 * rng.normal(size=400)
    d = np.where(rng.random(400) < 0.8, y, 1 - y)
    twin = Audited("binary", y, d, loss=base)
    flipped = np.where(IN_A & (np.arange(400) % 10 == 0), 1 - d, d)
    return replace(twin, d=flipped, loss=base + noise + loss * IN_A), twin


def test_who_loses_under_privacy_by_hand() -> None:
    model, twin = _pair(0.2)
    (table,) = privacy_cost(model, twin, GROUPS, PLAN)
    assert table["reference"] == "b"
    a, b = table["groups"]
    assert (a["n"], b["n"]) == (int(IN_A.sum()), int((~IN_A).sum()))
    assert model.loss is not None
    assert twin.loss is not None
    extra = model.loss - twin.loss
    assert a["loss"]["value"] == pytest.approx(extra[IN_A].mean())
    rate = model.y[IN_A].mean()
    own = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    assert a["skill"]["value"] == pytest.approx(-extra[IN_A].mean() / own)
    right = (model.d == model.y).astype(float) - (twin.d == twin.y)
    assert a["accuracy"]["value"] == pytest.approx(right[IN_A].mean())
    assert a["disagreement"]["value"] == pytest.approx((model.d != twin.d)[IN_A].mean())
    assert b["disagreement"]["value"] == 0
    gap = a["loss_disparity"]
    assert gap["value"] == pytest.approx(extra[IN_A].mean() - extra[~IN_A].mean())
    assert gap["low"] > 0.15
    assert "loss_disparity" not in b
    # Paired: the losses themselves vary by 0.3, their differences by 0.05.
    assert a["loss"]["high"] - a["loss"]["low"] < 0.03


def test_no_loss_from_privacy_is_not_called_one() -> None:
    model, twin = _pair(0.0)
    (table,) = privacy_cost(model, twin, GROUPS, PLAN)
    gap = table["groups"][0]["loss_disparity"]
    assert gap["low"] < 0 < gap["high"]
    assert privacy_cost(replace(model, loss=None), twin, GROUPS, PLAN) == []


def test_blocks_of_people_give_the_same_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    model, twin = _pair(0.2)
    (each,) = privacy_cost(model, twin, GROUPS, PLAN)
    monkeypatch.setattr("tasks.evidence.privacy_cost.BLOCKS", 100)
    (blocks,) = privacy_cost(model, twin, GROUPS, PLAN)
    for one, other in zip(each["groups"], blocks["groups"], strict=True):
        assert one["loss"]["value"] == pytest.approx(other["loss"]["value"])
        width = [x["loss"]["high"] - x["loss"]["low"] for x in (one, other)]
        assert width[1] == pytest.approx(width[0], rel=0.25)


def test_groups_that_are_one_class_have_no_rest() -> None:
    y = np.repeat([0, 1], 200)
    found = _audit(Audited("multiclass", y, y), np.where(y == 0, "north", "south").tolist())
    assert found["classes"] == []
