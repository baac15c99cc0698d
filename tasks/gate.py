"""Whether the model may be registered: every bar was set before training."""

from dataclasses import replace
from typing import Any

from rnn.config import PrivacySpent
from tasks.artifacts import (
    digest_folder,
    folder,
    read_json,
    read_section,
    read_spent,
    replacing,
    replacing_file,
    write_json,
)
from tasks.evidence.figure_bars import check_figures, limits
from tasks.evidence.overall import published_figures
from tasks.evidence.override import answered_for, broken_promises
from tasks.evidence.promises import (
    SECURE_NOISE,
    bare,
    check_promise,
    number,
    tighter,
)
from tasks.evidence.registered import figures_of
from tasks.params import UserError, command, validate
from tasks.recipe import GateConfig, NoPrivacy, OverridePlan

Check = dict[str, Any]
Figure = dict[str, Any]

DIGITS = 12
# What a failed gate ends with is no bar; those of figures are listed one by one.
NO_BARS = ("on_fail", "figures")


def check_at_least(name: str, what: str, figure: Figure | None, bar: float) -> Check:
    """Judge a figure with an interval that should reach a bar: by its interval, not its value.

    Args:
        name: of the check.
        what: the figure in a reader's words, to begin a sentence.
        figure: value, low and high; None where there is none.
        bar: to be reached.
    """
    value, low, high = (number((figure or {}).get(key)) for key in ("value", "low", "high"))
    check = {"name": name, "value": value, "low": low, "high": high, "bar": bar}
    if value is None or low is None or high is None:
        reason = f"{what} could not be measured, so nothing shows that it reaches {bar:g}."
        return {**check, "verdict": "inconclusive", "reason": reason}
    # More digits where three would hide on which side of the bar an end lies.
    digits = 5 if min(abs(low - bar), abs(high - bar)) < 5e-4 else 3
    between = f"{what} is {value:.3f}, between {low:.{digits}f} and {high:.{digits}f}"
    if low >= bar:
        return {**check, "verdict": "pass", "reason": f"{between}: at least {bar:g}."}
    if high < bar:
        return {**check, "verdict": "fail", "reason": f"{between}: below {bar:g}."}
    reason = f"{between}: the data cannot tell whether it reaches {bar:g}."
    return {**check, "verdict": "inconclusive", "reason": reason}


def check_groups(audit: Figure, bar: float) -> Check:
    """Judge the smallest impact ratio between groups."""
    gate = audit.get("gate")
    if not gate:
        check = check_at_least("group_ratio", "The smallest group ratio", None, bar)
        reason = "No two groups could be compared, so nothing shows that they are treated alike."
        return {**check, "reason": reason}
    what = (
        f"The favourable rate of {gate['feature']} {gate['group']} over that of "
        f"{gate['reference']}, the smallest ratio,"
    )
    check = check_at_least("group_ratio", what, gate["impact_ratio"], bar)
    loosest = gate.get("low_from") or gate
    names = [(g["feature"], g["group"], g["reference"]) for g in (gate, loosest)]
    if check["verdict"] == "inconclusive" and names[0] != names[1]:
        check["reason"] += (
            f" The low end is that of {loosest['feature']} {loosest['group']} over "
            f"{loosest['reference']}."
        )
    return check


def check_bars(changes: list[str] | None, at_training: str | None) -> Check:
    """Judge that the bars are those of before training, or that the model meets those as well.

    Args:
        changes: since training began; None where the bars were not kept with the model.
        at_training: verdict by the bars that stood when training began.
    """
    check = bare("bars")
    if changes is None:
        reason = "The bars that stood when training began were not kept with the model."
        return {**check, "verdict": "inconclusive", "reason": reason}
    if not changes:
        reason = "The bars are those that stood when training began."
        return {**check, "verdict": "pass", "reason": reason}
    changed = f"Bars changed after training: {', '.join(changes)}. "
    if at_training == "pass":
        reason = "The model meets those that stood when training began as well."
        return {**check, "verdict": "pass", "reason": changed + reason}
    reason = f"By those that stood when training began the verdict is {at_training}."
    return {**check, "verdict": "inconclusive", "reason": changed + reason}


