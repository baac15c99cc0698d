"""Checks of the gate that nobody can answer for: was the run what its promise says?"""

import math
from typing import Any

from rnn.config import PrivacySpent
from tasks.recipe import GateConfig, NoPrivacy

Check = dict[str, Any]
Figure = dict[str, Any]

SECURE_NOISE = "operating system"


def bare(name: str) -> Check:
    """Return a check without figures."""
    return {"name": name, "value": None, "low": None, "high": None, "bar": None}


def number(value: object) -> float | None:
    """Return a finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def check_epsilon(epsilon: object, bar: float | None) -> Check:
    """Judge the privacy loss, which is an upper bound and has no interval."""
    value = number(epsilon)
    check = {"name": "epsilon", "value": value, "low": None, "high": None, "bar": bar}
    if bar is None:
        reason = "The model promises an epsilon, and the recipe has no bar for it."
        return {**check, "verdict": "inconclusive", "reason": reason}
    if value is None or value < 0:
        reason = "No epsilon was accounted for, so nothing shows that the promise is kept."
        return {**check, "verdict": "inconclusive", "reason": reason}
    verdict = "pass" if value <= bar else "fail"
    word = "at most" if value <= bar else "above"
    reason = f"The training people's epsilon is {value:.3f}: {word} {bar:g}."
    return {**check, "verdict": verdict, "reason": reason}


def check_held_out(audit: Figure, bar: float | None) -> Check | None:
    """Judge what held-out people lose; None where nothing about them is released with noise.

    They are other people than those trained on, so that the same bar holds for both, not for
    their sum.
    """
    source = audit.get("source") or {}
    account = source if source.get("kind") == "noised" else (source.get("interval") or {}).get(
        "account"
    )  # fmt: skip
    if not account:
        return None
    check = check_epsilon(account.get("epsilon"), bar)
    reason = str(check["reason"]).replace("training people's", "held-out people's")
    return {**check, "name": "held_out_epsilon", "reason": reason}


def check_no_privacy(without: NoPrivacy, bar: float | None) -> Check:
    """Say that nothing is promised, and why; a recipe that has a bar of epsilon promised it.

    Args:
        without: of the model.
        bar: of epsilon, by the recipe now or when training began.
    """
    check = {**bare("privacy"), "bar": bar}
    if bar is not None:
        reason = (
            f"The model was trained without privacy, and the recipe has a bar of {bar:g} for its "
            "epsilon."
        )
        return {**check, "verdict": "fail", "reason": reason}
    return {**check, "verdict": "pass", "reason": f"No privacy is claimed: {without.reason}."}


def check_noise(source: str) -> Check:
    """Judge where the noise came from: a seed that somebody knows protects nobody."""
    secure = source == SECURE_NOISE
    reason = (
        "Noise and sampling came from the operating system."
        if secure
        else f"Noise came from {source!r}, so it can be repeated and protects nobody."
    )
    verdict = "pass" if secure else "fail"
    return {**bare("noise"), "verdict": verdict, "reason": reason}


def check_attack(attack: Figure, epsilon: object) -> Check:
    """Judge the attack's verdict, which must be about the very epsilon that is claimed."""
    check, verdict = bare("attack"), attack.get("verdict")
    if verdict == "violated":
        reason = "The attack tells members apart better than the claimed epsilon allows."
        return {**check, "verdict": "fail", "reason": reason}
    if verdict != "consistent" or attack.get("claim") != epsilon:
        reason = "The attack gave no verdict on the epsilon that is claimed."
        return {**check, "verdict": "inconclusive", "reason": reason}
    reason = "The attack found nothing that contradicts the claimed epsilon."
    return {**check, "verdict": "pass", "reason": reason}


def check_null_block(block: Figure | None) -> Check:
    """Judge what the training run itself showed of its noise, its clipping and its sampling.

    Args:
        block: model/null_block.json; None where nothing measured the run.
    """
    check, verdict = bare("null_block"), (block or {}).get("verdict")
    if verdict == "violated":
        reason = "The training run did not add the noise, or not keep the bound, that it claims."
        return {**check, "verdict": "fail", "reason": reason}
    if verdict != "consistent":
        reason = "Nothing measured the noise of the training run itself."
        return {**check, "verdict": "inconclusive", "reason": reason}
    reason = "Measured in the training run itself, noise, clipping and sampling are as claimed."
    return {**check, "verdict": "pass", "reason": reason}


def check_promise(
    config: GateConfig,
    spent: PrivacySpent | NoPrivacy,
    audit: Figure,
    attack: Figure,
    null_block: Figure | None,
) -> list[Check]:
    """Judge what is promised to people; arguments as in the gate's `decide`."""
    if isinstance(spent, NoPrivacy):
        return [check_no_privacy(spent, config.max_epsilon)]
    held_out = check_held_out(audit, config.max_epsilon)
    return [
        check_epsilon(spent.epsilon, config.max_epsilon),
        *([] if held_out is None else [held_out]),
        check_noise(spent.noise_source),
        check_attack(attack, spent.epsilon),
        check_null_block(null_block),
    ]


def tighter(one: float | None, other: float | None) -> float | None:
    """Return the smaller of two bars, of which None is none.

    Example:
        >>> tighter(3.0, 8.0), tighter(None, 3.0), tighter(None, None)
        (3.0, 3.0, None)
    """
    return min((bar for bar in (one, other) if bar is not None), default=None)
