"""A person's word on a registered version: approve, reject, override; and the way back.

The gate's verdict is never changed. What is decided stands in the registry as tags, in the run as
published/approval.json, and in the run's model card.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tasks.evidence.override import broken_promises
from tasks.evidence.story import CHALLENGER, CHAMPION, REPLACED, decided_story, escaped, retell
from tasks.params import UserError, load_recipe
from tasks.recipe import OverrideConfig
from tasks.registry import Store, Version

Choice = Literal["approve", "reject", "override"]
CHOICES: tuple[Choice, ...] = ("approve", "reject", "override")
# On a version that lost its place: why.
ROLLED_BACK = "rolled_back"
RECORD, CARD = "published/approval.json", "published/model_card.md"
FACTS = "published/model_card.json"
HEADING = "## Approval"


@dataclass(frozen=True)
class Word:
    """What a person says.

    Attributes:
        choice: approve, reject or override.
        approver: first and last name, or an e-mail address.
        reason: written out; of an approval of a version that passed it may be empty.
    """

    choice: Choice
    approver: str
    reason: str = ""


def name_of(root: Path, recipe: str) -> str:
    """Return the name under which a recipe's models are registered.

    Args:
        root: the checkout.
        recipe: one of params.yaml.
    """
    return load_recipe(root / "params.yaml", recipe).register.model_name or recipe


def pending(store: Store, name: str, number: str | None = None) -> Version:
    """Return the version that waits for a word: the challenger, or the one that is named.

    Raises:
        UserError: there is none.
    """
    if number is None:
        return store.find(name, CHALLENGER)
    known = store.numbers(name)
    if number not in known:
        raise UserError(f"{name} has no version {number!r}; it has: {', '.join(known) or 'none'}")
    return store.version(name, number)


def checked(word: Word, version: Version, checks: list[dict[str, Any]]) -> Word:
    """Return a word with its spaces put in order, if it may be said of a version.

    Args:
        word: of a person.
        version: it speaks of.
        checks: of the gate, from the version's own run.

    Raises:
        UserError: the name or the reason is missing, or nobody may decide so.
    """
    if word.choice not in CHOICES:
        raise UserError(f"choice = {word.choice!r}: allowed are {', '.join(CHOICES)}")
    status, where = version.tags.get("status", ""), f"{version.name} version {version.number}"
    free = word.choice == "approve" and status in ("accepted", "overridden")
    reason = " ".join(word.reason.split())
    if not reason and free:
        reason = "The gate's verdict is taken as it is."
    approver = " ".join(word.approver.split())
    try:
        OverrideConfig(approver=approver, reason=reason, model="0" * 12)
    except ValueError as error:
        raise UserError(str(error)) from None
    broken = broken_promises(checks)
    if word.choice != "reject" and (broken or not checks):
        what = ", ".join(broken) or "no check of the gate was kept"
        raise UserError(f"{where}: nobody can answer for a broken promise of privacy: {what}")
    if word.choice == "approve" and status not in ("accepted", "needs_review", "overridden"):
        raise UserError(
            f"{where} is {status or 'not judged'}: it can be rejected, or overridden with a reason"
        )
    return Word(word.choice, approver, reason)


def decide(store: Store, version: Version, word: Word) -> Version:
    """Carry out a person's word and write it down.

    Args:
        store: of registered models.
        version: it speaks of.
        word: of a person.

    Returns:
        The version as it stands afterwards.

    Raises:
        UserError: the word may not be said; nothing was changed.
    """
    run = store.run_of(version)
    text = store.read_text(run, "published/decision/decision.json")
    checks = json.loads(text)["checks"] if text else []
    word = checked(word, version, checks)
    champion = store.holder(version.name, CHAMPION)
    if word.choice != "reject" and champion and champion.number == version.number:
        raise UserError(f"{version.name} version {version.number} is champion already")
    if word.choice == "reject" and champion and champion.number == version.number:
        raise UserError(f"{version.name} version {version.number} is champion: roll it back")
    replaced = champion.number if champion and word.choice != "reject" else None
    # Written down first: an alias that moved without a name to it would be worse than a name
    # without a move.
    _record(store, run, version, asdict(word) | {"replaced": replaced})
    tags = {"approval": word.choice, "approver": word.approver, "approval_reason": word.reason}
    if replaced is not None:
        tags[REPLACED] = replaced
    store.tag_version(version, tags)
    if word.choice != "reject":
        store.set_alias(version, CHAMPION)
    store.drop_alias(version, CHALLENGER)
    retell(store, version.name)
    return store.version(version.name, version.number)


def rollback(store: Store, name: str, approver: str, reason: str) -> Version:
    """Give the champion's place back to the version that had it before.

    Args:
        store: of registered models.
        name: of the model.
        approver: who decides it.
        reason: written out.

    Raises:
        UserError: nobody is named, or there is no way back.
    """
    champion = store.find(name, CHAMPION)
    number = champion.tags.get(REPLACED)
    if number is None or number not in store.numbers(name):
        raise UserError(f"{name} version {champion.number} took nobody's place: no way back")
    try:
        OverrideConfig(approver=approver, reason=reason, model="0" * 12)
    except ValueError as error:
        raise UserError(str(error)) from None
    before = store.version(name, number)
    if before.tags.get("approval") == "reject":
        by = before.tags.get("approver")
        raise UserError(f"{name} version {number} was rejected by {by}: no way back to it")
    told = {"choice": "roll back", "approver": approver, "reason": reason, "replaced": None}
    _record(store, store.run_of(champion), champion, told)
    store.tag_version(champion, {ROLLED_BACK: f"{approver}: {reason}"})
    restored = store.set_alias(before, CHAMPION)
    retell(store, name)
    return restored


def _record(store: Store, run: str, version: Version, told: dict[str, Any]) -> None:
    """Add a decision to the run's list and to its model card."""
    written = json.loads(store.read_text(run, RECORD) or "[]")
    entry = {"date": datetime.now(UTC).date().isoformat(), "version": version.number, **told}
    written.append(entry)
    store.write_text(run, RECORD, json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    card = (store.read_text(run, CARD) or "").partition(f"\n{HEADING}\n")[0].rstrip()
    store.write_text(run, CARD, f"{card}\n\n{HEADING}\n\n{table(written)}")
    facts = json.loads(store.read_text(run, FACTS) or "null")
    if facts:
        words = f"{entry['choice']}, {entry['date']}: {entry['reason']}"
        facts |= {"approval": written, "signer": {"name": entry["approver"], "words": words}}
        text = json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False)
        store.write_text(run, FACTS, f"{text}\n")
    text = store.description(version.name, version.number)
    store.describe(version.name, decided_story(text, written), version.number)


def table(written: list[dict[str, Any]]) -> str:
    """Return decisions as a table in Markdown.

    Example:
        >>> print(table([{"date": "2026-01-02", "version": "3", "choice": "approve",
        ...               "approver": "Ada L", "reason": "a|b", "replaced": None}]), end="")
        | date | version | decision | by | reason |
        | --- | --- | --- | --- | --- |
        | 2026-01-02 | 3 | approve | Ada L | a\\|b |
    """
    lines = ["| date | version | decision | by | reason |", "| --- | --- | --- | --- | --- |"]
    for entry in written:
        cells = [entry[k] for k in ("date", "version", "choice", "approver", "reason")]
        lines.append(f"| {' | '.join(escaped(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"
