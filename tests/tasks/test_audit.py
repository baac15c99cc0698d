"""The audit against Fairlearn, hand calculation, simulation and an adversary with a pencil."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fairlearn.metrics import MetricFrame, selection_rate, true_positive_rate
from sklearn.metrics import roc_auc_score

from tasks import artifacts, predict
from tasks import audit as stage
from tasks.evidence.audited import Audited, audited
from tasks.evidence.groups import Comparison, rate_counts, smallest_ratio
from tasks.evidence.suppress import find_groups
from tasks.params import UserError
from tasks.recipe import AuditConfig, Decision, TargetPlan
from tests.heldout import RECIPE, TARGETS, write_tree

PLAN = AuditConfig(bootstraps=100)
EXACT = AuditConfig(bootstraps=100, min_people=1, min_events=1)


def _people(cells: dict[str, list[list[int]]], seed: int = 0) -> tuple[Audited, list[str]]:
    """People with the given numbers by group, outcome and decision."""
    y, d, labels = [], [], []
    for label, table in cells.items():
        for outcome in (0, 1):
            for decision in (0, 1):
                size = table[outcome][decision]
                y += [outcome] * size
                d += [decision] * size
                labels += [label] * size
    score = np.asarray(d) + np.random.default_rng(seed).normal(size=len(d))
    return Audited("binary", np.array(y), np.array(d), score), labels


def _metrics(found: dict[str, Any], label: str, feature: int = 0) -> dict[str, Any]:
    """Metrics of a group."""
    groups = found["features"][feature]["groups"]
    return next(row for row in groups if row["label"] == label)["metrics"]


BIG = {"f": [[40, 60], [20, 180]], "m": [[30, 20], [50, 100]]}


def test_rates_by_hand() -> None:
    data, labels = _people(BIG)
    found = stage.audit(data, find_groups({"sex": labels}), PLAN)
    figures = {name: figure["value"] for name, figure in _metrics(found, "f").items()}
    figures.pop("auc")
    assert figures == pytest.approx(
        {"base_rate": 200 / 300, "selection_rate": 0.8, "tpr": 0.9, "fpr": 0.6,
         "accuracy": 220 / 300}
    )  # fmt: skip
    assert found["features"][0]["reference"] == "f"
    (row,) = found["features"][0]["comparisons"]["to_reference"]
    assert row["selection_rate_difference"]["value"] == pytest.approx(0.6 - 0.8)
    assert row["tpr_difference"]["value"] == pytest.approx(100 / 150 - 0.9)
    assert row["impact_ratio"] == row["impact_ratio_to_highest"]
    assert row["impact_ratio"]["value"] == pytest.approx(0.75)
    assert row["below_four_fifths"] is True
    summary = found["features"][0]["comparisons"]["summary"]
    assert summary["demographic_parity_difference"]["value"] == pytest.approx(0.2)
    assert summary["demographic_parity_ratio"]["value"] == pytest.approx(0.75)
    assert summary["equalized_odds_difference"]["value"] == pytest.approx(0.9 - 100 / 150)
    gate = found["gate"]
    assert (gate["group"], gate["reference"], gate["pairs"]) == ("m", "f", 1)
    assert gate["impact_ratio"] == row["impact_ratio"]


def test_point_values_equal_fairlearn_on_many_people() -> None:
    rng = np.random.default_rng(1)
    people = 20_000
    data = Audited(
        "binary", rng.integers(0, 2, people), rng.integers(0, 2, people), rng.random(people)
    )
    labels = rng.choice(["a", "b", "c"], people, p=[0.1, 0.3, 0.6])
    found = stage.audit(data, find_groups({"x": labels.tolist()}), PLAN)
    frame = MetricFrame(
        metrics={"selection_rate": selection_rate, "tpr": true_positive_rate},
        y_true=data.y,
        y_pred=data.d,
        sensitive_features=labels,
    )
    for label, row in frame.by_group.iterrows():
        for name in ("selection_rate", "tpr"):
            assert _metrics(found, str(label))[name]["value"] == pytest.approx(row[name])
        inside = labels == label
        assert data.score is not None
        assert _metrics(found, str(label))["auc"]["value"] == pytest.approx(
            roc_auc_score(data.y[inside], data.score[inside])
        )


def test_a_group_without_positives_has_no_tpr() -> None:
    data, labels = _people({"f": [[40, 60], [0, 0]], "m": [[30, 20], [50, 100]]})
    exact = AuditConfig(bootstraps=100, min_people=1, min_events=1)
    found = stage.audit(data, find_groups({"sex": labels}), exact)
    assert _metrics(found, "f")["tpr"] is None
    unsuppressed = stage.group_figures(data, find_groups({"sex": labels}), "sex", 0.95)
    assert math.isnan(unsuppressed[0]["tpr"].value)


def test_small_cells_hide_what_rests_on_them_and_a_partner() -> None:
    cells = {"f": [[400, 600], [200, 800]], "m": [[30, 20], [50, 100]], "x": [[12, 20], [5, 30]]}
    data, labels = _people(cells)
    found = stage.audit(data, find_groups({"sex": labels}), PLAN)
    shown = {k for k, figure in _metrics(found, "x").items() if figure}
    assert shown == {"base_rate", "selection_rate", "auc"}
    assert {k for k, figure in _metrics(found, "m").items() if figure} == shown
    assert all(_metrics(found, "f").values())
    row = next(r for r in found["features"][0]["groups"] if r["label"] == "x")
    assert row["withheld"]["tpr"] == "fewer than 10 people with one outcome and one decision"
    assert (row["n"], row["people"], row["suppressed"]) == (67, "67", None)


def test_a_small_group_shows_nothing_not_even_its_size() -> None:
    cells = {"f": [[400, 600], [200, 800]], "m": [[30, 20], [50, 100]], "x": [[1, 2], [3, 4]]}
    data, labels = _people(cells)
    found = stage.audit(data, find_groups({"sex": labels}), PLAN)
    rows = {row["label"]: row for row in found["features"][0]["groups"]}
    assert (rows["x"]["n"], rows["x"]["people"]) == (None, "<30")
    assert (rows["m"]["n"], rows["m"]["people"]) == (None, "withheld")
    assert rows["f"]["people"] == "2000"
    assert not any(rows["x"]["metrics"].values())
    assert not any(rows["m"]["metrics"].values())
    for row in found["features"][0]["comparisons"]["to_reference"]:
        assert row["impact_ratio"] is None
    assert found["features"][0]["comparisons"]["summary"] == {}


def _equations(row: dict[str, Any]) -> list[tuple[list[float], float]]:
    """What a group's row says of its cells (y0d0, y0d1, y1d0, y1d1): weights and their sum."""
    figures = {k: f["value"] for k, f in row["metrics"].items() if f and k != "auc"}
    found: list[tuple[list[float], float]] = []
    if row["n"] is not None:
        found.append(([1, 1, 1, 1], row["n"]))
    for name, cells in (
        ("base_rate", [0, 0, 1, 1]),
        ("selection_rate", [0, 1, 0, 1]),
        ("accuracy", [1, 0, 0, 1]),
    ):
        if name in figures:
            found.append((cells, figures[name] * row["n"]))
    # Rates with an unknown denominator are linear in the cells as well.
    if "tpr" in figures:
        found.append(([0, 0, figures["tpr"], figures["tpr"] - 1], 0))
    if "fpr" in figures:
        found.append(([figures["fpr"], figures["fpr"] - 1, 0, 0], 0))
    return found


