"""The gate's figure from noised counts, and the comparison with the highest group."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.evidence.compared import Evidence, adjust, to_highest, to_reference, verdict
from tasks.evidence.score_table import ScoreTable
from tasks.evidence.simultaneous import Judged, extremes, resampled, smallest_ratio
from tasks.evidence.table_audit import NAMES, nothing_withheld
from tasks.evidence.table_intervals import figures
from tasks.recipe import AuditConfig

PLAN = AuditConfig(bootstraps=200)
RATES, SIZES = np.array([0.8, 0.8, 0.72]), np.array([900, 700, 500])


def _table(rng: np.random.Generator, noise: float) -> ScoreTable:
    """Three groups whose smallest true ratio is 0.9; half of each have the outcome."""
    yes = rng.binomial(SIZES, RATES)
    sides = np.stack([SIZES - yes, yes], 1) / 2
    counts = np.stack([sides, sides], 1) + rng.normal(0, noise, (3, 2, 2))
    edges = np.array([0.0, 0.5, 1.0])
    return ScoreTable(("x",) * 3, ("a", "b", "c"), counts, edges, 1, noise)


def _evidence(table: ScoreTable, names: tuple[str, ...] = ("selection_rate",)) -> Evidence:
    """Figures with intervals."""
    found = figures(table, names, PLAN.confidence, PLAN.bootstraps, 0)
    return Evidence(table, found, nothing_withheld(table.labels), PLAN)


def test_a_noised_gate_covers_and_its_noise_is_not_forgotten() -> None:
    rng = np.random.default_rng(0)
    hits, forgotten, runs = 0, 0, 120
    for _ in range(runs):
        table = _table(rng, noise=20.0)
        for told, count in ((table, "hits"), (replace(table, noise=0.0), "forgotten")):
            kept = replace(told, counts=np.maximum(told.counts, 0).round())
            evidence = _evidence(kept)
            found = smallest_ratio(evidence, [Judged("x", (0, 1, 2))], resampled(evidence))
            assert found is not None
            figure = found["impact_ratio"]
            inside = figure["low"] <= 0.9 <= figure["high"]
            if count == "hits":
                hits += inside
            else:
                forgotten += inside
    assert hits / runs >= 0.92
    assert forgotten < hits


def test_nothing_is_compared_with_a_rate_of_zero() -> None:
    table = _table(np.random.default_rng(0), 0.0)
    counts = table.counts.copy()
    counts[:, :, 1] = 0
    evidence = _evidence(replace(table, counts=counts))
    assert smallest_ratio(evidence, [Judged("x", (0, 1, 2))], resampled(evidence)) is None
    assert smallest_ratio(evidence, [], resampled(evidence)) is None


def test_a_group_that_is_never_approved_fails_without_an_error() -> None:
    table = _table(np.random.default_rng(0), 0.0)
    counts = table.counts.copy()
    counts[2, :, 0] += counts[2, :, 1]
    counts[2, :, 1] = 0
    evidence = _evidence(replace(table, counts=counts))
    found = smallest_ratio(evidence, [Judged("x", (0, 1, 2))], resampled(evidence))
    assert found is not None
    assert (found["group"], found["impact_ratio"]["value"]) == ("c", 0.0)
    assert found["impact_ratio"]["low"] == 0.0
    assert found["impact_ratio"]["high"] < 0.05


def test_withheld_groups_take_no_part() -> None:
    evidence = _evidence(_table(np.random.default_rng(0), 0.0), NAMES)
    why = {level: [None, None, "few"] for level in evidence.why}
    evidence = replace(evidence, why=why)
    numbers = np.arange(3)
    assert to_highest(evidence, numbers)[2]["impact_ratio"] is None
    row = to_reference(evidence, numbers, 0)[1]
    assert (row["group"], row["impact_ratio"], row["verdict"]) == ("c", None, None)
    assert row["detectable_gap"] is None
    drawn = resampled(evidence)
    whole = extremes(evidence, numbers, drawn)["demographic_parity_ratio"]["value"]
    rates = evidence.found["selection_rate"].value[:2]
    assert whole == pytest.approx(rates.min() / rates.max())


def test_adjusted_p_values_are_over_all_tables() -> None:
    rows = [{"p_values": {"tpr": p, "fpr": None}} for p in (0.01, 0.04, 0.03)]
    told = adjust(rows)
    assert [row["p_adjusted"]["tpr"] for row in rows] == pytest.approx([0.03, 0.04, 0.04])
    assert all(row["p_adjusted"]["fpr"] is None for row in rows)
    assert (told["comparisons"], told["called"], told["metrics"]) == (3, 3, ["tpr"])


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.8, 1.25, "pass"), (0.79, 1.0, "inconclusive"), (0.5, 0.79, "fail"),
        (1.26, 2.0, "fail"), (0.9, 1.3, "inconclusive"), (0.9, None, "inconclusive"),
    ],
)  # fmt: skip
def test_a_verdict_is_by_the_interval(low: float, high: float | None, word: str) -> None:
    assert verdict({"value": 1.0, "low": low, "high": high}) == word
