"""The report's privacy section: what epsilon means here, what it was spent on, what tested it."""

import math

from rnn.config import PrivacySpent
from rnn.privacy.ledger import epsilon_of
from tasks.pages.called import many, one
from tasks.pages.claims import account
from tasks.pages.exhibits import Json, Table
from tasks.pages.html import interval, number, percent, power
from tasks.pages.trade_off import Promise, event_of, trade_off
from tasks.recipe import NoPrivacy

MECHANISMS = {
    "sampled_gaussian": "Gaussian noise on a Poisson sample",
    "gaussian": "Gaussian noise",
    "laplace": "Laplace noise",
    "stated": "as stated",
}
HEADERS = (
    "Released", "About", "Epsilon alone", "Mechanism", "Noise over sensitivity", "Sample rate",
    "Times",
)  # fmt: skip
MEASURED = {
    "noise_scale": "Noise multiplier of the gradients",
    "contribution": "Contribution, in bounds on one gradient",
    "sampling": "Sample rate",
}


def gains(promise: Promise, unit: str) -> list[str]:
    """Return in sentences what an attacker gains at most."""
    whom = "somebody" if unit == "person" else f"a {one()}"
    even, tenth = promise.best_guess(0.5), promise.best_guess(0.1)
    return [
        f"Whoever has no idea whether {whom} was in the data, and would toss a coin, guesses right "
        f"in at most {percent(even)} of cases instead of 50 %.",
        f"Whoever starts at one chance in ten, and would be right 90 % of the time by always "
        f"saying no, is right in at most {percent(tenth, 2)}.",
        f"Whoever wrongly accuses 1 in 100 of those who were not in the data finds at most "
        f"{percent(promise.most_found(0.01))} of those who were; by guessing, 1 %.",
    ]


def _alone(event: Json, delta: float) -> float:
    """Epsilon of one event by itself."""
    known = event.get("epsilon_alone")
    return float(epsilon_of([event_of(event)], delta) if known is None else known)


def _event(event: Json, delta: float) -> tuple[str, ...]:
    """One row of the ledger."""
    noise, alone = event.get("noise_multiplier"), _alone(event, delta)
    rate = event.get("sample_rate", 1.0)
    return (
        str(event["released"]),
        f"{event['people']} {many()}",
        f"{alone:.4g}",
        MECHANISMS.get(event["mechanism"], str(event["mechanism"])),
        "–" if noise is None else f"{noise:.4g}",
        "all" if rate == 1 else f"{rate:.4g}",
        number(event.get("count", 1)),
    )


def _sum(words: str, people: str, epsilon: float) -> tuple[str, ...]:
    """The last row of one group of people."""
    return (words, people, f"{epsilon:.4g}", "", "", "", "")


def ledger_table(ledger: Json, source: Json | None) -> Table:
    """Return every event that touches training people or held-out people, with both sums.

    Args:
        ledger: model/ledger.json.
        source: of the published audit; its events are about held-out people.
    """
    rows = [_event(event, ledger["delta"]) for event in ledger["events"]]
    rows.append(_sum("Together", f"training {many()}", ledger["epsilon"]))
    held_out = (source or {}).get("events") or []
    if held_out and source and source.get("epsilon") is not None:
        rows += [_event(event, source["delta"]) for event in held_out]
        rows.append(_sum("Together", f"held-out {many()}", source["epsilon"]))
        larger = max(ledger["epsilon"], source["epsilon"])
        rows.append(_sum(f"One {one()}, the larger of the two", "everybody", larger))
    return Table(HEADERS, tuple(rows))


def cross_check(ledger: Json) -> str:
    """Return what a second accountant says."""
    second = ledger.get("cross_check")
    if not second:
        return ""
    ours, theirs = second.get("epsilon_by_the_first"), second["epsilon"]
    first = "" if ours is None else f", where {ledger['accountant']} gives {ours:.4g}"
    found = "no finite epsilon" if theirs is None else f"{theirs:.4g}"
    return (
        f"A second accountant, {second['accountant']} ({second['accountant_version']}), gives "
        f"{found} for {second['of']}{first}."
    )


def together(spent: PrivacySpent) -> str:
    """Return what all releases about the same population cost, where somebody keeps count."""
    if spent.epsilon_together is None:
        return (
            "Nobody kept count of other trainings about the same people, so this page speaks of "
            "this one alone."
        )
    count = "one release" if spent.trainings == 1 else f"{number(spent.trainings)} releases"
    return (
        f"When training ended, the ledger of these people's population held {count}, this one "
        f"included: together they cost a person at most epsilon {spent.epsilon_together:.4g} at "
        f"delta {power(format(spent.delta, 'g'))}."
    )


def _proven(bound: Json) -> str:
    """What guesses of the coins prove about epsilon."""
    if bound.get("epsilon") is None:
        return ""
    guessed = f"{number(bound['right'])} right guesses of {number(bound['guesses'])}"
    if not bound["epsilon"]:
        return f"From {guessed} no lower bound on epsilon follows."
    return (
        f"From {guessed} it follows that epsilon is at least {bound['epsilon']:.3g} at "
        f"{percent(bound['confidence'], 0)} confidence if the run behaves like Gaussian noise, and "
        f"at least {bound['pure']:.3g} whatever it behaves like."
    )