def _solved(found: dict[str, Any], total: np.ndarray) -> dict[str, np.ndarray]:
    """What an adversary learns of each group's four cells, from figures and totals by algebra.

    A cell is learnt, and not NaN, where the equations have no two solutions that differ in it.
    """
    learnt = {}
    for table in found["features"]:
        groups = table["groups"]
        sums = [(np.tile(np.eye(4)[cell], len(groups)), total[cell]) for cell in range(4)]
        for index, row in enumerate(groups):
            for cells, value in _equations(row):
                weights = np.zeros(4 * len(groups))
                weights[4 * index : 4 * index + 4] = cells
                sums.append((weights, value))
        matrix, known = np.stack([w for w, _ in sums]), np.array([float(v) for _, v in sums])
        _, singular, right = np.linalg.svd(matrix)
        null = right[int((singular > 1e-9).sum()) :]
        solution = np.linalg.lstsq(matrix, known, rcond=None)[0]
        solution[np.abs(null).max(0, initial=0) > 1e-9] = np.nan
        for index, row in enumerate(groups):
            learnt[f"{table['name']}/{row['label']}"] = solution[4 * index : 4 * index + 4]
    return learnt


@pytest.mark.parametrize("seed", range(25))
def test_an_adversary_learns_no_small_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = {
        name: rng.integers(0, size, (2, 2)).tolist()
        for name, size in zip("abcde", rng.choice([6, 25, 80, 600], 5), strict=True)
    }
    cells["z"] = [[500, 400], [300, 900]]
    data, labels = _people(cells)
    found = stage.audit(data, find_groups({"x": labels}), PLAN)
    total = np.bincount(2 * data.y + data.d, minlength=4)
    for name, learnt in _solved(found, total).items():
        truth = np.ravel(cells[name.split("/")[1]])
        sure = ~np.isnan(learnt)
        assert learnt[sure] == pytest.approx(truth[sure], abs=1e-6)
        assert (truth[sure] >= 10).all(), name
        if truth.sum() < 30:
            assert not sure.any(), name


