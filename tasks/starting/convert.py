"""Prepare's share: weights under our names, their tokens brought into this recipe's order.

V tokens, E numbers a token.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tasks.artifacts import read_json, write_json
from tasks.params import UserError, as_json, validate
from tasks.recipe import DataConfig, TextLayout
from tasks.settings.start import Facts
from tasks.starting.begin import NOTES, VECTORS, WEIGHTS
from tasks.starting.known import FACTS, FOLDER, vectors_facts
from tasks.table.encode import codec
from tasks.table.tokens import PADDING_ID, SPECIAL
from tasks.table.vocabulary import first_column, paired

Floats = NDArray[np.float32]
_EMBEDDING = "embedding.weight"


def rows_for(names: Mapping[str, int], table: Floats, tokens: Sequence[str]) -> Floats:
    """Return an embedding in another order of tokens.

    A token that the table lacks gets random numbers as large as the others'; padding is 0.

    Args:
        names: token -> row of the table.
        table: float32 [V, E].
        tokens: what each id stands for, from <padding> on.

    Example:
        >>> table = np.array([[1.0], [2.0]], dtype=np.float32)
        >>> rows_for({"<unknown>": 0, "ab": 1}, table, ["<padding>", "<unknown>", "ab"]).tolist()
        [[0.0], [1.0], [2.0]]
    """
    spread = float(np.asarray(table, dtype=np.float64).std())
    random = np.random.default_rng(0).normal(0.0, spread, (len(tokens), table.shape[1]))
    out: Floats = random.astype(np.float32)
    for number, token in enumerate(tokens):
        if token in names:
            out[number] = table[names[token]]
    out[PADDING_ID] = 0
    return out


def listed_tokens(path: Path, spec: str) -> dict[str, int]:
    """Return the rows of a package's tokens; row 0 is also what it reads for any other.

    Args:
        path: one token a line under a header.
        spec: what tokens are here.
    """
    try:
        tokens = first_column(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"start.package.tokens: {reason}") from None
    tokens = paired(tokens) if spec == "bigrams" else tokens
    rows = {token: row for row, token in reversed(list(enumerate(tokens)))}
    return {"<unknown>": 0, **{t: row for t, row in rows.items() if t not in SPECIAL}}


def _package(folder: Path, data: DataConfig) -> tuple[dict[str, Floats], dict[str, str]]:
    """Weights of a Keras model; its last layer says classes of its own."""
    from tasks.starting.keras import read_keras

    weights = read_keras(folder / "weights.h5")
    table = weights.pop(_EMBEDDING)
    out = {n: w for n, w in weights.items() if not n.startswith("dense.")}
    left = {"head": "its classes are others"}
    path = folder / "tokens.csv"
    if not isinstance(data.sequence, TextLayout) or not path.exists():
        return out, {**left, "embedding": "start.package.tokens is not set"}
    names = listed_tokens(path, data.sequence.tokens)
    if max(names.values()) >= len(table):
        raise UserError(
            f"start.package.tokens: {max(names.values()) + 1} tokens for {len(table)} rows"
        )
    return {**out, _EMBEDDING: rows_for(names, table, codec(data).vocabulary)}, left


def _registered(folder: Path, data: DataConfig) -> tuple[dict[str, Floats], dict[str, str]]:
    """Weights of a version of this project's own."""
    try:
        weights = dict(load_file(folder / "weights.safetensors"))
    except (SafetensorError, OSError) as error:
        raise UserError(f"start.registered: {' '.join(str(error).split())}") from None
    theirs = validate(DataConfig, read_json(folder / "serving.json")["data"], "serving.json: data")
    left: dict[str, str] = {}
    tokens = isinstance(theirs.sequence, TextLayout), isinstance(data.sequence, TextLayout)
    same_input = tokens[0] == tokens[1]
    if not all(tokens):
        same_input = as_json(theirs.sequence) == as_json(data.sequence)
    if not same_input:
        left |= dict.fromkeys(("embedding", "conv", "recurrent.0"), "its features are others")
    vocabularies = [codec(one).vocabulary if all(tokens) else [] for one in (theirs, data)]
    if as_json(theirs.target) != as_json(data.target) or (
        data.target.kind == "next_token" and vocabularies[0] != vocabularies[1]
    ):
        left["head"] = "its target is another"
    if all(tokens) and _EMBEDDING in weights:
        rows = {token: row for row, token in enumerate(vocabularies[0])}
        weights[_EMBEDDING] = rows_for(rows, weights[_EMBEDDING], vocabularies[1])
    return weights, left


def write_start(raw: Path, data: DataConfig, arrays: Path) -> None:
    """Write the weights and vectors' facts of a recipe beside its arrays, where it has some.

    Args:
        raw: of the recipe.
        data: with every vocabulary stated.
        arrays: where they go.

    Raises:
        UserError: the files are damaged, or not what the recipe says.
    """
    folder = raw / FOLDER
    if not folder.exists():
        return
    facts = validate(Facts, read_json(folder / FACTS), f"{folder}/{FACTS}")
    make = _package if (folder / "weights.h5").exists() else _registered
    weights, left = make(folder, data)
    if not all(np.isfinite(one).all() for one in weights.values()):
        raise UserError(f"start: {facts.origin} has weights that are not finite")
    save_file(weights, arrays / WEIGHTS)
    write_json(arrays / NOTES, {"facts": as_json(facts), "left": left})


def write_vectors(data: DataConfig, arrays: Path) -> None:
    """Write what is known of the vectors that an embedding begins with.

    Args:
        data: the plan's data block.
        arrays: where it goes.
    """
    for facts in vectors_facts(data):
        write_json(arrays / VECTORS, as_json(facts))
