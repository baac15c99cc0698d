"""Run every benchmark and write docs/benchmarks.md: figures, machine, versions, date.

`python -m benchmarks [NAME ...]`
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
PACKAGES = ("torch", "opacus", "polars", "scikit-learn", "dvc", "mlflow", "prefect")
FLAGS = re.MULTILINE | re.DOTALL
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"


def scripts() -> list[str]:
    """Return the names of the benchmarks."""
    return sorted(p.stem for p in HERE.glob("*.py") if not p.stem.startswith("__"))


def run(name: str) -> list[dict[str, object]]:
    """Run one benchmark and return its rows."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(file)]
        subprocess.run(command, cwd=HERE.parent, check=True)
        return list(json.loads(file.read_text(encoding="utf-8")))


def section(name: str, rows: list[dict[str, object]]) -> str:
    """Return one benchmark's part of the page: command, day, machine, versions, figures."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    day = datetime.now(UTC).date().isoformat()
    lines = [
        f"### `python -m benchmarks.{name}`",
        "",
        f"{day}; {os.cpu_count()} cores, {platform.machine()}, {platform.system()}; "
        f"Python {platform.python_version()}, {versions}.",
        "",
        "| figure | value | unit |",
        "|---|---|---|",
    ]
    lines += [f"| {row['name']} | {row['value']} | {row['unit']} |" for row in rows]
    return "\n".join(lines) + "\n"


def sections(written: str) -> dict[str, str]:
    """Return the parts that stand on the page, by benchmark."""
    found = re.findall(r"^### `python -m benchmarks\.(\w+)`$.*?(?=^### |\Z)", written, FLAGS)
    parts = re.findall(r"^### `python -m benchmarks\.\w+`$.*?(?=^### |\Z)", written, FLAGS)
    return {name: part.strip() + "\n" for name, part in zip(found, parts, strict=True)}


def main(names: list[str]) -> None:
    """Refresh the figures of some benchmarks, or of all; the rest of the page stays."""
    unknown = sorted(set(names) - set(scripts()))
    if unknown:
        sys.exit(f"error: no benchmark {', '.join(unknown)}; there are {', '.join(scripts())}")
    for name in names or scripts():
        rows = run(name)
        if not rows:
            # A benchmark of a GPU, on a machine without one: what was measured elsewhere stays.
            print(f"{name}: no figures; its part of {PAGE} stays as it is")
            continue
        text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Benchmarks\n\n"
        before, _, rest = text.partition(BEGIN)
        written, _, after = rest.partition(END)
        parts = {**sections(written), name: section(name, rows)}
        body = "\n".join(parts[key] for key in sorted(parts))
        PAGE.write_text(f"{before}{BEGIN}\n\n{body}\n{END}{after or chr(10)}", encoding="utf-8")
        print(f"wrote {name} into {PAGE}")


if __name__ == "__main__":
    main(sys.argv[1:])