def test_the_adversary_would_find_a_leak() -> None:
    cells = {"a": [[3, 4], [2, 9]], "z": [[500, 400], [300, 900]]}
    data, labels = _people(cells)
    leaky = AuditConfig(bootstraps=100, min_people=1, min_events=1)
    found = stage.audit(data, find_groups({"x": labels}), leaky)
    learnt = _solved(found, np.bincount(2 * data.y + data.d, minlength=4))
    assert learnt["x/a"] == pytest.approx([3, 4, 2, 9])


def _comparison(cells: dict[str, list[int]], coarse: tuple[str, ...] = ()) -> Comparison:
    """Groups with (refused, approved) people."""
    tables = {k: np.array([[no, 0], [0, yes]]) for k, (no, yes) in cells.items()}
    shown = tuple(k for k in cells if k not in coarse)
    return Comparison(tables, shown, shown, next(iter(cells)), coarse)


def test_gate_takes_the_worst_of_all_features() -> None:
    found = smallest_ratio(
        {
            "sex": _comparison({"f": [200, 800], "m": [300, 700]}),
            "age": _comparison({"young": [300, 700], "old": [200, 800], "mid": [440, 560]}),
        },
        0.95,
    )
    assert found is not None
    assert (found["feature"], found["group"], found["reference"]) == ("age", "mid", "old")
    assert found["impact_ratio"]["value"] == pytest.approx(0.7)
    assert found["pairs"] == 4
    assert smallest_ratio({"sex": _comparison({"f": [1, 2]})}, 0.95) is None
    assert smallest_ratio({}, 0.95) is None


def test_a_tiny_group_makes_it_inconclusive_not_worse() -> None:
    found = smallest_ratio(
        {"age": _comparison({"young": [2000, 8000], "mid": [2000, 8000], "old": [12, 48]})}, 0.95
    )
    assert found is not None
    figure = found["impact_ratio"]
    assert figure["value"] == 1.0
    assert figure["low"] < 0.9
    assert figure["high"] == 1.0
    assert found["low_from"]["group"] == "old" or found["low_from"]["reference"] == "old"


def test_groups_withheld_for_others_are_judged_in_coarse_steps() -> None:
    found = smallest_ratio(
        {"age": _comparison({"young": [2013, 7987], "old": [1517, 3483]}, coarse=("old",))}, 0.95
    )
    assert found is not None
    figure = found["impact_ratio"]
    assert figure == {"value": 0.85, "low": 0.85, "high": 0.9}


def test_gate_interval_covers_the_smallest_true_ratio() -> None:
    rng = np.random.default_rng(2)
    rates, sizes = [0.8, 0.8, 0.72], [400, 300, 200]
    wide, narrow = 0, 0
    for _ in range(400):
        yes = rng.binomial(sizes, rates)
        cells = {str(i): [n - k, k] for i, (n, k) in enumerate(zip(sizes, yes, strict=True))}
        found = smallest_ratio({"x": _comparison(cells)}, 0.95)
        assert found is not None
        figure = found["impact_ratio"]
        wide += figure["low"] <= 0.9 <= figure["high"]
        slim = smallest_ratio({"x": _comparison(cells)}, 0.5)
        assert slim is not None
        narrow += slim["impact_ratio"]["low"] <= 0.9 <= slim["impact_ratio"]["high"]
    assert wide / 400 >= 0.93
    assert narrow / 400 < 0.9


def test_rate_counts_of_many_tables_at_once() -> None:
    cells = np.arange(8).reshape(2, 2, 2)
    hits, of = rate_counts(cells, "accuracy")
    assert (hits.tolist(), of.tolist()) == ([0 + 3, 4 + 7], [6, 22])


