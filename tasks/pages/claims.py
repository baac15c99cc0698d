"""The four claims of a report and the account of privacy behind the first."""

import math
from typing import Any

from rnn.config import PrivacySpent
from tasks.pages.called import one
from tasks.pages.html import number, percent, power
from tasks.pages.trade_off import Promise
from tasks.recipe import NoPrivacy

Json = dict[str, Any]

COMPLETENESS_BAR = 0.001
NO_ATTACK = {
    "name": "Attack",
    "verdict": "not judged",
    "value": "None tried",
    "range": "nothing is claimed",
    "words": "An attack tests a promise of privacy, and none is made.",
    "section": "privacy",
    "link": "What that means",
}


def _worst(verdicts: list[str]) -> str:
    """Fail before inconclusive before pass."""
    return next((v for v in ("fail", "inconclusive", "pass") if v in verdicts), "not judged")


def _checked(decision: Json, *names: str) -> str:
    """The worst verdict of some checks of the gate."""
    return _worst([c["verdict"] for c in decision["checks"] if c["name"] in names])


def privacy_words(spent: PrivacySpent, promise: Promise) -> str:
    """Say what the promise means to somebody who never heard of epsilon."""
    found = percent(promise.most_found(0.01))
    who = "person's data were" if spent.unit == "person" else f"{one()} was"
    return (
        f"Whoever sees the released model, and knows everybody else's data, cannot tell well "
        f"whether any one {who} used in training: an attacker who wrongly accuses 1 in 100 that "
        f"were not used finds at most {found} of those that were. This is epsilon "
        f"{number(spent.epsilon, 2)} at delta "
        f"{power(format(spent.delta, 'g'))}."
    )


def no_privacy_words(without: NoPrivacy) -> str:
    """Say plainly that nothing is promised."""
    return (
        f"No privacy is claimed, and none is kept: {without.reason}. The model was trained without "
        "clipping and without noise, and whoever has it may find out what it was trained on."
    )


def claims(found: Json) -> list[Json]:
    """Return the claims: verdict, figure, range, words, and where to read on."""
    decision, gate = found["decision"], found["audit"].get("gate")
    rest = [_fairness_claim(gate, decision), _attribution_claim(found["attributions"])]
    if isinstance(found["spent"], NoPrivacy):
        return [_no_privacy_claim(found["spent"], decision), NO_ATTACK, *rest]
    return [_privacy_claim(found), _attack_claim(found["attack"], found["null_block"]), *rest]


def _no_privacy_claim(without: NoPrivacy, decision: Json) -> Json:
    """That there is none, which is no merit: a pass would look like one."""
    verdict = _checked(decision, "privacy")
    return {
        "name": "Privacy",
        "verdict": "not judged" if verdict == "pass" else verdict,
        "value": "None claimed",
        "range": "no ε, no attack",
        "words": f"{without.reason}.",
        "section": "privacy",
        "link": "What that means",
    }


def _privacy_claim(found: Json) -> Json:
    """Epsilon, and what it leaves an attacker."""
    spent, decision = found["spent"], found["decision"]
    promise: Promise = found["promise"]
    return {
        "name": "Privacy",
        "verdict": _checked(decision, "epsilon", "noise"),
        "value": f"ε {number(spent.epsilon, 2)}",
        "range": f"upper bound at δ = {power(format(spent.delta, 'g'))}, per {spent.unit}",
        "words": f"Accusing 1 in 100 wrongly, an attacker finds at most "
        f"{percent(promise.most_found(0.01))} of those in the data.",
        "section": "privacy",
        "link": "How privacy is kept",
    }


def _attribution_claim(found: Json) -> Json:
    """Whether the pictures may be believed: sums that add up, and better than random."""
    p95 = found["completeness"]["p95"]
    complete = "inconclusive" if p95 is None else "pass" if p95 <= COMPLETENESS_BAR else "fail"
    main = found["quality"]["methods"][0]
    verdict = _worst([complete, main["verdict"]])
    words = "They do better than random ones and add up to the change of output they explain."
    if verdict != "pass":
        words = "Attributions do not add up." if complete == "fail" else main["reason"]
        words = words[:1].upper() + words[1:]
    return {
        "name": "Attribution",
        "verdict": verdict,
        "value": number(p95, 4),
        "range": f"95th percentile of relative error, bar {COMPLETENESS_BAR:g}",
        "words": words,
        "section": "attribution",
        "link": "What the model listens to",
    }


