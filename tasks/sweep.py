"""Search a recipe's settings under one account: `python -m tasks.sweep RECIPE`.

Two rules. `random`: independent candidates, a random number of them that nobody sees, a private
score, and only the winner shown: the cost of showing it covers the whole search. `adaptive`:
every trial is seen and added up. Either way the winner's model is paid for when the search ends;
train takes it over and charges nothing more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from rnn.privacy.ledger import ACCOUNTANT, accountant_version, epsilon_of
from rnn.privacy.selection import ACCOUNTANT as SELECTION_ACCOUNTANT
from tasks.artifacts import digest_folder, folder, replacing, write_json
from tasks.hunt import Hunt, opened
from tasks.params import UserError, as_json, command, load_recipe
from tasks.settings.sweep import RandomSweep
from tasks.winner import digits_of

UNSEEN = (
    "Candidates are drawn independently from one fixed distribution, their number at random; "
    "scores are private; of all trials only the winner is kept. One event covers them all "
    "(Papernot and Steinke 2022)."
)
SEEN = "Every trial was planned, is listed, and is part of the sum, failed and stopped ones too."


def costs(hunt: Hunt) -> str:
    """Return what a search will cost, before its first trial."""
    sweep, delta = hunt.sweep, hunt.recipe.promise.delta
    if isinstance(sweep, RandomSweep):
        what = f"a random number of unseen trials ({sweep.distribution}, mean {sweep.trials:g})"
    else:
        what = f"{sweep.trials} trials, each seen and charged"
    text = f"{hunt.name}: {what}: epsilon {hunt.search.epsilon:.3f} at delta {delta:g}"
    if hunt.together is None:
        return f"{text}; its noise is seeded: it protects nobody and is charged to nobody"
    cap = hunt.account.cap
    allowed = "no cap" if cap is None else f"the cap is {cap:g}"
    return f"{text}; the population will have spent {hunt.together:.3f}, {allowed}"


def account_of(hunt: Hunt, together: float | None) -> dict[str, Any]:
    """Return the account of a search as JSON values.

    Args:
        hunt: at its end.
        together: what the population has spent.
    """
    delta = hunt.recipe.promise.delta
    unseen = isinstance(hunt.sweep, RandomSweep)
    held_out = [event for event in hunt.search.whole if event.people != "training"]
    return {
        "epsilon": hunt.search.epsilon,
        "epsilon_held_out": epsilon_of(held_out, delta),
        "epsilon_together": together,
        "delta": delta,
        "unit": hunt.recipe.promise.unit,
        "events": [event.as_dict() for event in hunt.search.whole],
        "noise_multipliers": [
            {"steps": steps, "expected_batch_size": size, "noise_multiplier": noise}
            for (steps, size), noise in sorted(hunt.search.noise.items())
        ],
        "accountant": f"{SELECTION_ACCOUNTANT}, {ACCOUNTANT}" if unseen else ACCOUNTANT,
        "accountant_version": accountant_version(),
        "why": UNSEEN if unseen else SEEN,
    }


def _published(hunt: Hunt, digits: str, together: float | None) -> dict[str, Any]:
    """What may leave the house: of unseen trials the winner alone."""
    standing, settings = hunt.standing, as_json(hunt.sweep)
    del settings["winner"]
    best = standing["best"]
    return {
        "winner": {**{k: best[k] for k in ("parameters", "score")}, "digits": digits},
        "sweep": settings,
        "account": account_of(hunt, together),
        "trials": None
        if isinstance(hunt.sweep, RandomSweep)
        else [{k: v for k, v in r.items() if k != "drawn"} for r in standing["results"]],
    }


def finish(hunt: Hunt) -> list[str]:
    """Charge what is not charged, write the winner, and return what a person should do next.

    Raises:
        UserError: there is no winner; what was released, that fact included, stays charged.
    """
    together = None
    for run in hunt.runs:
        # Before anything of it can be seen; what is written already is not written again.
        together = hunt.account.charge(run, hunt.events)
    best = hunt.standing["best"]
    if best is None:
        hunt.checkpoint.discard()
        raise UserError(
            "sweep: no trial gave a model that can be used; the search is charged. Allowed is a "
            "lower learning rate, or another distribution than poisson, which may draw no trial"
        )
    kept = hunt.checkpoint.folder / f"run-{best['number']}"
    digits = digits_of(kept)
    with replacing(folder(hunt.name, "sweep", "internal")) as draft:
        place = draft / "winner"
        place.mkdir()
        for file in kept.iterdir():
            (place / file.name).write_bytes(file.read_bytes())
        write_json(draft / "arrays.json", digest_folder(folder(hunt.name, "prepared", "arrays")))
    with replacing(folder(hunt.name, "sweep", "published")) as draft:
        write_json(draft / "sweep.json", _published(hunt, digits, together))
    hunt.checkpoint.discard()
    return _told(hunt, best, digits, together)


def _told(hunt: Hunt, best: dict[str, Any], digits: str, together: float | None) -> list[str]:
    """What is printed at the end, the lines for params.yaml last."""
    blocks: dict[str, dict[str, Any]] = {}
    for dotted, value in best["parameters"].items():
        block, _, key = dotted.partition(".")
        blocks.setdefault(block, {})[key] = value
    blocks["sweep"] = {"winner": digits}
    text = yaml.safe_dump(blocks, sort_keys=False, default_flow_style=False)
    score = hunt.sweep.score
    noise = "exact" if score.people == "public" else "with noise"
    lines = [
        f"{hunt.name}: winner {digits}, {score.metric} {best['score']:.4f} of "
        f"{score.people.replace('_', ' ')} people, {noise}",
        f"{hunt.name}: epsilon {hunt.search.epsilon:.3f} covers the search and its winner's model",
    ]
    if together is not None:
        lines.append(f"{hunt.name}: the population has spent {together:.3f}")
    lines.append(f"to register this model, set in recipes.{hunt.name} of params.yaml:")
    return [*lines, *(f"    {line}" for line in text.splitlines())]


@contextmanager
def searching(name: str) -> Iterator[Hunt]:
    """Hold the search of a recipe of params.yaml."""
    with opened(name, load_recipe(Path("params.yaml"), name)) as hunt:
        yield hunt


def main(argv: list[str]) -> None:
    """Search, write data/RECIPE/sweep, and print what to set."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.sweep RECIPE")
    with searching(argv[0]) as hunt:
        print(costs(hunt), flush=True)
        for number, part in enumerate(hunt.parts()):
            print(f"{hunt.name}: {part}", flush=True)
            hunt.take(number)
        print("\n".join(finish(hunt)))


if __name__ == "__main__":
    command(main)
