"""The software bill of materials: every installed distribution, as CycloneDX 1.6.

    python -m tasks.sbom

prints it. No time stamp and no random number: the same environment gives the same bytes.
"""

import json
import platform
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.requirements import InvalidRequirement, Requirement

from tasks.params import command

Json = dict[str, Any]
FILE = "sbom.json"
# Says what is needed.
PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
# A licence's name fits in a line; a whole text in that field is no name.
LONGEST_NAME = 80
# What a reader of the report asks after first.
TOLD = ("torch", "opacus", "dp-accounting", "opendp", "numpy", "captum", "fairlearn", "mlflow")


def canonical(name: str) -> str:
    """Return a distribution's name as package indexes compare it.

    Example:
        >>> canonical("Ruamel.Yaml_clib")
        'ruamel-yaml-clib'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def purl(name: str, version: str) -> str:
    """Return a distribution's package URL, which names it wherever it came from.

    Example:
        >>> purl("Torch", "2.13.0+cpu")
        'pkg:pypi/torch@2.13.0%2Bcpu'
    """
    return f"pkg:pypi/{canonical(name)}@{quote(version, safe='')}"


@cache
def installed() -> dict[str, Distribution]:
    """Return every distribution by its canonical name; of two, the one that is imported."""
    found: dict[str, Distribution] = {}
    for one in distributions():
        if one.metadata["Name"]:
            found.setdefault(canonical(one.metadata["Name"]), one)
    return dict(sorted(found.items()))


def _field(one: Distribution, name: str) -> str:
    """One field of the metadata, empty where it is not there."""
    return str((one.metadata.get_all(name) or [""])[0])


def licences(one: Distribution) -> list[Json]:
    """Return the licences that a distribution states of itself; none where it states none."""
    expression = _field(one, "License-Expression")
    if expression:
        return [{"expression": expression}]
    head = "License :: "
    classifiers = [c for c in one.metadata.get_all("Classifier") or () if c.startswith(head)]
    names = sorted({c.rpartition(" :: ")[2] for c in classifiers} - {"OSI Approved"})
    stated = " ".join(_field(one, "License").split())
    if not names and stated and stated != "UNKNOWN" and len(stated) <= LONGEST_NAME:
        names = [stated]
    return [{"license": {"name": name}} for name in names]


def hashes(one: Distribution) -> list[Json]:
    """Return the digest of the archive that was installed, where the installer kept it."""
    kept = json.loads(one.read_text("direct_url.json") or "{}").get("archive_info") or {}
    digest = (kept.get("hashes") or {}).get("sha256")
    return [{"alg": "SHA-256", "content": digest}] if digest else []


def needs(requirements: list[str], extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield names and extras of requirements that this machine and these extras ask for."""
    for text in requirements:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        marker = wanted.marker
        if marker is None or any(marker.evaluate({"extra": e}) for e in extras or {""}):
            yield canonical(wanted.name), frozenset(map(canonical, wanted.extras))


def reached(roots: list[str], known: Mapping[str, Distribution]) -> dict[str, set[str]]:
    """Return what each needed distribution needs, by name, from the roots down."""
    edges: dict[str, set[str]] = {}
    todo = [(name, extras | {""}) for name, extras in needs(roots, frozenset())]
    done: set[tuple[str, frozenset[str]]] = set()
    while todo:
        name, extras = todo.pop()
        if name not in known or (name, extras) in done:
            continue
        done.add((name, extras))
        below = list(needs(known[name].requires or [], extras))
        edges.setdefault(name, set()).update(n for n, _ in below if n in known)
        todo += [(n, e | {""}) for n, e in below]
    return edges


def component(one: Distribution, required: bool) -> Json:
    """Return one distribution as CycloneDX writes it."""
    name, version = str(one.metadata["Name"]), str(one.version)
    found: Json = {
        "type": "library",
        "bom-ref": purl(name, version),
        "name": name,
        "version": version,
        "purl": purl(name, version),
        "scope": "required" if required else "optional",
    }
    for key, value in (("licenses", licences(one)), ("hashes", hashes(one))):
        if value:
            found[key] = value
    return found


def bill(project: Mapping[str, Any], known: Mapping[str, Distribution]) -> Json:
    """Return the bill of materials.

    Args:
        project: name, version and dependencies, as pyproject.toml states them.
        known: distributions by canonical name.

    Returns:
        CycloneDX 1.6. What the project's dependencies reach is `required`, whatever else is
        installed beside them `optional`.
    """
    edges = reached(list(project["dependencies"]), known)
    refs = {name: purl(one.metadata["Name"], one.version) for name, one in known.items()}
    own = f"{project['name']}@{project['version']}"
    direct = {n for n, _ in needs(list(project["dependencies"]), frozenset()) if n in known}
    language = f"{platform.python_implementation()}@{platform.python_version()}"
    below = {own: {refs[n] for n in direct} | {language}}
    below |= {refs[name]: {refs[n] for n in found} for name, found in edges.items()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": project["name"],
                "version": project["version"],
            }
        },
        "components": [
            {
                "type": "platform",
                "bom-ref": language,
                "name": platform.python_implementation(),
                "version": platform.python_version(),
            },
            *(component(one, name in edges) for name, one in known.items()),
        ],
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(found)} for ref, found in sorted(below.items())
        ],
    }


def environment() -> Json:
    """Return the bill of materials of this process's environment."""
    return bill(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"], installed())


def versions(made: Json) -> list[tuple[str, str]]:
    """Return the versions that a reader asks after first: of the project, Python and a few more."""
    own, python = made["metadata"]["component"], made["components"][0]
    known = {canonical(one["name"]): one["version"] for one in made["components"]}
    return [
        (own["name"], own["version"]),
        (python["name"], python["version"]),
        *((name, known[name]) for name in TOLD if name in known),
    ]


def parts(made: Json) -> list[tuple[str, str, str]]:
    """Return name, version and licences of everything that is needed."""
    return [
        (
            one["name"],
            one["version"],
            ", ".join(
                found.get("expression") or found["license"]["name"]
                for found in one.get("licenses", [])
            )
            or "not stated",
        )
        for one in made["components"]
        if one.get("scope") == "required"
    ]


def main(_arguments: list[str]) -> None:
    """Print the bill of materials."""
    json.dump(environment(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    command(main)