def attack_verdict(attack: Json) -> str:
    """The verdict word of an attack's result."""
    return {"consistent": "pass", "violated": "fail"}.get(attack["verdict"], "inconclusive")


def _attack_claim(attack: Json, block: Json | None) -> Json:
    """What was tried on the released model, and what the training run measured of itself."""
    verdict = _worst([attack_verdict(attack), attack_verdict(block or {"verdict": None})])
    value = {"pass": "Consistent", "fail": "Violated"}.get(verdict, "Not settled")
    proven = ((block or {}).get("lower_bound") or {}).get("epsilon")
    scale = (block or {}).get("noise_scale") or {}
    words = "Membership inference and a training run on invented people"
    if block is None:
        words += "; nothing measured the noise of the training run."
    elif scale:
        share = scale["value"] / scale["claimed"]
        words += f", and the training run's own noise: {share:.3f} of what is claimed."
    return {
        "name": "Attack",
        "verdict": verdict,
        "value": value,
        "range": f"with a claim of ε {number(attack['claim'], 2)}"
        + ("" if proven is None else f"; at least {number(proven, 2)} is proven"),
        "words": words,
        "section": "attack",
        "link": "What was tried",
    }


def _fairness_claim(gate: Json | None, decision: Json) -> Json:
    """The smallest impact ratio with its interval and the bar, where groups are compared."""
    bars = [c["bar"] for c in decision["checks"] if c["name"] == "group_ratio"]
    claim = {
        "name": "Fairness",
        "verdict": _checked(decision, "group_ratio"),
        "section": "fairness",
        "link": "All groups",
    }
    if not gate:
        words = "The audit compares no favourable rates; it reports figures by group."
        return {**claim, "value": "no ratio", "range": "nothing compared", "words": words}
    ratio = gate["impact_ratio"]
    near = [e for e in (ratio["low"], ratio["high"]) for bar in bars if abs(e - bar) < 5e-4]
    # More digits where three would hide on which side of the bar an end lies.
    digits = 5 if near else 3
    ends = f"{number(ratio['low'], digits)} to {number(ratio['high'], digits)}"
    return {
        **claim,
        "value": number(ratio["value"]),
        "range": f"{ends}, " + (f"bar {bars[0]:g}" if bars else "no bar set"),
        "words": f"Smallest ratio of favourable rates: {gate['feature']} {gate['group']} over "
        f"{gate['reference']}.",
    }


def account(spent: PrivacySpent) -> list[tuple[str, str]]:
    """Return the ledger of the training run in names and values."""
    return [
        ("Unit", spent.unit),
        ("Neighbouring data sets", spent.adjacency),
        ("Sampling", spent.sampling),
        ("N, a public constant", number(spent.population)),
        ("Sample rate", f"{spent.sample_rate:.6g}"),
        ("Steps", number(spent.steps)),
        ("Noise multiplier", f"{spent.noise_multiplier:.6g}"),
        ("Bound on one gradient", f"{spent.max_grad_norm:g}"),
        ("Epsilon", f"{spent.epsilon:.6g}"),
        ("Delta", power(f"{spent.delta:g}")),
        (
            "Odds of membership change at most by",
            f"a factor of {math.exp(spent.epsilon):.1f}, but for delta",
        ),
        ("Accountant", f"{spent.accountant} ({spent.accountant_version})"),
        ("Noise from", spent.noise_source),
        *mitigated(spent),
        *together(spent),
    ]


def together(spent: PrivacySpent) -> list[tuple[str, str]]:
    """What all private trainings about the same population cost, where somebody keeps count."""
    if spent.epsilon_together is None:
        return []
    words = f"{spent.epsilon_together:.6g} in {number(spent.trainings)}"
    return [("Epsilon of all releases about this population so far, and how many", words)]


def mitigated(spent: PrivacySpent) -> list[tuple[str, str]]:
    """What was done for groups, and the epsilon of what is counted beside the gradients."""
    by_group = spent.mitigation == "group_thresholds"
    method = spent.mitigation + ("; the decision reads the group" if by_group else "")
    found = [] if spent.mitigation == "none" else [("Mitigation", method)]
    if spent.counts_epsilon:
        found.append(("Of epsilon, for counts", f"{spent.counts_epsilon:.2g}"))
    return found
