"""The DAG comes from dvc.yaml; one stage runs through DVC or is found cached."""

import sys
from pathlib import Path

import pytest

from tasks.machine import stages
from tasks.params import UserError

# Of packages that DVC reads the graph with.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DVC = """
stages:
  first:
    foreach: ${run}
    do:
      cmd: python make.py "${item}" first
      deps: [make.py]
      outs: ["${item}-first"]
  left:
    foreach: ${run}
    do:
      cmd: python make.py "${item}" left
      deps: [make.py, "${item}-first"]
      outs: ["${item}-left"]
  right:
    foreach: ${run}
    do:
      cmd: python make.py "${item}" right
      deps: [make.py, "${item}-first"]
      outs: ["${item}-right"]
  last:
    foreach: ${run}
    do:
      cmd: python make.py "${item}" last
      deps: [make.py, "${item}-left", "${item}-right"]
      outs: ["${item}-last"]
"""
MAKE = """
import pathlib, sys
print("making", *sys.argv[1:])
if sys.argv[2] == "right" and pathlib.Path("broken").exists():
    sys.exit("right cannot be made")
pathlib.Path("-".join(sys.argv[1:])).write_text("made")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("a project with spaces")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (root / "dvc.yaml").write_text(DVC)
    (root / "params.yaml").write_text("run: [one, two]\n")
    (root / "make.py").write_text(MAKE)
    # A guard is found from the folder in which a stage runs.
    (root / "tasks").symlink_to(Path(__file__).resolve().parents[3] / "tasks")
    return root


def test_order_and_neighbours(project: Path) -> None:
    found = stages.read_stages(project, "one", [])
    names = [stage.name for stage in found]
    assert sorted(names) == ["first@one", "last@one", "left@one", "right@one"]
    assert names[0] == "first@one" and names[-1] == "last@one"
    assert {s.name: s.after for s in found} == {
        "first@one": (),
        "left@one": ("first@one",),
        "right@one": ("first@one",),
        "last@one": ("left@one", "right@one"),
    }


def test_a_target_brings_what_it_needs(project: Path) -> None:
    for target in ("left", "left@one"):
        names = [stage.name for stage in stages.read_stages(project, "one", [target])]
        assert names == ["first@one", "left@one"]


def test_unknown_names_say_what_is_known(project: Path) -> None:
    with pytest.raises(UserError, match=r"'three' is not in run of params.yaml.*one, two"):
        stages.read_stages(project, "three", [])
    with pytest.raises(UserError, match="'traim' is no stage; known: first, last, left, right"):
        stages.read_stages(project, "one", ["traim"])


def test_run_then_cached_then_failed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    said: list[str] = []
    assert stages.run_stage("first@two", project, said.append)
    assert "making two first" in said
    assert (project / "two-first").read_text() == "made"
    assert not stages.run_stage("first@two", project, said.append)
    (project / "broken").touch()
    with pytest.raises(stages.StageFailed, match=r"(?s)right@two failed.*right cannot be made"):
        stages.run_stage("right@two", project, said.append)
    assert not stages._running


def test_nothing_starts_after_the_end(project: Path) -> None:
    with stages.nothing_left_running():
        pass
    with pytest.raises(stages.StageFailed, match="stopped"):
        stages.run_stage("left@two", project, print)
    stages._closed.clear()


def test_a_progress_bar_is_its_last_state() -> None:
    assert stages._clean(b" 10%\r 50%\r100% done\n") == "100% done"
