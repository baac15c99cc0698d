"""Exact figures with small groups withheld, against an adversary with a pencil."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.evidence.audited import Audited
from tasks.evidence.intersections import cross
from tasks.evidence.published import suppressed_audit
from tasks.evidence.suppress import Groups, find_groups
from tests.counted import PLAN, exact_audit, metrics_of, people_with, shown_audit


def test_small_cells_hide_what_rests_on_them_and_a_partner(tmp_path: Path) -> None:
    cells = {"f": [[400, 600], [200, 800]], "m": [[30, 20], [50, 100]], "x": [[12, 20], [5, 30]]}
    data, labels = people_with(cells)
    found = shown_audit(tmp_path, data, {"sex": labels})
    shown = {k for k, figure in metrics_of(found, "x").items() if figure}
    assert shown == {"n", "positives", "base_rate", "selection_rate", "auc", "brier", "ece",
                     "calibration_slope", "skill"}  # fmt: skip
    assert {k for k, figure in metrics_of(found, "m").items() if figure} == shown
    assert all(metrics_of(found, "f").values())
    row = next(r for r in found["features"][0]["groups"] if r["label"] == "x")
    text = "fewer than 10 people with one outcome and one decision, or withheld to protect such"
    assert row["withheld"]["tpr"] == f"{text} a group"
    assert (row["n"], row["people"], row["suppressed"]) == (67, "67", None)
    assert (found["sweep"], found["curves"]) == ({"points": []}, [])


def test_a_small_group_shows_nothing_not_even_that_it_is_the_small_one(tmp_path: Path) -> None:
    cells = {"f": [[400, 600], [200, 800]], "m": [[30, 20], [50, 100]], "x": [[1, 2], [3, 4]]}
    data, labels = people_with(cells)
    found = shown_audit(tmp_path, data, {"sex": labels})
    rows = {row["label"]: row for row in found["features"][0]["groups"]}
    assert {**rows["x"], "label": ""} == {**rows["m"], "label": ""}
    assert (rows["x"]["n"], rows["x"]["people"]) == (None, "withheld")
    assert rows["f"]["people"] == "2000"
    assert not any(rows["x"]["metrics"].values())
    for row in found["features"][0]["comparisons"]["to_reference"]:
        assert row["impact_ratio"] is None
    assert found["features"][0]["comparisons"]["summary"] == {}


def _equations(row: dict[str, Any]) -> list[tuple[list[float], float]]:
    """What a group's row says of its cells (y0d0, y0d1, y1d0, y1d1): weights and their sum."""
    figures = {k: f["value"] for k, f in row["metrics"].items() if f}
    found: list[tuple[list[float], float]] = []
    if row["n"] is not None:
        found.append(([1, 1, 1, 1], row["n"]))
    for name, cells in (
        ("base_rate", [0, 0, 1, 1]),
        ("selection_rate", [0, 1, 0, 1]),
        ("accuracy", [1, 0, 0, 1]),
        ("positives", [0, 0, 1, 1]),
    ):
        if name in figures:
            found.append((cells, figures[name] * (1 if name == "positives" else row["n"])))
    # Rates with an unknown denominator are linear in the cells as well.
    if "tpr" in figures:
        found.append(([0, 0, figures["tpr"], figures["tpr"] - 1], 0))
    if "ppv" in figures:
        found.append(([0, figures["ppv"], 0, figures["ppv"] - 1], 0))
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


@pytest.mark.parametrize("seed", range(15))
def test_an_adversary_learns_no_small_cell(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    cells = {
        name: rng.integers(0, size, (2, 2)).tolist()
        for name, size in zip("abcde", rng.choice([6, 25, 80, 600], 5), strict=True)
    }
    cells["z"] = [[500, 400], [300, 900]]
    data, labels = people_with(cells)
    found = shown_audit(tmp_path, data, {"x": labels})
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
    data, labels = people_with(cells)
    found = exact_audit(data, {"x": labels})
    learnt = _solved(found, np.bincount(2 * data.y + data.d, minlength=4))
    assert learnt["x/a"] == pytest.approx([3, 4, 2, 9])


def test_unlike_groups_are_judged_and_named(tmp_path: Path) -> None:
    cells = {"f": [[100, 100], [100, 700]], "m": [[150, 50], [150, 650]],
             "x": [[200, 100], [100, 200]], "y": [[2, 1], [1, 3]]}  # fmt: skip
    data, labels = people_with(cells)
    found = shown_audit(tmp_path, data, {"sex": labels})
    gate = found["gate"]
    # x is withheld with y, and judged in steps of 0.05 all the same: 0.5 over 0.8 is 0.625.
    assert (gate["group"], gate["reference"]) == ("x", "f")
    figure = gate["impact_ratio"]
    assert figure["value"] in (0.6, 0.65)
    assert all(round(figure[k] / 0.05, 6) == round(figure[k] / 0.05) for k in figure)
    assert found["not_judged"] == [
        {"feature": "sex", "group": "y", "reason": "too few people for a verdict"}
    ]


def test_a_group_that_nobody_is_in_is_listed_only_where_it_may_hide(tmp_path: Path) -> None:
    cells = {"f": [[400, 600], [200, 800]], "m": [[30, 20], [50, 100]], "x": [[1, 2], [3, 4]]}
    for labels, left in (("fm", ["f", "m"]), ("fmx", ["f", "m", "x", "y"])):
        data, found = people_with({k: cells[k] for k in labels})
        groups = find_groups({"sex": found}, {"sex": ["f", "m", "y"]})
        names = [groups.labels[n] for n in _listed(tmp_path / labels, data, groups)]
        assert [name for name in names if name != "unknown"] == left


def _listed(root: Path, data: Audited, groups: Groups) -> list[int]:
    """Groups of the first feature that a suppressed audit lists."""
    contents = dict.fromkeys(("people", "outcome", "decision", "cells"), "")
    ids = pl.Series([f"p{n}" for n in range(len(data.y))])
    found = suppressed_audit(data, cross(groups, 1), ids, PLAN, contents, 0.5, root)
    rows = [row["label"] for row in found["features"][0]["groups"]]
    return [n for n, label in enumerate(groups.labels) if label in rows]
