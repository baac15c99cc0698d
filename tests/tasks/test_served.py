"""The served model reads raw rows as a user has them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest

from rnn.config import ModelConfig
from rnn.model import build
from tasks import artifacts, register
from tasks.example import example_rows
from tasks.params import as_json, load_recipe
from tasks.served import Served, to_polars
from tasks.table.encode import input_shape
from tests import fake


def loaded(made: fake.Fake, work: Path) -> Served:
    """Return the model as MLflow loads it: its files in one folder."""
    work.mkdir()
    metrics = artifacts.read_json(
        artifacts.folder(made.recipe, "predictions", "published", "metrics.json")
    )
    files = register.serving_files(made.recipe, metrics, work)
    placed = {name: work / path.name for name, path in files.items()}
    for name, path in files.items():
        placed[name].write_bytes(path.read_bytes())
    served = Served()
    served.load_context(SimpleNamespace(artifacts={k: str(v) for k, v in placed.items()}))
    return served


def wanted(recipe: str) -> pl.DataFrame:
    """Return what predict wrote."""
    return artifacts.read_predictions(recipe)


@pytest.mark.parametrize("layout", sorted(fake.LAYOUTS))
def test_raw_rows_give_what_predict_wrote(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = fake.write_recipe(layout=layout)
    served = loaded(made, tmp_path / "work")
    raw = made.raw.to_pandas()
    # Columns that only training reads need not be there.
    raw = raw.drop(columns=[c for c in ("y", "sex", "note") if c in raw])
    answer = served.predict(None, raw)
    written = wanted(made.recipe)
    scores = [c for c in answer.columns if c.startswith("score")]
    for name in scores:
        expected = written["y_score" if name == "score" else name].to_numpy()
        np.testing.assert_allclose(answer[name], expected, rtol=0, atol=1e-9)
    if layout != "text":
        assert answer["person_id"].tolist() == written["person_id"].to_list()
    if layout != "long":
        names = made.data.target.names or tuple(map(str, made.data.target.classes))
        assert answer["decision"].tolist() == [names[i] for i in written["y_pred"].to_list()]


def test_a_csv_of_text_and_a_typed_table_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = fake.write_recipe()
    served = loaded(made, tmp_path / "work")
    made.raw.write_csv("raw.csv")
    typed = served.predict(None, made.raw.to_pandas())
    guessed = served.predict(None, pd.read_csv("raw.csv"))
    text = served.predict(None, pd.read_csv("raw.csv", dtype=str))
    pd.testing.assert_frame_equal(typed, guessed)
    pd.testing.assert_frame_equal(typed, text)


def test_one_person_alone_gets_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = fake.write_recipe(layout="long")
    served = loaded(made, tmp_path / "work")
    everyone = served.predict(None, made.raw.to_pandas()).set_index("person_id")
    for person in ("p000", "p007"):
        rows = made.raw.filter(pl.col("id") == person).to_pandas()
        (alone,) = served.predict(None, rows)["score"]
        assert alone == pytest.approx(everyone.loc[person, "score"], abs=1e-5)


@pytest.mark.parametrize("layout", sorted(fake.LAYOUTS))
def test_the_example_is_invented_and_can_be_read(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = fake.write_recipe(layout=layout)
    data = register.public_data(made.recipe)
    example = example_rows(data)
    answer = loaded(made, tmp_path / "work").predict(None, example)
    assert len(answer) == 2
    assert list(answer.columns) == list(register.outputs_of(data))
    assert answer.filter(like="score").notna().all(axis=None)
    # The same whatever stands in the raw file: it is made from the recipe alone.
    pd.testing.assert_frame_equal(example, example_rows(made.data))


def test_a_number_comes_with_its_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = fake.write_recipe(layout="long")
    path = artifacts.folder(made.recipe, "predictions", "published", "metrics.json")
    plain = loaded(made, tmp_path / "plain").predict(None, made.raw.to_pandas())
    assert list(plain.columns) == list(register.outputs_of(made.data))
    interval = {"level": 0.9, "half_width": 19.0}
    artifacts.write_json(path, {**artifacts.read_json(path), "interval": interval})
    answer = loaded(made, tmp_path / "work").predict(None, made.raw.to_pandas())
    assert list(answer.columns) == list(register.outputs_of(made.data, interval=True))
    # Bounds are 0 to 40: an interval of a prediction near an end stops there.
    for end, side in (("low", -19.0), ("high", 19.0)):
        expected = np.clip(answer["score"] + side, 0.0, 40.0)
        np.testing.assert_allclose(answer[end], expected, rtol=0, atol=1e-9)
    assert (answer["low"] < answer["score"]).all() and (answer["score"] < answer["high"]).all()


def test_tokens_counted_in_training_rows_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a translation: both sides' vocabularies are known since prepare, not since plan."""
    recipe = load_recipe(Path(__file__).parents[2] / "params.yaml", "translate")
    monkeypatch.chdir(tmp_path)
    folder = Path("data", "translate")
    artifacts.write_json(folder / "plan" / "data.json", as_json(recipe.data))
    target = {"target": as_json(recipe.data.target), "decision": None}
    artifacts.write_json(folder / "plan" / "target.json", target)
    artifacts.write_json(
        folder / "prepared" / "arrays" / "vocabularies.json",
        {"sequence": ["open", "file"], "target": ["ouvrir", "fichier"]},
    )
    artifacts.write_json(folder / "predictions" / "published" / "metrics.json", {})
    data = register.public_data("translate")
    model = build(ModelConfig(hidden_size=4, embedding_size=3), input_shape(data), 0)
    (folder / "model").mkdir()
    artifacts.write_model(folder / "model", model, dict(model.named_parameters()))
    told = register.outputs_of_sequences("translate", data)
    assert told == {"person_id": "string", "text": "string", "log_probability": "double"}


def test_what_is_served_does_not_say_where_data_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = fake.write_recipe()
    data = register.public_data(made.recipe)
    assert data.source.path == "-" and data.split.salt == "-"


def test_mixed_columns_become_text_and_gaps_null() -> None:
    frame = to_polars(pd.DataFrame({"a": [1, "x", None], "b": [1.5, float("nan"), 2.0]}))
    assert frame["a"].to_list() == ["1", "x", None]
    assert frame["b"].to_list() == [1.5, None, 2.0]
