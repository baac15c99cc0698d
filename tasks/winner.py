"""The run that a search has won, kept whole: train takes it over instead of training again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.artifacts import (
    digest_file,
    digest_folder,
    folder,
    read_json,
    replacing_file,
    write_json,
)
from tasks.checkpoint import Checkpoint
from tasks.params import UserError, as_json
from tasks.recipe import TrainPlan

DIGITS = 12


def settings_of(plan: TrainPlan) -> dict[str, Any]:
    """Return what of a plan decides which run it is; its account is not part of it."""
    bare = replace(plan, epsilon=None, prepared=(), after=(), selected=(), winner=None, cut=None)
    return dict(json.loads(json.dumps(as_json(bare))))


def digits_of(place: Path) -> str:
    """Return the name of a winner: digits of its weights and settings."""
    text = json.dumps(read_json(place / "settings.json"), sort_keys=True)
    whole = hashlib.sha256((text + digest_file(place / "state.safetensors")).encode())
    return whole.hexdigest()[:DIGITS]


def keep(
    place: Path,
    tensors: Mapping[str, Tensor],
    plan: TrainPlan,
    curve: list[dict[str, Any]],
    bars: object,
) -> str:
    """Write a finished run into an empty folder and return its digits.

    Args:
        place: the folder.
        tensors: of the fit at its last step.
        plan: of the run.
        curve: of training.
        bars: of the gate when the search began.
    """
    save_file(
        {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()},
        place / "state.safetensors",
    )
    write_json(place / "settings.json", settings_of(plan))
    write_json(place / "curve.json", curve)
    write_json(place / "bars.json", bars)
    return digits_of(place)


def take_over(recipe: str, plan: TrainPlan, checkpoint: Checkpoint) -> None:
    """Put a search's winner where a finished run would have left its last checkpoint.

    Args:
        recipe: name under data/.
        plan: with the digits of the winner.
        checkpoint: of the training that is not needed.

    Raises:
        UserError: the winner is not there, is another one, or has other settings.
    """
    place = folder(recipe, "sweep", "internal", "winner")
    if not (place / "state.safetensors").exists():
        raise UserError(
            f"sweep.winner = {plan.winner!r}: {place} is not there; search again with "
            f"python -m tasks.sweep {recipe}, or take sweep.winner out to train anew, which is "
            "charged anew"
        )
    found = digits_of(place)
    if found != plan.winner:
        raise UserError(f"sweep.winner = {plan.winner!r}: the winner in {place} is {found!r}")
    kept, wanted = read_json(place / "settings.json"), settings_of(plan)
    for block, values in kept.items():
        other = _difference(block, values, wanted[block])
        if other:
            raise UserError(f"sweep.winner = {plan.winner!r} was trained with {other}")
    arrays = digest_folder(folder(recipe, "prepared", "arrays"))
    if read_json(place.parent / "arrays.json") != arrays:
        raise UserError(
            f"sweep.winner = {plan.winner!r} was trained on other data than {recipe} has now"
        )
    bars = read_json(place / "bars.json")
    with replacing_file(checkpoint.folder / "bars.json") as draft:
        write_json(draft, bars)
    checkpoint.save(
        load_file(place / "state.safetensors"), {"curve": read_json(place / "curve.json")}
    )


def _difference(name: str, kept: object, wanted: object) -> str:
    """The first field in which two settings differ, empty where they are the same."""
    if isinstance(kept, dict) and isinstance(wanted, dict):
        for key in sorted(kept.keys() | wanted.keys()):
            found = _difference(f"{name}.{key}", kept.get(key), wanted.get(key))
            if found:
                return found
        return ""
    return "" if kept == wanted else f"{name} = {kept!r}, not {wanted!r}"
