"""Drawing what training people's rows are needed for: charged first, drawn once, kept.

Each release is kept beside the populations' ledgers, named by what was asked of which rows.
Preparing the same rows again finds it there, whatever recipe asks: it is not drawn again, which
would cost again. A run that is killed before a release is kept has shown nothing; the next one
draws under the same name in the ledger, which is charged once.
"""

import fcntl
import hashlib
import json
import math
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn.privacy import preparation as private
from rnn.privacy.event import Event
from tasks import artifacts, population
from tasks.account import gradients
from tasks.params import UserError, as_json, validate
from tasks.recipe import DataConfig, PopulationPlan, SourceFile, TextLayout, TrainPlan
from tasks.settings.preparation import Drawn, PreparationPlan
from tasks.settings.private import PrivateBounds, PrivateCounts, PrivateVocabulary
from tasks.table.contributions import Contribution
from tasks.table.labels import UNKNOWN, known_labels

FOLDER = "preparations"
Floats = NDArray[np.float64]


def key_of(drawn: Drawn, event: Event, data: DataConfig, files: Sequence[SourceFile]) -> str:
    """Return the name of a release: the same for the same question to the same rows.

    Args:
        drawn: what is asked for.
        event: its price, unit and delta included.
        data: how rows are read and split.
        files: of the source, with their digests.
    """
    layout = data.sequence
    groups: object = None
    if isinstance(drawn.settings, PrivateCounts):
        (groups,) = (as_json(s) for s in data.sensitive if s.name == drawn.settings.feature)
    asked = [
        drawn.as_json(),
        [event.epsilon, event.delta, event.count, event.unit],
        [file.sha256 for file in files],
        as_json(data.split),
        [data.person, data.source.null_values, layout.layout, groups],
        as_json(layout) if isinstance(layout, TextLayout) else None,
    ]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:20]


def release(
    recipe: str,
    data: DataConfig,
    plan: PreparationPlan,
    files: Sequence[SourceFile],
    found: Sequence[Contribution],
) -> list[dict[str, Any]]:
    """Return every release of a recipe, new ones charged to the population before they are drawn.

    Args:
        recipe: name under data/.
        data: the recipe's data block.
        plan: unit, delta and the price of each.
        files: of the source.
        found: what training people contribute, in the same order.

    Returns:
        What was asked, the event, and the value of each, as JSON values that may be published.

    Raises:
        UserError: the population cannot pay for what is new, or nothing came out of a vocabulary.
    """
    events = dict(zip((one.drawn for one in found), plan.events, strict=True))
    keys = {one.drawn: key_of(one.drawn, events[one.drawn], data, files) for one in found}
    with _locked():
        # All of them: whoever has lost the ledger, but not what was drawn, pays what was spent.
        _charge(recipe, plan, {keys[drawn]: event for drawn, event in events.items()})
        bounds: dict[tuple[object, ...], tuple[float, float]] = {}
        releases = []
        for one in found:
            drawn, file = one.drawn, _file(keys[one.drawn])
            if not file.exists():
                value = _draw(one, events[drawn], data, _within(drawn, bounds))
                with artifacts.replacing_file(file) as draft:
                    artifacts.write_json(draft, {"value": value})
            value = artifacts.read_json(file)["value"]
            releases.append(_described(drawn, events[drawn], value))
            if isinstance(drawn.settings, PrivateBounds):
                bounds[(drawn.columns, drawn.static, drawn.settings)] = value
    for one, result in zip(found, releases, strict=True):
        _refuse_nothing(one.drawn, events[one.drawn], result["value"])
    return releases


def _described(drawn: Drawn, event: Event, value: Any) -> dict[str, Any]:
    """One entry of preparation.json."""
    return {
        "name": drawn.name,
        "asked": drawn.as_json(),
        "event": event.as_dict(),
        "value": value,
    }


def _charge(recipe: str, plan: PreparationPlan, events: dict[str, Event]) -> None:
    """Write what the population's ledger does not have yet, all of it or nothing."""
    path = artifacts.folder(recipe, "plan", "population.json")
    known = validate(PopulationPlan, artifacts.read_json(path), str(path))
    runs = {key: _run_of(key) for key in events}
    written = {entry.run for entry in population.read(known.population)}
    due = {runs[key]: event for key, event in events.items() if runs[key] not in written}
    if not due:
        return
    cap, split = known.max_epsilon, known.split
    # What is drawn serves a training: one that could not be paid for must not cost a draw either.
    together = (*due.values(), *_ahead(recipe))
    population.check(known.population, together, plan.delta, cap, split)
    for run, event in due.items():
        population.charge(known.population, run, recipe, (event,), plan.delta, cap, split)


