"""How soon a change in one group is noticed, and how seldom nothing is taken for something.

    python -m benchmarks.watch [--runs 200] [--group "sex: female"] [--json FILE]

People are drawn from the held-out people of a built `credit`, reference and new ones alike, so
that the reference errs as a real one does. Row names: watch/detection_rows,
watch/detected_within_2000, watch/false_alarm_rate.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import trange

from tasks.params import load_recipe
from tasks.recipe import GateConfig
from tasks.settings.watch import WatchConfig
from tasks.table.released import read_data
from tasks.watching.claims import Claim, People, claims_of, values_for
from tasks.watching.measured import DECISION
from tasks.watching.reading import held_out

WEEK, WEEKS = 300, 100
FALL, QUIET = 0.1, 10
HORIZON = 2000


def some(pool: People, rows: np.ndarray) -> People:
    """People of a pool, by their numbers."""
    event = pool.event[rows] if len(pool.event) else pool.event
    scores = pool.scores[rows] if len(pool.scores) else pool.scores
    return People(
        {name: values[rows] for name, values in pool.measures.items()},
        {name: np.asarray(labels)[rows].tolist() for name, labels in pool.groups.items()},
        event,
        scores,
    )


def fallen(people: People, group: str, rng: np.random.Generator) -> People:
    """The same people, a tenth of all in one group refused who were approved."""
    decided = people.measures[DECISION].copy()
    members = people.members(group) & (decided == 1)
    rate = people.of(DECISION, group).mean()
    lose = members & (rng.random(len(people)) < FALL / rate)
    decided[lose] = 0.0
    return People(
        {**people.measures, DECISION: decided}, people.groups, people.event, people.scores
    )


def begin(pool: People, gate: GateConfig, rng: np.random.Generator) -> list[Claim]:
    """Claims from a reference of the pool's size."""
    return claims_of(some(pool, rng.integers(0, len(pool), len(pool))), gate, WatchConfig())


def week(pool: People, rng: np.random.Generator) -> People:
    """A week's new people."""
    return some(pool, rng.integers(0, len(pool), WEEK))


def quiet(pool: People, gate: GateConfig, seed: int) -> bool:
    """Return whether any alarm is raised in a hundred weeks in which nothing changes."""
    rng = np.random.default_rng([seed, 0])
    claims = begin(pool, gate, rng)
    for number in range(1, WEEKS + 1):
        new = week(pool, rng)
        claims = [claim.after(values_for(claim, new), number) for claim in claims]
    return any(claim.raised for claim in claims)


def noticed(pool: People, gate: GateConfig, group: str, seed: int) -> float:
    """Return how many of the group were seen from the fall on until its alarm; inf: too many."""
    rng = np.random.default_rng([seed, 1])
    claims = [c for c in begin(pool, gate, rng) if group in (c.group, c.against)]
    affected = 0
    for number in range(1, WEEKS + 1):
        new = week(pool, rng)
        if number > QUIET:
            new = fallen(new, group, rng)
            affected += int(new.members(group).sum())
        claims = [claim.after(values_for(claim, new), number) for claim in claims]
        if number > QUIET and any(claim.raised for claim in claims):
            return affected
        if affected > 2 * HORIZON:
            break
    return float("inf")


def main() -> None:
    """Simulate, and print rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--group", default="sex: female")
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    recipe = load_recipe(Path("params.yaml"), "credit")
    pool = held_out("credit", replace(read_data("credit"), decision=recipe.data.decision))
    alarms = [quiet(pool, recipe.gate, seed) for seed in trange(wanted.runs, desc="quiet")]
    rows = [
        noticed(pool, recipe.gate, wanted.group, seed) for seed in trange(wanted.runs, desc="fall")
    ]
    within = float(np.mean(np.array(rows) <= HORIZON))
    rate = pool.of(DECISION, wanted.group).mean()
    found = [
        {"name": "watch/detection_rows", "value": float(np.median(rows)), "unit": "rows"},
        {"name": "watch/detected_within_2000", "value": within, "unit": "share of runs"},
        {
            "name": "watch/false_alarm_rate",
            "value": float(np.mean(alarms)),
            "unit": "share of runs",
        },
    ]
    print(
        pl.DataFrame(found),
        f"{len(begin(pool, recipe.gate, np.random.default_rng(0)))} claims, {len(pool):,} people, "
        f"{wanted.group} approved {rate:.3f}",
    )
    if wanted.json:
        wanted.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
