"""A checkout with one reader, `toy`, of a test's own."""

from pathlib import Path

import pytest

from tasks.table import reader

ROOT = Path(__file__).resolve().parents[1]
_HEAD = '"""A toy."""\n\nimport polars as pl\n\nfrom tasks.params import UserError\n\n'


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Make reader processes run in a copy of the checkout whose one reader is `toy`.

    Args:
        folder: an empty or absent folder for the copy.
        monkeypatch: of the test.
        body: what the reader's file holds below its imports.
    """
    readers = folder / "tasks" / "readers"
    readers.mkdir(parents=True, exist_ok=True)
    for name in ("rnn", *(f"tasks/{p.name}" for p in (ROOT / "tasks").iterdir())):
        if name not in ("tasks/readers", "tasks/__pycache__") and not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    (readers / "__init__.py").write_text('"""One."""\n\nREADERS = ("toy",)\n')
    (readers / "__main__.py").write_text((ROOT / "tasks" / "readers" / "__main__.py").read_text())
    (readers / "toy.py").write_text(_HEAD + body)
    monkeypatch.setattr(reader, "_CHECKOUT", folder)
