"""How long `make run` takes in a fresh copy of the checkout, and again, after the install.

`python -m benchmarks.main_job [--times 1] [--json FILE]`

The copy borrows the environment that runs this script; data are downloaded anew.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]


def copy_checkout(target: Path) -> None:
    """Copy what Git knows or would add, as a fresh clone has it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        # Results of an earlier run are not part of a fresh clone's work.
        if name != "dvc.lock" and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def make_run(checkout: Path) -> float:
    """Return the seconds that `make run` takes."""
    began = time.perf_counter()
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(checkout), "run", f"VENV={sys.prefix}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"make run failed:\n{done.stdout[-4000:]}")
    return time.perf_counter() - began


def measure(times: int) -> list[dict[str, object]]:
    """Return medians over fresh copies."""
    first, second = [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            checkout = Path(folder) / "a fresh copy"
            copy_checkout(checkout)
            first.append(make_run(checkout))
            second.append(make_run(checkout))
    return [
        {"name": "main_job/first_run", "value": round(median(first), 1), "unit": "s"},
        {"name": "main_job/second_run", "value": round(median(second), 1), "unit": "s"},
    ]


def main() -> None:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure(options.times)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for row in rows:
        print(f"{row['name']:<24} {row['value']:>8} {row['unit']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
