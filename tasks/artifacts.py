"""The only reader and writer of data/: folders appear whole or not at all."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from rnn.config import InputShape, ModelConfig, PrivacySpent
from tasks.params import UserError, as_json, validate
from tasks.settings.no_privacy import NoPrivacy
from tasks.settings.start import Facts
from tasks.settings.target import RAGGED, output_size
from tasks.starting.begin import NOTES, VECTORS, WEIGHTS, Start

# Torch takes seconds to import, and half of the stages only read and write JSON.
if TYPE_CHECKING:
    from torch import Tensor

    from rnn.batch import PreparedSequences
    from rnn.fairness.groups import Groups
    from rnn.model import SequenceModel

T = TypeVar("T")

DATA = Path("data")


def folder(recipe: str, *parts: str) -> Path:
    """Return data/RECIPE/..., relative to the checkout that the stage runs in."""
    return DATA.joinpath(recipe, *parts)


def alive(pid: int) -> bool:
    """Return whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sweep(target: Path) -> None:
    """Remove the drafts of processes that were killed."""
    for draft in target.parent.glob(f".{target.name}-*-*"):
        pid = draft.name.removeprefix(f".{target.name}-").split("-")[0]
        if pid.isdigit() and not alive(int(pid)):
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends well.

    The old folder stays until then, so that a stage that fails leaves what was there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-{os.getpid()}-", dir=target.parent))
    draft.chmod(0o755)
    try:
        yield draft
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f"{draft.name}-", dir=target.parent))
            target.rename(old / "old")
            draft.rename(target)
            shutil.rmtree(old)
        else:
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def replacing_file(target: Path) -> Iterator[Path]:
    """Yield a name that becomes `target` when the block ends well, on disk before the rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield draft
        with draft.open("rb") as handle:
            os.fsync(handle.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, the same bytes for the same value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return a JSON file's value.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the stage that writes it with dvc repro") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON: {error}") from None


def write_section(recipe: str, section: str, config: object) -> None:
    """Write one section of a plan."""
    write_json(folder(recipe, "plan", f"{section}.json"), as_json(config))


def read_section(recipe: str, section: str, kind: type[T]) -> T:
    """Return one section of a recipe's plan as its frozen config.

    Args:
        recipe: name under data/.
        section: file name under plan/, without .json.
        kind: its dataclass.
    """
    path = folder(recipe, "plan", f"{section}.json")
    return validate(kind, read_json(path), str(path))


def digest_file(path: Path) -> str:
    """Return a file's SHA-256, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_folder(path: Path) -> str:
    """Return one SHA-256 over the names and contents of a folder's files."""
    whole = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{file.relative_to(path).as_posix()}\0{digest_file(file)}\n".encode())
    return whole.hexdigest()


@dataclass(frozen=True)
class Prepared:
    """Everything under data/RECIPE/prepared/arrays.

    Attributes:
        sequences: memory-mapped arrays of all people.
        people: one row a person: person_id, split ("train" or "test"), length.
        schema: what the channels, steps and classes are called.
        groups: which public label each person has, for a mitigation that trains by group.
        vectors: float32 [tokens, .], public vectors that an embedding begins with.
        vectors_facts: what is known of them.
        start: others' weights that a network begins with.
    """

    sequences: "PreparedSequences"
    people: pl.DataFrame
    schema: dict[str, Any]
    groups: "Groups | None" = None
    vectors: np.ndarray | None = None
    vectors_facts: Facts | None = None
    start: Start | None = None

    @property
    def shape(self) -> InputShape:
        """What these arrays fix about a network."""
        vocabulary = self.schema["input"].get("vocabulary") or []
        task = self.schema["task"]
        target = {"kind": task, **self.schema["target"]}
        return InputShape(
            input_size=self.sequences.input_size,
            vocabulary_size=len(vocabulary),
            static_size=int(self.sequences.static.shape[1]),
            output_size=output_size(target, len(vocabulary)),
            task=task,
            quantiles=tuple(target.get("quantiles", ())),
        )

    def rows(self, split: str) -> np.ndarray:
        """Return the row numbers of one split, rising."""
        return np.flatnonzero((self.people["split"] == split).to_numpy())


