"""Figures from tables against Fairlearn, scikit-learn, rows of people and brute force."""

import numpy as np
import pandas as pd
import pytest
from fairlearn import metrics as fairlearn
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    precision_score,
    roc_auc_score,
)

from tasks.evidence import table_metrics as metrics
from tasks.evidence.calibration import calibration_line
from tasks.evidence.score_table import ScoreTable, fine_edges, tabulate
from tasks.evidence.table_metrics import METRICS, RATES

PEOPLE = 50_000
EXACT = {
    "base_rate": lambda y, d: float(np.mean(y)),
    "selection_rate": fairlearn.selection_rate,
    "tpr": fairlearn.true_positive_rate,
    "fpr": fairlearn.false_positive_rate,
    "fnr": fairlearn.false_negative_rate,
    "ppv": precision_score,
    "accuracy": accuracy_score,
}


def made_up(seed: int = 0, people: int = PEOPLE) -> dict[str, np.ndarray]:
    """People of two features and their intersection, scores a little too sure."""
    rng = np.random.default_rng(seed)
    sex, age = rng.integers(0, 2, people), rng.integers(0, 3, people)
    score = rng.beta(1.5 + sex, 3.0 + age)
    event = 1 / (1 + np.exp(-(0.7 * np.log(score / (1 - score)) - 0.2)))
    return {
        "codes": np.stack([sex, 2 + age, 5 + 3 * sex + age], 1),
        "y": (rng.random(people) < event).astype(np.int64),
        "score": score,
        "decision": (score >= 0.42).astype(np.int64),
    }


FEATURES = ("sex",) * 2 + ("age",) * 3 + ("sex x age",) * 6
LABELS = tuple(f"{n}" for n in range(11))


@pytest.fixture(scope="module")
def rows() -> dict[str, np.ndarray]:
    return made_up()


@pytest.fixture(scope="module")
def table(rows: dict[str, np.ndarray]) -> ScoreTable:
    return tabulate(FEATURES, LABELS, **rows, edges=fine_edges(0.42), decided=420)


def test_count_metrics_equal_metric_frame(rows: dict[str, np.ndarray], table: ScoreTable) -> None:
    codes = rows["codes"]
    both = pd.DataFrame({"sex": codes[:, 0], "age": codes[:, 1]})
    start = 0
    for columns in (["sex"], ["age"], ["sex", "age"]):
        frame = fairlearn.MetricFrame(
            metrics=EXACT,
            y_true=rows["y"],
            y_pred=rows["decision"],
            sensitive_features=both[columns],
        ).by_group
        part = slice(start, start + len(frame))
        for name in RATES:
            ours = METRICS[name](table.counts, table)[part]
            assert ours == pytest.approx(frame[name].to_numpy(), abs=1e-12), name
        start += len(frame)
    assert start == len(LABELS)


def test_scores_equal_rows(rows: dict[str, np.ndarray], table: ScoreTable) -> None:
    for group in range(len(LABELS)):
        inside = (rows["codes"] == group).any(1)
        y, score = rows["y"][inside], rows["score"][inside]
        of = {name: float(METRICS[name](table.counts, table)[group]) for name in METRICS}
        assert of["n"] == inside.sum()
        assert of["positives"] == y.sum()
        assert of["auc"] == pytest.approx(roc_auc_score(y, score), abs=1e-3)
        assert of["brier"] == pytest.approx(brier_score_loss(y, score), abs=1e-4)
        base = log_loss(y, np.full(len(y), y.mean()))
        assert of["skill"] == pytest.approx(1 - log_loss(y, score) / base, abs=1e-3)
        slope, intercept = calibration_line(y == 1, score)
        assert of["calibration_slope"] == pytest.approx(slope.value, abs=0.01)
        assert of["calibration_intercept"] == pytest.approx(intercept.value, abs=0.01)


def test_leading_axes_are_resamples(table: ScoreTable) -> None:
    block = np.stack([table.counts, 2 * table.counts])
    for name, metric in METRICS.items():
        found, single = metric(block, table), metric(table.counts, table)
        assert found.shape == (2, len(LABELS)), name
        assert found[0] == pytest.approx(single, nan_ok=True), name


def test_by_hand() -> None:
    counts = np.array([[[2.0, 1.0, 1.0], [0.0, 1.0, 3.0]]])
    table = ScoreTable(("f",), ("a",), counts, np.array([0.0, 0.4, 0.6, 1.0]), 2)
    # Pairs of favourable and other: 1 in the middle beats 2, ties 1; 3 above beat 3, tie 1.
    assert metrics.auc(counts, table)[0] == pytest.approx((2.5 + 3 * 3.5) / 16)
    squares = 2 * 0.2**2 + 0.5**2 + 0.8**2 + 0.5**2 + 3 * 0.2**2
    assert metrics.brier(counts, table)[0] == pytest.approx(squares / 8)
    assert metrics.rates(table.cells, ("tpr", "fpr", "ppv", "accuracy"))[0] == pytest.approx(
        [3 / 4, 1 / 4, 3 / 4, 6 / 8]
    )