def _ahead(recipe: str) -> tuple[Event, ...]:
    """What the planned training will be charged for."""
    path = artifacts.folder(recipe, "plan", "train.json")
    # No dependency in dvc.yaml: another training must not prepare again.
    plan = validate(TrainPlan, artifacts.read_json(path), str(path))
    if plan.privacy is None or plan.privacy.insecure_seed is not None:
        return ()
    return (gradients(plan, plan.train.steps), *plan.after)


def _run_of(key: str) -> str:
    """The name of a release in the ledger, the same whoever asks."""
    file = _root() / f"{key}.run"
    if not file.exists():
        with artifacts.replacing_file(file) as draft:
            artifacts.write_json(draft, secrets.token_hex(8))
    return str(artifacts.read_json(file))


def _root() -> Path:
    """Where releases are kept."""
    return population.home() / FOLDER


def _file(key: str) -> Path:
    """Where a release is kept."""
    return _root() / f"{key}.json"


def _within(
    drawn: Drawn, bounds: dict[tuple[object, ...], tuple[float, float]]
) -> tuple[float, float]:
    """Bounds of a mean: public ones, or those that were drawn before."""
    if isinstance(drawn.within, PrivateBounds):
        low, high = bounds[(drawn.columns, drawn.static, drawn.within)]
        return low, high
    return drawn.within or (0.0, 0.0)


def _draw(one: Contribution, event: Event, data: DataConfig, within: tuple[float, float]) -> Any:
    """The value of one release, by opendp."""
    settings, epsilon = one.drawn.settings, event.epsilon or 0.0
    if isinstance(settings, PrivateBounds):
        return _bounds(settings, one.numbers, epsilon)
    if isinstance(settings, PrivateVocabulary):
        if settings.candidates:
            return private.private_choice_of(
                one.counts, settings.candidates, epsilon=epsilon, max_values=settings.max_values
            )
        return private.private_vocabulary(
            one.counts, epsilon=epsilon, delta=event.delta, max_values=settings.max_values
        )
    if isinstance(settings, PrivateCounts):
        (feature,) = (s for s in data.sensitive if s.name == settings.feature)
        labels = list(dict.fromkeys([*known_labels(feature), UNKNOWN]))
        exact = np.array([one.counts.get(label, 0) for label in labels], dtype=np.int64)
        noised = private.private_counts(exact, epsilon=epsilon)
        return {label: int(count) for label, count in zip(labels, noised, strict=True)}
    return private.private_mean(
        one.numbers, within, epsilon=event.count * epsilon, max_values=settings.max_values
    )


def _bounds(settings: PrivateBounds, values: Floats, epsilon: float) -> list[float]:
    """Low and high, public or drawn; each drawn one at the whole epsilon given."""
    candidates = [
        value
        for value in private.candidates_of(*settings.range, settings.grid)
        if (settings.low is None or value > settings.low)
        and (settings.high is None or value < settings.high)
    ]

    if len(candidates) > 1:
        values = private.spread_out(values, candidates)

    def drawn(quantile: float) -> float:
        return private.private_quantile(
            values, candidates, quantile, epsilon=epsilon, max_values=settings.max_values
        )

    low = drawn(settings.low_quantile) if settings.low is None else settings.low
    high = drawn(settings.high_quantile) if settings.high is None else settings.high
    return list(private.risen(low, high, candidates))


def _refuse_nothing(drawn: Drawn, event: Event, value: Any) -> None:
    """Raise where a vocabulary came out empty."""
    settings = drawn.settings
    if value or not isinstance(settings, PrivateVocabulary):
        return
    most, epsilon = settings.max_values, event.epsilon or 0.0
    about = most / epsilon * math.log(max(most, 1) / (2 * (event.delta or 0.01)))
    name = "private" if drawn.kind == "tokens" else f"private_{drawn.kind}"
    raise UserError(
        f"{drawn.field}.{name}: nothing was kept: fewer than about {about:.0f} "
        f"training units have any value; allowed is a larger epsilon than {settings.epsilon:g}, "
        "which draws and costs again, or what is public"
    )


@contextmanager
def _locked() -> Iterator[None]:
    """One process draws at a time: another that asks the same finds what was drawn."""
    _root().mkdir(parents=True, exist_ok=True)
    with (_root() / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