def bars_changed(before: GateConfig, now: GateConfig) -> list[str]:
    """Return in words which bars are not what they were.

    Example:
        >>> bars_changed(GateConfig(max_epsilon=3), GateConfig(max_epsilon=8, min_auc=0.7))
        ['max epsilon 3 to 8', 'min auc none to 0.7']
    """

    def show(bar: object) -> str:
        return "none" if bar is None else f"{bar:g}"

    def bars(config: GateConfig) -> dict[str, object]:
        own = {k.replace("_", " "): v for k, v in vars(config).items() if k not in NO_BARS}
        return {**own, **limits(config.figures)}

    old, new = bars(before), bars(now)
    return [
        f"{name} {show(old.get(name))} to {show(new.get(name))}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]


def worst(checks: list[Check]) -> str:
    """Return the verdict over all checks."""
    verdicts = {check["verdict"] for check in checks}
    return next((v for v in ("fail", "inconclusive") if v in verdicts), "pass")


def judge(
    config: GateConfig,
    spent: PrivacySpent | NoPrivacy,
    metrics: Figure,
    audit: Figure,
    attack: Figure,
    null_block: Figure | None,
) -> list[Check]:
    """Return every check of the figures against their bars; arguments as in `decide`."""
    model = metrics.get("model", {})
    checks = check_promise(config, spent, audit, attack, null_block)
    for name, what, bar in (
        ("auc", "The AUC", config.min_auc),
        ("accuracy", "The accuracy", config.min_accuracy),
    ):
        if bar is not None:
            checks.append(check_at_least(name, what, model.get(name), bar))
    if config.min_group_ratio is not None:
        checks.append(check_groups(audit, config.min_group_ratio))
    return [*checks, *check_figures(config.figures, metrics)]


def decide(
    config: GateConfig,
    spent: PrivacySpent | NoPrivacy,
    metrics: Figure,
    audit: Figure,
    attack: Figure,
    null_block: Figure | None,
    before: GateConfig | None,
) -> Figure:
    """Return every check and the verdict over all: the worst of them.

    The bar of epsilon can be tightened after training, never loosened: it is a promise.

    Args:
        config: bars.
        spent: what training cost, or that nothing is promised.
        metrics: of all held-out people, as they may be shown.
        audit: published audit.
        attack: published attack.
        null_block: what the training run measured of itself; None where it did not.
        before: bars that stood when training began; None where they were not kept.
    """
    evidence = (spent, metrics, audit, attack, null_block)
    kept = before or config
    now = replace(config, max_epsilon=tighter(config.max_epsilon, kept.max_epsilon))
    checks = judge(now, *evidence)
    changes = bars_changed(before, config) if before else None
    checks.append(check_bars(changes, worst(judge(kept, *evidence)) if changes else None))
    decision: Figure = {
        "verdict": worst(checks),
        "checks": checks,
        "bars": {"kept": before is not None, "changed": changes or []},
    }
    if isinstance(spent, NoPrivacy):
        without = {"epsilon": None, "delta": None, "insecure": False}
        return {**decision, **without, "no_privacy": spent.reason}
    return {
        **decision,
        "epsilon": number(spent.epsilon),
        "delta": spent.delta,
        "insecure": spent.noise_source != SECURE_NOISE,
    }


def what_now(decision: Figure) -> str:
    """Return what an override comes to, or how one would be written."""
    written, model = decision["override"], decision["model"]
    if written:
        by = f"override by {written['approver']}: {written['status']}"
        return f"{by}. {written['words']}"
    if decision["verdict"] == "pass":
        return f"model {model}"
    broken = broken_promises(decision["checks"])
    if broken:
        return f"model {model}; nobody can override a privacy check: {', '.join(broken)}"
    return f"to answer for it, add override: {{approver, reason, model: '{model}'}} to the recipe"


def main(argv: list[str]) -> None:
    """Decide about one recipe's model."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.gate RECIPE")
    (recipe,) = argv
    bars, block = (folder(recipe, "model", f"{name}.json") for name in ("bars", "null_block"))
    metrics = read_json(folder(recipe, "predictions", "published", "metrics.json"))
    audit = read_json(folder(recipe, "audit", "published", "audit.json"))
    shown, measured = (
        published_figures(metrics, audit),
        read_json(block) if block.exists() else None,
    )
    decision = decide(
        read_section(recipe, "gate", GateConfig),
        read_spent(recipe),
        shown,
        audit,
        read_json(folder(recipe, "attack", "published", "attack.json")),
        measured,
        validate(GateConfig, read_json(bars), str(bars)) if bars.exists() else None,
    )
    model = digest_folder(folder(recipe, "model"))[:DIGITS]
    override = read_section(recipe, "override", OverridePlan).override
    decision |= {
        "model": model,
        "override": answered_for(override, decision["verdict"], decision["checks"], model),
    }
    with replacing(folder(recipe, "decision")) as draft:
        write_json(draft / "decision.json", decision)
    # What `dvc exp show` compares.
    figures = figures_of(shown, decision, audit, measured)
    with replacing_file(folder(recipe, "figures.json")) as draft:
        write_json(draft, {**figures, "verdict": decision["verdict"]})
    print(f"{recipe}: {decision['verdict']}")
    for check in decision["checks"]:
        print(f"  {check['verdict']}: {check['reason']}")
    print(f"{recipe}: {what_now(decision)}")


if __name__ == "__main__":
    command(main)
