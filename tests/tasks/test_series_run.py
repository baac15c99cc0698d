"""A generated series through the stages, and the promises that windows of series cannot keep."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from tasks import (
    artifacts,
    attack,
    audit,
    explain,
    fetch,
    gate,
    plan,
    predict,
    prepare,
    register,
    report,
    train,
)
from tasks.params import UserError, load_recipe

HOURS = 900
RECIPE: dict[str, Any] = {
    "data": {
        "source": {"kind": "path", "path": "load.csv"},
        "sequence": {
            "layout": "series",
            "time": "when",
            "every": "1h",
            "window": 24,
            "stride": 3,
            "calendar": ["hour"],
            "usual": [24, 48],
            "seasons": [24],
            "scale": "training",
            "features": [{"name": "load", "column": "load", "bounds": [0, 100]}],
        },
        "target": {"column": "load", "kind": "forecast", "horizon": 6, "bounds": [0, 100]},
        "split": {"salt": "s", "as_of": {"column": "when", "date": "2020-01-28"}},
    },
    "model": {"cell": "gru", "hidden_size": 8},
    "train": {
        "learning_rate": 0.02,
        "schedule": "cosine",
        "steps": 80,
        "expected_batch_size": 64,
        "threads": 1,
        "device": "cpu",
    },
    "privacy": {"none": "A generated series of numbers that are about nobody", "population": 200},
    "predict": {"bootstraps": 200},
    "explain": {"people": 8, "quality_people": 4, "local_people": 1},
    "gate": {"figures": {"mase": {"at_most": 1}}},
    "report": {"title": "A generated series"},
}


def write(folder: Path, **changes: Any) -> None:
    """A day that repeats, a level that comes back to its mean, and noise."""
    rng = np.random.default_rng(0)
    level = np.zeros(HOURS)
    for hour in range(1, HOURS):
        level[hour] = 0.97 * level[hour - 1] + rng.normal(0, 2)
    day = 50 + 20 * np.sin(2 * np.pi * np.arange(HOURS) / 24)
    when = pl.datetime_range(
        pl.datetime(2020, 1, 1), pl.datetime(2020, 1, 1) + pl.duration(hours=HOURS - 1), "1h",
        eager=True,
    )  # fmt: skip
    load = (day + level + rng.normal(0, 1, HOURS)).clip(0, 100).round(2)
    pl.DataFrame({"when": when.dt.to_string("iso:strict"), "load": load}).write_csv(
        folder / "load.csv"
    )
    recipe = {**RECIPE, **changes}
    (folder / "params.yaml").write_text(
        yaml.safe_dump({"run": ["load"], "recipes": {"load": recipe}})
    )


def test_a_new_series_is_a_block_in_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    plan.main(["load"])
    fetch.main(["load"])
    prepare.main(["load"])
    train.main(["load"])
    train.main(["load", "--twin"])
    predict.main(["load"])
    root = artifacts.folder("load", "predictions")
    published = artifacts.read_json(root / "published" / "metrics.json")
    model = {name: figure["value"] for name, figure in published["model"].items()}
    baseline = artifacts.read_json(root / "internal" / "metrics.json")["baseline"]
    assert published["task"] == "forecast"
    assert model["mae"] < 0.9 * baseline["mae"]["value"]
    assert model["mase"] < 1 and model["skill"] > 0.1
    assert 0.6 < model["coverage"] < 0.99
    rows = artifacts.read_predictions("load")
    assert rows["person_id"][0] == "2020-01-28T00:00"
    assert len(rows["sum_absolute"][0]) == 6
    for stage in (audit, explain, attack, gate, report):
        stage.main(["load"])
    decision = artifacts.read_json(artifacts.folder("load", "decision", "decision.json"))
    assert decision["verdict"] == "pass", decision["checks"]
    page = artifacts.folder("load", "report", "internal", "internal.html").read_text()
    assert "usual value" in page
    # What a server is given of the recipe: the split's key stays here, the series can be read.
    public = register.public_data("load")
    assert public.split.salt == "-" and public.split.as_of is not None


@pytest.mark.parametrize(
    ("person", "privacy", "changes", "words"),
    [
        (None, {}, {}, "data.person is not set: all windows come from one series"),
        ("meter", {"unit": "record"}, {}, "privacy.unit = record: a row stands in many windows"),
        ("meter", {}, {}, "trains and tests on the same series"),
        ("meter", {}, {"split": {"salt": "s"}}, "data.sequence.scale = training is measured"),
    ],
)
def test_a_promise_that_windows_cannot_keep_is_refused(
    person: str | None,
    privacy: dict[str, Any],
    changes: dict[str, Any],
    words: str,
    tmp_path: Path,
) -> None:
    promise = {"population": 200, "delta": 1.0e-4, "noise_multiplier": 1.0, **privacy}
    write(
        tmp_path,
        data={**RECIPE["data"], "person": person, **changes},
        privacy=promise,
        gate={"max_epsilon": 9},
    )
    with pytest.raises(UserError) as caught:
        load_recipe(tmp_path / "params.yaml", "load")
    assert words in str(caught.value) and "\n" not in str(caught.value)