def read_prepared(recipe: str) -> Prepared:
    """Return the prepared data of a recipe; arrays stay on disk until they are asked for."""
    from rnn.batch import PreparedSequences

    root = folder(recipe, "prepared", "arrays")
    schema = read_json(root / "schema.json")

    def array(name: str) -> np.ndarray:
        return np.load(root / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    tokens = schema["input"]["kind"] == "tokens"
    sequences = PreparedSequences(
        sequences=array("sequences"),
        missing=None if tokens else array("missing"),
        offsets=array("offsets"),
        static=array("static"),
        targets=array("targets"),
        missing_indicators=bool(schema["missing_indicators"]),
        target_offsets=array("target_offsets") if schema["task"] in RAGGED else None,
        next_token=schema["task"] == "next_token",
    )
    return Prepared(
        sequences=sequences,
        people=pl.read_parquet(root / "people.parquet"),
        schema=schema,
        groups=_groups(array("groups"), schema) if "groups" in schema else None,
        vectors=array("vectors") if (root / "vectors.npy").exists() else None,
        vectors_facts=_facts(root / VECTORS) if (root / VECTORS).exists() else None,
        start=_start(root),
    )


def _facts(path: Path) -> Facts:
    """What is known of vectors."""
    return validate(Facts, read_json(path), str(path))


def _start(root: Path) -> Start | None:
    """The weights that a recipe begins with; None where it has none."""
    if not (root / WEIGHTS).exists():
        return None
    from safetensors.numpy import load_file

    notes = read_json(root / NOTES)
    facts = validate(Facts, notes["facts"], f"{root / NOTES}: facts")
    return Start(load_file(root / WEIGHTS), facts, notes["left"])


def _groups(codes: np.ndarray, schema: dict[str, Any]) -> "Groups":
    """Labels by their numbers."""
    from rnn.fairness.groups import Groups

    known = schema["groups"]
    sizes, noise = tuple(known.get("sizes", ())), float(known.get("noise", 0.0))
    return Groups(codes, tuple(known["labels"]), sizes, noise)


def read_sensitive_features(recipe: str) -> pl.DataFrame:
    """Return one string column a sensitive feature, the same rows as the people."""
    return pl.read_parquet(folder(recipe, "prepared", "sensitive_features.parquet"))


def read_predictions(recipe: str) -> pl.DataFrame:
    """Return held-out predictions: internal, one row a person."""
    path = folder(recipe, "predictions", "internal", "test.parquet")
    if not path.exists():
        raise UserError(f"{path} is missing: run the stage that writes it with dvc repro")
    return pl.read_parquet(path)


def write_model(root: Path, model: "SequenceModel", weights: "dict[str, Tensor]") -> None:
    """Write weights (safetensors) and settings (JSON) into `root`."""
    from safetensors.torch import save_file

    save_file(
        {name: t.detach().cpu().contiguous() for name, t in weights.items()},
        root / "weights.safetensors",
    )
    write_json(
        root / "config.json", {"model": as_json(model.config), "shape": as_json(model.shape)}
    )


def read_spent(recipe: str) -> PrivacySpent | NoPrivacy:
    """Return what a model cost its training people, or why nothing is promised to anybody.

    Args:
        recipe: name under data/.
    """
    path = folder(recipe, "model", "privacy_spent.json")
    values = read_json(path)
    if values.get("epsilon") is None and "none" in values:
        known = {name: values.get(name) for name in ("none", "population")}
        return validate(NoPrivacy, known, str(path))
    return validate(PrivacySpent, values, str(path))


def weights_count(path: Path) -> int:
    """Return how many weights a file of them holds."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def models_of(recipe: str) -> tuple[str, ...]:
    """Return which folders of a recipe hold a trained model: without privacy there is no twin."""
    twin = folder(recipe, "twin", "same_as_model.json")
    return ("model",) if twin.exists() else ("model", "twin")


def read_model(root: Path) -> "SequenceModel":
    """Return a saved model, in evaluation mode, on the CPU.

    Args:
        root: data/RECIPE/model or data/RECIPE/twin.
    """
    from safetensors.torch import load_file

    from rnn.model import SequenceModel, load_weights

    config = read_json(root / "config.json")
    model = SequenceModel(
        validate(ModelConfig, config["model"], f"{root}/config.json: model"),
        validate(InputShape, config["shape"], f"{root}/config.json: shape"),
    )
    load_weights(model, load_file(root / "weights.safetensors"))
    return model.eval()
