"""Paths into what was published, as a reviewers' list writes them.

    audit.features[name~sex].groups[*].n

Elements of a list are picked by [*], [key=value] or [key~pattern].
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Found = list[tuple[str, Any]]

# What a path may begin with; tasks.report fills them.
ROOTS = ("audit", "attack", "attributions", "decision", "metrics", "privacy", "recipe", "report")
_PART = re.compile(r"(\w+)((?:\[[^\]]*\])*)(?:\.|$)")
_SELECTOR = re.compile(r"\[([^\]]*)\]")
_NAMES = ("name", "label", "group", "feature", "step")


def parse(path: str) -> list[tuple[str, list[str]]]:
    """Return a path's names, each with its selectors.

    Example:
        >>> parse("audit.features[name~sex].groups[*].n")
        [('audit', []), ('features', ['name~sex']), ('groups', ['*']), ('n', [])]
    """
    parts, at = [], 0
    while at < len(path):
        found = _PART.match(path, at)
        if found is None:
            raise ValueError(f"path = {path!r} cannot be read from {path[at:]!r} on")
        parts.append((found[1], _SELECTOR.findall(found[2])))
        at = found.end()
    if not parts or parts[0][0] not in ROOTS or path.endswith("."):
        raise ValueError(f"path = {path!r} must begin with one of {', '.join(ROOTS)}")
    return parts


def chooser(selector: str) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Return what picks the elements of a list that are meant.

    Args:
        selector: `*` for all, `key=value`, or `key~pattern` for a search that ignores case.
    """
    if selector == "*":
        return list
    found = re.fullmatch(r"(\w+)([=~])(.*)", selector)
    if found is None:
        raise ValueError(f"[{selector}] must be [*], [key=value] or [key~pattern]")
    key, kind, wanted = found.groups()
    try:
        pattern = re.compile(wanted if kind == "~" else re.escape(wanted), re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"[{selector}] is no pattern: {error}") from None
    match = pattern.search if kind == "~" else pattern.fullmatch

    def matching(elements: Sequence[Any]) -> Sequence[Any]:
        """Those whose value is meant."""
        mapped = [e for e in elements if isinstance(e, Mapping)]
        return [e for e in mapped if match(str(e.get(key))) is not None]

    return matching


def _name_of(element: object) -> str:
    """What an element of a list is called."""
    if not isinstance(element, Mapping):
        return ""
    return next((str(element[key]) for key in _NAMES if element.get(key) is not None), "")


def find(found: Mapping[str, Any], path: str) -> Found:
    """Return all that stands at a path, each with the names on its way; nothing if it is not there.

    Example:
        >>> find({"audit": {"features": [{"name": "sex", "n": 3}]}}, "audit.features[*].n")
        [('sex', 3)]
    """
    level: Found = [("", found)]
    for name, selectors in parse(path):
        level = [(way, v[name]) for way, v in level if isinstance(v, Mapping) and name in v]
        for selector in selectors:
            wanted = chooser(selector)
            # Who asks for one by its name knows it.
            named = not re.match(r"\w+=", selector)
            level = [
                (": ".join(n for n in (way, _name_of(element) if named else "") if n), element)
                for way, value in level
                if isinstance(value, list | tuple)
                for element in wanted(value)
            ]
    return level


def is_number(value: object) -> bool:
    """Whether it is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