def measured(block: Json | None) -> Json | None:
    """Return what the run measured of itself: a table and a sentence; None where it did not."""
    if not block:
        return None
    rows = [
        (words, f"{block[key]['claimed']:.4g}", interval(block[key], digits=4),
         number(block[key].get("p_value")))
        for key, words in MEASURED.items()
        if block.get(key)
    ]  # fmt: skip
    headers = ("Figure", "Claimed", "Measured, with its interval", "p-value")
    return {
        "verdict": {"consistent": "pass", "violated": "fail"}.get(block["verdict"], "inconclusive"),
        "word": block["verdict"],
        "canaries": block.get("canaries"),
        "steps": block.get("steps"),
        "significance": block.get("significance", 0.001),
        "table": Table(headers, tuple(rows)),
        "proven": _proven(block.get("lower_bound") or {}),
        "note": block.get("note") or "Consistent means not contradicted: it is no proof.",
    }


def not_covered(spent: PrivacySpent, held_out: str) -> list[str]:
    """Return what the promise leaves out."""
    factor = math.exp(min(spent.epsilon, 50.0))
    pair = math.exp(min(2 * spent.epsilon, 50.0))
    found = [
        f"Held-out {many()}. {held_out}",
        f"Groups. The promise is about one {spent.unit}. Two who are in the data together, such as "
        f"twins or a couple, are protected by twice the epsilon (odds change by {pair:,.0f} times "
        f"rather than {factor:,.0f}), k of them by k times.",
        "Relatives, neighbours and others who resemble somebody. What their data tell about that "
        "person, they tell whether or not that person was in.",
        "What is true of people in general, of those who are not in the data as well. A model that "
        "finds that late payers default says so of every late payer.",
        "The choice of settings. Trying several on the same people and keeping the best spends "
        "privacy: what was trained privately is in the population's sum, what was only looked at "
        "is not.",
        "The twin, the baseline and everything else in the internal folder, and whoever can read "
        "it or the machine that trained.",
    ]
    if spent.unit == "record":
        found.append(
            "People with several records. The unit is one record; a person's protection weakens "
            "with each further one."
        )
    return found


def without_promise() -> list[str]:
    """Return what a model that promises nothing leaves open."""
    return [
        f"Every {one()} of training. Whoever has the model may find out what it was trained on, "
        "and may get some of it back.",
        f"People whom the {many()} tell of, should there be any after all.",
        "What causes the outcome: an attribution tells what the model uses, and no more.",
        f"Anything but the {many()} that the figures were measured on: another place, another "
        "time, another source.",
    ]


def section(found: Json, words: str, held_out: str) -> Json:
    """Return what the publishable section shows; of a recipe without privacy, why there is none.

    Args:
        found: what was read of published files, and the ledger's promise.
        words: the lead.
        held_out: what the audit's figures leave uncovered.
    """
    if isinstance(found["spent"], NoPrivacy):
        return {
            "words": words,
            "none": found["spent"].reason,
            "table": Table((), ()),
            "not_covered": without_promise(),
        }
    spent, block, source = found["spent"], found["null_block"], found["audit"].get("source")
    promise: Promise = found["promise"]
    attacks = {"null block": (block or {}).get("points") or []}
    return {
        "words": words,
        "unit": spent.unit,
        "adjacency": spent.adjacency,
        "gains": gains(promise, spent.unit),
        "table": Table(("Quantity", "Value"), tuple(account(spent))),
        "ledger": ledger_table(found["ledger"], source),
        "parallel": found["ledger"].get("parallel", ""),
        "cross_check": cross_check(found["ledger"]),
        "together": together(spent),
        "measured": measured(block),
        "not_covered": not_covered(spent, held_out),
        "picture": trade_off("promise", promise, attacks),
    }


def card(section: Json, attack: Json) -> Json:
    """Return the same facts for the model card.

    Args:
        section: from `section`.
        attack: attack/published/attack.json.
    """
    if "none" in section:
        return {"no_privacy": section["none"], "gains": [], "ledger": (), "tests": []}
    run = section["measured"]
    tests = [
        {
            "name": "Attacks",
            "verdict": attack["verdict"],
            "found": "Its figures are internal.",
        },
        {
            "name": "Null block in the training run",
            "verdict": run["word"] if run else "not measured",
            "found": run["proven"] if run else "Nothing measured this run.",
        },
    ]
    for name, claimed, found, _ in run["table"].rows if run else ():
        tests.append({"name": name, "verdict": "", "found": f"{found}; claimed {claimed}"})
    return {
        "no_privacy": None,
        "gains": section["gains"],
        "ledger": section["ledger"].rows,
        "ledger_words": f"{section['parallel']} {section['together']} {section['cross_check']}",
        "tests": tests,
    }
