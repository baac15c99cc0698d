"""What a recipe says, in words and tables that a reader needs no code for."""

from typing import Any

from tasks.pages.called import many, one, titled
from tasks.pages.exhibits import Table
from tasks.pages.html import power

Json = dict[str, Any]


def verdict_words(decision: Json) -> str:
    """Return one sentence about the verdict over all checks."""
    # That bars changed is no figure that data could settle; it is said beside.
    missed = {
        verdict: ", ".join(
            c["name"].replace("_", " ")
            for c in decision["checks"]
            if c["verdict"] == verdict and c["name"] != "bars"
        )
        for verdict in ("fail", "inconclusive")
    }
    changed = bool(decision.get("bars", {}).get("changed"))
    if decision["verdict"] == "pass":
        return "Every bar that was set before training is met."
    if decision["verdict"] == "fail":
        when = "" if changed else " that was set before training"
        return f"A bar{when} is missed: {missed['fail']}."
    if not missed["inconclusive"]:
        return "Whether the bars that were set before training are met needs a person to say."
    return f"No bar is missed, but the data cannot settle: {missed['inconclusive']}."


def settings(summary: Json) -> Json:
    """Return the recipe's settings for publication.

    The key of the split stays out: with it, whoever knows a person's id could tell on which side
    the person was, which is what the model's privacy hides.
    """
    data = dict(summary["data"])
    data["split"] = {k: v for k, v in data["split"].items() if k != "salt"}
    # A path tells of the owner's machine.
    explain = {k: v for k, v in summary["settings"].get("explain", {}).items()
               if k != "second_model"}  # fmt: skip
    return _without_empty({**summary["settings"], "explain": explain, "data": data})


