"""What every test shares."""

import sys
from collections import Counter

import pytest
import torch

# Several test processes share the cores: one thread each is faster for all.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Modules that take long come first: no process has one left when the others are done."""
    sizes = Counter(item.path for item in items)
    marked = [
        {item.path for item in items if item.get_closest_marker(mark)}
        for mark in ("servers", "pipeline")
    ]
    items.sort(
        key=lambda item: (
            [item.path not in paths for paths in marked],
            -sizes[item.path],
            str(item.path),
        )
    )


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
