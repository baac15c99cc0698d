"""The whole of membership inference on one recipe: private model and twin, overall and by group.

All of it is internal: it is computed from training rows without privacy.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import artifacts
from tasks.artifacts import Prepared
from tasks.evidence import membership, rmia
from tasks.evidence.attacked import threads_for
from tasks.evidence.membership import People, choose_people, figures
from tasks.evidence.membership_groups import by_group
from tasks.evidence.references import halves, losses, reference_losses
from tasks.params import UserError
from tasks.recipe import AttackConfig, TrainPlan

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

# Held-out people who are not guessed about, where reference models need a population.
POPULATION_SHARE = 0.2


def persons_of(prepared: Prepared) -> tuple[Rows, Rows]:
    """Return the number of each row's person, int64 [N], and one row of each person."""
    found = np.unique(
        prepared.people["person_id"].to_numpy(), return_index=True, return_inverse=True
    )
    return found[2].astype(np.int64), np.sort(found[1])


def chosen(recipe: str, prepared: Prepared, rows: Rows, plan: AttackConfig) -> People:
    """Return who is guessed about, one row a person.

    Args:
        recipe: for the message.
        prepared: all people.
        rows: one of each person.
        plan: seed, and whether there are reference models.

    Raises:
        UserError: nobody was trained on or nobody was held out.
    """
    sides = [np.intersect1d(prepared.rows(name), rows) for name in ("train", "test")]
    share = POPULATION_SHARE if plan.references else 0.0
    people = choose_people(sides[0], sides[1], plan.seed, share)
    if len(people.members) == 0:
        raise UserError(f"{recipe}: the attack needs people in train and in test")
    return people


def _referees(
    twin: TrainPlan, prepared: Prepared, persons: Rows, everyone: Rows, plan: AttackConfig
) -> rmia.Referees | None:
    """What freshly trained reference models make of the chosen people; None where there are none.

    They are trained on all people, chosen or not, whichever side they are on.
    """
    if not plan.references:
        return None
    seen = halves(persons, plan.references, plan.seed)
    made = reference_losses(twin, prepared, seen, everyone, plan.reference_steps, plan.seed)
    return rmia.Referees(made, seen[:, everyone])


def _scores(
    target: Array, referees: rmia.Referees | None, people: People, plan: AttackConfig, task: str
) -> dict[str, tuple[Array, float | None]]:
    """Scores by attack, and what was chosen for it; people as in `study`."""
    found: dict[str, tuple[Array, float | None]] = {"loss": (-target, None)}
    if referees is not None:
        population = np.arange(len(target) - len(people.population), len(target))
        scale = rmia.scale_of(target[population], task)
        a = rmia.choose_offline_a(referees, scale) if plan.variant == "offline" else None
        found["rmia"] = (
            rmia.attack_scores(
                target, referees, population, variant=plan.variant, gamma=plan.gamma,
                offline_a=1.0 if a is None else a, scale=scale,
            ),
            a,
        )  # fmt: skip
    return found


def attacked(
    scores: dict[str, tuple[Array, float | None]],
    people: People,
    sensitive: dict[str, list[str]],
    delta: float,
    plan: AttackConfig,
) -> dict[str, Any]:
    """Return all figures of one model.

    Args:
        scores: by attack, float of members, others and perhaps more, and the offline slope.
        people: how many of each.
        sensitive: labels of members and others by feature.
        delta: of the claim.
        plan: rates, shuffles, confidence and seed.
    """
    n, m = len(people.members), len(people.others)
    member = np.arange(n + m) < n
    found: dict[str, Any] = {}
    for name, (score, slope) in scores.items():
        mine = score[: n + m]
        found[name] = figures(mine[:n], mine[n:], delta, plan, attacks=len(scores))
        found[name] |= {"by_group": by_group(mine, member, sensitive, plan), "offline_a": slope}
    best = max(scores, key=lambda name: found[name]["epsilon_lower_bound"]["value"])
    found["epsilon_lower_bound"] = {
        "value": found[best]["epsilon_lower_bound"]["value"],
        "attack": best,
        "confidence": membership.VERDICT_CONFIDENCE,
    }
    return found


def study(recipe: str, prepared: Prepared, delta: float, plan: AttackConfig) -> dict[str, Any]:
    """Return how well the training people of model and twin are told from held-out people.

    Args:
        recipe: name under data/.
        prepared: all people.
        delta: of the claim.
        plan: how hard is tried.

    Raises:
        UserError: nobody was trained on or nobody was held out, or a reference model failed.
    """
    persons, rows = persons_of(prepared)
    people = chosen(recipe, prepared, rows, plan)
    everyone = np.concatenate([people.members, people.others, people.population])
    guessed = everyone[: len(people.members) + len(people.others)]
    frame = artifacts.read_sensitive_features(recipe)
    sensitive = {name: frame[name].gather(guessed).to_list() for name in frame.columns}
    task = prepared.schema["task"]
    found: dict[str, Any] = {}
    twin = artifacts.read_section(recipe, "twin", TrainPlan)
    with threads_for(twin):
        referees = _referees(twin, prepared, persons, everyone, plan)
        for name in ("model", "twin"):
            model = artifacts.read_model(artifacts.folder(recipe, name))
            scores = _scores(losses(model, prepared, everyone), referees, people, plan, task)
            found[name] = attacked(scores, people, sensitive, delta, plan)
    return {
        "members": len(people.members),
        "non_members": len(people.others),
        "population": len(people.population),
        "references": plan.references,
        "reference_steps": plan.reference_steps,
        "variant": plan.variant,
        "gamma": plan.gamma,
        "shuffles": plan.shuffles,
        "confidence": plan.confidence,
        **found,
    }
