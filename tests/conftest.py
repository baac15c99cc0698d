"""What every test shares."""

import sys

import pytest
import torch

# Several test processes share the cores: one thread each is faster for all.
torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def _search_path_of_a_module():
    """What a module's own fixtures leave on the path is gone before the next module.

    Processes that a later test spawns would import the model's code instead of the project's.
    """
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(autouse=True)
def _own_search_path(monkeypatch):
    """MLflow puts the code of a model that it loads first on the path, and leaves it there."""
    monkeypatch.setattr(sys, "path", list(sys.path))
