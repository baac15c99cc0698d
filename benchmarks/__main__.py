"""Run every benchmark and write docs/benchmarks.md: figures, machine, versions, date.

`python -m benchmarks [NAME ...]`
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
PACKAGES = ("torch", "opacus", "polars", "scikit-learn", "dvc", "mlflow", "prefect")
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


def page(rows: dict[str, list[dict[str, object]]]) -> str:
    """Return the written part of the page."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    day = datetime.now(UTC).date().isoformat()
    lines = [BEGIN, ""]
    lines += [f"{day}; {os.cpu_count()} cores, {platform.machine()}, {platform.system()}; "]
    lines += [f"Python {platform.python_version()}, {versions}.", ""]
    for name, found in rows.items():
        lines += [
            f"### `python -m benchmarks.{name}`",
            "",
            "| figure | value | unit |",
            "|---|---|---|",
        ]
        lines += [f"| {row['name']} | {row['value']} | {row['unit']} |" for row in found]
        lines += [""]
    return "\n".join([*lines, END])


def main(names: list[str]) -> None:
    """Refresh the page's figures; what people wrote around them stays."""
    rows = {name: run(name) for name in names or scripts()}
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Benchmarks\n\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2] if rest else "\n"
    PAGE.write_text(before + page(rows) + after, encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main(sys.argv[1:])
