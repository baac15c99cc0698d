"""Membership inference: do the losses tell who was trained on?

The attacker guesses "member" where a person's loss is low. n members, m non-members.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn.config import PrivacySpent
from tasks import artifacts, stats
from tasks.evidence.scoring import losses_of, model_logits
from tasks.params import UserError, command, validate
from tasks.recipe import AttackConfig

Array = NDArray[np.float64]

# The verdict may be wrong about a sound model once in a thousand runs.
VERDICT_CONFIDENCE = 0.999
METHOD = "loss threshold on the released model, training people against held-out people"
NOTE = (
    "The verdict is violated where the lower bound on epsilon that the attack reaches, at "
    "confidence 0.999, is above the claim. Consistent means that this attack found no "
    "contradiction, not that the claim is proven; a loss threshold is a weak attack. People's "
    "guesses are taken as independent of one another."
)
# Fewer expected false positives than this say nothing about a rate.
LEAST_FALSE_POSITIVES = 10


def rates_at(members: Array, others: Array, wanted: float, confidence: float) -> dict[str, Any]:
    """Return the true positive rate where at most this share of non-members is accused.

    Args:
        members: float [n], higher meaning member.
        others: float [m].
        wanted: false positive rate.
        confidence: of the exact interval over members.
    """
    allowed = int(wanted * len(others))
    # Above the first score that may not be accused, ties included.
    bar = np.sort(others)[::-1][allowed] if allowed < len(others) else -math.inf
    hits = int((members > bar).sum())
    rate = stats.clopper_pearson(hits, len(members), confidence)
    return {"false_positive_rate": wanted, **rate.as_dict()}


def epsilon_bound(
    hits: int, members: int, accused: int, others: int, delta: float, confidence: float
) -> float:
    """Return a lower bound on epsilon from one test's true and false positives.

    (epsilon, delta) differential privacy allows any test TPR <= exp(epsilon) FPR + delta. Both
    rates take their worse exact end, each at half of the risk.

    Args:
        hits: members that the test calls members.
        members: how many there are.
        accused: non-members that the test calls members.
        others: how many there are.
        delta: of the claim.
        confidence: that the bound holds.

    Source: Kairouz, Oh, Viswanath (2015), theorem 2.1; Jagielski, Ullman, Oprea (2020).

    Example:
        >>> round(epsilon_bound(50, 100, 50, 100, 1e-6, 0.95), 2)
        0.0
    """
    true_low = stats.clopper_pearson(hits, members, confidence).low
    false_high = stats.clopper_pearson(accused, others, confidence).high
    if true_low <= delta or false_high <= 0:
        return 0.0
    return max(0.0, math.log((true_low - delta) / false_high))


def _best_test(members: Array, others: Array, delta: float) -> tuple[float, bool]:
    """Threshold and direction that promise the highest bound; smoothed rates, every threshold."""
    bars = np.unique(np.concatenate([members, others]))
    true = 1 - np.searchsorted(np.sort(members), bars, side="right") / len(members)
    false = 1 - np.searchsorted(np.sort(others), bars, side="right") / len(others)

    def promise(p: Array, n: int, q: Array, m: int) -> Array:
        # Three standard errors and a little stand in for the exact ends.
        low = p - 3.3 * np.sqrt(p * (1 - p) / n) - 5 / n - delta
        high = q + 3.3 * np.sqrt(q * (1 - q) / m) + 5 / m
        return np.log(np.maximum(low, 1e-12) / high)

    up = promise(true, len(members), false, len(others))
    down = promise(1 - false, len(others), 1 - true, len(members))
    accuse = bool(up.max() >= down.max())
    return float(bars[np.argmax(up if accuse else down)]), accuse


def lower_bound(
    members: Array, others: Array, delta: float, confidence: float, seed: int
) -> dict[str, Any]:
    """Return a lower bound on epsilon: threshold chosen on one half, judged on the other.

    Args:
        members: float [n], higher meaning member.
        others: float [m].
        delta: of the claim.
        confidence: that the bound holds.
        seed: of the halving.
    """
    rng = np.random.default_rng(seed)
    first, second = _halves(members, rng), _halves(others, rng)
    if min(map(len, (*first, *second))) == 0:
        return {"value": 0.0, "confidence": confidence, "test": None}
    bar, accuse = _best_test(first[0], second[0], delta)
    hits, accused = int((first[1] > bar).sum()), int((second[1] > bar).sum())
    n, m = len(first[1]), len(second[1])
    if accuse:
        value = epsilon_bound(hits, n, accused, m, delta, confidence)
    else:
        value = epsilon_bound(m - accused, m, n - hits, n, delta, confidence)
    test = "low losses are members" if accuse else "high losses are not members"
    return {
        "value": value,
        "confidence": confidence,
        "test": test,
        "loss_threshold": -bar,
        "members": n,
        "members_below": hits,
        "non_members": m,
        "non_members_below": accused,
    }


def _halves(values: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Two random halves."""
    order = rng.permutation(len(values))
    middle = len(values) // 2
    return values[order[:middle]], values[order[middle:]]


