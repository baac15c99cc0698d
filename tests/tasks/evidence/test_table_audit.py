"""Figures of a binary decision against Fairlearn, hand calculation and simulation."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    demographic_parity_ratio,
    equalized_odds_difference,
    equalized_odds_ratio,
    false_negative_rate,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)
from sklearn.metrics import brier_score_loss, precision_score, roc_auc_score

from tasks import audit as stage
from tasks.evidence.audited import Audited
from tasks.evidence.intersections import cross
from tasks.evidence.suppress import find_groups
from tasks.params import UserError
from tasks.recipe import AuditConfig
from tests.counted import BIG, PLAN, exact_audit, many_people, metrics_of, people_with


def test_rates_by_hand() -> None:
    data, labels = people_with(BIG)
    found = exact_audit(data, {"sex": labels})
    figures = {name: figure["value"] for name, figure in metrics_of(found, "f").items()}
    for name, value in {
        "n": 300, "positives": 200, "base_rate": 200 / 300, "selection_rate": 0.8, "tpr": 0.9,
        "fpr": 0.6, "fnr": 0.1, "ppv": 180 / 240, "accuracy": 220 / 300,
    }.items():  # fmt: skip
        assert figures[name] == pytest.approx(value), name
    assert found["features"][0]["reference"] == "f"
    (row,) = found["features"][0]["comparisons"]["to_reference"]
    assert row["selection_rate_difference"]["value"] == pytest.approx(0.6 - 0.8)
    assert row["tpr_difference"]["value"] == pytest.approx(100 / 150 - 0.9)
    assert row["impact_ratio"]["value"] == pytest.approx(0.75)
    first, highest = found["features"][0]["comparisons"]["to_highest"]
    assert (highest["group"], highest["highest"]) == ("m", "f")
    assert first["impact_ratio"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    for name in ("impact_ratio", "selection_rate_difference"):
        assert highest[name] == row[name]
    assert highest["below_four_fifths"] is True
    assert row["verdict"] == "inconclusive"
    gate = found["gate"]
    assert (gate["group"], gate["reference"], gate["pairs"]) == ("m", "f", 1)
    assert gate["impact_ratio"]["value"] == pytest.approx(0.75)
    assert gate["each"] == pytest.approx(0.95, abs=0.03)


def test_differences_and_ratios_keep_their_sign_whatever_the_reference() -> None:
    data, labels = people_with(BIG)
    found = exact_audit(data, {"sex": labels}, replace(PLAN, references={"sex": "m"}))
    (row,) = found["features"][0]["comparisons"]["to_reference"]
    assert row["group"] == "f"
    assert row["selection_rate_difference"]["value"] == pytest.approx(0.2)
    assert row["impact_ratio"]["value"] == pytest.approx(0.8 / 0.6)
    highest = found["features"][0]["comparisons"]["to_highest"]
    assert [row["highest"] for row in highest] == ["f", "f"]
    assert highest[1]["impact_ratio"]["value"] == pytest.approx(0.75)
    # More favourable by more than a quarter is as far from equal.
    assert row["verdict"] == "inconclusive"


def test_point_values_equal_fairlearn_on_fifty_thousand_people() -> None:
    data, columns = many_people(50_000)
    found = exact_audit(data, columns, order=2)
    theirs = {
        "selection_rate": selection_rate,
        "tpr": true_positive_rate,
        "fpr": false_positive_rate,
        "fnr": false_negative_rate,
        "ppv": precision_score,
        "base_rate": lambda y_true, y_pred: np.mean(y_true),
        "accuracy": lambda y_true, y_pred: np.mean(y_true == y_pred),
    }
    tables = {
        "group": columns["group"],
        "other": columns["other"],
        "group x other": [f"{a}, {b}" for a, b in zip(*columns.values(), strict=True)],
    }
    assert [f["name"] for f in found["features"]] == list(tables)
    extremes = {
        "demographic_parity_difference": demographic_parity_difference,
        "demographic_parity_ratio": demographic_parity_ratio,
        "equalized_odds_difference": equalized_odds_difference,
        "equalized_odds_ratio": equalized_odds_ratio,
    }
    for index, (name, labels) in enumerate(tables.items()):
        frame = MetricFrame(
            metrics=theirs, y_true=data.y, y_pred=data.d, sensitive_features=np.array(labels)
        )
        for label, row in frame.by_group.iterrows():
            ours = metrics_of(found, str(label), index)
            for metric in theirs:
                assert ours[metric]["value"] == pytest.approx(row[metric], abs=1e-12)
        summary = found["features"][index]["comparisons"]["summary"]
        for metric, function in extremes.items():
            value = function(data.y, data.d, sensitive_features=np.array(labels))
            assert summary[metric]["value"] == pytest.approx(value), (name, metric)
            assert summary[metric]["coverage"] is False
    crossed = cross(find_groups(columns), 2)
    assert stage.check_with_fairlearn(data, crossed.groups, found) == 15


def test_score_figures_are_close_to_scikit_learns() -> None:
    data, columns = many_people(20_000)
    found = exact_audit(data, columns)
    assert data.score is not None
    for label in "abc":
        inside = np.array(columns["group"]) == label
        y, score = data.y[inside], data.score[inside]
        ours = metrics_of(found, label)
        # A thousand bins of the score.
        assert ours["auc"]["value"] == pytest.approx(roc_auc_score(y, score), abs=2e-4)
        assert ours["brier"]["value"] == pytest.approx(brier_score_loss(y, score), abs=2e-4)
        # Outcomes are drawn with the score as their probability, but for group a.
        if label != "a":
            assert ours["ece"]["value"] < 0.02
            assert ours["calibration_slope"]["low"] < 1 < ours["calibration_slope"]["high"]


def test_a_fault_of_the_table_does_not_pass_unseen() -> None:
    data, labels = people_with(BIG)
    found = exact_audit(data, {"sex": labels})
    groups = find_groups({"sex": labels})
    assert stage.check_with_fairlearn(data, groups, found) == 6
    found["features"][0]["groups"][0]["metrics"]["tpr"]["value"] += 0.001
    with pytest.raises(RuntimeError, match="sex f: tpr"):
        stage.check_with_fairlearn(data, groups, found)


def test_a_group_without_positives_has_no_tpr() -> None:
    data, labels = people_with({"f": [[40, 60], [0, 0]], "m": [[30, 20], [50, 100]]})
    found = exact_audit(data, {"sex": labels})
    # Fairlearn says 0.
    assert metrics_of(found, "f")["tpr"] == {"value": None, "low": None, "high": None}
    (row,) = found["features"][0]["comparisons"]["to_reference"]
    assert row["tpr_difference"] is None
    assert row["p_values"]["tpr"] is None


def test_intersections_are_tables_and_not_the_gates() -> None:
    data, columns = many_people(5_000)
    found = exact_audit(data, columns, order=2)
    table = found["features"][2]
    assert table["crosses"] == ["group", "other"]
    assert len(table["groups"]) == 6
    assert found["gate"]["feature"] in ("group", "other")
    assert found["gate"]["pairs"] == 3 + 1
    # Three of `group`, one of `other` less their references, five crossings: 6 tests each.
    assert found["exploratory"]["comparisons"] == (2 + 1 + 5) * 6
    rows = [r for f in found["features"] for r in f["comparisons"]["to_reference"]]
    for row in rows:
        for metric, p in row["p_values"].items():
            assert row["p_adjusted"][metric] >= p
        assert 0 < row["detectable_gap"] < 1


def test_control_features_are_levels_not_groups() -> None:
    rng = np.random.default_rng(3)
    people = 4000
    level = rng.choice(["low", "high"], people)
    # Sex decides who is where, the level alone decides who is approved.
    sex = np.where(rng.random(people) < np.where(level == "low", 0.8, 0.2), "f", "m")
    d = (rng.random(people) < np.where(level == "low", 0.3, 0.8)).astype(np.int64)
    y = rng.integers(0, 2, people)
    data = Audited("binary", y, d, d / 2 + rng.uniform(0, 0.499, people))
    columns = {"sex": sex.tolist(), "level": level.tolist()}
    found = exact_audit(
        data, columns, replace(PLAN, control=("level",), references={"sex": "m"}), 2
    )
    by_name = {f["name"]: f for f in found["features"]}
    assert by_name["level"]["control"] is True
    assert by_name["level"]["comparisons"]["to_reference"] == []
    assert found["gate"]["feature"] == "sex"
    (whole,) = by_name["sex"]["comparisons"]["to_reference"]
    assert whole["selection_rate_difference"]["high"] < -0.2
    assert [(c["feature"], c["control"], c["level"]) for c in found["control"]] == [
        ("sex", "level", "high"), ("sex", "level", "low")
    ]  # fmt: skip
    for part in found["control"]:
        (row,) = part["rows"]
        assert (row["group"], row["reference"]) == (f"f, {part['level']}", f"m, {part['level']}")
        inside = level == part["level"]
        value = d[inside & (sex == "f")].mean() - d[inside & (sex == "m")].mean()
        assert row["selection_rate_difference"]["value"] == pytest.approx(value)
        assert abs(value) < 0.1


def test_the_sweep_moves_one_threshold_for_all() -> None:
    data, columns = many_people(20_000)
    found = exact_audit(data, columns, replace(PLAN, sweep=(0.2, 0.5, 0.9)))["sweep"]["points"]
    assert data.score is not None
    group = np.array(columns["group"])
    for wanted, point in zip((0.2, 0.5, 0.9), found, strict=True):
        above = data.score >= point["threshold"]
        assert above.mean() == pytest.approx(wanted, abs=0.002)
        assert point["approval_rate"] == wanted
        assert point["share"] == pytest.approx(above.mean(), abs=1e-9)
        row = next(r for r in point["groups"] if r["label"] == "a")
        inside = group == "a"
        assert row["selection_rate"]["value"] == pytest.approx(above[inside].mean())
        assert row["tpr"]["value"] == pytest.approx(above[inside & (data.y == 1)].mean())
    rates = [above[group == g].mean() for g in "abc"]
    assert point["smallest_ratio"] <= min(rates) / max(rates) + 1e-9


def test_curves_of_groups_have_bins_of_ten_people_and_end_in_the_corners() -> None:
    data, columns = many_people(1_000)
    found = exact_audit(data, columns)["curves"]
    assert [c["feature"] for c in found] == ["group", "other"]
    group = np.array(columns["group"])
    for row in found[0]["groups"]:
        bins = row["calibration"]
        assert sum(b["n"] for b in bins) == (group == row["label"]).sum()
        assert min(b["n"] for b in bins) >= 10
        assert (bins[0]["low"], bins[-1]["high"]) == (0.0, 1.0)
        assert all(a["high"] == b["low"] for a, b in pairwise(bins))
        roc = row["roc"]
        assert (roc[0], roc[-1]) == ([0.0, 0.0], [1.0, 1.0])
        assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(roc))
        inside = (group == row["label"]) & (data.y == 1)
        assert data.score is not None
        above = (data.score[inside] >= bins[-1]["low"]).mean()
        assert roc[1][1] == pytest.approx(above)


def test_a_tiny_group_makes_the_gate_inconclusive_not_worse() -> None:
    cells = {"young": [[1000, 4000], [1000, 4000]], "mid": [[1000, 4000], [1000, 4000]],
             "old": [[6, 24], [6, 24]]}  # fmt: skip
    data, labels = people_with(cells)
    gate = exact_audit(data, {"age": labels}, replace(PLAN, bootstraps=1000))["gate"]
    assert gate["impact_ratio"]["value"] == 1.0
    assert gate["impact_ratio"]["low"] < 0.9
    assert gate["impact_ratio"]["high"] == 1.0
    assert "old" in (gate["low_from"]["group"], gate["low_from"]["reference"])


def test_gate_interval_covers_the_smallest_true_ratio() -> None:
    rng = np.random.default_rng(2)
    rates, sizes = [0.8, 0.8, 0.72], [400, 300, 200]
    plan = AuditConfig(bootstraps=300, sweep=())
    wide, narrow, runs = 0, 0, 150
    for _ in range(runs):
        yes = rng.binomial(sizes, rates)
        cells = {
            str(i): [[n - k, k], [0, 0]] for i, (n, k) in enumerate(zip(sizes, yes, strict=True))
        }
        data, labels = people_with(cells)
        figure = exact_audit(data, {"x": labels}, plan)["gate"]["impact_ratio"]
        wide += figure["low"] <= 0.9 <= figure["high"]
        slim = exact_audit(data, {"x": labels}, replace(plan, confidence=0.55))["gate"][
            "impact_ratio"
        ]
        narrow += slim["low"] <= 0.9 <= slim["high"]
    assert wide / runs >= 0.92
    assert narrow / runs < 0.9


def test_persons_with_several_rows_have_wider_intervals() -> None:
    data, columns = many_people(600)
    thrice = {name: np.repeat(x, 3) for name, x in (("y", data.y), ("d", data.d))}
    score = np.repeat(data.score, 3)
    labels = {name: np.repeat(x, 3).tolist() for name, x in columns.items()}
    plan = AuditConfig(bootstraps=400)
    apart = Audited("binary", thrice["y"], thrice["d"], score)
    together = replace(apart, persons=np.repeat(np.arange(600), 3))
    assert together.repeated
    assert not apart.repeated
    once, naive, right = (
        metrics_of(exact_audit(x, c, plan), "c")["selection_rate"]
        for x, c in ((data, columns), (apart, labels), (together, labels))
    )
    width = [f["high"] - f["low"] for f in (once, naive, right)]
    assert naive["value"] == right["value"] == once["value"]
    assert width[1] == pytest.approx(width[0] / math.sqrt(3), rel=0.1)
    assert width[2] == pytest.approx(width[0], rel=0.2)


def test_unknown_reference_is_one_line() -> None:
    data, labels = people_with(BIG)
    plan = AuditConfig(references={"sex": "men"})
    with pytest.raises(UserError, match=r"audit\.references\.sex = 'men' is not among .*'f', 'm'"):
        exact_audit(data, {"sex": labels}, plan)
