"""What a network began with, in words: whose weights, trained on what, and what of them stayed."""

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]


def _promise(privacy: Any) -> str:
    """With which promise weights were trained."""
    if privacy == "none":
        return "without privacy"
    return f"under a promise of epsilon {privacy['epsilon']:.4g} at delta {privacy['delta']:g}"


def _joined(names: list[str]) -> str:
    """Names as a reader says them."""
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def _weights(one: Json) -> str:
    """One origin."""
    layers = _joined(list(one["layers"]))
    began = f" It began itself with {_joined(list(one['before']))}." if one["before"] else ""
    if one["counted"]:
        people = (
            " It saw the same training people as this model: what that cost them is among the "
            "events of this model's ledger, and in its epsilon."
        )
    elif one["same_people"]:
        people = " It saw the same training people as this model, which promises them nothing."
    else:
        people = (
            " None of this recipe's own source is known to be among what it saw: digests, names "
            "and population were compared. No epsilon of this model speaks of people there."
        )
    return (
        f"{layers}: {one['origin']} (SHA-256 {one['sha256'][:12]}), trained "
        f"{_promise(one['privacy'])} on {one['data']}.{began}{people}"
    )


def _frozen(layers: Mapping[str, Any]) -> str:
    """What stayed, and how long."""
    told = [
        f"{name} throughout" if until == "always" else f"{name} for the first {until} steps"
        for name, until in layers.items()
    ]
    return (
        f"Frozen: {_joined(told)}. A frozen layer has no gradient, no share of a norm, no noise "
        "and no decay; one that is frozen throughout is, to the bit, what others trained."
    )


def lines(record: Json | None) -> list[str]:
    """Return what a report says of a start, a line each; nothing where all weights were random.

    Args:
        record: model/start.json, None where there is none.

    Example:
        >>> lines({"weights": [], "frozen": {"embedding": 5}})[0][:39]
        'Frozen: embedding for the first 5 steps'
    """
    if record is None:
        return []
    found = [_weights(one) for one in record["weights"]]
    return [*found, *([_frozen(record["frozen"])] if record["frozen"] else [])]


def tag(record: Json | None) -> str:
    """Return the same for the list of a registry; empty where all weights were random."""
    if record is None:
        return ""
    return "; ".join(
        f"{_joined(list(one['layers']))} from {one['origin']}, {_promise(one['privacy'])}"
        for one in record["weights"]
    )
