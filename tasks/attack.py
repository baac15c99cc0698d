"""Attack a recipe's claim: its training on invented people, and its model by membership."""

from typing import Any

from rnn.config import PrivacySpent
from tasks import artifacts
from tasks.evidence import attacked, membership_study
from tasks.params import UserError, command, validate
from tasks.recipe import AttackConfig, TrainPlan

METHOD = (
    "a training run on invented people, discarded, whose canaries' coins are guessed; and "
    "thresholds on losses and on likelihood ratios to reference models, training people against "
    "held-out people"
)
NOTE = (
    "The verdict is violated where the attack run on invented people contradicts the ledger at "
    "0.001 (its guesses the curve, or its noise, contributions or sampling what is claimed), or "
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
        refuted: whether the attack run contradicts the ledger.
    """
    return "violated" if refuted or bound > claim else "consistent"


def main(argv: list[str]) -> None:
    """Attack one recipe's model and, for comparison, its twin."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.attack RECIPE")
    (recipe,) = argv
    config = artifacts.read_section(recipe, "attack", AttackConfig)
    plan = artifacts.read_section(recipe, "train", TrainPlan)
    path = artifacts.folder(recipe, "model", "privacy_spent.json")
    spent = validate(PrivacySpent, artifacts.read_json(path), str(path))
    prepared = artifacts.read_prepared(recipe)
    labels = prepared.groups.labels if prepared.groups else ()
    run, reason = attacked.study(plan, spent, prepared.schema, prepared.shape, labels, config)
    membership = membership_study.study(recipe, prepared, spent.delta, config)
    bound = membership["model"]["epsilon_lower_bound"]["value"]
    claim: dict[str, Any] = {"claim": spent.epsilon, "delta": spent.delta}
    published = {
        "verdict": verdict(bound, spent.epsilon, bool(run and run["rejected"])),
        "method": METHOD,
        "claim": spent.epsilon,
        "note": NOTE,
    }
    figures = {**claim, "run": run, "no_run": reason, "membership": membership}
    root = artifacts.folder(recipe, "attack")
    with artifacts.replacing(root / "published") as draft:
        artifacts.write_json(draft / "attack.json", published)
    with artifacts.replacing(root / "internal") as draft:
        artifacts.write_json(draft / "attack.json", figures)


if __name__ == "__main__":
    command(main)
