"""The one noised table of a release: made once of the same inputs, and remembered.

The table that was released is public, so that it may be kept; a second one of the same people
would cost them epsilon again, and the mean of both would have less noise.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tasks import artifacts
from tasks.evidence.release import publish
from tasks.evidence.score_table import ScoreTable
from tasks.evidence.threshold import HISTOGRAM, keystream
from tasks.params import as_json
from tasks.recipe import ReleasePlan


def released(
    table: ScoreTable, plan: ReleasePlan, root: Path, draw: str | None = None
) -> tuple[ScoreTable, dict[str, Any]]:
    """Return the noised table of an exact one, and the account of what it cost.

    Args:
        table: exact, of the rows that count.
        plan: epsilon and noise.
        root: folder where a recipe's releases are remembered.
        draw: name of the private choice of the threshold; None where it is public.

    Returns:
        The table, and its account with `releases` (how many differing ones the recipe has
        made up to this one) and `epsilon_together` (what all of them add up to).
    """
    digest = _digest(table, plan, draw)
    before = 0.0
    made = sorted(path for path in root.glob("[0-9]*") if path.is_dir())
    for number, folder in enumerate(made, 1):
        kept = artifacts.read_json(folder / "release.json")
        before += kept["account"]["epsilon"]
        if kept["digest"] == digest:
            counts = np.array(kept["counts"], dtype=np.float64).reshape(table.counts.shape)
            noise = float(kept["account"]["noise"])
            again = {"releases": number, "epsilon_together": before}
            return replace(table, counts=counts, noise=noise), {**kept["account"], **again}
    noised, account = publish(table, plan, keystream(plan, HISTOGRAM))
    with artifacts.replacing(root / f"{len(made) + 1:06}") as draft:
        kept = {"digest": digest, "account": account, "counts": noised.counts.ravel().tolist()}
        artifacts.write_json(draft / "release.json", kept)
    told = {"releases": len(made) + 1, "epsilon_together": before + account["epsilon"]}
    return noised, {**account, **told}


def _digest(table: ScoreTable, plan: ReleasePlan, draw: str | None) -> str:
    """Name of the inputs of a release."""
    found = hashlib.sha256()
    words = (table.features, table.labels, table.decided, as_json(plan), draw)
    found.update(repr(words).encode())
    for array in (table.counts, table.edges):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
