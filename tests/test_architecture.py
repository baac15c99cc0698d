"""The house rules that no linter knows: dvc.yaml names what stages import, and no pickle."""

import ast
import re
import shlex
import shutil
from functools import cache
from pathlib import Path

import pytest
import yaml

from tasks.register import SERVED_MODULES, SERVED_PACKAGES
from tests import tiny

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(p for folder in ("flows", "tasks", "rnn") for p in (ROOT / folder).rglob("*.py"))
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@cache
def imports(file: Path) -> frozenset[str]:
    """Return the modules that a file imports, wherever in it; names of `from` imports too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def siblings(file: Path) -> set[Path]:
    """Return the modules of tasks/ that a file imports."""
    names = (name.replace(".", "/") for name in imports(file) if name.startswith("tasks."))
    files = {ROOT / f"{name}.py" for name in names}
    return {f for f in files if f.exists()} - {file}


def closure(file: Path) -> set[Path]:
    """Return a module of tasks/ and all that it imports there, however far."""
    known: set[Path] = set()
    todo = {file}
    while todo:
        known |= todo
        todo = {s for f in todo for s in siblings(f)} - known
    return known


def code_of(file: Path) -> set[str]:
    """Return the code that running a module of tasks/ depends on, as dvc.yaml writes it."""
    modules = closure(file)
    found = {str(f.relative_to(ROOT)) for f in modules}
    if any(name.split(".")[0] == "rnn" for f in modules for name in imports(f)):
        found.add("rnn")
    return found


def readers_code() -> set[str]:
    """Return what readers import: fetch starts them by their names, nothing imports them."""
    readers = set((ROOT / "tasks" / "readers").glob("*.py"))
    found = {str(f.relative_to(ROOT)) for file in readers for f in closure(file) - readers}
    return found | {"rnn"}


def stage_code(stage: str) -> tuple[Path, set[str]]:
    """Return the module that a stage runs, and the code among its dependencies."""
    does = DVC[stage]["do"]
    words = shlex.split(does["cmd"])
    assert words[:2] == ["python", "-m"]
    deps = {dep for dep in does["deps"] if dep == "rnn" or dep.endswith(".py")}
    return ROOT / (words[2].replace(".", "/") + ".py"), deps


@pytest.mark.parametrize("stage", sorted(DVC))
def test_a_stage_depends_on_all_that_it_imports_and_nothing_else(stage: str) -> None:
    module, deps = stage_code(stage)
    wanted = code_of(module)
    if stage == "register":
        # The served model is copied as text: nothing imports it here.
        wanted |= code_of(ROOT / "tasks" / "served.py")
    if stage == "fetch":
        wanted |= readers_code()
    assert deps - wanted == set(), "listed, but not imported"
    assert wanted - deps == set(), "imported, but not listed"


def test_templates_are_a_dependency_of_who_reads_them() -> None:
    for stage, does in DVC.items():
        files = closure(stage_code(stage)[0])
        reads = any('"templates"' in file.read_text(encoding="utf-8") for file in files)
        assert ("tasks/pages/templates" in does["do"]["deps"]) == reads, stage


def test_fetch_depends_on_the_readers() -> None:
    assert "tasks/readers" in DVC["fetch"]["do"]["deps"]


def test_dvc_reads_what_a_stage_reads() -> None:
    """A section of the plan that a stage names is among its dependencies."""
    section = re.compile(r"read_section\(\s*[\w\[\]0]+,\s*\"(\w+)\"")
    for stage, does in DVC.items():
        deps = does["do"]["deps"]
        module = stage_code(stage)[0]
        for name in section.findall(module.read_text(encoding="utf-8")):
            assert f"data/${{item}}/plan/{name}.json" in deps, (stage, name)


def test_internal_outputs_are_never_pushed() -> None:
    may_leave = re.compile(r"data/\$\{item\}/(model|decision|\w+/published)")
    for stage, does in DVC.items():
        for out in does["do"].get("outs", []):
            ((path, settings),) = out.items()
            assert settings["persist"], path
            assert settings.get("push", True) == bool(may_leave.fullmatch(path)), (stage, path)


def test_dvc_notices_an_edit_of_a_shared_module(tmp_path: Path) -> None:
    """The real DVC, on a copy whose lock file says that everything was built."""
    root = tiny.copy_checkout(tmp_path / "check out")
    shutil.copy(ROOT / "Makefile", root)
    (root / "dvc.yaml").write_text(
        re.sub(r"python -m tasks\.\w+", "true", (root / "dvc.yaml").read_text())
    )
    _pretend_outputs(root)
    done = tiny.run(root, "dvc", "commit", "--force")
    assert done.returncode == 0, done.stdout
    clean = {"plan@tiny", "register@tiny"}
    assert _dirty(root) == clean
    users = {f"{stage}@tiny" for stage in DVC if "tasks/stats.py" in stage_code(stage)[1]}
    assert users
    with (root / "tasks" / "stats.py").open("a") as file:
        file.write("# edited\n")
    assert _dirty(root) == clean | users
    with (root / "rnn" / "model.py").open("a") as file:
        file.write("# edited\n")
    everyone = {f"{stage}@tiny" for stage in DVC if "rnn" in stage_code(stage)[1]}
    assert _dirty(root) == clean | users | everyone


def _pretend_outputs(root: Path) -> None:
    """Write a file wherever a stage depends on one or leaves one."""
    for does in DVC.values():
        kinds = ("outs", "metrics")
        outs = [path for kind in kinds for out in does["do"].get(kind, []) for path in out]
        for name in [*does["do"]["deps"], *outs]:
            path = root / name.replace("${item}", "tiny")
            if path.suffix:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            else:
                path.mkdir(parents=True, exist_ok=True)
                if not any(path.iterdir()):
                    (path / "file").touch()


def _dirty(root: Path) -> set[str]:
    """Return the stages that dvc status lists."""
    done = tiny.run(root, "dvc", "status")
    assert done.returncode == 0, done.stdout
    return set(re.findall(r"^(\w+@tiny):", done.stdout, re.MULTILINE))


def test_the_served_model_takes_along_what_it_imports() -> None:
    modules = closure(ROOT / "tasks" / "served.py")
    names = {f.relative_to(ROOT / "tasks").with_suffix("").as_posix() for f in modules}
    folders = {f"{Path(name).parent}/__init__".removeprefix("./") for name in names}
    assert (names - {"served"}) | folders == set(SERVED_MODULES)
    rnn = set()
    todo = {name for f in modules for name in imports(f) if name.startswith("rnn.")}
    while todo:
        rnn |= todo
        files = {ROOT / f"{name.replace('.', '/')}.py" for name in todo}
        todo = {n for f in files if f.exists() for n in imports(f) if n.startswith("rnn.")} - rnn
    files = modules | {f for name in rnn if (f := ROOT / f"{name.replace('.', '/')}.py").exists()}
    used = {name.split(".")[0] for f in files for name in imports(f)}
    named = {
        "annotated_types": "annotated-types",
        "yaml": "PyYAML",
        **{
            name: name
            for name in ("mlflow", "numpy", "pandas", "polars", "pydantic", "safetensors")
        },
        "torch": "torch",
        "opacus": "opacus",
    }
    # polars reads pandas through pyarrow.
    assert {named[name] for name in used if name in named} | {"pyarrow"} == set(SERVED_PACKAGES)


ONLY = {
    "mlflow": {"tasks/registry.py", "tasks/runs.py", "tasks/served.py"},
    "fairlearn": {"tasks/audit.py"},
    "captum": {"tasks/explaining/bench.py", "tasks/explaining/methods.py"},
    "prefect": {
        f"flows/{name}.py"
        for name in ("approve", "pipeline", "rollback", "shown", "sweep", "watch")
    },
    "optuna": {"tasks/candidates.py"},
    "onnx": {"tasks/serving/graph.py"},
    "onnxruntime": {"tasks/serving/scorer.py"},
    "dvc": {"tasks/machine/stages.py"},
}


@pytest.mark.parametrize("package", sorted(ONLY))
def test_one_user_of_a_large_package(package: str) -> None:
    users = {
        str(file.relative_to(ROOT))
        for file in SOURCES
        if any(name.split(".")[0] == package for name in imports(file))
    }
    assert users == ONLY[package]


def test_rnn_touches_no_file_and_no_table() -> None:
    forbidden = {"pathlib", "os", "io", "shutil", "tempfile", "json", "yaml"}
    forbidden |= {"pandas", "polars", "prefect", "mlflow", "dvc", "tasks", "flows"}
    for file in SOURCES:
        if file.is_relative_to(ROOT / "rnn"):
            tops = {name.split(".")[0] for name in imports(file)}
            # Entropy of the operating system is no file.
            allowed = {"os"} if file.name == "noise.py" else set()
            assert tops & forbidden <= allowed, file


def test_no_pickle_anywhere() -> None:
    modules = {"pickle", "cPickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}
    calls = re.compile(r"torch\.(load|save)\(|allow_pickle=True|to_pickle|read_pickle")
    # The one reader of a pickle, which looks up nothing that it names (docs/sharp-edges.md).
    allowed = {ROOT / "tasks" / "readers" / "frames.py": {"pickle"}}
    for file in SOURCES:
        used = {name.split(".")[0] for name in imports(file)} & modules
        assert used == allowed.get(file, set()), file
        assert not calls.search(file.read_text(encoding="utf-8")), file


def test_the_folder_mlflow_does_not_hide_the_package() -> None:
    assert not list((ROOT / "mlflow").glob("*.py"))
    import mlflow

    assert mlflow.__version__


def test_no_flow_is_long() -> None:
    for file in (ROOT / "flows").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None and node.end_lineno - node.lineno < 40, node.name
        assert len(file.read_text(encoding="utf-8").splitlines()) < 300


def test_constraints_pin_every_dependency_and_name_no_address() -> None:
    import tomllib

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in pins)
    pinned = {re.sub(r"[._-]+", "-", line.partition("==")[0]).lower() for line in pins}
    assert len(pinned) == len(pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.match(r"[A-Za-z0-9._-]+", line)[0] for line in wanted}  # type: ignore[index]
    assert {re.sub(r"[._-]+", "-", name).lower() for name in names} <= pinned
