"""What was ever released about a population: one append-only file each, under data/.

A population is the people behind one data source. Its file outlives recipes, versions, retries
and rejected models: what was released cannot be taken back, so nothing is ever taken out. Lines
are chained by digest; a line that was changed or cut out is found when the file is next read.
"""

import fcntl
import hashlib
import json
import math
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain, product
from pathlib import Path
from typing import Any

from rnn.config import PrivacySpent
from rnn.privacy.ledger import Event, epsilon_of
from tasks.account import gradients
from tasks.artifacts import DATA, folder, read_json, replacing_file
from tasks.checkout import checkout
from tasks.checkpoint import Checkpoint
from tasks.params import UserError, as_json, validate
from tasks.recipe import DataConfig, PopulationPlan, ReaderSource, SourceFile, TrainPlan

# A dot in the name: no recipe can be called so.
FOLDER = "population.ledger"
# What of a source does not say whose data it is.
_NO_ADDRESS = ("sha256", "format", "null_values", "options", "seconds", "gigabytes")
TRAINING, HELD_OUT = "training", "held-out"
# So many ways through the splits at most are composed apart.
WAYS = 16


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line: an event, whose it was and when.

    Attributes:
        run: of the training or release; the same run is written once, however often it resumes.
        recipe: under whose name.
        date: of the release, UTC.
        event: what was released.
        split: which division into training and held-out people the event speaks of.
    """

    run: str
    recipe: str
    date: str
    event: Event
    split: str = ""


def population_of(data: DataConfig) -> str:
    """Return the name of the people behind a data source, the same for every recipe that reads it.

    The source's address and the person column decide; a package's version, how cells are read,
    features, target and split do not.
    """
    source = {k: v for k, v in as_json(data.source).items() if k not in _NO_ADDRESS}
    if "package" in source:
        source["package"] = _project(source["package"])
    if "path" in source:
        source["path"] = _in_checkout(source["path"])
    if "files" in source:
        # A reader's options choose rows and labels; whose they are, its files say.
        source["files"] = [[_project(file["package"]), file["member"]] for file in source["files"]]
    text = json.dumps([source, data.person], sort_keys=True)
    last = str(next(source[k] for k in ("member", "path", "url", "reader") if source.get(k)))
    words = re.sub(r"[^a-z0-9]+", "-", Path(last).stem.lower()).strip("-") or "data"
    return f"{words[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _project(package: str) -> str:
    """A package in its one spelling, whatever its version: most people stand in the next too."""
    return re.sub(r"[-_.]+", "-", package.partition("==")[0].strip()).lower()


def _in_checkout(path: str) -> str:
    """A path in its one spelling: below the checkout, where it is there."""
    plain = Path(os.path.normpath(path))
    root = checkout()
    return str(plain.relative_to(root) if plain.is_relative_to(root) else plain)


def split_of(data: DataConfig, files: Sequence[SourceFile] = ()) -> str:
    """Return the name of how a recipe divides the population into training and held-out people.

    A keyed hash of the id sends the same person the same way in every version of the data. A date
    or a column of the data may send a person elsewhere in the next version, so that the files
    are part of the name there.

    Args:
        data: of the recipe.
        files: of its source.
    """
    words: list[Any] = [as_json(data.split)]
    if data.split.column is not None or data.split.as_of is not None:
        words += [getattr(data.source, "sha256", None), *(file.sha256 for file in files)]
        if isinstance(data.source, ReaderSource):
            read = as_json(data.source)
            words += [read["options"], *(file["sha256"] for file in read["files"])]
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]


def home() -> Path:
    """Return the folder of all populations: the checkout's own, also for a run in a copy of it.

    DVC deletes the copy that a queued experiment ran in; what it released stays released.
    """
    root = checkout()
    return (DATA if root == Path.cwd().resolve() else root / DATA) / FOLDER


def path_of(population: str) -> Path:
    """Return the file of a population."""
    return home() / f"{population}.jsonl"


def _link(before: str, body: dict[str, Any]) -> str:
    """Digest of a line and of all before it."""
    text = before + json.dumps(body, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read(population: str) -> tuple[Entry, ...]:
    """Return all that was released, oldest first; empty where nothing was.

    Raises:
        UserError: a line is damaged, changed or missing.
    """
    return tuple(entry for entry, _ in _lines(path_of(population)))


def _lines(path: Path) -> list[tuple[Entry, str]]:
    """Entries with their links."""
    if not path.exists():
        return []
    found: list[tuple[Entry, str]] = []
    link = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path} line {number}"
        try:
            body = json.loads(line)
            written = body.pop("link")
        except (json.JSONDecodeError, AttributeError, KeyError):
            raise UserError(f"{where} is damaged: restore the file from a backup") from None
        link = _link(link, body)
        if written != link:
            raise UserError(
                f"{where} does not follow from the lines before it: somebody changed the file; "
                "restore it from a backup"
            )
        found.append((validate(Entry, body, where), link))
    return found


def spent(
    entries: Sequence[Entry], delta: float, extra: Sequence[Event] = (), split: str = ""
) -> float:
    """Return one person's epsilon over all that was released, whoever it is.

    Within one split a person is trained on or held out, never both. Another split may have put
    the same person elsewhere, so that what splits cost adds up, along the dearest way through
    them. Where there are too many ways, everything adds up: never too low.

    Args:
        entries: of one population.
        delta: at which epsilon is read.
        extra: events that are not written yet.
        split: of the extra events.
    """
    parts: dict[str, dict[str, list[Event]]] = {}
    written = [(entry.split, entry.event) for entry in entries]
    for name, event in written + [(split, event) for event in extra]:
        parts.setdefault(name, {}).setdefault(event.people, []).append(event)
    choices = [list(of.values()) for of in parts.values()]
    if math.prod(map(len, choices)) > WAYS:
        choices = [[[event for part in of for event in part]] for of in choices]
    return max(epsilon_of(_merged(chain(*way)), delta) for way in product(*choices))


def _merged(events: Iterable[Event]) -> list[Event]:
    """Events of one kind as one with a larger count: ten retries cost one sum."""
    counts: Counter[Event] = Counter()
    for event in events:
        bare = replace(event, released="", people="", adjacency="", unit="", count=1)
        counts[bare] += event.count
    return [replace(event, count=count) for event, count in counts.items()]


def check(
    population: str, events: Sequence[Event], delta: float, cap: float | None, split: str = ""
) -> float:
    """Return the population's epsilon if these events were released too.

    Args:
        population: whose.
        events: about to be released.
        delta: at which epsilon is read.
        cap: not to be passed; None for no cap.
        split: of which people the events speak.

    Raises:
        UserError: it would pass the cap; nothing was drawn or written.
    """
    entries = read(population)
    after = spent(entries, delta, events, split)
    if cap is not None and not after <= cap:
        so_far = spent(entries, delta)
        words = "infinite" if math.isinf(after) else f"{after:.3f}"
        raise UserError(
            f"ledger.max_epsilon = {cap:g} would be passed: {population} has spent "
            f"{so_far:.3f} at delta {delta:g} in {len(entries)} releases, with this one it would "
            f"be {words}; allowed is a smaller target_epsilon, or a higher cap that somebody "
            "answers for"
        )
    return after


def charge(
    population: str,
    run: str,
    recipe: str,
    events: Sequence[Event],
    delta: float,
    cap: float | None = None,
    split: str = "",
) -> float:
    """Write events before what they describe is released; return the population's epsilon.

    A run that is already written is not written again.

    Raises:
        UserError: the cap would be passed, or the file is damaged.
    """
    path = path_of(population)
    with _locked(path):
        lines = _lines(path)
        entries = tuple(entry for entry, _ in lines)
        if any(entry.run == run for entry in entries):
            return spent(entries, delta)
        after = check(population, events, delta, cap, split)
        link = lines[-1][1] if lines else ""
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        date = datetime.now(UTC).date().isoformat()
        for event in events:
            body = asdict(Entry(run=run, recipe=recipe, date=date, event=event, split=split))
            link = _link(link, body)
            line = json.dumps({**body, "link": link}, sort_keys=True, ensure_ascii=False)
            text += line + "\n"
        with replacing_file(path) as draft:
            draft.write_text(text, encoding="utf-8")
    return after


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer of a population at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class RunLedger:
    """This run's place in the ledger of its population.

    Attributes:
        recipe: under whose name.
        plan: of the population and its cap; None where nothing private is released.
        events: all planned steps, and what train releases after them.
        delta: at which epsilon is read.
        run: the same for a run that is taken up.
    """

    recipe: str
    plan: PopulationPlan | None
    events: tuple[Event, ...]
    delta: float
    run: str

    @classmethod
    def of(cls, recipe: str, plan: TrainPlan, checkpoint: Checkpoint) -> "RunLedger":
        """Return the ledger of a run; of the twin and of a seeded run it is empty."""
        privacy = plan.privacy
        if privacy is None or privacy.insecure_seed is not None:
            return cls(recipe, None, (), 0.0, "")
        path = folder(recipe, "plan", "population.json")
        # A search was charged, its winner's steps with it.
        own = () if plan.winner else (gradients(plan, plan.train.steps),)
        events = (*own, *plan.after)
        run = str(checkpoint.at_start("run", secrets.token_hex(8)))
        known = validate(PopulationPlan, read_json(path), str(path))
        return cls(recipe, known, events, privacy.delta, run)

    def check(self) -> None:
        """Refuse to begin what would pass the cap.

        Raises:
            UserError: the population cannot pay for this run.
        """
        if self.plan is None:
            return
        entries = read(self.plan.population)
        if not any(entry.run == self.run for entry in entries):
            plan = self.plan
            check(plan.population, self.events, self.delta, plan.max_epsilon, plan.split)

    def charge(self, account: PrivacySpent) -> PrivacySpent:
        """Write the run down; return its account with what all trainings cost together."""
        if self.plan is None:
            return account
        name, cap, split = self.plan.population, self.plan.max_epsilon, self.plan.split
        together = charge(name, self.run, self.recipe, self.events, self.delta, cap, split)
        trained = {entry.run for entry in read(name) if entry.event.people == TRAINING}
        return replace(
            account,
            trainings=len(trained),
            epsilon_together=max(together, account.epsilon),
        )
