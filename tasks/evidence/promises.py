"""Checks of the gate that nobody can answer for: was the run what its promise says?"""

from typing import Any

Check = dict[str, Any]
Figure = dict[str, Any]

SECURE_NOISE = "operating system"


def bare(name: str) -> Check:
    """Return a check without figures."""
    return {"name": name, "value": None, "low": None, "high": None, "bar": None}


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
