"""How often each reason is given, to everybody and by group: counts that may be published.

N unfavourable decisions, F features, R reasons at most, G groups of all sensitive features.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import stats
from tasks.evidence.attributions import MIN_PEOPLE
from tasks.evidence.contributions import Contributions, Rows
from tasks.evidence.reasons import NONE, Stability
from tasks.evidence.suppress import Groups, Level, reasons

Flags = NDArray[np.bool_]

# So many decisions must have a thing, and so many must not, for its share to be published.
MIN_EVENTS = 10
# Reasons that are counted by group; rarer ones are counted for everybody alone.
MOST_REASONS = 8


def given(chosen: Rows, features: int) -> Flags:
    """Return who was given which reason, bool [N, F].

    Args:
        chosen: int64 [N, R], feature numbers or NONE.
        features: F.
    """
    found = np.zeros((len(chosen), features), dtype=bool)
    people, rank = np.nonzero(chosen != NONE)
    found[people, chosen[people, rank]] = True
    return found


def _figure(events: int, people: int, confidence: float, published: bool) -> Any:
    """A share with Wilson's interval; in whole per cent where published."""
    figure = stats.wilson(events, people, confidence).as_dict()
    if not published:
        return {**figure, "count": events, "people": people}
    return {k: v if v is None else round(v, 2) for k, v in figure.items()}


def _told(events: int, people: int) -> bool:
    """Whether neither those who have a thing nor the others are few."""
    return people >= MIN_PEOPLE and min(events, people - events) >= MIN_EVENTS


def overall(
    found: Contributions, chosen: Rows, stable: Stability, confidence: float, published: bool
) -> dict[str, Any]:
    """Return shares of all unfavourable decisions, null where they rest on few.

    Args:
        found: names of the features.
        chosen: int64 [N, R].
        stable: of these reasons.
        confidence: of intervals.
        published: suppress and round.
    """
    who, first = given(chosen, len(found.names)), given(chosen[:, :1], len(found.names))
    people = len(chosen)

    def share(flags: Flags) -> Any:
        events = int(flags.sum())
        # All of many is told: a share of 1 says of nobody in particular what the rule says.
        if published and not (_told(events, people) or (events == people >= MIN_PEOPLE)):
            return None
        return _figure(events, people, confidence, published)

    order = np.argsort(-who.sum(0), kind="stable")
    rows = [
        {"feature": found.names[f], "kind": found.kinds[f], "principal": share(who[:, f]),
         "first": share(first[:, f])}
        for f in order.tolist() if who[:, f].any()
    ]  # fmt: skip
    ways = {
        name: {
            "found_again": _mean(stable.whole[name], published),
            "first_again": _mean(stable.first[name], published),
        }
        for name in stable.whole
    }
    return {
        "reasons": [r for r in rows if not published or r["principal"] is not None],
        "stable": share(stable.stable),
        "ways": ways,
    }


def _mean(values: NDArray[np.float64], published: bool) -> float | None:
    """The mean over decisions that have reasons; None over few where published."""
    there = values[np.isfinite(values)]
    if len(there) < (MIN_PEOPLE if published else 1):
        return None
    return round(float(there.mean()), 2 if published else 6)


def by_group(
    groups: Groups,
    found: Contributions,
    chosen: Rows,
    stable: Stability,
    confidence: float,
    published: bool,
) -> dict[str, Any]:
    """Return shares of each group's unfavourable decisions.

    A cell that is small, or that could be worked out from others, is null where published.

    Args:
        groups: of the N people.
        found: names of the features.
        chosen: int64 [N, R].
        stable: of these reasons.
        confidence: of intervals.
        published: suppress and round.
    """
    who = given(chosen, len(found.names))
    kept = np.argsort(-who.sum(0), kind="stable")[:MOST_REASONS]
    kept = kept[who[:, kept].any(0)]
    columns = {f"reason {f}": who[:, f] for f in kept.tolist()} | {"stable": stable.stable}
    size = np.bincount(groups.codes.ravel(), minlength=len(groups.labels))
    counts = {name: groups.tally(flags.astype(np.int64), 2) for name, flags in columns.items()}
    hidden: dict[str, list[str | None]] = {n: [None] * len(size) for n in ("people", *columns)}
    if published:
        levels = [Level("people", "unfavourable decisions", size[:, None], MIN_PEOPLE)]
        levels += [
            Level(name, "with or without", counts[name], MIN_EVENTS, ("people",))
            for name in columns
        ]
        hidden = reasons(groups, levels, size)

    def cell(name: str, group: int) -> Any:
        if hidden[name][group] is not None or size[group] == 0:
            return None
        return _figure(int(counts[name][group, 1]), int(size[group]), confidence, published)

    def rows_of(feature: str) -> list[dict[str, Any]]:
        return [
            {
                "label": groups.labels[g],
                "reasons": [cell(f"reason {f}", g) for f in kept.tolist()],
                "stable": cell("stable", g),
            }
            for g in groups.of(feature).tolist()
            if hidden["people"][g] is None
        ]

    return {
        "features": [found.names[f] for f in kept.tolist()],
        "sensitive": [
            {"name": feature, "groups": rows, "withheld": len(rows) < len(groups.of(feature))}
            for feature, rows in ((f, rows_of(f)) for f in dict.fromkeys(groups.features))
        ],
    }
