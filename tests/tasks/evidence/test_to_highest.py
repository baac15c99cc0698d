"""Every group over the one with the highest rate, the reference among them."""

import numpy as np

from tasks.evidence.compared import Evidence, to_highest
from tasks.evidence.score_table import ScoreTable
from tasks.evidence.table_audit import NAMES, nothing_withheld
from tasks.evidence.table_intervals import figures
from tasks.recipe import AuditConfig

LABELS = ("men", "women", "others")
# 100 men, 60 favoured; 100 women, 80 favoured; 50 others, 45 favoured. Two score bins.
COUNTS = np.array([[[20, 30], [20, 30]], [[10, 40], [10, 40]], [[3, 20], [2, 25]]], dtype=float)


def _evidence(hidden: tuple[str, ...] = ()) -> Evidence:
    edges = np.array([0.0, 0.5, 1.0])
    table = ScoreTable(("sex",) * 3, LABELS, COUNTS, edges, 1, 0.0)
    plan = AuditConfig(bootstraps=100)
    why = nothing_withheld(LABELS)
    why["decision"] = ["small" if label in hidden else None for label in LABELS]
    found = figures(table, NAMES, plan.confidence, plan.bootstraps, plan.seed)
    return Evidence(table, found, why, plan)


def test_by_hand() -> None:
    rows = {row["group"]: row for row in to_highest(_evidence(), np.arange(3))}
    assert {row["highest"] for row in rows.values()} == {"others"}
    ratios = {group: row["impact_ratio"]["value"] for group, row in rows.items()}
    assert abs(ratios["men"] - 0.6 / 0.9) < 1e-12
    assert abs(ratios["women"] - 0.8 / 0.9) < 1e-12
    assert rows["others"]["impact_ratio"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    below = {group: row["below_four_fifths"] for group, row in rows.items()}
    assert below == {"men": True, "women": False, "others": False}
    men = rows["men"]["impact_ratio"]
    assert men["low"] < men["value"] < men["high"]


def test_a_group_that_is_withheld_is_neither_compared_nor_the_highest() -> None:
    rows = {row["group"]: row for row in to_highest(_evidence(("others",)), np.arange(3))}
    assert {row["highest"] for row in rows.values()} == {"women"}
    assert rows["others"]["impact_ratio"] is rows["others"]["below_four_fifths"] is None
    assert abs(rows["men"]["impact_ratio"]["value"] - 0.75) < 1e-12
