"""The bill of materials: what reaches what, by hand, and the published schema."""

import json
from email.message import Message
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tasks import sbom


def dist(
    root: Path, name: str, version: str = "1.0", *, needs: tuple[str, ...] = (), **more: str
) -> Distribution:
    """A distribution as an installer writes it."""
    folder = root / f"{name}-{version}.dist-info"
    folder.mkdir()
    head = Message()
    head["Metadata-Version"], head["Name"], head["Version"] = "2.4", name, version
    for need in needs:
        head["Requires-Dist"] = need
    for key, value in more.items():
        if key != "archive":
            head[key.replace("_", "-")] = value
    (folder / "METADATA").write_text(head.as_string(), encoding="utf-8")
    if "archive" in more:
        (folder / "direct_url.json").write_text(more["archive"])
    return PathDistribution(folder)


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Distribution]:
    """a needs b, and c where its extra is asked for; d is for another machine; e is beside them."""
    digest = json.dumps(
        {"url": "file:///secret", "archive_info": {"hashes": {"sha256": "ab" * 32}}}
    )
    return {
        "a": dist(tmp_path, "A", needs=("b>=1", 'c; extra == "more"', 'd; sys_platform == "none"')),
        "b": dist(tmp_path, "b", "2.0+cpu", License_Expression="MIT"),
        "c": dist(tmp_path, "c", License="Own words", archive=digest),
        "d": dist(tmp_path, "d", License="a whole text " * 9),
        "e": dist(tmp_path, "e", Classifier="License :: OSI Approved :: MIT License"),
    }  # fmt: skip


PROJECT = {"name": "p", "version": "3", "dependencies": ["A[more]>=1"]}


def test_what_is_needed_and_what_is_beside(known: dict[str, Distribution]) -> None:
    made = sbom.bill(PROJECT, known)
    parts = {one["name"]: one for one in made["components"]}
    assert {n: one["scope"] for n, one in parts.items() if "scope" in one} == {
        "A": "required", "b": "required", "c": "required", "d": "optional", "e": "optional"
    }  # fmt: skip
    below = {one["ref"]: one["dependsOn"] for one in made["dependencies"]}
    assert below["pkg:pypi/a@1.0"] == ["pkg:pypi/b@2.0%2Bcpu", "pkg:pypi/c@1.0"]
    assert "pkg:pypi/a@1.0" in below["p@3"] and "pkg:pypi/e@1.0" not in below
    without = sbom.bill({**PROJECT, "dependencies": ["a"]}, known)
    scopes = {one["name"]: one.get("scope") for one in without["components"]}
    assert scopes["c"] == "optional", "nobody asked for the extra"


def test_licences_and_digests_as_stated(known: dict[str, Distribution]) -> None:
    assert sbom.licences(known["b"]) == [{"expression": "MIT"}]
    assert sbom.licences(known["c"]) == [{"license": {"name": "Own words"}}]
    assert sbom.licences(known["d"]) == []
    assert sbom.licences(known["e"]) == [{"license": {"name": "MIT License"}}]
    assert sbom.hashes(known["c"]) == [{"alg": "SHA-256", "content": "ab" * 32}]
    # Where an archive lay tells of a machine.
    assert "secret" not in json.dumps(sbom.bill(PROJECT, known))


def test_the_real_environment_follows_the_schema_and_is_the_same_twice() -> None:
    text = json.dumps(sbom.environment())
    check = JsonStrictValidator(SchemaVersion.V1_6)
    assert check.validate_str(text) is None
    broken = text.replace('"type": "platform"', '"type": "plattform"')
    assert check.validate_str(broken) is not None
    sbom.installed.cache_clear()
    assert json.dumps(sbom.environment()) == text
    assert "timestamp" not in text and "serialNumber" not in text
    named = {sbom.canonical(one["name"]): one for one in json.loads(text)["components"]}
    assert named["torch"]["scope"] == "required" and named["pytest"]["scope"] == "optional"
    assert dict(sbom.versions(json.loads(text)))["torch"] == named["torch"]["version"]
