"""Figures of forecasts by hand, and the rivals that are fitted on training windows alone."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from rnn.batch import PreparedSequences
from rnn.config import ModelConfig
from rnn.losses import batch_losses
from rnn.model import build
from tasks.artifacts import Prepared
from tasks.kinds.answers.forecast import answers
from tasks.kinds.exponential import AutoEts, filled
from tasks.kinds.forecast import (
    SeasonalNaive,
    Usual,
    by_step,
    histories,
    judged,
    pinball,
    repeated,
    summary,
    wanted_of,
)
from tasks.kinds.table import KINDS
from tasks.params import UserError

HOUR = 3_600_000_000
START = 438_288
LEVELS = [0.1, 0.5, 0.9]


def prepared_of(
    values: np.ndarray,
    window: int,
    horizon: int,
    *,
    cut: int,
    seasons: tuple[int, ...] = (4,),
    usual: np.ndarray | None = None,
    scale: float | None = None,
) -> Prepared:
    """Windows of one series in -1..1, training windows one step apart, others by the horizon."""
    early = np.arange(window, cut - horizon + 1)
    late = np.arange(cut, len(values) - horizon + 1, horizon)
    begins = np.concatenate([early, late])
    back = begins[:, None] - window + np.arange(window)
    ahead = begins[:, None] + np.arange(horizon)
    history, count = values[back].reshape(-1, 1), len(begins)
    level = np.zeros((count, 0)) if usual is None else usual[ahead]
    moments = np.array((START + begins) * HOUR, dtype="datetime64[us]")
    sequences = PreparedSequences(
        sequences=np.nan_to_num(history).astype(np.float32),
        missing=np.isnan(history).astype(np.uint8),
        offsets=np.arange(count + 1) * window,
        static=level.astype(np.float32),
        targets=(values[ahead] - (0 if usual is None else level)).astype(np.float32),
    )
    sides = ["train"] * len(early) + ["test"] * len(late)
    times = [str(np.datetime_as_string(moment, unit="m")) for moment in moments]
    people = pl.DataFrame({"person_id": times, "split": sides, "time": times})
    schema: dict[str, Any] = {
        "input": {"kind": "numbers", "size": 1, "vocabulary": []},
        "task": "forecast",
        "target": {"kind": "forecast", "horizon": horizon, "quantiles": LEVELS, "bounds": [0, 200]},
        "series": {
            "keyed": False, "step": HOUR, "window": window, "seasons": list(seasons),
            "channel": 0, "usual": [] if usual is None else [4], "scale": scale,
        },
    }  # fmt: skip
    return Prepared(sequences, people, schema)


def totals(found: Any) -> dict[str, float]:
    """Figures of all windows together."""
    made = summary({name: values.sum(0) for name, values in found.sums.items()})
    return {name: float(value) for name, value in made.items()}


def test_figures_by_hand() -> None:
    values = np.array([0.0, 0.5, 0.0, 0.5, 0.1, np.nan, 0.3, 0.4])
    prepared = prepared_of(values, 4, 2, cut=4, seasons=(2,), scale=25.0)
    rows = prepared.rows("test")
    assert len(rows) == 2
    made = np.zeros((2, 2, 3))
    made[0] = [[-0.1, 0.0, 0.2], [0, 0, 0]]
    made[1] = [[0.4, 0.5, 0.6], [0.0, 0.8, 1.4]]
    found = judged(made, prepared, rows)
    # Known: 110, 130, 140 of 0..200; medians 100, 150, 180; outer 90..120, 140..160, 100..200.
    np.testing.assert_allclose(found.sums["absolute"], [[10, 0], [20, 40]], atol=1e-4)
    np.testing.assert_allclose(found.sums["known"], [[1, 0], [1, 1]])
    got = totals(found)
    assert got["mae"] == pytest.approx(70 / 3, rel=1e-5)
    assert got["rmse"] == pytest.approx(np.sqrt((100 + 400 + 1600) / 3), rel=1e-5)
    assert got["mase"] == pytest.approx(70 / 25 / 3, rel=1e-5)
    assert got["coverage"] == pytest.approx(2 / 3)
    assert got["width"] == pytest.approx((30 + 20 + 100) / 3, rel=1e-5)
    # Repeated: 0, 0.5; then 0.1 and, for the gap, 0.5 of the season before: errors 10, 20, 10.
    assert got["skill"] == pytest.approx(1 - 70 / (10 + 20 + 10), rel=1e-5)
    costs = [0.1 * 20 + 0.5 * 10 + 0.1 * 10, 0.9 * 10 + 0.5 * 20 + 0.1 * 30,
             0.1 * 40 + 0.5 * 40 + 0.1 * 60]  # fmt: skip
    assert got["pinball"] == pytest.approx(sum(costs) / 9, rel=1e-5)
    steps = by_step({name: values.sum(0) for name, values in found.sums.items()})
    np.testing.assert_allclose(steps, [15, 40], rtol=1e-5)


def test_without_a_scale_there_is_no_mase() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 40)
    prepared = prepared_of(values, 8, 4, cut=20)
    found = totals(SeasonalNaive.fit(prepared, 0).judge(prepared, prepared.rows("test")))
    assert np.isnan(found["mase"]) and found["mae"] > 0


def test_a_median_far_off_is_no_better_than_the_bound() -> None:
    values = np.zeros(20)
    prepared = prepared_of(values, 8, 4, cut=12)
    rows = prepared.rows("test")
    assert totals(judged(np.full((len(rows), 4, 3), 9.0), prepared, rows))["mae"] == 100


def test_losses_are_those_of_training() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 60)
    values[[33, 41, 42]] = np.nan
    usual = np.random.default_rng(1).uniform(-0.3, 0.3, 60)
    prepared = prepared_of(values, 8, 4, cut=30, usual=usual)
    rows = prepared.rows("test")
    model = build(ModelConfig(hidden_size=5), prepared.shape, 0).eval()
    found = KINDS["forecast"].judge(model, prepared, rows)
    batch = prepared.sequences.batch(rows)
    with torch.no_grad():
        expected = batch_losses(model.outputs(batch).double(), batch, model.shape)
    np.testing.assert_allclose(found.losses, expected.numpy(), rtol=1e-5)
    np.testing.assert_allclose(wanted_of(prepared, rows), _targets(values, 30, 4), atol=1e-6)


def _targets(values: np.ndarray, cut: int, horizon: int) -> np.ndarray:
    """What came, by hand."""
    begins = np.arange(cut, len(values) - horizon + 1, horizon)
    return np.stack([values[b : b + horizon] for b in begins])


def test_answers_are_in_the_targets_unit_and_rise() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 60)
    usual = np.full(60, 0.5)
    prepared = prepared_of(values, 8, 4, cut=30, usual=usual)
    rows = prepared.rows("test")
    model = build(ModelConfig(hidden_size=5), prepared.shape, 0).eval()
    for parameter in model.parameters():
        parameter.data.zero_()
    said = answers(model, prepared.sequences, rows, prepared.schema)
    assert list(said) == ["quantile_0.1", "quantile_0.5", "quantile_0.9"]
    # Zero weights: the first quantile is what is usual, 150; softplus(0) above 200 is cut off.
    assert said["quantile_0.1"] == [[150.0] * 4] * len(rows)
    assert said["quantile_0.5"] == [[200.0] * 4] * len(rows)


def test_pinball_against_its_definition() -> None:
    rng = np.random.default_rng(0)
    forecasts, wanted = rng.normal(size=(5, 2, 3)), rng.normal(size=(5, 2))
    for window in range(5):
        for step in range(2):
            costs = [
                (level if wanted[window, step] >= one else level - 1) * (wanted[window, step] - one)
                for level, one in zip(LEVELS, forecasts[window, step], strict=True)
            ]
            got = pinball(forecasts, wanted, LEVELS)[window, step]
            assert got == pytest.approx(np.mean(costs))


def test_repeated_goes_back_over_gaps() -> None:
    history = np.array([[1.0, 2, 3, 4, 5, np.nan], [np.nan] * 6, [np.nan, 8, np.nan, 4, 3, np.nan]])
    expected = [[4, 5, 3, 4], [0, 0, 0, 0], [4, 3, 5, 4]]
    np.testing.assert_allclose(repeated(history, 3, 4), expected)


def test_seasonal_naive_takes_the_better_season_of_training_and_its_errors() -> None:
    rng = np.random.default_rng(0)
    week = rng.uniform(-0.8, 0.8, 12)
    values = np.tile(week, 60) + rng.normal(0, 0.02, 720)
    prepared = prepared_of(values, 24, 4, cut=600, seasons=(4, 12))
    fitted = SeasonalNaive.fit(prepared, 0)
    assert fitted.season == 12
    found = totals(fitted.judge(prepared, prepared.rows("test")))
    # Two draws of noise apart: sd 0.02 sqrt 2, of 100 units.
    assert found["mae"] == pytest.approx(100 * 0.02 * np.sqrt(2) * np.sqrt(2 / np.pi), rel=0.2)
    assert found["coverage"] == pytest.approx(0.8, abs=0.1)
    assert found["skill"] == pytest.approx(0)
    # Its errors are of training: another test changes nothing.
    changed = np.concatenate([values[:600], -values[600:]])
    again = SeasonalNaive.fit(prepared_of(changed, 24, 4, cut=600, seasons=(4, 12)), 0)
    np.testing.assert_array_equal(again.errors, fitted.errors)


def test_what_is_usual_is_a_rival_too() -> None:
    rng = np.random.default_rng(0)
    values, usual = rng.uniform(-0.5, 0.5, 300), np.zeros(300)
    prepared = prepared_of(values, 8, 4, cut=200, usual=usual)
    found = totals(Usual.fit(prepared, 0).judge(prepared, prepared.rows("test")))
    assert found["mae"] == pytest.approx(100 * np.abs(values[200:300]).mean(), rel=1e-5)
    # Errors are even over 100 units: their tenths lie 80 units apart.
    assert found["width"] == pytest.approx(80, abs=8)
    with pytest.raises(UserError, match=r"needs data\.sequence\.usual"):
        Usual.fit(prepared_of(values, 8, 4, cut=200), 0)


def seasonal(count: int) -> np.ndarray:
    """A level that wanders, with a season of four: what exponential smoothing is for."""
    rng = np.random.default_rng(5)
    level = np.cumsum(rng.normal(0, 0.01, count))
    return np.tile([0.2, -0.3, 0.0, 0.1], count // 4) + level + rng.normal(0, 0.05, count)


def test_auto_ets_beats_the_naive_where_its_form_is_true() -> None:
    prepared = prepared_of(seasonal(400), 24, 4, cut=300)
    rows = prepared.rows("test")
    ets = totals(AutoEts.fit(prepared, 0).judge(prepared, rows))
    naive = totals(SeasonalNaive.fit(prepared, 0).judge(prepared, rows))
    assert ets["mae"] < 0.9 * naive["mae"]
    assert 0.6 < ets["coverage"] < 0.95


def test_auto_ets_sees_no_future() -> None:
    values = seasonal(400)
    prepared = prepared_of(values, 24, 4, cut=300)
    rows = prepared.rows("test")
    before = AutoEts.fit(prepared, 0).judge(prepared, rows)
    changed = values.copy()
    changed[340:] = 0.9
    after_windows = prepared_of(changed, 24, 4, cut=300)
    after = AutoEts.fit(after_windows, 0).judge(after_windows, rows)
    # Windows that begin up to the hour 336 were forecast from what did not change.
    same = 10
    np.testing.assert_allclose(after.sums["width"][:same], before.sums["width"][:same])
    np.testing.assert_allclose(after.sums["absolute"][:same], before.sums["absolute"][:same])
    assert np.abs(after.sums["absolute"][same + 1 :] - before.sums["absolute"][same + 1 :]).max()


def test_histories_know_their_gaps() -> None:
    values = np.arange(40) / 40
    values[10] = np.nan
    prepared = prepared_of(values, 8, 4, cut=20)
    found = histories(prepared, np.array([3]))
    np.testing.assert_allclose(found[0], values[3:11], atol=1e-6)
    np.testing.assert_allclose(filled(np.array([1.0, np.nan, np.nan]), 1), [1, 1, 1])


def test_totals_of_groups_and_resamples_keep_their_axes() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 80)
    prepared = prepared_of(values, 8, 4, cut=40, scale=10.0)
    found = SeasonalNaive.fit(prepared, 0).judge(prepared, prepared.rows("test"))
    one = summary({name: v.sum(0) for name, v in found.sums.items()})
    many = {name: np.broadcast_to(v.sum(0), (3, 2, *v.shape[1:])) for name, v in found.sums.items()}
    made = summary(many)
    assert set(made) == {figure.name for figure in KINDS["forecast"].figures}
    for name, value in made.items():
        np.testing.assert_allclose(value, np.full((3, 2), one[name]))
    nobody = summary({name: np.zeros_like(v.sum(0)) for name, v in found.sums.items()})
    assert all(np.isnan(value) for value in nobody.values())
