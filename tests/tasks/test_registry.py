"""The registry survives a move of the checkout and two starters at once."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import register, registry
from tests import fake

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """No store but the checkout's."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)


def paths_in(file: Path) -> list[str]:
    """Return every path that MLflow keeps, of any table and column."""
    base = sqlite3.connect(file)
    found = []
    for (table,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for row in base.execute(f"SELECT * FROM {table}").fetchall():
            found += [str(cell) for cell in row if "mlflow/artifacts" in str(cell)]
    base.close()
    return found


def test_a_moved_checkout_still_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old home", tmp_path / "new" / "home's"
    (old / ".sordino").mkdir(parents=True)
    monkeypatch.chdir(old)
    made = fake.write_recipe()
    told = register.register("tiny", old)
    before = registry.open_store(old).predict("models:/tiny@champion", made.raw.to_pandas())
    new.parent.mkdir()
    monkeypatch.chdir(tmp_path)
    shutil.move(old, new)
    assert not old.exists()
    monkeypatch.chdir(new)
    store = registry.open_store(new)
    after = store.predict("models:/tiny@champion", made.raw.to_pandas())
    assert (before["score"] == after["score"]).all()
    # No path of the old home is left in any table.
    paths = paths_in(registry.database(new))
    assert len(paths) >= 4 and all(p.startswith(str(new)) for p in paths), paths
    report = store.client.download_artifacts(told["run"], "published/report.html")
    assert Path(report).read_text() == "<p>published"
    # Found again: nothing is registered twice. Nothing is left to repair.
    assert register.register("tiny", new)["version"] == "1"
    assert registry.repair_paths(registry.database(new), new) == 0


def test_only_a_checkouts_own_paths_are_turned(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    base = sqlite3.connect(file)
    for table, column in registry.PATHS:
        columns = [c for t, c in registry.PATHS if t == table]
        if column == columns[0]:
            base.execute(f"CREATE TABLE {table} ({', '.join(f'{c} TEXT' for c in columns)})")
    base.executemany(
        "INSERT INTO experiments VALUES (?)",
        [("/a/b/mlflow/artifacts",), ("s3://bucket/x",), ("/a/bc/else",)],
    )
    base.executemany(
        "INSERT INTO runs VALUES (?)", [("/a/b/mlflow/artifacts/1",), ("/a/bc/mlflow",), (None,)]
    )
    base.execute("INSERT INTO model_versions VALUES ('models:/m-1', '/a/b/mlflow/artifacts/m')")
    base.commit()
    assert registry.repair_paths(file, Path("/c")) == 3
    assert base.execute("SELECT * FROM experiments").fetchall() == [
        ("/c/mlflow/artifacts",),
        ("s3://bucket/x",),
        ("/a/bc/else",),
    ]
    runs = base.execute("SELECT * FROM runs").fetchall()
    assert runs == [("/c/mlflow/artifacts/1",), ("/a/bc/mlflow",), (None,)]
    assert base.execute("SELECT * FROM model_versions").fetchall() == [
        ("models:/m-1", "/c/mlflow/artifacts/m")
    ]
    base.close()


def test_two_at_once_make_one_good_database(tmp_path: Path) -> None:
    code = "from tasks import registry; registry.open_store(registry.checkout())"
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
            cwd=tmp_path,
        )
        for _ in range(2)
    ]
    assert [starter.wait(120) for starter in starters] == [0, 0]
    base = sqlite3.connect(registry.database(tmp_path))
    assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert len(base.execute("SELECT version_num FROM alembic_version").fetchall()) == 1
    base.close()
    assert not (tmp_path / "mlruns").exists()


def test_the_root_is_dvcs_in_a_temporary_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert registry.checkout() == tmp_path.resolve()
    monkeypatch.setenv("DVC_ROOT", "/somewhere")
    assert registry.checkout() == Path("/somewhere")
