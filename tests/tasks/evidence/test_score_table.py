"""Tables of people by group, outcome and score bin: by hand, and their resampling by its law."""

import numpy as np
import pytest

from tasks.evidence import score_table
from tasks.evidence.score_table import (
    ScoreTable,
    coarse_edges,
    collapse,
    decided_bin,
    draws,
    draws_clustered,
    fine_edges,
    flat_cells,
    tabulate,
)

FEATURES = ("sex", "sex", "age", "age")
LABELS = ("a", "b", "old", "young")


def small() -> ScoreTable:
    """Six people, two features, three bins."""
    codes = np.array([[0, 2], [0, 2], [0, 3], [1, 2], [1, 3], [1, 3]])
    y = np.array([1, 0, 1, 1, 0, 0])
    score = np.array([0.9, 0.1, 0.5, 0.6, 0.45, 0.2])
    edges = np.array([0.0, 0.4, 0.5, 1.0])
    return tabulate(FEATURES, LABELS, codes, y, score, (score >= 0.5).astype(int), edges, 2)


def test_counts_by_hand() -> None:
    table = small()
    assert table.counts[0].tolist() == [[1, 0, 0], [0, 0, 2]]
    assert table.counts[1].tolist() == [[1, 1, 0], [0, 0, 1]]
    assert table.counts[2].tolist() == [[1, 0, 0], [0, 0, 2]]
    assert table.counts[3].tolist() == [[1, 1, 0], [0, 0, 1]]
    assert table.cells[1].tolist() == [[2, 0], [0, 1]]
    assert [t.tolist() for t in table.tables] == [[0, 1], [2, 3]]
    assert table.centres == pytest.approx([0.2, 0.45, 0.75])


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = small().counts
    monkeypatch.setattr(score_table, "ROWS", 4)
    assert np.array_equal(small().counts, whole)


def test_nobody() -> None:
    empty = np.zeros(0, dtype=np.int64)
    edges = fine_edges(0.5, 4)
    table = tabulate(
        FEATURES, LABELS, np.zeros((0, 2), np.int64), empty, empty * 1.0, empty, edges, 2
    )
    assert table.counts.sum() == 0
    assert next(draws(table, 3, 0)).shape == (3, 4, 2, 4)


