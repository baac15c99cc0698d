"""Build .venv, or see that it is whole; runs before anything is installed: no import but Python's.

A stamp, written last, says that the environment is finished, for which requirements and in
which folder. Without it the folder is a half-built one and is built again.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

STAMP = "sordino.json"
NO_GIT = "[core]\n    no_scm = true\n"


class Unbuilt(Exception):
    """The environment could not be built; the text is one line."""


def requirements(root: Path) -> list[str]:
    """Return what pyproject.toml asks for, the tools of development included."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


def digest(root: Path) -> str:
    """Return a digest of what has to be installed; settings of tools do not count."""
    text = "\n".join([*requirements(root), (root / "constraints.txt").read_text("utf-8")])
    return hashlib.sha256(text.encode()).hexdigest()


def read_stamp(venv: Path) -> dict[str, Any]:
    """Return what the stamp says; empty where there is none or its Python is gone."""
    try:
        stamp = json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if (venv / "bin" / "python").exists() and isinstance(stamp, dict) else {}


def write_stamp(venv: Path, wanted: str, python: str) -> None:
    """Say that the environment is whole."""
    draft = venv / f"{STAMP}.new"
    stamp = {"digest": wanted, "path": str(venv), "python": python}
    draft.write_text(json.dumps(stamp), encoding="utf-8")
    draft.replace(venv / STAMP)


def moved(text: str, old: str, new: str) -> str:
    """Return a script of bin/ as it must read in its new folder, whose path may hold spaces.

    Example:
        >>> print(moved("#!/old/bin/python3\\nrun()", "/old", "/a b"))
        #!/bin/sh
        '''exec' "/a b/bin/python" "$0" "$@"
        ' '''
        run()
    """
    first, _, rest = text.partition("\n")
    if first.startswith(f"#!{old}"):
        body = rest
    elif first == "#!/bin/sh" and rest.startswith("'''exec' "):
        body = rest.split("\n", 2)[2]
    else:
        return text.replace(old, new)
    return f"#!/bin/sh\n'''exec' \"{new}/bin/python\" \"$0\" \"$@\"\n' '''\n{body}"


def repair(venv: Path, old: str) -> None:
    """Give the scripts of a moved environment their new paths."""
    for script in sorted((venv / "bin").iterdir()):
        if script.is_symlink() or not script.is_file():
            continue
        try:
            text = script.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if old in text:
            script.write_text(moved(text, old, str(venv)), encoding="utf-8")


def run(command: list[str]) -> None:
    """Run one step of the build."""
    if subprocess.run(command, check=False).returncode:
        step = " ".join(part for part in command[1:5] if not part.startswith("/"))
        raise Unbuilt(f"python {step} failed, see above; the same command tries again")


def build(root: Path, venv: Path, keep: bool) -> None:
    """Install everything; torch first, so that no other package can ask for a newer one."""
    (venv / STAMP).unlink(missing_ok=True)
    if not keep:
        shutil.rmtree(venv, ignore_errors=True)
    print(f"building {venv}: some minutes and a few GB, once", flush=True)
    base = getattr(sys, "_base_executable", sys.executable)
    run([base, "-m", "venv", str(venv)])
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    constrained = ["--disable-pip-version-check", "-c", str(root / "constraints.txt")]
    needed = requirements(root)
    run([*pip, *constrained, *(name for name in needed if name.startswith("torch=="))])
    run([*pip, *constrained, *needed])


def ensure(root: Path, venv: Path, exactly: bool) -> None:
    """Leave a whole environment behind, and do nothing where there is one.

    Args:
        root: the checkout.
        venv: folder of the environment.
        exactly: build anew when it was built with another Python than this one.
    """
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    wanted, stamp = digest(root), read_stamp(venv)
    other_python = exactly and stamp.get("python") != python
    if stamp.get("digest") != wanted or other_python:
        build(root, venv, keep=bool(stamp) and not other_python)
        write_stamp(venv, wanted, stamp.get("python", python) if not other_python else python)
    elif stamp["path"] != str(venv):
        repair(venv, stamp["path"])
        write_stamp(venv, wanted, stamp["python"])


def tell_dvc_about_git(root: Path) -> None:
    """DVC stops where there is no Git repository, as in an unpacked archive, unless told."""
    local = root / ".dvc" / "config.local"
    git = any((folder / ".git").exists() for folder in (root, *root.parents))
    if not git and not local.exists():
        local.write_text(NO_GIT, encoding="utf-8")
    elif git and local.exists() and local.read_text(encoding="utf-8") == NO_GIT:
        local.unlink()


def main(arguments: list[str]) -> None:
    """Build under a lock: two commands may start at once."""
    root = Path(__file__).resolve().parents[2]
    venv = Path(arguments[0])
    os.environ.pop("PYTHONPATH", None)
    os.environ["PIP_USER"] = "0"
    (root / ".sordino").mkdir(exist_ok=True)
    with (root / ".sordino" / "environment.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tell_dvc_about_git(root)
        if not venv.is_absolute():
            ensure(root, root / venv, "--exactly" in arguments)
        elif not (venv / "bin" / "python").exists():
            raise Unbuilt(f"VENV={venv} holds no environment")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Unbuilt as failure:
        sys.exit(f"error: {failure}")
