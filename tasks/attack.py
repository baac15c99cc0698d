"""Attack a recipe's claim: its training on invented people, and its model by membership."""

from functools import partial
from typing import Any

from tasks import artifacts
from tasks.evidence import attacked, membership_study, secrets
from tasks.params import UserError, command
from tasks.recipe import AttackConfig, NoPrivacy, TrainPlan
from tasks.starting.fresh import begin_without_dropout

METHOD = (
    "a training run on invented people, discarded, whose canaries' coins are guessed; and "
    "thresholds on losses and on likelihood ratios to reference models, training people against "
    "held-out people"
)
OF_SECRETS = "; and a run on invented text with random secrets in it, discarded, which are ranked"
NOTE = (
    "The verdict is violated where the attack run on invented people contradicts the ledger at "
    "0.001 (its guesses the curve, or its noise, contributions or sampling what is claimed), where "
    "secrets in invented text are given away more than the curve allows, at 0.001, or "
    "where the lower bound on epsilon that membership inference reaches, at confidence "
    "0.999, is above the claim. Consistent means that these attacks found no contradiction, not "
    "that the claim is proven; a threshold is a weak attack. People's guesses are taken as "
    "independent of one another."
)


def verdict(bound: float, claim: float, refuted: bool = False) -> str:
    """Return violated where an attack contradicts the claim, else consistent.

    Args:
        bound: lower bound on epsilon from membership inference.
        claim: the claimed epsilon.
        refuted: whether a run on what was invented contradicts the ledger.
    """
    return "violated" if refuted or bound > claim else "consistent"


def nothing_to_attack(without: NoPrivacy) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the published and the internal result where no privacy is claimed.

    Args:
        without: of the model.
    """
    reason = f"no privacy is claimed: {without.reason}"
    published = {"verdict": "not claimed", "method": "none", "claim": None, "note": reason}
    claim: dict[str, Any] = {"claim": None, "delta": None}
    figures = {**claim, "run": None, "no_run": reason, "secrets": None, "membership": {}}
    return published, figures


def write(recipe: str, published: dict[str, Any], figures: dict[str, Any]) -> None:
    """Write both results, each folder whole."""
    root = artifacts.folder(recipe, "attack")
    with artifacts.replacing(root / "published") as draft:
        artifacts.write_json(draft / "attack.json", published)
    with artifacts.replacing(root / "internal") as draft:
        artifacts.write_json(draft / "attack.json", figures)


def main(argv: list[str]) -> None:
    """Attack one recipe's model and, for comparison, its twin."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.attack RECIPE")
    (recipe,) = argv
    config = artifacts.read_section(recipe, "attack", AttackConfig)
    plan = artifacts.read_section(recipe, "train", TrainPlan)
    spent = artifacts.read_spent(recipe)
    if isinstance(spent, NoPrivacy):
        write(recipe, *nothing_to_attack(spent))
        return
    prepared = artifacts.read_prepared(recipe)
    labels = prepared.groups.labels if prepared.groups else ()
    # Both runs begin with what the recipe's network begins with, or they attack another claim.
    begin = partial(begin_without_dropout, plan, prepared)
    run, reason = attacked.study(
        plan, spent, prepared.schema, prepared.shape, labels, config, begin
    )
    given_away, no_secrets = secrets.study(plan, spent, prepared.shape, config, begin)
    membership = membership_study.study(recipe, prepared, spent.delta, config)
    bound = membership["model"]["epsilon_lower_bound"]["value"]
    claim: dict[str, Any] = {"claim": spent.epsilon, "delta": spent.delta}
    refuted = [run and run["rejected"], given_away and given_away["refutes_curve"]]
    published = {
        "verdict": verdict(bound, spent.epsilon, any(refuted)),
        "method": METHOD + (OF_SECRETS if given_away else ""),
        "claim": spent.epsilon,
        "note": NOTE,
    }
    figures = {
        **claim,
        "run": run,
        "no_run": reason,
        "secrets": given_away,
        "no_secrets": no_secrets,
        "membership": membership,
    }
    write(recipe, published, figures)


if __name__ == "__main__":
    command(main)
