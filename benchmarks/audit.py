"""Seconds and memory of the audit's figures with their intervals, beside Fairlearn's MetricFrame.

`python -m benchmarks.audit [--no-peer] [--json FILE]`

Two features (2 and 5 groups) and their intersection; selection rate, TPR, FPR and accuracy with
1,000 bootstraps and simultaneous intervals of all differences; AUC, ECE and Brier score from
1,000 score bins. From arrays of codes to intervals, each size in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.evidence import families, table_intervals, table_metrics
from tasks.evidence.score_table import ScoreTable, fine_edges, tabulate

METRICS = ("selection_rate", "tpr", "fpr", "accuracy")
SCORES = ("auc", "ece", "brier")
SIZES = {"1M": 1_000_000, "10M": 10_000_000}
RESAMPLES = 1000
THRESHOLD = 0.5
TIMES = 5
FEATURES = ("sex",) * 2 + ("age",) * 5 + ("sex x age",) * 10
LABELS = (
    *(sexes := ("female", "male")),
    *(ages := tuple(f"band {n}" for n in range(5))),
    *(f"{sex}, {age}" for sex in sexes for age in ages),
)

Row = dict[str, object]
Arrays = dict[str, NDArray[Any]]


def rows_of_people(people: int) -> Arrays:
    """Return made-up people: codes int64 [N, 3], outcome, score and decision [N]."""
    rng = np.random.default_rng(0)
    sex, age = rng.integers(0, 2, people), rng.integers(0, 5, people)
    score = rng.beta(2.0 + 0.2 * sex, 3.0)
    return {
        "codes": np.stack([sex, 2 + age, 7 + 5 * sex + age], 1),
        "y": (rng.random(people) < score).astype(np.int64),
        "score": score,
        "decision": (score >= THRESHOLD).astype(np.int64),
    }


def count_audit(rows: Arrays) -> families.Family:
    """Return simultaneous intervals of all differences, after those of all rates."""
    edges = np.array([0.0, THRESHOLD, 1.0])
    table = tabulate(FEATURES, LABELS, **rows, edges=edges, decided=1)
    table_intervals.figures(table, METRICS)
    drawn = table_metrics.rate_draws(table, METRICS, RESAMPLES, seed=0)
    table_intervals.percentiles(drawn, 0.95)
    value = table_metrics.rates(table.cells, METRICS)
    others = [g for groups in table.tables for g in groups[1:]]
    first = [groups[0] for groups in table.tables for _ in groups[1:]]
    gap, moved = value[others] - value[first], drawn[:, others] - drawn[:, first]
    return families.max_t(gap.ravel(), moved.reshape(RESAMPLES, -1))


def score_audit(rows: Arrays) -> dict[str, table_intervals.Figures]:
    """Return AUC, ECE and Brier score of all groups with intervals."""
    edges = fine_edges(THRESHOLD)
    table: ScoreTable = tabulate(FEATURES, LABELS, **rows, edges=edges, decided=500)
    return table_intervals.figures(table, SCORES)


def seconds(work: Any, rows: Arrays, times: int) -> float:
    """Return the median time of some work."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work(rows)
        took.append(time.perf_counter() - began)
    return median(took)


def peer(rows: Arrays) -> tuple[float, float]:
    """Return the seconds, and those of the processor, that MetricFrame's points alone take."""
    import pandas as pd
    from fairlearn import metrics as fairlearn
    from sklearn.metrics import accuracy_score

    sensitive = pd.DataFrame({"sex": rows["codes"][:, 0], "age": rows["codes"][:, 1]})
    wanted = {
        "selection_rate": fairlearn.selection_rate,
        "tpr": fairlearn.true_positive_rate,
        "fpr": fairlearn.false_positive_rate,
        "accuracy": accuracy_score,
    }
    began, busy = time.perf_counter(), time.process_time()
    frame = fairlearn.MetricFrame(
        metrics=wanted,
        y_true=rows["y"],
        y_pred=rows["decision"],
        sensitive_features=sensitive,
    )
    frame.by_group  # noqa: B018 the figures are computed when they are asked for
    return time.perf_counter() - began, time.process_time() - busy


def child(size: str, with_peer: bool) -> list[Row]:
    """Return the figures of one size; the peer comes after memory is read."""
    rows = rows_of_people(SIZES[size])
    found = [(f"audit/{size}/seconds", seconds(count_audit, rows, TIMES), "s")]
    found.append((f"audit/{size}/score_metrics_seconds", seconds(score_audit, rows, TIMES), "s"))
    # Linux counts in KiB, macOS in bytes.
    unit = 2**30 if sys.platform == "darwin" else 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    found.append((f"audit/{size}/peak_memory", peak, "GiB"))
    if with_peer:
        took, busy = peer(rows)
        found.append((f"audit/{size}/metric_frame_points_seconds", took, "s"))
        # One evaluation a bootstrap; processor time, so that a busy machine favours neither.
        began = time.process_time()
        count_audit(rows)
        ratio = busy * RESAMPLES / (time.process_time() - began)
        found.append(
            (f"audit/{size}/speedup_over_metric_frame_bootstraps_extrapolated", ratio, "x")
        )
    return [{"name": n, "value": round(v, 3 if v < 100 else 0), "unit": u} for n, v, u in found]


def main() -> None:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-peer", action="store_true", help="leave Fairlearn out")
    parser.add_argument("--child", choices=tuple(SIZES), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child, not options.no_peer)))
        return
    rows: list[Row] = []
    for size in SIZES:
        # The peer needs minutes at 10 million rows and says nothing more there.
        alone = ["--no-peer"] if options.no_peer or size != "1M" else []
        command = [sys.executable, "-m", "benchmarks.audit", "--child", size, *alone]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows += json.loads(out.splitlines()[-1])
    for row in rows:
        print(f"{row['name']:62}{row['value']:12} {row['unit']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
