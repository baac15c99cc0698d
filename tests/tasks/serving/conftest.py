"""A registered model's files, as MLflow hands them out."""

from pathlib import Path

import pytest

from tasks import artifacts, register
from tasks.serving.scorer import Scorer
from tests import fake

IDENTITY = {"name": "tiny", "version": "3", "alias": "champion"}


def scorer_of(made: fake.Fake, work: Path) -> Scorer:
    """Return the scorer of a faked recipe."""
    work.mkdir()
    place = artifacts.folder(made.recipe, "predictions", "published", "metrics.json")
    files = register.serving_files(made.recipe, artifacts.read_json(place), work)
    for path in files.values():
        (work / path.name).write_bytes(path.read_bytes())
    return Scorer.read(work, IDENTITY)


@pytest.fixture(params=sorted(fake.LAYOUTS))
def layout(request: pytest.FixtureRequest) -> str:
    """One of the three layouts."""
    return str(request.param)


@pytest.fixture
def made(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fake.Fake:
    """A recipe of that layout in an empty checkout."""
    monkeypatch.chdir(tmp_path)
    return fake.write_recipe(layout=layout)


@pytest.fixture
def scorer(made: fake.Fake, tmp_path: Path) -> Scorer:
    """Its scorer."""
    return scorer_of(made, tmp_path / "work")