def _without_empty(value: Any) -> Any:
    """Settings that were not used say nothing."""
    if isinstance(value, dict):
        kept = {k: _without_empty(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v not in (None, "", [], {}, ())}
    if isinstance(value, list | tuple):
        return [_without_empty(v) for v in value]
    return value


def _range(feature: Json) -> str:
    """Bounds or declared values of a feature."""
    if feature.get("bounds"):
        low, high = feature["bounds"]
        return f"{low:,.10g} to {high:,.10g}, {feature['transform'].replace('_', ' ')}"
    return "one of " + ", ".join(map(str, feature["values"]))


def _vocabulary(sequence: Json) -> str:
    """Where the tokens of a text come from."""
    listed = sequence.get("vocabulary")
    if not listed:
        return f"alphabet {sequence['alphabet']!r}"
    stated = f"{len(listed['values'])} stated" if listed.get("values") else ""
    package = listed.get("package")
    told = {
        "file": f"those of {listed.get('file')}",
        "package": f"the first {package['size']:,} of {package['member']}" if package else "",
        "private": "those that enough training people have, drawn privately",
        "training": f"the {listed.get('training')} commonest of training rows",
    }
    found = [stated, *(words for name, words in told.items() if listed.get(name))]
    return " and ".join(part for part in found if part)


def _features(data: Json) -> Table:
    """What the model reads."""
    sequence = data["sequence"]
    if sequence["layout"] == "text":
        rows = [(sequence.get("tokens", "characters"), "sequence", "", _vocabulary(sequence))]
    else:
        rows = [
            (f["name"], "sequence", f.get("unit") or "", _range(f)) for f in sequence["features"]
        ]
    rows += [(f["name"], "static", f.get("unit") or "", _range(f)) for f in data["static"]]
    fed = [s["name"] for s in data["sensitive"] if s.get("feed")]
    rows += [(name, "static, sensitive", "", "its groups") for name in fed]
    return Table(("Feature", "Kind", "Unit", "Public bounds or values"), tuple(rows))


def _layout(sequence: Json) -> str:
    """How a person's sequence stands in the table."""
    if sequence["layout"] == "wide":
        steps = sequence["steps"]
        return f"One row a {one()}, {len(steps)} steps: {steps[0]} to {steps[-1]}."
    if sequence["layout"] == "long":
        return f"One row an event; the latest {sequence['max_length']} of each {one()} are read."
    if sequence["layout"] == "series":
        steps = f"the {sequence['window']} steps before a forecast are read"
        return f"A series in steps of {sequence['every']}; {steps}."
    if sequence.get("tokens", "characters") != "characters":
        return f"Text, read as {sequence['tokens']}, at most {sequence['max_length']}."
    return f"Text, read character by character, at most {sequence['max_length']}."


def _split(split: Json) -> str:
    """Who is held out."""
    if split.get("as_of"):
        return f"{titled()} dated from {split['as_of']['date']} on are held out."
    if split.get("column"):
        return f"As the column {split['column']} says."
    return (
        f"A keyed hash of each {one()}'s id alone sends {100 * split['train']:.3g} % to training; "
        f"one {one()}'s side depends on no other."
    )


def data_words(data: Json, settings: Json) -> Json:
    """Return layout, target, decision, split and features of a recipe in words.

    Args:
        data: the recipe's data block, without source.
        settings: its other blocks.
    """
    target = data["target"]
    names = target["names"] or [str(c) for c in target["classes"]]
    sensitive = [
        s["name"] + (" (fed to the model)" if s["feed"] else "") for s in data["sensitive"]
    ]
    return {
        "layout": _layout(data["sequence"]),
        "target": _target(target, names),
        "decision": _decision(data.get("decision"), target, names)
        + _by_group(settings.get("mitigation") or {}),
        "split": _split(data["split"]),
        "sensitive": ", ".join(sensitive) or "none",
        "features": _features(data),
    }


def _target(target: Json, names: list[str]) -> str:
    """Column and kind; classes, or the scale, where there are any."""
    bounds = target["bounds"]
    values = ", ".join(names) or (f"from {bounds[0]:g} to {bounds[1]:g}" if bounds else "")
    named = f"{target['column'] or 'the text itself'}, {target['kind'].replace('_', ' ')}"
    return f"{named}: {values}" if values else named


def _decision(decision: Json | None, target: Json, names: list[str]) -> str:
    """What is favourable, and how a score becomes a decision."""
    if decision is None:
        return ""
    name = names[target["classes"].index(decision["favourable"])]
    if decision["threshold"] is not None:
        return f"{name}; the other from a probability of {decision['threshold']:g} on"
    return f"{name}, for {100 * decision['approval_rate']:.3g} % of {many()}"


def _by_group(mitigation: Json) -> str:
    """That a decision reads a group, where it does."""
    if mitigation.get("method") != "group_thresholds":
        return ""
    name = mitigation["feature"]
    return (
        f". Each {name} has a threshold of its own: the decision reads each {one()}'s {name}, and "
        f"two {many()} with the same score may be decided differently. Whether that is lawful is "
        "no question of statistics"
    )


def held_out(audit: Json) -> Json:
    """Return how the audit's figures were made, and what protects the people behind them."""
    source = audit.get("source") or {"kind": "suppressed"}
    people, events = audit["min_people"], audit["min_events"]
    if source["kind"] != "noised":
        return {
            "made": f"Exact figures of held-out {many()}. A figure that rests on fewer than "
            f"{people} {many()}, or on fewer than {events} with an outcome or decision, is "
            "suppressed, and so is another where it could be worked out from the rest, from "
            "another table or from what an earlier version of this audit showed."
            + _set_aside(source.get("interval")),
            "limit": f"Held-out {many()} are not covered by epsilon; small groups are suppressed, "
            "which is no differential privacy.",
        }
    decisions = source.get("decision_noise")
    twice = "" if decisions is None else f" and by group, outcome and decision ({decisions:.3g})"
    made = (
        f"All figures, by group and of all, are made from counts of held-out {many()} with "
        f"Gaussian noise: by group, outcome and score (standard deviation {source['noise']:.3g})"
        f"{twice}, {source['cells']:,} counts in all. A held-out {source['unit']}'s epsilon is "
        f"{source['epsilon']:.3g} at delta {power(format(source['delta'], 'g'))}, the choice of "
        f"the threshold included. No {one()} is both trained on and held out, and on which side "
        f"one is depends on that {one()} alone: one's epsilon is the larger of training's and "
        "this one, not their sum. Intervals hold sampling and noise. A group with fewer than "
        f"{people} {many()} or {events} with an outcome or decision, or with too few for the "
        "noise, shows no figure."
    )
    if source["releases"] > 1:
        made += (
            f" This is release number {source['releases']} of this recipe: those who were held "
            f"out for all of them have spent at most {source['epsilon_together']:.3g}."
        )
    if source["left_out"]:
        made += (
            f" Left out: {', '.join(source['left_out'])}, whose labels the recipe does not "
            "declare, so that naming them would tell who is there."
        )
    return {
        "made": made,
        "limit": f"Figures of held-out {many()} have noise and an epsilon of their own; mean "
        "attributions are exact and have none.",
    }


def _set_aside(interval: Json | None) -> str:
    """Who gave the width of prediction intervals, and at what price."""
    if not interval:
        return ""
    account = interval["account"]
    if account is None:
        return (
            " The width of prediction intervals comes from other held-out rows, half of all by a "
            "hash of each one's id, which are in no other figure."
        )
    return (
        " The width of prediction intervals was chosen privately among other held-out "
        f"{many()}, "
        "half of all by a hash of each one's id, who are in no other figure: a "
        f"{account['unit']}'s epsilon for it is {account['epsilon']:.3g}."
    )
