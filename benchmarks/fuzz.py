"""Malformed requests against the real server: no status of 500 and above, nothing of its inside.

    python -m benchmarks.fuzz [--requests 10000] [--python .venv.peers/bin/python] [--json FILE]

Half are made by schemathesis from the server's OpenAPI page, half are true rows with something
wrong in them, cut, spliced or sent as another kind. No answer may repeat the cell that was wrong.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from benchmarks.serve import server, write_model_files
from tasks.params import load_recipe

FUZZER = Path(__file__).parent / "peers" / "fuzzer.py"


def main() -> None:
    """Serve, fuzz, print rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="credit")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--python", default=".venv.peers/bin/python")
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    recipe = load_recipe(Path("params.yaml"), wanted.recipe)
    with tempfile.TemporaryDirectory() as work:
        write_model_files(recipe, Path(work))
        with server(Path(work)) as port:
            done = subprocess.run(
                [wanted.python, str(FUZZER), f"http://127.0.0.1:{port}", str(wanted.requests)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    for status, text in found["wrong"][:10]:
        print(f"{status}: {text}")
    sent = sum(found["statuses"].values())
    told = ", ".join(f"{status}: {n}" for status, n in sorted(found["statuses"].items()))
    rows = [
        {
            "name": "serve/fuzz/server_errors",
            "value": len(found["wrong"]),
            "unit": f"of {sent:,} requests ({told})",
        }
    ]
    print(rows[0])
    if wanted.json:
        wanted.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