def test_favourable_may_be_either_class() -> None:
    table = pl.DataFrame({"y_true": [0, 1, 1], "y_pred": [0, 0, 1], "y_score": [0.1, 0.2, 0.9]})
    for favourable, y, d, score in (
        ("no", [1, 0, 0], [1, 1, 0], [0.9, 0.8, 0.1]),
        ("yes", [0, 1, 1], [0, 0, 1], [0.1, 0.2, 0.9]),
    ):
        plan = TargetPlan(
            target=TARGETS["binary"], decision=Decision(favourable=favourable, threshold=0.5)
        )
        found = audited(table, plan)
        assert (found.y.tolist(), found.d.tolist()) == (y, d)
        assert found.score == pytest.approx(score)


def test_where_group_equals_target_accuracy_is_recall() -> None:
    y = np.repeat([0, 1], 100)
    d = np.where(np.arange(200) % 4 == 0, 1 - y, y)
    labels = np.where(y == 0, "north", "south").tolist()
    found = stage.audit(Audited("multiclass", y, d), find_groups({"origin": labels}), PLAN)
    assert set(_metrics(found, "north")) == {"recall"}
    assert _metrics(found, "north")["recall"]["value"] == 0.75
    assert found["gate"] is None
    mixed = find_groups({"side": ["a", "b"] * 100})
    assert set(_metrics(stage.audit(Audited("multiclass", y, d), mixed, PLAN), "a")) == {"accuracy"}


def test_regression_has_error_and_bias() -> None:
    y = np.linspace(0, 1, 100)
    labels = ["a", "b"] * 50
    d = y + np.where(np.arange(100) % 2 == 0, 0.5, -0.25)
    found = stage.audit(Audited("regression", y, d), find_groups({"x": labels}), PLAN)
    assert _metrics(found, "a")["bias"]["value"] == pytest.approx(0.5)
    assert _metrics(found, "b")["bias"]["value"] == pytest.approx(-0.25)
    assert _metrics(found, "b")["mae"]["value"] == pytest.approx(0.25)


def test_unknown_reference_is_one_line() -> None:
    data, labels = _people(BIG)
    plan = AuditConfig(references={"sex": "men"})
    with pytest.raises(UserError, match=r"audit\.references\.sex = 'men' is not among .*'f', 'm'"):
        stage.audit(data, find_groups({"sex": labels}), plan)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe with predictions."""
    monkeypatch.chdir(tmp_path)
    write_tree("binary")
    predict.main([RECIPE])
    return artifacts.folder(RECIPE, "audit")


def test_stage_writes_published_and_internal_apart(tree: Path) -> None:
    stage.main([RECIPE])
    first = artifacts.digest_folder(tree)
    published = artifacts.read_json(tree / "published" / "audit.json")
    internal = artifacts.read_json(tree / "internal" / "audit.json")
    assert published["favourable"] == "no"
    assert "twin" not in json.dumps(published)
    assert set(internal) == {"model", "twin", "baseline", "favourable"}
    (table,) = published["features"]
    assert [row["label"] for row in table["groups"]] == ["f", "m"]
    assert sum(row["n"] for row in internal["model"]["features"][0]["groups"]) == 200
    stage.main([RECIPE])
    assert artifacts.digest_folder(tree) == first


def test_missing_labels_are_the_group_unknown(tree: Path) -> None:
    path = artifacts.folder(RECIPE, "prepared", "sensitive_features.parquet")
    sexes = pl.read_parquet(path)
    gaps = pl.Series([None, "f", "m", "f", "m"] * 100)
    sexes.with_columns(sex=gaps, none=pl.lit(None, dtype=pl.String)).write_parquet(path)
    stage.main([RECIPE])
    tables = artifacts.read_json(tree / "internal" / "audit.json")["model"]["features"]
    assert [row["label"] for row in tables[1]["groups"]] == ["unknown"]
    assert all(a <= b for a, b in pairwise(row["label"] for row in tables[0]["groups"]))


def test_no_sensitive_features_is_an_empty_audit(tree: Path) -> None:
    path = artifacts.folder(RECIPE, "prepared", "sensitive_features.parquet")
    pl.DataFrame().write_parquet(path)
    stage.main([RECIPE])
    published = artifacts.read_json(tree / "published" / "audit.json")
    assert (published["features"], published["gate"]) == ([], None)
