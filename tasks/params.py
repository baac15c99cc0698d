"""params.yaml to frozen configs; an error names the field, its value and what is allowed."""

import difflib
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from rnn.config import SCORED_TASKS
from tasks.recipe import Recipe
from tasks.settings.evidence import EXPLAIN_SEQUENCES

T = TypeVar("T")


class UserError(Exception):
    """Something that the user can mend; its text is one line."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, not a silent overwrite.

    Plain words mean what they mean in YAML 1.2, as in the files that `dvc exp run` writes: `no`
    and `12:30` are text there, without quotes.
    """


def _mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    """Build a mapping and refuse a repeated key."""
    seen: dict[Any, int] = {}
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if key in seen:
            raise UserError(f"key {key!r} stands in line {seen[key]} and again in line {line}")
        seen[key] = line
    return loader.construct_mapping(node, deep=True)


# The core schema, dates and the merge key; a number with leading zeros is text.
_KEPT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge")
_UniqueKeyLoader.yaml_implicit_resolvers = {
    first: [known for known in resolvers if known[0] in _KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("int", r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)|\.(inf|Inf|INF))"
        r"|\.(nan|NaN|NAN)|[-+]?\.[0-9]+[eE][-+]?[0-9]+",
        "-+.0123456789",
    ),
):
    _UniqueKeyLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )
_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


_METHODS = (
    "none", "adaptive", "reweight", "bounded_group_loss", "gradient_reversal", "dpsgd_f",
    "global_adapt", "group_thresholds",
)  # fmt: skip
_UNION_TAGS = {
    "source": ("path", "url", "pypi", "reader"),
    "sequence": ("wide", "long", "text"),
    "mitigation": _METHODS,
    "privacy": ("promise", "none"),
    "sweep": ("random", "adaptive"),
}


def _where(location: tuple[int | str, ...]) -> str:
    """A dotted field path; the tag of a union is not a field and is dropped."""
    parts = [str(part) for part in location]
    keep = [
        part
        for before, part in zip(["", *parts], parts, strict=False)
        if part not in _UNION_TAGS.get(before, ())
    ]
    return ".".join(keep)


def _allowed(error: Any, adapter: TypeAdapter[Any]) -> str:
    """What would have been accepted."""
    kind = error["type"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        key = str(error["loc"][-1])
        near = [n for n in difflib.get_close_matches(key, _field_names(adapter), n=2) if n != key]
        return "unknown key" + (f" (did you mean {near[0]}?)" if near else "")
    if kind in ("missing", "missing_argument"):
        return "is required"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = error["ctx"]["discriminator"]
        return f"{key} must be one of {error['ctx'].get('expected_tags', 'the known kinds')}"
    text = str(error["msg"]).removeprefix("Value error, ")
    return text[0].lower() + text[1:] if kind != "value_error" else text


def _field_names(adapter: TypeAdapter[Any]) -> list[str]:
    """Every key that a recipe knows."""
    return sorted(set(re.findall(r"'name': '(\w+)'", str(adapter.core_schema))))


def validate(kind: type[T], values: object, where: str) -> T:
    """Return `values` as a frozen config.

    Args:
        kind: a dataclass of settings.
        values: what YAML or JSON gave.
        where: how to name its place in an error.

    Returns:
        The config, checked.

    Raises:
        UserError: one line with field, value and what is allowed.
    """
    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(p for p in (where, _where(first["loc"])) if p)
        reason = _allowed(first, adapter)
        value = first.get("input")
        bare = reason == "is required" or first["type"] == "value_error" or _is_block(value)
        shown = field if bare else f"{field} = {value!r}"
        raise UserError(f"{shown}: {reason}") from None


def _is_block(value: object) -> bool:
    """A whole block says nothing when it is printed."""
    return isinstance(value, dict | list | tuple)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML file's mapping.

    Raises:
        UserError: the file is missing, is not YAML, or repeats a key.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no mapping")
    return values


def load_recipe(path: Path, name: str) -> Recipe:
    """Return one recipe of params.yaml, defaults filled in.

    Args:
        path: params.yaml.
        name: key under `recipes`.

    Raises:
        UserError: unknown recipe or a bad field.
    """
    recipes = read_yaml(path).get("recipes")
    if not isinstance(recipes, dict) or name not in recipes:
        known = ", ".join(sorted(recipes)) if isinstance(recipes, dict) else "none"
        raise UserError(f"{path}: recipes.{name} is not there; known: {known}")
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        raise UserError(
            f"{path}: recipe name {name!r} must be lower-case letters, digits, - or _, at most 63"
        )
    return validate(Recipe, _by_kind(recipes[name]), f"{path}: recipes.{name}")


def _by_kind(recipe: Any) -> Any:
    """A recipe with the defaults that hang on its kind and its data; what it states stays."""
    match recipe:
        case {"data": {"target": {"kind": str(kind)}}, **rest} if kind not in SCORED_TASKS:
            stated = rest.get("explain") or {}
            if isinstance(stated, dict):
                recipe = {**recipe, "explain": {**EXPLAIN_SEQUENCES, **stated}}
    match recipe:
        # Things in no groups are not treated unlike.
        case {"privacy": {"none": _}, "data": dict(data), "gate": dict(gate)} if not data.get(
            "sensitive"
        ):
            return {**recipe, "gate": {"min_group_ratio": None, **gate}}
    return recipe


def as_json(config: object) -> dict[str, Any]:
    """Return a config as plain JSON values."""
    if not is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"not a config: {config!r}")
    return asdict(config)


def command(main: Callable[[list[str]], None]) -> None:
    """Run a command line: one clear line and exit status 1 on a mistake of the user's."""
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
