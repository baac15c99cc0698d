"""What the benchmark of recipes makes of metrics, by hand."""

import pytest

from benchmarks import cells, recipes

AUC = {"value": 0.8, "low": 0.75, "high": 0.85}
BLOCK = {
    "data": {"target": {"kind": "binary"}},
    "model": {"cell": "lstm"},
    "train": {"steps": 3},
    "privacy": {"noise_multiplier": 2.0},
    "gate": {},
}


def run(value: float, gap: float) -> dict[str, object]:
    """Metrics of one seed."""
    figure = {"value": value, "low": value - 0.1, "high": value + 0.1}
    less = {"value": gap, "low": gap - 0.01, "high": gap + 0.01}
    return {"model": {"auc": figure}, "twin": {"auc": AUC}, "paired": {"auc_minus_twin": less}}


def test_seeds_are_averaged_between_their_outermost_ends() -> None:
    """The mean, the lowest low and the highest high; an interval may be missing."""
    rows = recipes.rows_of(
        "recipes/r/epsilon_3", "model", [run(0.5, -0.3), run(0.7, -0.1)], "binary"
    )
    whole, gap = rows
    assert whole["name"] == "recipes/r/epsilon_3/auc"
    assert (whole["value"], whole["low"], whole["high"]) == pytest.approx((0.6, 0.4, 0.8))
    assert gap["name"] == "recipes/r/epsilon_3/auc_minus_plain"
    assert (gap["value"], gap["low"], gap["high"]) == pytest.approx((-0.2, -0.31, -0.09))
    assert {row["unit"] for row in rows} == {"2 seeds"}
    assert recipes.cell({"value": 0.5, "low": None, "high": None}) == "0.5"


def test_the_plain_model_is_held_against_the_baseline_alone() -> None:
    """Of a twin, its difference from itself is no row."""
    metrics = {**run(0.5, -0.3), "paired": {"auc_minus_twin": AUC, "twin_auc_minus_baseline": AUC}}
    names = [row["name"] for row in recipes.rows_of("recipes/r/plain", "twin", [metrics], "binary")]
    assert names == ["recipes/r/plain/auc", "recipes/r/plain/auc_minus_baseline"]


def test_only_what_is_varied_changes() -> None:
    """Epsilon takes the noise multiplier's place, and the gate's bar moves with it."""
    changed = recipes.varied(BLOCK, recipes.Wanted(threads=1), 7, 3.0)
    assert changed["train"] == {"steps": 3, "seed": 7, "threads": 1}
    assert changed["privacy"] == {"target_epsilon": 3.0}
    assert changed["gate"] == {"max_epsilon": 3.0}
    assert BLOCK["train"] == {"steps": 3} and BLOCK["privacy"] == {"noise_multiplier": 2.0}


def test_a_recipes_own_cell_has_the_figures_of_the_recipe() -> None:
    """Other cells have rows of their own; what was not measured is a dash."""
    block = {**BLOCK, "privacy": {"target_epsilon": 3}}
    named = {
        "recipes/r/plain/auc": AUC,
        "recipes/r/epsilon_3/auc": {**AUC, "value": 0.7},
        "cells/r/rnn/private/auc": {**AUC, "value": 0.6},
    }
    assert cells.line("r", block, named) == (
        "| r | auc | 3 | – | 0.6 (0.75 to 0.85) | – | – "
        "| **0.8 (0.75 to 0.85)** | **0.7 (0.75 to 0.85)** |"
    )


def test_a_start_of_given_weights_has_no_other_cell() -> None:
    """Weights of recurrent layers are of one cell; an embedding's serve any."""
    assert cells.other_cells(BLOCK) == ["rnn", "gru"]
    assert cells.other_cells({**BLOCK, "start": {"layers": ["embedding"]}}) == ["rnn", "gru"]
    assert cells.other_cells({**BLOCK, "start": {"layers": ["embedding", "recurrent.0"]}}) == []


def test_the_page_has_lines_of_recipes_alone() -> None:
    """The kept file holds the cells' rows too, which have a page of their own."""
    rows = [
        {**AUC, "name": "cells/r/rnn/private/auc"},
        {**AUC, "name": "recipes/r/plain/auc"},
        {**AUC, "name": "recipes/r/plain/auc_minus_baseline", "value": 0.01},
    ]
    assert recipes.table(rows).splitlines()[2:] == [
        "| r | auc | 0.8 (0.75 to 0.85) | – | 0.01 (0.75 to 0.85) | – | – | – | – |"
    ]
