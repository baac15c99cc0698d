"""Small generated recipes whose targets are sequences themselves: a grammar, and tones.

`write` makes a checkout of one such recipe, in which stages run one by one.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

SHARED: dict[str, Any] = {
    "model": {"cell": "gru", "hidden_size": 16, "embedding_size": 8},
    "train": {
        "learning_rate": 0.02,
        "steps": 60,
        "expected_batch_size": 120,
        "threads": 1,
        "device": "cpu",
    },
    "privacy": {"population": 480, "delta": 1.0e-4, "noise_multiplier": 1.0},
    "audit": {"bootstraps": 200, "intersections": 1},
    "explain": {"people": 20, "quality_people": 10, "n_steps": 2, "local_people": 1},
    "attack": {"references": 0, "run": {"canaries": 0}, "secrets": {"count": 0}},
    "report": {"title": "A generated recipe"},
}
GROUPS = {"name": "tongue", "column": "tongue", "labels": {"a": "first", "b": "second"}}
# Each letter is followed by the next of its ring, but for one in ten.
RING = "abcd"
CTC = {
    "data": {
        "source": {"kind": "path", "path": "rows.csv"},
        "person": "id",
        "sequence": {
            "layout": "long",
            "time": "step",
            "features": [
                {"name": f"band {b}", "column": f"band{b}", "bounds": [-2, 2]} for b in range(3)
            ],
        },
        "target": {"kind": "ctc", "column": "said", "classes": ["red", "green", "blue"]},
        "sensitive": [GROUPS],
        "split": {"salt": "tones", "train": 0.7},
    },
    "predict": {"bootstraps": 200, "baseline": "frequent"},
    "gate": {
        "max_epsilon": 100,
        "min_group_ratio": None,
        "figures": {"error_rate": {"at_most": 0.2}},
    },
}
NEXT_TOKEN = {
    "data": {
        "source": {"kind": "path", "path": "rows.csv"},
        "person": "id",
        "sequence": {"layout": "text", "columns": ["text"], "alphabet": RING, "max_length": 20},
        "target": {"kind": "next_token"},
        "sensitive": [GROUPS],
        "split": {"salt": "ring", "train": 0.7},
    },
    "predict": {"bootstraps": 200, "baseline": "unigram"},
    "gate": {
        "max_epsilon": 100,
        "min_group_ratio": None,
        "figures": {"perplexity": {"at_most": 3.5}, "accuracy": {"at_least": 0.99}},
    },
}


def tones(people: int = 400) -> pl.DataFrame:
    """Return one row a step: each symbol sounds for two to four steps in its own band."""
    rng = np.random.default_rng(0)
    rows = []
    for person in range(people):
        symbols = rng.integers(0, 3, rng.integers(1, 4))
        bands: list[int] = []
        for symbol in symbols:
            bands += [symbol] * rng.integers(2, 5) + [-1]
        said = " ".join(("red", "green", "blue")[s] for s in symbols)
        for step, band in enumerate(bands):
            loud = (np.arange(3) == band) * 1.5 - 0.5 + 0.1 * rng.normal(size=3)
            values = {f"band{b}": round(float(loud[b]), 3) for b in range(3)}
            rows.append({"id": person, "step": step, "tongue": "ab"[person % 2], "said": said}
                        | values)  # fmt: skip
    return pl.DataFrame(rows)


def texts(people: int = 700) -> pl.DataFrame:
    """Return one text a row, in which the next letter of the ring follows nine times in ten."""
    rng = np.random.default_rng(0)
    rows = []
    for person in range(people):
        letters = [int(rng.integers(0, 4))]
        for _ in range(int(rng.integers(5, 16))):
            follows = rng.random() < 0.9
            letters.append((letters[-1] + 1) % 4 if follows else int(rng.integers(0, 4)))
        text = "".join(RING[letter] for letter in letters)
        rows.append({"id": person, "text": text, "tongue": "ab"[person % 2]})
    return pl.DataFrame(rows)


RECIPES = {"tones": (CTC, tones), "ring": (NEXT_TOKEN, texts)}


def write(root: Path, name: str, **changed: Any) -> None:
    """Write params.yaml and the rows of one recipe.

    Args:
        root: an empty folder.
        name: tones or ring.
        changed: blocks that take the place of the recipe's own.
    """
    blocks, rows = RECIPES[name]
    recipe = {**SHARED, **blocks, **changed}
    (root / "params.yaml").write_text(yaml.safe_dump({"run": [name], "recipes": {name: recipe}}))
    rows().write_csv(root / "rows.csv")