def test_nothing_over_nobody_is_nan() -> None:
    counts = np.zeros((3, 2, 4))
    counts[1, 1, 3] = 5
    counts[2, 0, 0] = 5
    table = ScoreTable(("f",) * 3, ("none", "yes", "no"), counts, fine_edges(0.5, 4), 2)
    found = {name: metric(counts, table) for name, metric in METRICS.items()}
    for name in set(METRICS) - {"n", "positives"}:
        assert np.isnan(found[name][0]), name
    assert np.isnan(found["fpr"][1])
    assert np.isnan(found["tpr"][2])
    assert np.isnan(found["ppv"][2])
    for name in ("auc", "skill", "calibration_slope"):
        assert np.isnan(found[name][1:]).all(), name
    assert found["selection_rate"][1:].tolist() == [1.0, 0.0]


def test_outcomes_apart_have_no_calibration_line() -> None:
    counts = np.array([[10.0, 10, 0, 0], [0, 0, 10, 10]])
    table = ScoreTable(("f",), ("a",), counts[None], fine_edges(0.5, 4), 2)
    assert np.isnan(metrics.calibration_slope(counts[None], table)).all()


def brute_squared_error(counts: np.ndarray, centres: np.ndarray) -> float:
    """Debiased squared error, person by person."""
    score = np.concatenate([np.repeat(centres, c.astype(int)) for c in counts])
    y = np.repeat([0, 1], counts.sum(1).astype(int))
    size, bins = len(y), min(15, len(y) // 20)
    position = np.array([(score < s).sum() + (score == s).sum() / 2 for s in score])
    which = np.minimum(np.floor(position / size * bins), bins - 1)
    total = 0.0
    for bin_ in range(bins):
        error = (y - score)[which == bin_]
        if len(error) >= 2:
            total += len(error) / size * (error.mean() ** 2 - error.var(ddof=1) / len(error))
    return total


def test_calibration_error_equals_brute_force() -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson(4.0, (3, 2, 40)).astype(float)
    table = ScoreTable(("f",) * 3, ("a", "b", "c"), counts, fine_edges(0.5, 40), 20)
    found = metrics.squared_calibration_error(counts, table)
    for group in range(3):
        assert found[group] == pytest.approx(brute_squared_error(counts[group], table.centres))
    assert metrics.ece(counts, table) == pytest.approx(np.sqrt(np.maximum(found, 0)))


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_calibration_error_is_not_biased(wrong: float) -> None:
    rng = np.random.default_rng(2)
    edges = fine_edges(0.5, 20)
    centres = (edges[1:] + edges[:-1]) / 2
    event = centres + wrong * np.where(centres < 0.5, 1, -1)
    mass = np.concatenate([(1 - event) / 20, event / 20])
    counts = rng.multinomial(300, mass, size=4000).reshape(-1, 2, 20).astype(float)
    table = ScoreTable(("f",), ("a",), counts[:1], edges, 10)
    squared = metrics.squared_calibration_error(counts, table)
    share, gap, _ = metrics.gaps(counts, table)
    plain = (share * gap**2).sum(-1)
    # 15 bins over 20 cells average the jump in the middle a little where a bin spans it.
    assert squared.mean() == pytest.approx(wrong**2, abs=4e-4)
    assert plain.mean() > wrong**2 + 4e-3


def test_coarse_bins_would_be_found_out(rows: dict[str, np.ndarray]) -> None:
    few = tabulate(FEATURES, LABELS, **rows, edges=fine_edges(0.42, 10), decided=4)
    inside = rows["codes"][:, 0] == 0
    exact = roc_auc_score(rows["y"][inside], rows["score"][inside])
    assert abs(metrics.auc(few.counts, few)[0] - exact) > 1e-3


def test_rate_draws_of_exact_and_fine_tables_agree(table: ScoreTable) -> None:
    drawn = metrics.rate_draws(table, ("tpr", "accuracy"), 2000, seed=1)
    assert drawn.shape == (2000, len(LABELS), 2)
    rate = metrics.rates(table.cells, ("tpr",))[:, 0]
    positives = METRICS["positives"](table.counts, table)
    assert drawn[..., 0].std(0) == pytest.approx(np.sqrt(rate * (1 - rate) / positives), rel=0.08)
