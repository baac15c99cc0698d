"""The noised tables of a release: made once of the same inputs, and remembered.

The tables that were released are public, so that they may be kept; another draw of the same
people would cost them epsilon again, and the mean of both would have less noise.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tasks import artifacts
from tasks.evidence.counted import Counted, combined
from tasks.evidence.release import publish
from tasks.evidence.threshold import HISTOGRAM, keystream
from tasks.params import as_json
from tasks.recipe import ReleasePlan

Charge = Callable[[], None]

# What is remembered of a release, and where its account tells the noise.
TABLES = {"scores": "noise", "decisions": "decision_noise"}


def released(
    counted: Counted,
    plan: ReleasePlan,
    root: Path,
    draw: str | None = None,
    charge: Charge | None = None,
) -> tuple[Counted, dict[str, Any]]:
    """Return the noised tables of exact ones, and the account of what they cost.

    Args:
        counted: exact, of the rows that count.
        plan: epsilon and noise.
        root: folder where a recipe's releases are remembered.
        draw: name of the private choice of the threshold; None where it is public.
        charge: called before noise is drawn, and not where a table is used again; it refuses
            what the people cannot pay.

    Returns:
        The tables, and their account with `releases` (how many differing ones the recipe has
        made up to this one) and `epsilon_together` (what all of them add up to).
    """
    digest = _digest(counted, plan, draw)
    before = 0.0
    made = sorted(path for path in root.glob("[0-9]*") if path.is_dir())
    for number, folder in enumerate(made, 1):
        kept = artifacts.read_json(folder / "release.json")
        before += kept["account"]["epsilon"]
        if kept["digest"] == digest:
            again = {"releases": number, "epsilon_together": before}
            return combined(_filled(counted, kept)), {**kept["account"], **again}
    if charge is not None:
        charge()
    noised, account = publish(counted, plan, keystream(plan, HISTOGRAM))
    with artifacts.replacing(root / f"{len(made) + 1:06}") as draft:
        kept = {"digest": digest, "account": account}
        for name in TABLES:
            kept[name] = getattr(noised, name).counts.ravel().tolist()
        artifacts.write_json(draft / "release.json", kept)
    told = {"releases": len(made) + 1, "epsilon_together": before + account["epsilon"]}
    return combined(noised), {**account, **told}


def _filled(counted: Counted, kept: dict[str, Any]) -> Counted:
    """The tables with the counts that were released."""
    found = {}
    for name, noise in TABLES.items():
        table = getattr(counted, name)
        counts = np.array(kept[name], dtype=np.float64).reshape(table.counts.shape)
        found[name] = replace(table, counts=counts, noise=float(kept["account"][noise]))
    return replace(counted, **found)


def _digest(counted: Counted, plan: ReleasePlan, draw: str | None) -> str:
    """Name of the inputs of a release."""
    found = hashlib.sha256()
    tables = (counted.scores, counted.decisions)
    words = [(table.features, table.labels, table.decided) for table in tables]
    found.update(repr((words, counted.by_score, as_json(plan), draw)).encode())
    for array in (a for table in tables for a in (table.counts, table.edges)):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