def attack(
    member_losses: Array, other_losses: Array, delta: float, plan: AttackConfig
) -> dict[str, Any]:
    """Return how well losses tell members from non-members.

    Args:
        member_losses: float [n], of training people.
        other_losses: float [m], of held-out people.
        delta: of the claim.
        plan: false positive rates, confidence and seed.
    """
    members, others = -member_losses, -other_losses
    is_member = np.r_[np.ones(len(members), dtype=bool), np.zeros(len(others), dtype=bool)]
    rates = plan.false_positive_rates
    measurable = [rate for rate in rates if rate * len(others) >= LEAST_FALSE_POSITIVES]
    area = stats.auc(is_member, np.concatenate([members, others]), plan.confidence)
    return {
        "auc": area.as_dict(),
        "tpr": [rates_at(members, others, rate, plan.confidence) for rate in measurable],
        "not_measurable": [rate for rate in rates if rate not in measurable],
        "epsilon_lower_bound": lower_bound(members, others, delta, VERDICT_CONFIDENCE, plan.seed),
    }


def verdict(bound: float, claim: float) -> str:
    """Return violated where the lower bound is above the claimed epsilon, else consistent."""
    return "violated" if bound > claim else "consistent"


def choose_people(
    train: NDArray[np.int64], test: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of members and non-members, as many of each at most as there are of the fewer."""
    rng = np.random.default_rng(seed)
    size = min(len(train), len(test))
    members = np.sort(rng.choice(train, size, replace=False))
    return members, np.sort(rng.choice(test, size, replace=False))


def main(argv: list[str]) -> None:
    """Attack one recipe's model and, for comparison, its twin."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.attack RECIPE")
    (recipe,) = argv
    plan = artifacts.read_section(recipe, "attack", AttackConfig)
    path = artifacts.folder(recipe, "model", "privacy_spent.json")
    spent = validate(PrivacySpent, artifacts.read_json(path), str(path))
    prepared = artifacts.read_prepared(recipe)
    people = choose_people(prepared.rows("train"), prepared.rows("test"), plan.seed)
    if len(people[0]) == 0:
        raise UserError(f"{recipe}: the attack needs people in train and in test")
    found = {}
    for name in ("model", "twin"):
        model = artifacts.read_model(artifacts.folder(recipe, name))
        losses = [
            losses_of(
                model_logits(model, prepared.sequences, rows),
                np.asarray(prepared.sequences.targets[rows]),
                prepared.schema["task"],
            )
            for rows in people
        ]
        found[name] = attack(losses[0], losses[1], spent.delta, plan)
    bound = found["model"]["epsilon_lower_bound"]["value"]
    figures = {
        "members": len(people[0]),
        "non_members": len(people[1]),
        "confidence": plan.confidence,
        "claim": spent.epsilon,
        "delta": spent.delta,
        **found,
    }
    published = {
        "verdict": verdict(bound, spent.epsilon),
        "method": METHOD,
        "claim": spent.epsilon,
        "note": NOTE,
    }
    root = artifacts.folder(recipe, "attack")
    with artifacts.replacing(root / "published") as draft:
        artifacts.write_json(draft / "attack.json", published)
    with artifacts.replacing(root / "internal") as draft:
        artifacts.write_json(draft / "attack.json", figures)


if __name__ == "__main__":
    command(main)