@pytest.mark.parametrize("threshold", [0.0, 0.0004, 0.27, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("bins", [10, 1000])
def test_threshold_is_an_edge(threshold: float, bins: int) -> None:
    edges = fine_edges(threshold, bins)
    assert len(edges) == bins + 1
    assert (np.diff(edges) > 0).all()
    start = decided_bin(edges, threshold)
    assert 1 <= start <= bins - 1
    assert edges[start] == pytest.approx(threshold, abs=1.1e-6)
    for bins in (2, 3, 10, 100):
        coarse = coarse_edges(threshold, bins)
        assert len(coarse) == bins + 1
        assert (np.diff(coarse) > 0).all() and (coarse[0], coarse[-1]) == (0, 1)
        assert coarse[decided_bin(coarse, threshold)] == np.clip(threshold, 1e-6, 1 - 1e-6)
        assert decided_bin(coarse, threshold) == bins // 2


def test_people_on_the_threshold_go_where_they_were_decided() -> None:
    edges = fine_edges(0.5, 10)
    score = np.array([0.5, 0.5, 0.5 - 1e-9, 1.0, 0.0])
    decision = np.array([1, 0, 1, 1, 0])
    assert score_table.score_bins(score, decision, edges, 5).tolist() == [5, 4, 5, 9, 0]
    with pytest.raises(ValueError, match=r"row 1: score 0\.6"):
        score_table.score_bins(np.array([0.1, 0.6]), np.array([0, 0]), edges, 5)
    # A score on any other edge belongs to the bin above it.
    inner = score_table.score_bins(edges[[0, 2, 7, 10]], np.array([0, 0, 1, 1]), edges, 5)
    assert inner.tolist() == [0, 2, 7, 9]
    for threshold, start, above in ((1.0, 9, [9, 8]), (0.0, 1, [1, 0])):
        ends = fine_edges(threshold, 10)
        same = np.array([threshold, threshold])
        assert score_table.score_bins(same, np.array([1, 0]), ends, start).tolist() == above


def test_draws_are_the_bootstrap_over_people() -> None:
    counts = np.zeros((4, 2, 3))
    counts[:2] = [[[30, 0, 10], [5, 15, 40]], [[7, 3, 0], [0, 60, 30]]]
    counts[2:] = [[[20, 0, 10], [5, 40, 40]], [[17, 3, 0], [0, 35, 30]]]
    table = ScoreTable(FEATURES, LABELS, counts, np.array([0, 0.3, 0.6, 1.0]), 1)
    drawn = np.concatenate(list(draws(table, 20_000, seed=1)))
    assert drawn.shape == (20_000, 4, 2, 3)
    # Every resample has everybody once in each feature.
    assert (drawn[:, :2].sum((1, 2, 3)) == 200).all()
    assert (drawn[:, 2:].sum((1, 2, 3)) == 200).all()
    assert (drawn[:, counts == 0] == 0).all()
    share = counts / 200
    assert drawn.mean(0) == pytest.approx(counts, abs=0.25)
    assert drawn.var(0) == pytest.approx(200 * share * (1 - share), rel=0.06)
    # Cells compete for people: their covariance is -N p q.
    together = np.cov(drawn[:, 0, 1, 2], drawn[:, 1, 1, 1])[0, 1]
    assert together == pytest.approx(-200 * 0.2 * 0.3, rel=0.1)
    assert np.array_equal(drawn, np.concatenate(list(draws(table, 20_000, seed=1))))
    assert not np.array_equal(drawn, np.concatenate(list(draws(table, 20_000, seed=2))))


def test_blocks_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_table, "BLOCK", 60)
    sizes = [len(block) for block in draws(small(), 7, 0)]
    assert sizes == [2, 2, 2, 1]


def test_draws_of_a_noised_table_carry_both_kinds_of_chance() -> None:
    counts = np.zeros((2, 2, 4))
    counts[:] = [[[50, 30, -6, 26], [-4, 10, 20, 74]]] * 2
    edges = np.array([0, 0.25, 0.5, 0.75, 1.0])
    table = ScoreTable(("sex", "sex"), ("a", "b"), counts, edges, 2, noise=8.0)
    drawn = np.concatenate(list(draws(table, 20_000, seed=1)))
    # Outcome by decision keeps its mean, although negative cells were cut.
    cells = collapse(drawn, 2)
    assert cells.mean(0) == pytest.approx(table.cells, abs=0.4)
    sampling = table.cells * (1 - table.cells / 400)
    assert cells.var(0) == pytest.approx(sampling + 2 * 64, rel=0.06)


def test_clusters_are_drawn_whole() -> None:
    rng = np.random.default_rng(3)
    persons = np.repeat(np.arange(400), 5)
    # All five rows of a person are alike: 400 people's worth of chance, not 2,000 rows'.
    y = np.repeat((rng.random(400) < 0.3).astype(np.int64), 5)
    score = np.where(y == 1, 0.8, 0.2)
    codes = np.zeros((2000, 1), dtype=np.int64)
    edges = np.array([0.0, 0.5, 1.0])
    arguments = (codes, y, score, y, edges, 1)
    table = tabulate(("all",), ("all",), *arguments)
    cells = flat_cells(*arguments)
    drawn = np.concatenate(list(draws_clustered(table, cells, persons, 4000, seed=5)))
    rate = drawn[:, 0, 1].sum(-1) / drawn[:, 0].sum((-2, -1))
    share = y.mean()
    assert rate.std() == pytest.approx(np.sqrt(share * (1 - share) / 400), rel=0.06)
    assert drawn[:, 0, 1, 1].mean() == pytest.approx(table.counts[0, 1, 1], rel=0.01)
    apart = np.concatenate(list(draws_clustered(table, cells, np.arange(2000), 4000, seed=5)))
    rate = apart[:, 0, 1].sum(-1) / apart[:, 0].sum((-2, -1))
    assert rate.std() == pytest.approx(np.sqrt(share * (1 - share) / 2000), rel=0.06)
