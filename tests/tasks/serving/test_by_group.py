"""A registered model whose decision reads a group."""

from pathlib import Path

import numpy as np
import pytest

from tasks import artifacts, register
from tasks.example import example_rows
from tasks.params import UserError
from tests import fake
from tests.tasks.serving.conftest import scorer_of
from tests.tasks.test_served import loaded

THRESHOLDS = {"women": 0.2, "men": 0.9}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fake.Fake:
    """A recipe whose groups have thresholds."""
    monkeypatch.chdir(tmp_path)
    made = fake.write_recipe(layout="wide")
    path = artifacts.folder(made.recipe, "predictions", "published", "metrics.json")
    metrics = artifacts.read_json(path)
    by_group = {"feature": "sex", "goal": "demographic_parity", "thresholds": THRESHOLDS}
    decision = {**(metrics.get("decision") or {}), "threshold": 0.5, "by_group": by_group}
    artifacts.write_json(path, {**metrics, "decision": decision})
    return made


def test_decisions_follow_score_and_group(made: fake.Fake, tmp_path: Path) -> None:
    rows = made.raw.to_pandas()
    # Nobody's label: the overall threshold.
    rows.loc[:4, "sex"] = None
    labels = rows["sex"].map({"f": "women", "m": "men"})
    cuts = labels.map(THRESHOLDS).fillna(0.5).to_numpy()
    answer = loaded(made, tmp_path / "work").predict(None, rows)
    names = np.array(made.data.target.names)
    expected = names[(answer["score"].to_numpy() >= cuts).astype(int)]
    assert answer["decision"].tolist() == expected.tolist()
    assert len(set(zip(labels.fillna("-"), expected, strict=True))) > 2
    live = scorer_of(made, tmp_path / "live").score(made.raw)
    whole = loaded(made, tmp_path / "again").predict(None, made.raw.to_pandas())
    assert live["decision"] == whole["decision"].tolist()


def test_a_missing_group_column_is_named(made: fake.Fake, tmp_path: Path) -> None:
    rows = made.raw.to_pandas().drop(columns=["sex"])
    with pytest.raises(UserError, match=r"data\.sensitive\.sex.*sex"):
        loaded(made, tmp_path / "work").predict(None, rows)


def test_the_column_is_part_of_the_signature(made: fake.Fake, tmp_path: Path) -> None:
    data = register.public_data(made.recipe)
    assert data.decision_groups == "sex"
    example = example_rows(data)
    assert "sex" in example.columns
    assert "sex" not in example_rows(made.data).columns
    assert "sex" in scorer_of(made, tmp_path / "live").columns
    assert len(loaded(made, tmp_path / "work").predict(None, example)) == 2
